"""Cassettes of Ruby's VCR, of R's vcr and of Python's betamax, YAML or JSON: `http_interactions`.

Their differences are in dress only: status as mapping (Ruby) or number (R), headers as lists or scalars, bodies as
text, `!binary`, `base64_string` or (R) `raw_gzip`. Addresses may begin with a `<PLACEHOLDER>` in place of scheme and
host, and stay so.
Of times they reveal nothing: `recorded_at` is the day and second of the recording, with no second instant to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.fields import Unfit, address, body, halves, headers, http_status
from clawbench.cassettes.formats.json_outline import object_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.formats.yaml_safe import Document, load
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_ROOT: Final = re.compile(rb"^http_interactions:", re.MULTILINE)


class VcrRb:
    """Reads what VCR's YAML and JSON serializers and vcr for R write."""

    name = "vcr.rb"

    def recognises(self, head: bytes, file: str) -> bool:
        return "http_interactions" in object_names(head) or bool(_ROOT.search(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        document = Document(load_json(data, file), ()) if data.lstrip()[:1] == b"{" else load(data, file)
        items = document.value.get("http_interactions") if isinstance(document.value, dict) else None
        if not isinstance(items, list):
            raise CassetteError("holds no list of http_interactions", file=file)
        if items and "recorded_with" not in document.value:
            items = [*items[:-1], _Last(items[-1])]
        yield from assembled(placed(items, document.item_lines), _draft, file)


class _Last(Struct, frozen=True):
    """The last item of a file that has no end: whole only if its own last field is there."""

    item: Any


def _draft(item: Any) -> Draft:
    if isinstance(item, _Last):
        item = item.item
        if isinstance(item, dict) and "recorded_at" not in item:
            raise Unfit("has no recorded_at, and the file no recorded_with (is it cut short?)")
    request, response = halves(item)
    method, url = address(request, "uri")
    return Draft(
        method=method,
        url=url,
        request_headers=headers(request.get("headers"), "request.headers"),
        request_body=body(request.get("body"), "request.body"),
        status=http_status(response.get("status")),
        headers=headers(response.get("headers"), "response.headers"),
        body=body(response.get("body"), "response.body"),
    )
