"""Recorded exchanges for the tests of a dialect: found by what a wire recognises, in every format that can be read.

The catalogue beside the recordings is a scanner's reading and serves to compare usage only.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.understanding import call_of
from clawbench.errors import CassetteError, UpstreamError
from clawbench.types import Completion, Delta, HttpCall, StreamEnd
from clawbench.wires.protocol import Wire

# Where a call of these dialects stands in a file of any format; sparing the reader the hundreds of other files.
_MARK = re.compile(
    rb"/v1/messages|/messages\"|rawPredict|/model/[^\s\"]+/(?:invoke|converse)|bedrock-runtime", re.IGNORECASE
)


class Recorded(Struct, frozen=True):
    """One exchange with its wire, and what the catalogue says of its usage."""

    interaction: Interaction
    wire: Wire
    usage: dict[str, Any] | None

    @property
    def name(self) -> str:
        return f"{Path(self.interaction.file).name}#{self.interaction.index}"

    @property
    def call(self) -> HttpCall:
        return call_of(self.interaction)

    @property
    def streamed(self) -> bool:
        body = self.interaction.body
        return self.interaction.status == 200 and (body[:1] == b"\0" or b"data:" in body[:200])

    def outcome(self) -> Completion | tuple[list[Delta], StreamEnd] | UpstreamError:
        reply = self.interaction
        try:
            if reply.status >= 400:
                return self.wire.error(reply.status, reply.headers, reply.body)
            if self.streamed:
                decoder = self.wire.stream()
                deltas = decoder.feed(reply.body)
                return deltas, decoder.finish()
            return self.wire.decode(reply.status, reply.headers, reply.body)
        except UpstreamError as error:
            return error


@lru_cache(maxsize=1)
def _interactions(root: Path) -> list[tuple[Interaction, dict[str, str]]]:
    rows: dict[str, dict[int, dict[str, str]]] = {}
    with (root / "CATALOGUE.csv").open(newline="") as catalogue:
        for row in csv.DictReader(catalogue):
            file = f"{row['repo'].replace('/', '__')}/{row['path']}"
            rows.setdefault(file, {})[int(row["interaction"])] = row
    found = []
    for file, known in sorted(rows.items()):
        content = (root / file).read_bytes()
        if not _MARK.search(content):
            continue
        try:
            read = list(opened(content, file).read())
        except CassetteError:
            continue
        found += [(each, known.get(each.index, {})) for each in read if isinstance(each, Interaction)]
    return found


def recorded(shared: Path, wires: tuple[Wire, ...], claims: Callable[[Wire, HttpCall, bytes], bool]) -> list[Recorded]:
    """Every exchange that one of these wires claims."""
    found = []
    for interaction, row in _interactions(shared / "real-cassettes"):
        call = call_of(interaction)
        wire = next((wire for wire in wires if claims(wire, call, interaction.body)), None)
        if wire is not None:
            stated = row.get("usage_json")
            found.append(Recorded(interaction, wire, json.loads(stated) if stated else None))
    return found


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """Numeric leaves by dotted path: the catalogue's way of writing usage."""
    if type(value) is dict:
        return {name: leaf for key, item in value.items() for name, leaf in numbers(item, f"{path}.{key}").items()}
    return {path.removeprefix("."): value} if type(value) in (int, float) else {}
