"""One exchange as a JSON object, `request` beside `response`, as Datadog's test agent writes it.

Reveals nothing of its times.
"""

from __future__ import annotations

from collections.abc import Iterator

from clawbench.cassettes.formats.assembling import assembled
from clawbench.cassettes.formats.exchange import draft
from clawbench.cassettes.formats.json_outline import object_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.interaction import Interaction, Unreadable


class SingleExchange:
    """Reads a file that is one request and its response."""

    name = "single-exchange"

    def recognises(self, head: bytes, file: str) -> bool:
        return not {"request", "response"}.isdisjoint(object_names(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        yield from assembled([("interaction 0", load_json(data, file))], draft, file)
