"""Runs and their ledgers for audits, and how somebody would change one afterwards: by rewriting its Parquet rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq

from clawbench.analysis.frames import RunFolder
from clawbench.billing.ledger.chain import detail_text, digest
from clawbench.billing.ledger.protocol import Posting
from clawbench.config.plan import load_plan
from clawbench.experiments.runner import run_plan
from tests.experiments.made_plan import made_plan

CELL = "random-s1"
Rows = list[dict[str, Any]]
AT = datetime(2026, 1, 1, tzinfo=UTC)


def made_run(folder: Path, *overrides: str) -> Path:
    """A finished run of a small plan: one cell with a few dozen charges."""
    plan = load_plan(made_plan(folder), overrides=("workload.requests=30", "seeds=[1]", *overrides))
    return run_plan(plan, out=folder / "runs", created_at=AT, stopwatch=lambda: 0.0, report=False).path


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / "copy"))


def ledger_part(run: Path) -> Path:
    return run / "cells" / CELL / "ledger-00000.parquet"


def rewritten(run: Path, change: Callable[[Rows], Rows | None], *, rehash: bool = False) -> None:
    """The ledger's rows as `change` leaves them or gives them back; `rehash`: with a chain that fits them again."""
    part = ledger_part(run)
    schema = pq.read_schema(part)
    rows = pl.read_parquet(part).to_dicts()
    found = change(rows)
    rows = rows if found is None else found
    if rehash:
        chain(rows)
    table = pl.DataFrame(rows, schema_overrides=pl.read_parquet_schema(part)).to_arrow().cast(schema)
    pq.write_table(table, part)


def chain(rows: Rows) -> None:
    """Numbers and hashes as whoever wrote these rows would have given them."""
    prev = ""
    for seq, row in enumerate(rows, 1):
        row["entry_id"] = f"{CELL}-{seq:09d}"
        account = "" if row["kind"] in ("cost", "risk", "risk_resolved") else row["account"]
        moves = tuple(Posting(*move) for move in msgspec.json.decode(row["postings"]))
        prev = row["hash"] = digest(
            prev, seq, row["kind"], row["at_us"], account, row["ref"], moves, row["detail"].encode()
        )


def first(rows: Rows, kind: str) -> dict[str, Any]:
    return next(row for row in rows if row["kind"] == kind)


def with_detail(row: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    """A row whose detail was changed and written as the ledger would."""
    detail = msgspec.json.decode(row["detail"])
    change(detail)
    row["detail"] = detail_text(detail).decode()


def opened(run: Path) -> RunFolder:
    return RunFolder(run)
