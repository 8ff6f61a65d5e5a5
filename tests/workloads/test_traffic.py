"""Arrivals: cut off where they should be, the same for one seed, lazy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import PlanError
from clawbench.rng import stream
from clawbench.types import ChatRequest
from clawbench.workloads.arrivals import ArrivalProcess, Bursty, ClosedLoop, Constant, Poisson
from clawbench.workloads.prompts import RecordedPrompts
from clawbench.workloads.protocol import Arrival, Workload
from clawbench.workloads.traffic import Traffic

PROMPTS = RecordedPrompts(
    [ChatRequest(model="", messages=[{"role": "user", "content": letter}]) for letter in "abcdefghij"]
)


def traffic(process: ArrivalProcess, *, requests: int | None = None, duration_s: float | None = None) -> Traffic:
    return Traffic(name="test", process=process, prompts=PROMPTS, requests=requests, duration_s=duration_s)


def arrive(workload: Workload, seed: int = 7) -> list[Arrival]:
    return list(workload.arrivals(stream(seed, "workload")))


def asked(arrivals: list[Arrival]) -> list[str]:
    return [arrival.request.messages[0]["content"] for arrival in arrivals]


@given(
    st.sampled_from([Poisson, Constant, lambda rate: Bursty(rate, 4.0)]),
    st.floats(min_value=0.1, max_value=1000),
    st.integers(min_value=0, max_value=300),
    st.integers(min_value=0, max_value=2**32),
)
def test_arrivals_are_counted_from_zero_and_never_go_back(
    make: Callable[[float], ArrivalProcess], rate: float, requests: int, seed: int
) -> None:
    arrivals = arrive(traffic(make(rate), requests=requests), seed)
    assert [arrival.index for arrival in arrivals] == list(range(requests))
    assert [arrival.t_s for arrival in arrivals] == sorted(arrival.t_s for arrival in arrivals)


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    workload = traffic(Poisson(20), requests=200)
    assert arrive(workload, seed=1) == arrive(workload, seed=1)
    assert arrive(workload, seed=1) != arrive(workload, seed=2)


def test_changing_the_rate_keeps_the_sequence_of_prompts() -> None:
    slow, fast, closed = (
        arrive(traffic(process, requests=100)) for process in (Poisson(1), Bursty(50, 3), ClosedLoop(4))
    )
    assert asked(slow) == asked(fast) == asked(closed)


def test_changing_the_prompts_keeps_the_instants() -> None:
    others = RecordedPrompts([ChatRequest(model="", messages=[])], order="cycle", stream=0.5)
    workload = Traffic(name="test", process=Poisson(3), prompts=others, requests=100)
    kept = arrive(traffic(Poisson(3), requests=100))
    assert [arrival.t_s for arrival in arrive(workload)] == [arrival.t_s for arrival in kept]


def test_a_duration_ends_the_traffic_before_the_first_arrival_at_or_after_it() -> None:
    arrivals = arrive(traffic(Constant(10), duration_s=2.0))
    assert [arrival.t_s for arrival in arrivals] == [index / 10 for index in range(20)]


def test_the_limit_that_comes_first_counts() -> None:
    assert len(arrive(traffic(Constant(10), requests=5, duration_s=2.0))) == 5
    assert len(arrive(traffic(Constant(10), requests=500, duration_s=2.0))) == 20


def test_a_closed_loop_tells_the_runner_its_concurrency_and_an_open_loop_has_none() -> None:
    closed = traffic(ClosedLoop(16), requests=40)
    assert closed.concurrency == 16
    assert {arrival.t_s for arrival in arrive(closed)} == {0.0}
    assert traffic(Poisson(1), requests=1).concurrency is None


def test_traffic_that_would_never_end_is_refused() -> None:
    with pytest.raises(PlanError, match="never end: set requests or duration_s"):
        traffic(Poisson(1))
    with pytest.raises(PlanError, match="closed loop"):
        traffic(ClosedLoop(2), duration_s=10)
    for duration_s in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PlanError, match="duration_s must be finite"):
            traffic(Poisson(1), duration_s=duration_s)
    with pytest.raises(PlanError, match="requests must not be negative"):
        traffic(Poisson(1), requests=-1)


def test_a_million_arrivals_are_made_one_at_a_time() -> None:
    def peak_bytes(requests: int) -> int:
        arrivals = traffic(Poisson(1000), requests=1_000_000).arrivals(stream(7, "workload"))
        tracemalloc.start()
        try:
            assert sum(1 for _ in islice(arrivals, requests)) == requests
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(1000)  # whatever the interpreter sets up once is set up
    assert peak_bytes(1_000_000) < peak_bytes(1000) + 20_000
