"""A thousand files recorded by other projects, in six formats: all load, with what the catalogue says is in them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from clawbench.cassettes.check import check
from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.store import open_store
from clawbench.cassettes.writer import cassette_bytes
from clawbench.errors import CassetteError
from clawbench.wires import WIRES

CATALOGUED = {"ddapm-json": "single-exchange"}
FILES = {"vcrpy": 379, "vcr.rb": 85, "go-vcr": 500, "har": 33, "httprr": 17, "single-exchange": 4}

Row = dict[str, str]


@pytest.fixture(scope="module")
def real(shared: Path) -> Path:
    return shared / "real-cassettes"


@pytest.fixture(scope="module")
def catalogue(real: Path) -> list[Row]:
    with (real / "CATALOGUE.csv").open() as file:
        return list(csv.DictReader(file))


def path_of(row: Row) -> str:
    return f"{row['repo'].replace('/', '__')}/{row['path']}"


def format_of(row: Row) -> str:
    return CATALOGUED.get(row["format"], row["format"])


def interactions(real: Path, path: str) -> list[Interaction]:
    return [item for item in opened((real / path).read_bytes(), path).read() if isinstance(item, Interaction)]


def test_every_file_is_of_the_format_that_it_is_catalogued_as(real: Path, catalogue: list[Row]) -> None:
    catalogued = {path_of(row): format_of(row) for row in catalogue}
    assert Counter(catalogued.values()) == FILES
    assert {path: opened((real / path).read_bytes(), path).format.name for path in catalogued} == catalogued


@pytest.mark.parametrize("name", FILES)
def test_all_files_load_with_all_their_interactions(real: Path, catalogue: list[Row], name: str) -> None:
    rows = [row for row in catalogue if format_of(row) == name]
    loaded: dict[tuple[str, int], Interaction] = {}
    broken = []
    for path in sorted({path_of(row) for row in rows}):
        try:
            items = list(opened((real / path).read_bytes(), path).read())
        except CassetteError as error:
            broken.append(str(error))
            continue
        broken += [f"{path}: {item.reason}" for item in items if not isinstance(item, Interaction)]
        loaded |= {(path, item.index): item for item in items if isinstance(item, Interaction)}
    assert broken == []
    for row in rows:
        item = loaded[path_of(row), int(row["interaction"])]
        assert item.status == int(row["status"])
        assert b"\x1f\x8b" not in item.body[:2]
        clock_s = item.duration_s if name == "go-vcr" else item.e2e_s
        assert (clock_s is not None) == bool(row["client_duration_ms"])
        if clock_s is not None:
            assert clock_s * 1000 == pytest.approx(float(row["client_duration_ms"]), abs=0.06)


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_can_be_written_and_read_again(real: Path, catalogue: list[Row], name: str) -> None:
    files = sorted({path_of(row) for row in catalogue if format_of(row) == name})
    for path in files[:: 12 if len(files) > 12 else 1]:
        items = interactions(real, path)
        again = list(opened(cassette_bytes(items), path).read())
        assert all(isinstance(item, Interaction) for item in again)
        assert [_told(item) for item in again if isinstance(item, Interaction)] == [_told(item) for item in items]


def _told(item: Interaction) -> tuple[object, ...]:
    return (item.url, item.status, item.headers, item.body, item.request_body, item.duration_s, item.e2e_s)


def test_the_check_counts_them_all_and_understands_the_openai_dialect(real: Path, catalogue: list[Row]) -> None:
    report = check(real, WIRES).to_json()
    totals = report["totals"]
    assert (totals["files"], totals["files_loaded"]) == (1018, 1018)
    assert report["problems"] == []
    assert {name: of["files"] for name, of in report["by_format"].items()} == FILES
    chat = sum(1 for row in catalogue if row["endpoint"] == "chat.completions")
    assert totals["decoded"] >= 0.97 * chat
    counted = totals["decoded"] + totals["not_chat"] + len(report["not_understood"])
    assert counted == totals["interactions"]


def test_the_store_holds_them_with_times_usage_and_provenance(real: Path, tmp_path: Path) -> None:
    store = open_store([real], WIRES, cache_dir=tmp_path)
    again = open_store([real], WIRES, cache_dir=tmp_path)
    assert again.entries == store.entries
    assert again.digest() == store.digest()
    assert not store.problems
    sources = Counter(entry.revealed.source for entry in store.entries if entry.revealed)
    assert sources["header"] > 50
    assert sources["body"] > 10
    assert sources["duration"] > 250
    successes = [entry for entry in store.entries if entry.is_success]
    assert sum(entry.output_tokens is not None for entry in successes) > 0.8 * len(successes)
    for entry in store.entries:
        assert len(store.body(entry)) == entry.length
        if entry.framing:
            assert entry.event_ends[-1] == entry.length
