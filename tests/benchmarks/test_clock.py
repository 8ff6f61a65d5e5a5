"""What a sleep in virtual time costs, against the floor: a heap and coroutines, without an event loop.

The floor does the same wake-ups in the same order and nothing else: no cancellation, no futures, no tasks.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from heapq import heappop, heappush
from time import process_time
from typing import Any, Protocol

from clawbench.clock import LoopClock, run_virtual

Sleep = Callable[[LoopClock, float], Awaitable[object]]


class Ratio(Protocol):
    """`ratio(ours, floor)`: their quotient, in whatever unit both have, noted for the summary under the test's name.

    `figures` are what it was made of, for whoever wants to know.
    """

    def __call__(self, ours: float, floor: float, figures: str = "") -> float: ...


class Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture."""

    def pedantic(self, target: Callable[..., object], *, args: tuple[object, ...], rounds: int) -> object: ...


@dataclass
class Until:
    """The floor's only awaitable: tells the trampoline when to go on."""

    t_s: float

    def __await__(self) -> Generator[float, None, None]:
        yield self.t_s


def heap_and_coroutines(sleepers: int, naps: int) -> None:
    """`sleepers` coroutines that wake `naps` times each, in order of time."""

    async def sleeper(number: int) -> None:
        for nap in range(naps):
            await Until(nap + number * 1e-6)

    timers: list[tuple[float, int, Any]] = []
    order = 0
    for number in range(sleepers):
        coroutine = sleeper(number)
        heappush(timers, (coroutine.send(None), number, coroutine))
    while timers:
        _, _, coroutine = heappop(timers)
        try:
            t_s = coroutine.send(None)
        except StopIteration:
            continue
        order += 1
        heappush(timers, (t_s, sleepers + order, coroutine))


def virtual(sleepers: int, naps: int, sleep: Sleep) -> None:
    """The same wake-ups on the virtual loop, each sleeper a task."""

    async def main() -> None:
        clock = LoopClock()

        async def sleeper(number: int) -> None:
            for nap in range(naps):
                await sleep(clock, nap + number * 1e-6)

        await asyncio.gather(*(sleeper(number) for number in range(sleepers)))

    run_virtual(main)


def cpu_s(target: Callable[..., object], *args: object, rounds: int = 3) -> float:
    """The least CPU time of a few rounds, in seconds: what others do on this machine is not in it."""
    spent: list[float] = []
    for _ in range(rounds):
        gc.collect()
        gc.disable()  # what it costs to look through many live objects again and again is not the clock's
        try:
            before_s = process_time()
            target(*args)
            spent.append(process_time() - before_s)
        finally:
            gc.enable()
    return min(spent)


def sleep_until(clock: LoopClock, t_s: float) -> Awaitable[object]:
    return clock.sleep_until(t_s)


async def sleep_of_asyncio(clock: LoopClock, t_s: float) -> None:
    await asyncio.sleep(t_s - clock.now())


async def sleep_under_a_deadline(clock: LoopClock, t_s: float) -> None:
    async with asyncio.timeout(60):
        await clock.sleep_until(t_s)


def test_100_000_sleepers_cost_what_a_heap_costs(ratio: Ratio) -> None:
    floor_s = cpu_s(heap_and_coroutines, 100_000, 1, rounds=2)
    assert ratio(cpu_s(virtual, 100_000, 1, sleep_until, rounds=2), floor_s) < 12  # 4 when it was written


def test_ten_times_the_sleepers_cost_hardly_more_each(ratio: Ratio) -> None:
    few_s = cpu_s(virtual, 5_000, 1, sleep_until)
    # What grows with the number of sleepers for each of them gives 10 here.
    assert ratio(cpu_s(virtual, 50_000, 1, sleep_until, rounds=2) / 10, few_s) < 3


def measure(benchmark: Benchmark, ratio: Ratio, sleep: Sleep) -> float:
    """Times 100 sleepers of 200 naps each and gives the ratio to the floor."""
    floor_s = cpu_s(heap_and_coroutines, 100, 200)
    ours_s = cpu_s(virtual, 100, 200, sleep)
    benchmark.pedantic(virtual, args=(100, 200, sleep), rounds=3)
    return ratio(ours_s, floor_s)


def test_sleep_until(benchmark: Benchmark, ratio: Ratio) -> None:
    assert measure(benchmark, ratio, sleep_until) < 12


def test_asyncio_sleep(benchmark: Benchmark, ratio: Ratio) -> None:
    assert measure(benchmark, ratio, sleep_of_asyncio) < 24


def test_sleep_under_a_deadline(benchmark: Benchmark, ratio: Ratio) -> None:
    assert measure(benchmark, ratio, sleep_under_a_deadline) < 40
