"""The page that says what each provider's counts mean, held against the code: it names all, and its examples count."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import clawbench.usage
from clawbench.usage.normalisers import CHAT, NAMED, count, normaliser_for
from clawbench.wires import READ_ONLY, WIRES

PAGE = Path(clawbench.usage.__file__).with_name("README.md")
TABLE, EXAMPLES = PAGE.read_text("utf-8").split("## Examples")
COLUMNS = 11


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows; its head is left out."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_normaliser_has_one_row_and_one_example_by_its_version() -> None:
    named = [quoted(row[0]) for row in rows(TABLE)]
    assert sorted(named) == sorted([name] for name in NAMED)
    assert sorted(quoted(row[0]) for row in rows(EXAMPLES)) == sorted(named)
    assert {len(row) for row in rows(TABLE)} == {COLUMNS}


def test_every_dialect_and_provider_stands_in_the_row_of_what_reads_it() -> None:
    dialects = [name for name in (*WIRES, *READ_ONLY) if not name.startswith("litellm")]
    read: dict[str, set[str]] = {}
    for dialect in dialects:
        everybody = normaliser_for(dialect, "nobody").name
        read.setdefault(everybody, set()).add(dialect)
        for provider in CHAT:
            name = normaliser_for(dialect, provider).name
            if name != everybody:
                read.setdefault(name, set()).add(f"{dialect}: {provider}")
    assert {quoted(row[0])[0]: set(quoted(row[1])) for row in rows(TABLE)} == read


@pytest.mark.parametrize(("name", "usage", "buckets"), [[quoted(cell)[0] for cell in row] for row in rows(EXAMPLES)])
def test_an_example_counts_as_the_page_says(name: str, usage: str, buckets: str) -> None:
    found = count(NAMED[name], (usage.encode(),))
    assert not found.refused
    assert not found.missing
    assert found.buckets.stated() == json.loads(buckets)
