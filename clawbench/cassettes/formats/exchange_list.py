"""A list of exchanges, `request` beside `response`, JSON or YAML: PHP-VCR, ExVCR, EasyVCR, vcrpy before its version 1.

Reveals nothing of its times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clawbench.cassettes.formats.assembling import assembled, placed
from clawbench.cassettes.formats.exchange import draft
from clawbench.cassettes.formats.json_outline import item_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.formats.yaml_safe import load
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_YAML_ROOT: Final = re.compile(rb"\A(?:---[^\n]*\n|#[^\n]*\n|[ \t\r]*\n)*-\s+(?:request|response):")


class ExchangeList:
    """Reads a file that is a list of requests with their responses."""

    name = "exchange-list"

    def recognises(self, head: bytes, file: str) -> bool:
        return bool(_YAML_ROOT.search(head)) or not {"request", "response"}.isdisjoint(item_names(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        root = load_json(data, file) if data.lstrip()[:1] == b"[" else load(data, file).value
        if not isinstance(root, list):
            raise CassetteError("holds no list of exchanges", file=file)
        yield from assembled(placed(root), draft, file)
