"""In real time nobody waits for a garbage collection of what was there before."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path

import pytest

from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.experiments.cell import Cell, run_cell
from clawbench.experiments.prepare import prepare
from clawbench.experiments.steady_heap import steady_heap
from clawbench.gateway.records import NullWriter

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.toml"


@pytest.mark.parametrize("paced", [True, False])
def test_a_paced_cell_has_nothing_prepared_collected_while_it_runs(paced: bool) -> None:
    prepared = prepare(load_plan(QUICKSTART, overrides=["workload.requests=200"]))
    set_aside: list[int] = []

    async def main() -> None:
        note = partial(_note, set_aside)
        await run_cell(
            Cell("price", 1), prepared, clock=LoopClock(), writer=NullWriter(), run_id="r", paced=paced, progress=note
        )

    run_virtual(main)
    assert [many > 10_000 for many in set_aside] == [paced]
    assert gc.get_freeze_count() == 0, "what was set aside is collected again afterwards"


def _note(set_aside: list[int], requests: int) -> None:
    set_aside.append(gc.get_freeze_count())


def test_a_failure_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), steady_heap():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0
