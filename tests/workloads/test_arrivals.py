"""When requests come: rates, order, and one seed giving one sequence."""

from __future__ import annotations

from itertools import islice
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import PlanError
from clawbench.rng import stream
from clawbench.workloads.arrivals import ArrivalProcess, Bursty, ClosedLoop, Constant, Poisson

RATES = st.floats(min_value=0.001, max_value=10_000)
PROCESSES: st.SearchStrategy[ArrivalProcess] = st.one_of(
    RATES.map(Poisson),
    RATES.map(Constant),
    st.builds(Bursty, RATES, st.floats(min_value=0.05, max_value=20)),
    st.integers(min_value=1, max_value=1000).map(ClosedLoop),
)


def gaps(process: ArrivalProcess, requests: int, seed: int = 11) -> list[float]:
    instants = list(islice(process.instants(stream(seed, "arrivals")), requests))
    return [later - earlier for earlier, later in zip([0.0, *instants], instants, strict=False)]


@given(PROCESSES, st.integers(min_value=0, max_value=2**32))
def test_instants_start_at_zero_or_later_and_never_go_back(process: ArrivalProcess, seed: int) -> None:
    instants = list(islice(process.instants(Random(seed)), 200))
    assert len(instants) == 200
    assert instants[0] >= 0
    assert instants == sorted(instants)


@given(PROCESSES, st.integers(min_value=0, max_value=2**32))
def test_the_same_seed_gives_the_same_instants(process: ArrivalProcess, seed: int) -> None:
    first, second = (list(islice(process.instants(Random(seed)), 50)) for _ in range(2))
    assert first == second


def test_another_seed_gives_other_poisson_instants() -> None:
    assert gaps(Poisson(10), 20, seed=1) != gaps(Poisson(10), 20, seed=2)


def test_poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() -> None:
    # 20,000 gaps: the standard error of the mean is 1/141 of it, so 3 % is more than four of them.
    drawn = gaps(Poisson(25), 20_000)
    assert fmean(drawn) == pytest.approx(1 / 25, rel=0.03)
    assert pstdev(drawn) / fmean(drawn) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_bursty_gaps_have_the_mean_rate_and_the_stated_variation(cv: float) -> None:
    drawn = gaps(Bursty(rate_rps=5, cv=cv), 40_000)
    assert fmean(drawn) == pytest.approx(1 / 5, rel=0.06)
    assert pstdev(drawn) / fmean(drawn) == pytest.approx(cv, rel=0.1)


def test_a_constant_rate_does_not_drift() -> None:
    instants = Constant(10).instants(Random(0))
    assert next(islice(instants, 1_000_000, None)) == 100_000.0


def test_a_closed_loop_leaves_every_instant_to_the_runner() -> None:
    assert list(islice(ClosedLoop(8).instants(Random(0)), 5)) == [0.0] * 5


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused_by_name(rate: float) -> None:
    for make in (Poisson, Constant, lambda rate_rps: Bursty(rate_rps, 1)):
        with pytest.raises(PlanError, match="rate_rps"):
            make(rate)


def test_a_variation_out_of_range_and_an_empty_loop_are_refused() -> None:
    with pytest.raises(PlanError, match=r"cv must be from 0\.01 to 100"):
        Bursty(1, 0)
    with pytest.raises(PlanError, match="concurrency must be at least 1"):
        ClosedLoop(0)
