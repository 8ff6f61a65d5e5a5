"""The record schema: every column says what it holds, in which unit, and what null means."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from clawbench import schema
from clawbench.schema import KEYS, TABLES, Column, polars_schema

COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]
BY_COLUMN = pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{t}.{c.name}" for t, c in COLUMNS])
UNITS_BY_ENDING = {"_s": "s", "_tokens": "tokens", "_pico_usd": "1e-12 USD", "_pico_uat": "1e-12 UAT"}


@BY_COLUMN
def test_a_column_has_a_meaning_and_its_unit_fits_its_name(table: str, column: Column) -> None:
    assert column.meaning.strip()
    for ending, unit in UNITS_BY_ENDING.items():
        if column.name.endswith(ending):
            assert column.unit == unit
    if column.unit == "s":
        assert column.dtype == pl.Float64
        assert column.name.endswith("_s")
    if column.unit.startswith("1e-12"):
        assert column.dtype == pl.Int64


@BY_COLUMN
def test_a_nullable_column_says_what_null_means_and_a_key_is_never_null(table: str, column: Column) -> None:
    assert column.null is None or column.null.strip()
    if column.name in KEYS[table]:
        assert column.null is None


@pytest.mark.parametrize("table", TABLES)
def test_names_are_unique_and_the_key_columns_exist(table: str) -> None:
    names = [column.name for column in TABLES[table]]
    assert len(names) == len(set(names))
    assert KEYS[table]
    assert set(KEYS[table]) <= set(names)


def test_every_table_has_a_key_and_every_key_a_table() -> None:
    assert KEYS.keys() == TABLES.keys()


@pytest.mark.parametrize("table", TABLES)
def test_a_table_can_be_made_written_and_read_back(table: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("tables") / f"{table}.parquet"
    frame = pl.DataFrame({column.name: [None] for column in TABLES[table]}, schema=polars_schema(table))
    frame.write_parquet(file)
    assert dict(pl.read_parquet(file).schema) == polars_schema(table)


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        ("requests", "status", schema.STATUSES),
        ("requests", "usage_source", schema.USAGE_SOURCES),
        ("attempts", "cause", schema.CAUSES),
        ("attempts", "outcome", schema.OUTCOMES),
        ("attempts", "match", schema.MATCHES),
        ("attempts", "timing", schema.TIMINGS),
    ],
)
def test_a_column_of_words_lists_them(table: str, name: str, words: tuple[str, ...]) -> None:
    column = next(column for column in TABLES[table] if column.name == name)
    assert column.meaning.split(" | ") == list(words)
    assert len(set(words)) == len(words)


def test_the_schema_stands_alone() -> None:
    listing = "import sys, clawbench.schema; print(*(m for m in sys.modules if m.startswith('clawbench')))"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) == {"clawbench", "clawbench.schema"}
