"""Where records go while a run goes on: Parquet parts, written as they fill, each complete or absent.

A part is written under a temporary name and renamed, so that a full disk or a kill leaves only whole parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from clawbench.errors import WriteFailed
from clawbench.schema import TABLES, polars_schema

Row = tuple[Any, ...]
PART_ROWS = 20_000
PACKED_ROWS = 256  # rows are packed into Arrow's columns while they are still in the processor's cache

_ARROW: dict[str, pa.Schema] = {table: pl.DataFrame(schema=polars_schema(table)).to_arrow().schema for table in TABLES}


class RecordWriter(Protocol):
    """Takes rows in schema order. The recorder calls `add` for each row and `close` once. Raises `WriteFailed`."""

    def add(self, table: str, row: Row) -> None: ...

    def close(self) -> None: ...


class MemoryWriter:
    """Keeps rows in memory: for a server that records nothing to disk, and for tests."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {table: [] for table in TABLES}

    def add(self, table: str, row: Row) -> None:
        self.rows[table].append(row)

    def frame(self, table: str) -> pl.DataFrame:
        """The rows so far as the frame that a Parquet part would hold."""
        return frame(table, self.rows[table])

    def close(self) -> None:
        """Nothing to give back."""


class NullWriter:
    """Forgets everything: for a server whose records nobody asked for."""

    def add(self, table: str, row: Row) -> None: ...

    def close(self) -> None: ...


def write_part(part: pl.DataFrame, path: Path) -> None:
    """One Parquet file, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    try:
        part.write_parquet(temporary, compression="zstd", compression_level=1)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class ParquetWriter:
    """Writes `<table>-00000.parquet`, `-00001`, … into a folder, a part as soon as `part_rows` rows are there.

    Memory is bounded by one part a table, most of it packed. `write` is the seam to the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        part_rows: int = PART_ROWS,
        write: Callable[[pl.DataFrame, Path], None] = write_part,
    ) -> None:
        self._folder, self._part_rows, self._write = folder, part_rows, write
        self._rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._packed: dict[str, list[pa.RecordBatch]] = {table: [] for table in TABLES}
        self._packed_rows = min(PACKED_ROWS, part_rows)
        self._parts: dict[str, int] = dict.fromkeys(TABLES, 0)

    def add(self, table: str, row: Row) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= self._packed_rows:
            self._pack(table)
            if len(self._packed[table]) * self._packed_rows >= self._part_rows:
                self._flush(table)

    def close(self) -> None:
        for table, rows in self._rows.items():
            if rows:
                self._pack(table)
            if self._packed[table]:
                self._flush(table)

    def _pack(self, table: str) -> None:
        self._packed[table].append(_columns(table, self._rows[table]))
        self._rows[table] = []

    def _flush(self, table: str) -> None:
        path = self._folder / f"{table}-{self._parts[table]:05d}.parquet"
        try:
            self._write(_frame(pa.Table.from_batches(self._packed[table])), path)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise WriteFailed(
                f"Could not write {path.name} in {self._folder}: {error}. "
                f"{self._parts[table]} finished parts are kept. Free some space, then go on with --resume."
            ) from error
        self._parts[table] += 1
        self._packed[table] = []


def frame(table: str, rows: Sequence[Row]) -> pl.DataFrame:
    """Rows in schema order as a frame with the declared types. Raises `pa.ArrowException` if a value does not fit."""
    return _frame(pa.Table.from_batches([_columns(table, rows)]))


def _columns(table: str, rows: Sequence[Row]) -> pa.RecordBatch:
    """Through Arrow, whose builder takes nested lists several times faster than polars' own."""
    schema = _ARROW[table]
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _frame(packed: pa.Table) -> pl.DataFrame:
    made = pl.from_arrow(packed)
    assert isinstance(made, pl.DataFrame)
    return made
