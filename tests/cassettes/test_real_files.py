"""A thousand files recorded by other projects: every vcrpy one loads, the others are counted apart."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from clawbench.cassettes.check import check
from clawbench.cassettes.formats import identify, reader
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.store import open_store
from clawbench.cassettes.writer import cassette_bytes
from clawbench.errors import CassetteError
from clawbench.wires import WIRES

CATALOGUED = {"ddapm-json": "single-exchange"}


@pytest.fixture(scope="module")
def real(shared: Path) -> Path:
    return shared / "real-cassettes"


@pytest.fixture(scope="module")
def catalogue(real: Path) -> list[dict[str, str]]:
    with (real / "CATALOGUE.csv").open() as file:
        return list(csv.DictReader(file))


def path_of(row: dict[str, str]) -> str:
    return f"{row['repo'].replace('/', '__')}/{row['path']}"


def test_every_file_is_of_the_format_that_it_is_catalogued_as(real: Path, catalogue: list[dict[str, str]]) -> None:
    wrong = {}
    for path, name in {path_of(row): row["format"] for row in catalogue}.items():
        found = identify((real / path).read_bytes(), path)
        if found != CATALOGUED.get(name, name):
            wrong[path] = found
    assert wrong == {}


def test_all_vcrpy_files_load_with_all_their_interactions(real: Path, catalogue: list[dict[str, str]]) -> None:
    rows = [row for row in catalogue if row["format"] == "vcrpy"]
    files = sorted({path_of(row) for row in rows})
    loaded: dict[tuple[str, int], Interaction] = {}
    broken = []
    for path in files:
        format_reader = reader("vcrpy")
        assert format_reader is not None
        try:
            items = list(format_reader.read((real / path).read_bytes(), path))
        except CassetteError as error:
            broken.append(str(error))
            continue
        broken += [f"{path}: {item.reason}" for item in items if not isinstance(item, Interaction)]
        loaded |= {(path, item.index): item for item in items if isinstance(item, Interaction)}
    assert len(files) == 379
    assert broken == []
    for row in rows:
        item = loaded[path_of(row), int(row["interaction"])]
        assert item.status == int(row["status"])
        assert b"\x1f\x8b" not in item.body[:2]


def test_what_is_read_can_be_written_and_read_again(real: Path, catalogue: list[dict[str, str]]) -> None:
    format_reader = reader("vcrpy")
    assert format_reader is not None
    for path in sorted({path_of(row) for row in catalogue if row["format"] == "vcrpy"})[::12]:
        items = [i for i in format_reader.read((real / path).read_bytes(), path) if isinstance(i, Interaction)]
        again = [i for i in format_reader.read(cassette_bytes(items), path) if isinstance(i, Interaction)]
        assert [(i.url, i.status, i.body, i.request_body) for i in again] == [
            (i.url, i.status, i.body, i.request_body) for i in items
        ]


def test_the_check_counts_them_all_and_understands_the_openai_dialect(
    real: Path, catalogue: list[dict[str, str]]
) -> None:
    report = check(real, WIRES).to_json()
    totals = report["totals"]
    assert (totals["files"], totals["files_loaded"]) == (1018, 379)
    assert report["problems"] == []
    assert sum(report["unread"].values()) == 1018 - 379
    chat = sum(1 for row in catalogue if row["format"] == "vcrpy" and row["endpoint"] == "chat.completions")
    assert totals["decoded"] >= 0.97 * chat
    counted = totals["decoded"] + totals["not_chat"] + len(report["not_understood"])
    assert counted == totals["interactions"]


def test_the_store_holds_them_with_times_usage_and_provenance(real: Path, tmp_path: Path) -> None:
    store = open_store([real], WIRES, cache_dir=tmp_path)
    again = open_store([real], WIRES, cache_dir=tmp_path)
    assert again.entries == store.entries
    assert again.digest() == store.digest()
    assert not store.problems
    assert sum(map(len, store.unread.values())) == 1018 - 379
    sources = Counter(entry.revealed.source for entry in store.entries if entry.revealed)
    assert sources["header"] > 50
    assert sources["body"] > 10
    successes = [entry for entry in store.entries if entry.is_success]
    assert sum(entry.output_tokens is not None for entry in successes) > 0.8 * len(successes)
    for entry in store.entries:
        assert len(store.body(entry)) == entry.length
        if entry.framing:
            assert entry.event_ends[-1] == entry.length
