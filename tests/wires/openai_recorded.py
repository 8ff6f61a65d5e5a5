"""Recorded calls of OpenAI's other two APIs (Responses, legacy completions), found by what their wires recognise.

In every format of cassette that can be read. The catalogue beside the recordings is a scanner's reading and serves to
compare usage only.
"""

from __future__ import annotations

import csv
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.understanding import call_of
from clawbench.errors import CassetteError, UpstreamError
from clawbench.types import Completion, Delta, HttpCall, StreamEnd
from clawbench.wires.collect import collect
from clawbench.wires.protocol import Wire

# Where such a call stands in a file of any format; sparing the reader the hundreds of other files.
_MARK = re.compile(rb"/responses\b|(?<!chat)/completions\b")


class Recorded(Struct, frozen=True):
    """One exchange with what the catalogue says of it."""

    interaction: Interaction
    row: dict[str, str]

    @property
    def name(self) -> str:
        return f"{Path(self.interaction.file).name}#{self.interaction.index}"

    @property
    def call(self) -> HttpCall:
        return call_of(self.interaction)

    @property
    def asked(self) -> dict[str, Any]:
        value = json.loads(self.interaction.request_body)
        assert isinstance(value, dict)
        return value

    @property
    def streamed(self) -> bool:
        return self.interaction.status == 200 and b"data:" in self.interaction.body[:2000]

    def outcome(self, wire: Wire) -> Completion | tuple[list[Delta], StreamEnd] | UpstreamError:
        """What the wire makes of it."""
        reply = self.interaction
        try:
            if reply.status >= 400:
                return wire.error(reply.status, reply.headers, reply.body)
            if self.streamed:
                decoder = wire.stream()
                deltas = decoder.feed(reply.body)
                return deltas, decoder.finish()
            return wire.decode(reply.status, reply.headers, reply.body)
        except UpstreamError as error:
            return error

    def completion(self, wire: Wire) -> Completion | None:
        """The answer, whole or collected; None for an error."""
        result = self.outcome(wire)
        if isinstance(result, tuple):
            deltas, end = result
            return None if not end.complete else collect(deltas, end)
        return result if isinstance(result, Completion) else None


@lru_cache(maxsize=1)
def exchanges(shared: Path) -> tuple[Recorded, ...]:
    """Every exchange of the files that hold such a call, of whatever dialect."""
    root = shared / "real-cassettes"
    rows: dict[str, dict[int, dict[str, str]]] = {}
    with (root / "CATALOGUE.csv").open(newline="") as catalogue:
        for row in csv.DictReader(catalogue):
            file = f"{row['repo'].replace('/', '__')}/{row['path']}"
            rows.setdefault(file, {})[int(row["interaction"])] = row
    found = []
    for path in sorted(root.rglob("*")):
        if path.suffix in ("", ".md", ".csv") or not path.is_file():
            continue
        content = path.read_bytes()
        if not _MARK.search(content):
            continue
        file = str(path.relative_to(root))
        try:
            read = list(opened(content, file).read())
        except CassetteError:
            continue
        known = rows.get(file, {})
        found += [Recorded(each, known.get(each.index, {})) for each in read if isinstance(each, Interaction)]
    return tuple(found)


def recorded(shared: Path, wire: Wire) -> list[Recorded]:
    """Every exchange that this wire recognises."""
    return [one for one in exchanges(shared) if wire.recognises(one.call, one.interaction.body)]
