"""Digest: one number for the values of a run, the same wherever and however its files were written.

SHA-256 over the values of requests, attempts, decisions and ledger in key order. File bytes, part files, row
order in them, the manifest and the optional `chunks` table do not enter; column names and types do. A float counts
by its IEEE bits (so -0.0 is not 0.0), and null is distinct from every value. Two runs have the same digest
exactly if their four tables are equal, hash collisions aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from clawbench.analysis.frames import RunFolder, scan_parts
from clawbench.schema import KEYS, SCHEMA_VERSION, polars_schema

DIGESTED: Final = ("requests", "attempts", "decisions", "ledger")
PIECE_ROWS: Final = 100_000
"""Rows of a table held and sorted at a time; the key column alone is held whole."""

_FORMAT: Final = f"clawbench digest 1, schema {SCHEMA_VERSION}"
_FIXED: Final[dict[pl.DataType, str]] = {pl.Int64(): "<i8", pl.Float64(): "<f8", pl.Boolean(): "|u1"}


class _Hash(Protocol):
    def update(self, data: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


def digest(run: RunFolder | Mapping[str, pl.DataFrame], *, piece_rows: int = PIECE_ROWS) -> str:
    """Digest of a run, as 64 hexadecimal digits; a table that a mapping lacks counts as empty.

    `piece_rows` bounds memory and does not change the digest. Raises ValueError where a frame's columns or types
    are not the declared ones, or where two rows have the same key (their order would be chance).
    """
    whole = sha256(_FORMAT.encode())
    for table in DIGESTED:
        if isinstance(run, RunFolder):
            pieces = _sorted_pieces(run, table, piece_rows)
        else:
            pieces = _sorted_frame(run, table)
        hashed = _HashedTable(table)
        for piece in pieces:
            hashed.update(piece)
        whole.update(f"\n{hashed.rows} {hashed.hexdigest()}".encode())
    return whole.hexdigest()


def _sorted_frame(tables: Mapping[str, pl.DataFrame], table: str) -> Iterator[pl.DataFrame]:
    declared = polars_schema(table)
    frame = tables.get(table)
    if frame is None:
        return
    if dict(frame.schema) != declared:
        differing = sorted({*frame.schema.items()} ^ {*declared.items()}, key=str) or "their order"
        raise ValueError(f"{table} does not have the declared columns and types; differing: {differing}")
    if frame[KEYS[table][0]].null_count():
        raise ValueError(f"{table} has a row whose {KEYS[table][0]} is null")
    yield frame.sort(KEYS[table])


def _sorted_pieces(run: RunFolder, table: str, piece_rows: int) -> Iterator[pl.DataFrame]:
    """The table in key order, cut by ranges of its first key column; reads only the parts that reach into a range."""
    first = KEYS[table][0]
    parts = run.parts(table)
    keys = [scan_parts([part], table).select(first).collect().to_series() for part in parts]
    if any(of_part.null_count() for of_part in keys):
        raise ValueError(f"{table} has a row whose {first} is null")
    reach = [(part, of_part.min(), of_part.max()) for part, of_part in zip(parts, keys, strict=True) if len(of_part)]
    if not reach:
        return
    starts = pl.concat(keys).sort().gather_every(piece_rows).unique(maintain_order=True).to_list()
    del keys
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        touched = [part for part, low, high in reach if high >= start and (end is None or low < end)]
        inside = pl.col(first) >= start if end is None else (pl.col(first) >= start) & (pl.col(first) < end)
        yield scan_parts(touched, table).filter(inside).collect().sort(KEYS[table])


class _HashedTable:
    """A table's values, fed in pieces in key order.

    Each column feeds streams of its own (validity, lengths, values), every one a plain concatenation over rows, so
    where a piece ends leaves no trace; at the end the streams' hashes are hashed under their names.
    """

    def __init__(self, table: str) -> None:
        self.rows = 0
        self._table = table
        self._streams: dict[str, _Hash] = {}
        self._last_key: tuple[Any, ...] | None = None
        for name, dtype in polars_schema(table).items():
            self._feed(f"{table}.{name}", pl.Series(name, [], dtype=dtype))

    def update(self, piece: pl.DataFrame) -> None:
        """Add the next rows; raises ValueError at a key that was there before."""
        if piece.is_empty():
            return
        keys = piece.select(KEYS[self._table])
        self._refuse_repeats(keys)
        self.rows += piece.height
        for column in piece:
            self._feed(f"{self._table}.{column.name}", column)

    def hexdigest(self) -> str:
        whole = sha256()
        for name, stream in self._streams.items():
            # The name comes last and the hash is of fixed length, so no two lists of streams read alike.
            whole.update(f"{stream.hexdigest()} {name}\n".encode())
        return whole.hexdigest()

    def _refuse_repeats(self, keys: pl.DataFrame) -> None:
        columns = KEYS[self._table]
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in columns)
        repeated = keys.filter(same & (pl.int_range(pl.len()) > 0))
        if repeated.height or keys.row(0) == self._last_key:
            key = repeated.row(0) if repeated.height else self._last_key
            raise ValueError(f"{self._table} has two rows with the key {key}: their order, and so the digest, is open")
        self._last_key = keys.row(-1)

    def _feed(self, name: str, values: pl.Series) -> None:
        dtype = values.dtype
        self._write(f"{name}: valid", values.is_not_null().to_numpy().view(np.uint8))
        if isinstance(dtype, pl.List):
            self._write(f"{name}: lengths", values.list.len().fill_null(0).to_numpy().astype("<u4"))
            self._feed(f"{name}[]", values.explode(empty_as_null=False, keep_nulls=False))
        elif isinstance(dtype, pl.Struct):
            for field in dtype.fields:
                self._feed(f"{name}.{field.name}", values.struct.field(field.name))
        elif isinstance(dtype, pl.String):
            self._write(f"{name}: byte lengths", values.str.len_bytes().fill_null(0).to_numpy().astype("<u4"))
            self._write(f"{name}: utf-8", (values.str.join("").item() or "").encode())
        else:
            zero: Any = False if isinstance(dtype, pl.Boolean) else 0
            self._write(f"{name}: {dtype}", values.fill_null(zero).to_numpy().astype(_FIXED[dtype], copy=False))

    def _write(self, name: str, data: Any) -> None:
        self._streams.setdefault(name, sha256()).update(data)
