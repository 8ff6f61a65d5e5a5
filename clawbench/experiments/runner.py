"""Runs a plan: every cell in turn, each in a loop of its own, records on disk as they come.

A finished cell stays finished: an interrupted run keeps it, and `resume` goes on with the next one.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Protocol

from clawbench.analysis.digest import digest
from clawbench.analysis.frames import RunFolder
from clawbench.billing.audit_figures import plain
from clawbench.clock import LoopClock, run_blocking
from clawbench.config.plan import Plan
from clawbench.errors import RunInterrupted, UsageError
from clawbench.experiments.audited_run import audit_run
from clawbench.experiments.cell import Cell, CellResult, run_cell
from clawbench.experiments.garbage import uncollected
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.experiments.run_folder import RunWriter, report_of
from clawbench.experiments.warm_start import FILE_NAME, write_estimates
from clawbench.gateway.records import ParquetWriter
from clawbench.schema import SCHEMA_VERSION

ClockName = Literal["virtual", "wall"]
VIOLATIONS_IN_MANIFEST = 20  # `clawbench audit` names more
_VERSIONED = ("clawbench", "polars", "msgspec", "vcrpy", "matplotlib")


class Progress(Protocol):
    """Told how far a run is. `start` once, `advance` often, `close` in every case."""

    def start(self, total: int) -> None: ...

    def cell(self, name: str) -> None: ...

    def advance(self, requests: int) -> None: ...

    def close(self) -> None: ...


class Silence:
    """No progress shown."""

    def start(self, total: int) -> None: ...

    def cell(self, name: str) -> None: ...

    def advance(self, requests: int) -> None: ...

    def close(self) -> None: ...


def cells_of(plan: Plan) -> list[Cell]:
    """Every strategy with every seed, strategies in the plan's order."""
    return [Cell(strategy, seed) for strategy in plan.table.strategies for seed in plan.table.seeds]


def run_plan(
    plan: Plan,
    *,
    out: Path,
    created_at: datetime,
    stopwatch: Callable[[], float],
    clock: ClockName = "virtual",
    resume: bool = False,
    progress: Progress | None = None,
    report: bool = True,
) -> RunFolder:
    """Runs what is not finished yet, audits its bills, writes manifest and report; returns the finished run folder.

    `created_at` and `stopwatch` (seconds) come from whoever has a wall clock. Raises `UsageError` for cassettes
    that cannot be replayed, `WriteFailed`, `RunInterrupted`.
    """
    progress = progress or Silence()
    prepared = prepare(plan)
    writer = (RunWriter.resumed if resume else RunWriter.fresh)(out, plan.name, plan.run_id)
    _check_goes_on(writer, _manifest(plan, prepared, clock, created_at, [], digest_text=None))
    book = prepared.biller.prices.book
    writer.write_price_book(book.id, book.text)
    cells = cells_of(plan)
    finished: list[dict[str, Any]] = []
    progress.start(len(cells) * plan.table.workload.requests)
    try:
        for cell in cells:
            noted = writer.finished(cell.id)
            if noted is None:
                progress.cell(cell.id)
                noted = _run_one(cell, prepared, writer, plan.run_id, clock, stopwatch, progress)
            else:
                progress.advance(noted["requests"])
            finished.append(noted)
            writer.write_manifest(_manifest(plan, prepared, clock, created_at, finished, digest_text=None))
    except KeyboardInterrupt:
        done = f"{len(finished)} of {len(cells)} cells are finished and kept in {writer.path}"
        raise RunInterrupted(f"Interrupted. {done}; go on with --resume.") from None
    finally:
        progress.close()
    folder = RunFolder(writer.path)
    proved = plain(audit_run(folder), violations=VIOLATIONS_IN_MANIFEST)
    manifest = _manifest(plan, prepared, clock, created_at, finished, digest_text=digest(folder))
    writer.write_manifest({**manifest, "billing": proved})
    folder = RunFolder(writer.path)
    if report:
        report_of(folder, writer.path / "report.html")
    return folder


def _check_goes_on(writer: RunWriter, manifest: dict[str, Any]) -> None:
    """Raises `UsageError` where cells were finished under something else than what the others would be run under."""
    before = writer.manifest()
    for name in ("clock", "cassettes", "prices"):
        if name in before and before[name] != manifest[name]:
            raise UsageError(
                f"{writer.path} was begun under another value of {name}: {before[name]} then, {manifest[name]} now. "
                "Its cells could not be compared with the rest; run without --resume."
            )


def _run_one(
    cell: Cell,
    prepared: Prepared,
    writer: RunWriter,
    run_id: str,
    clock: ClockName,
    stopwatch: Callable[[], float],
    progress: Progress,
) -> dict[str, Any]:
    """One cell into its folder; nothing of it is left if it does not finish."""
    folder = writer.open_cell(cell.id)
    began_s = stopwatch()
    counted = _Counted(progress)
    try:
        main = partial(_main, cell, prepared, ParquetWriter(folder), run_id, clock == "wall", counted)
        with uncollected():
            result = asyncio.run(main()) if clock == "wall" else run_blocking(main)
        if result.unmatched:
            raise UsageError(result.unmatched)
    except BaseException:
        writer.drop_cell(cell.id)
        raise
    write_estimates(folder / FILE_NAME, result.estimates)
    progress.advance(result.requests - counted.told)
    noted = {
        "id": cell.id,
        "strategy": cell.strategy,
        "seed": cell.seed,
        "requests": result.requests,
        "wall_s": round(stopwatch() - began_s, 3),
        "virtual_s": result.virtual_s,
    }
    writer.close_cell(cell.id, noted)
    return noted


class _Counted:
    """Progress of one cell, remembering how much was told."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.told = progress, 0

    def __call__(self, requests: int) -> None:
        self.told += requests
        self._progress.advance(requests)


async def _main(
    cell: Cell, prepared: Prepared, writer: ParquetWriter, run_id: str, paced: bool, progress: Callable[[int], None]
) -> CellResult:
    return await run_cell(
        cell, prepared, clock=LoopClock(), writer=writer, run_id=run_id, paced=paced, progress=progress
    )


def _manifest(
    plan: Plan,
    prepared: Prepared,
    clock: ClockName,
    created_at: datetime,
    cells: list[dict[str, Any]],
    *,
    digest_text: str | None,
) -> dict[str, Any]:
    return {
        "run_id": plan.run_id,
        "schema_version": SCHEMA_VERSION,
        "plan": {"name": plan.name, "path": str(plan.path), "hash": plan.hash, "description": plan.table.description},
        "seeds": plan.table.seeds,
        "strategies": plan.table.strategies,
        "workload": plan.table.workload.name,
        "clock": clock,
        "created_at": created_at.isoformat(timespec="seconds"),
        "matching": plan.table.replay.matching,
        "cassettes": prepared.cassettes,
        "prices": prepared.prices,
        "versions": {**_versions(), "python": platform.python_version()},
        "digest": digest_text,
        "warnings": prepared.warnings,
        "cells": cells,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


__all__ = ["Progress", "Silence", "cells_of", "run_plan"]
