"""Virtual time against the wall clock: the same plan gives the same decisions and, closely, the same times."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from clawbench.clock import LoopClock, run_virtual
from clawbench.experiments.cell import Cell, run_cell
from clawbench.experiments.garbage import uncollected
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.gateway.records import MemoryWriter
from tests.benchmarks.pool import pool
from tests.benchmarks.test_clock import Benchmark

REQUESTS, WARM_UP = 420, 100
STRATEGIES = ("random", "round_robin", "price")
SAME = ("request_id", "status", "attempts", "offer_id", "input_tokens", "output_tokens", "cost_pico_usd")


async def cell(prepared: Prepared, strategy: str, *, paced: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    writer = MemoryWriter()
    await run_cell(Cell(strategy, 1), prepared, clock=LoopClock(), writer=writer, run_id="r", paced=paced)
    return writer.frame("requests").sort("request_id"), writer.frame("decisions").sort("request_id", "attempt")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_wall_clock_agrees_with_virtual_time(benchmark: Benchmark, tmp_path: Path, strategy: str) -> None:
    prepared = prepare(pool(tmp_path, requests=REQUESTS, rate_rps=40))
    virtual, planned = run_virtual(partial(cell, prepared, strategy, paced=False))
    found: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    with uncollected():  # as runs by the wall clock are
        benchmark.pedantic(lambda: found.append(asyncio.run(cell(prepared, strategy, paced=True))), args=(), rounds=1)
    wall, decided = found[0]

    # While offers are cold, a millisecond more or less decides whether an answer is known when the next request comes.
    assert wall.slice(WARM_UP).select(SAME).equals(virtual.slice(WARM_UP).select(SAME))
    warm = pl.col("request_id").is_in(virtual["request_id"].slice(WARM_UP).implode())
    assert decided.filter(warm)["chosen"].equals(planned.filter(warm)["chosen"])
    both = virtual.slice(WARM_UP).join(wall.slice(WARM_UP), on="request_id", suffix="_wall")
    for end in ("t_first_token_s", "t_end_s"):
        off_ms = (
            (pl.col(f"{end}_wall") - pl.col("t_scheduled_s_wall")) - (pl.col(end) - pl.col("t_scheduled_s"))
        ).abs() * 1000
        off = both.select(off_ms.alias("ms")).drop_nulls()["ms"]
        p50, p99 = off.quantile(0.5), off.quantile(0.99)
        assert p50 is not None
        assert p99 is not None
        print(f"\n  {strategy}, {end}: {off.len()} requests, |difference| median {p50:.2f} ms, p99 {p99:.2f} ms")
        assert p50 <= 5
        assert p99 <= 25
        for share in (0.5, 0.95, 0.99):
            seconds = [frame[end] - frame["t_scheduled_s"] for frame in (virtual, wall)]
            replayed, real = (column.drop_nulls().quantile(share) for column in seconds)
            assert replayed is not None
            assert real is not None
            assert abs(real - replayed) <= max(0.02 * replayed, 0.005)
