"""Where records go: parts, full disks, declared types."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from clawbench.errors import WriteFailed
from clawbench.gateway.records import MemoryWriter, ParquetWriter, frame, write_part
from clawbench.schema import TABLES, polars_schema

ENTRY = ("e", 1.0, "local", None, None, "topup", 5, 5, 1_000_000, "id", '[["a", 5]]', "{}", "h")


def test_every_table_can_be_written_empty_with_its_declared_types() -> None:
    for table in TABLES:
        assert dict(frame(table, []).schema) == polars_schema(table)


def test_parts_are_written_as_they_fill_and_the_rest_at_the_end(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path, part_rows=2)
    for _ in range(5):
        writer.add("ledger", ENTRY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger-00000.parquet", "ledger-00001.parquet"]
    writer.close()
    assert pl.read_parquet(tmp_path / "ledger-*.parquet").height == 5


def test_a_full_disk_is_a_clear_error_that_keeps_the_finished_parts(tmp_path: Path) -> None:
    written: list[Path] = []

    def disk(part: pl.DataFrame, path: Path) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_part(part, path)
        written.append(path)

    writer = ParquetWriter(tmp_path, part_rows=1, write=disk)
    writer.add("ledger", ENTRY)
    with pytest.raises(WriteFailed, match=r"ledger-00001.*No space left.*1 finished parts are kept.*--resume"):
        writer.add("ledger", ENTRY)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger-00000.parquet"]


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    class Unwritable(pl.DataFrame):
        def write_parquet(self, file: object, **options: object) -> None:
            Path(str(file)).write_bytes(b"half a par")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_part(Unwritable(), tmp_path / "requests-00000.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_does_not_fit_its_column_is_refused() -> None:
    writer = MemoryWriter()
    writer.add("ledger", ("e", "not a time", "local", None, None, "top_up", 5, 5))
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        writer.frame("ledger")
