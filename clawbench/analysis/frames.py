"""Frames: a finished run's folder as polars tables, exactly as `schema.py` declares them.

Reads what the recorder wrote and computes nothing from it; knows the record schema and no other part of
clawbench. A cell counts once its `done.json` is there: a run that was broken off shows its finished cells only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from clawbench.errors import UsageError
from clawbench.schema import SCHEMA_VERSION, TABLES, polars_schema

_PART: Final = re.compile(r"(?P<table>[a-z]+)-(?P<number>\d+)\.parquet")


class NotARun(UsageError):
    """A folder is no run folder, or one of another schema version; the message names the folder and what is wrong."""


class Records(Protocol):
    """Whatever can give the tables of `schema.py`; analysis calls `scan` once a table and figure."""

    def scan(self, table: str) -> pl.LazyFrame: ...


class RunFolder:
    """One run on disk: `manifest.json` and, for each finished cell, Parquet parts of its tables.

    Nothing but the manifest is read before a table is asked for. The order of rows is by cell name, part
    number and position in the part; nothing in analysis depends on it.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a run folder; raises `NotARun`."""
        self.path = Path(path)
        self.manifest: dict[str, Any] = _read_manifest(self.path)
        folders = sorted(p for p in (self.path / "cells").glob("[!.]*") if p.is_dir())
        self.cells: tuple[Path, ...] = tuple(p for p in folders if (p / "done.json").is_file())
        """Folders of the finished cells, by name."""
        begun = {p.name for p in folders} | {cell["id"] for cell in self.manifest.get("cells", []) if "id" in cell}
        self.unfinished: tuple[str, ...] = tuple(sorted(begun - {p.name for p in self.cells}))
        """Ids of cells that were begun or announced, but did not finish: they are in no table."""

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def parts(self, table: str) -> list[Path]:
        """The table's part files, by cell and part number; empty where the run has none."""
        if table not in TABLES:
            raise KeyError(f"{table!r} is no table; known: {', '.join(TABLES)}")
        return [part for cell in self.cells for part in _parts_of(cell, table)]

    def scan(self, table: str, *, with_cell: bool = False) -> pl.LazyFrame:
        """A table, lazily: declared columns and types in declared order, also where no row was written.

        `with_cell` appends `seed` and `strategy` of the row's cell to a table that lacks them (a table that
        declares one keeps its own).
        """
        schema = polars_schema(table)
        parts = self.parts(table)
        wanted = [name for name in ("seed", "strategy") if with_cell and name not in schema]
        if not parts:
            empty = pl.LazyFrame(schema=schema)
            types = {"seed": pl.Int64(), "strategy": pl.String()}
            return empty.with_columns(pl.lit(None, dtype=types[name]).alias(name) for name in wanted)
        if not wanted:
            return scan_parts(parts, table)
        # One scan a cell, each with its labels as constants: no join, and no label stored a row.
        labelled = []
        for cell in self.cells:
            if of_cell := _parts_of(cell, table):
                seed, strategy = self._label(cell)
                constants = {"seed": pl.lit(seed, dtype=pl.Int64()), "strategy": pl.lit(strategy, dtype=pl.String())}
                labelled.append(scan_parts(of_cell, table).with_columns(constants[name].alias(name) for name in wanted))
        return pl.concat(labelled)

    def requests(self) -> pl.DataFrame:
        """Table `requests`: one row a request of a client."""
        return self.scan("requests").collect()

    def attempts(self, *, with_cell: bool = False) -> pl.DataFrame:
        """Table `attempts`: one row an upstream call; `with_cell` appends the cell's seed and strategy."""
        return self.scan("attempts", with_cell=with_cell).collect()

    def decisions(self, *, with_cell: bool = False) -> pl.DataFrame:
        """Table `decisions`: one row a choice of an offer; `with_cell` appends the cell's seed."""
        return self.scan("decisions", with_cell=with_cell).collect()

    def ledger(self) -> pl.DataFrame:
        """Table `ledger`: one row a posting; empty where the run had no ledger."""
        return self.scan("ledger").collect()

    def chunks(self, *, with_cell: bool = False) -> pl.DataFrame:
        """Table `chunks`: one row a piece of a body; empty unless the plan asked for it."""
        return self.scan("chunks", with_cell=with_cell).collect()

    def _label(self, cell: Path) -> tuple[int | None, str | None]:
        """Seed and strategy of a cell: by the manifest, or by its first request where the manifest is silent."""
        for entry in self.manifest.get("cells", []):
            if entry.get("id") == cell.name and "seed" in entry and "strategy" in entry:
                return int(entry["seed"]), str(entry["strategy"])
        if parts := _parts_of(cell, "requests"):
            first = scan_parts(parts, "requests").select("seed", "strategy").head(1).collect()
            if first.height:
                seed, strategy = first.row(0)
                return seed, strategy
        return None, None


def scan_parts(parts: list[Path], table: str) -> pl.LazyFrame:
    """Parts of one table, lazily, under the declared schema; a part that differs raises polars' error on collect."""
    # Offer and strategy names stand in paths: no globbing, and no `key=value` folder is read as a column.
    return pl.scan_parquet(parts, schema=polars_schema(table), glob=False, hive_partitioning=False)


def _parts_of(cell: Path, table: str) -> list[Path]:
    found = []
    for path in cell.iterdir():
        match = _PART.fullmatch(path.name)
        if match and match["table"] == table:
            found.append((int(match["number"]), path))
    return [path for _, path in sorted(found)]


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotARun(f"{folder} is no run folder: it has no manifest.json") from None
    except (OSError, ValueError) as error:
        raise NotARun(f"{file} cannot be read: {error}") from error
    if not isinstance(manifest, Mapping):
        raise NotARun(f"{file} holds {type(manifest).__name__}, not an object")
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise NotARun(f"{file} is of schema version {version!r}; this reads version {SCHEMA_VERSION}")
    return dict(manifest)
