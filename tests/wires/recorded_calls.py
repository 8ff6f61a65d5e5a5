"""Recorded calls of one wire, read and decoded as the replay reads them; with the catalogue's word on their usage.

Found by what the wire recognises, in every format of cassette that can be read.
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
from clawbench.cassettes.understanding import NotUnderstood, Understood, call_of, understand
from clawbench.errors import CassetteError
from clawbench.types import Completion, HttpCall, Usage
from clawbench.wires.collect import collect
from clawbench.wires.protocol import Wire

# Sparing the reader the hundreds of files of other dialects: where such a call stands in a file of any format.
_MARK = re.compile(rb"generateContent|/api/(?:chat|generate)|/v[12]/chat(?!/completions)", re.IGNORECASE)


class Recorded(Struct, frozen=True):
    """One exchange that the wire recognises."""

    interaction: Interaction
    read: Understood | NotUnderstood
    usage: dict[str, Any] | None  # what the catalogue states

    @property
    def name(self) -> str:
        return f"{Path(self.interaction.file).name}#{self.interaction.index}"

    @property
    def call(self) -> HttpCall:
        return call_of(self.interaction)

    @property
    def understood(self) -> Understood:
        assert isinstance(self.read, Understood), f"{self.name}: {self.read.reason}"
        return self.read

    @property
    def completion(self) -> Completion | None:
        """The answer, whole or collected from its stream; None for an error."""
        answer = self.understood.answer
        if answer.error is not None:
            return None
        return answer.completion if answer.end is None else collect(answer.deltas, answer.end)

    @property
    def stated_usage(self) -> Usage | None:
        return self.understood.answer.usage


@lru_cache(maxsize=1)
def _interactions(root: Path) -> list[tuple[Interaction, dict[str, str]]]:
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
        found += [(each, known.get(each.index, {})) for each in read if isinstance(each, Interaction)]
    return found


def recorded(shared: Path, wire: Wire) -> list[Recorded]:
    """Every exchange that this wire recognises."""
    found = []
    for interaction, row in _interactions(shared / "real-cassettes"):
        if wire.recognises(call_of(interaction), interaction.body):
            stated = row.get("usage_json")
            read = understand(interaction, {wire.name: wire})
            found.append(Recorded(interaction, read, json.loads(stated) if stated else None))
    return found


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """Numeric leaves of objects by dotted path: the catalogue's way of writing usage."""
    if type(value) is dict:
        return {name: leaf for key, item in value.items() for name, leaf in numbers(item, f"{path}.{key}").items()}
    return {path.removeprefix("."): value} if type(value) in (int, float) else {}
