"""Virtual time: what fires when and in which order, and that libraries follow it."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st

from clawbench.clock import LoopClock, VirtualLoop, owed_by_thread, run_virtual

INSTANTS = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


@given(st.lists(INSTANTS | st.sampled_from([0.0, 0.1 + 0.2, 0.3, 1e7, 1e7 + 2e-9]), max_size=40))
def test_sleepers_wake_at_exactly_their_instant_in_order_and_ties_in_the_order_of_going_to_sleep(
    instants: list[float],
) -> None:
    woken: list[tuple[float, int]] = []

    async def main() -> None:
        clock = LoopClock()

        async def sleeper(order: int, t_s: float) -> None:
            await clock.sleep_until(t_s)
            assert clock.now() == t_s
            woken.append((t_s, order))

        await asyncio.gather(*(sleeper(order, t_s) for order, t_s in enumerate(instants)))

    run_virtual(main)
    assert woken == sorted((t_s, order) for order, t_s in enumerate(instants))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5]), st.sampled_from(["handle", "future"])), max_size=40))
def test_timers_of_both_kinds_at_one_instant_fire_in_the_order_in_which_they_were_set(
    timers: list[tuple[float, str]],
) -> None:
    fired: list[tuple[float, int]] = []

    async def main() -> None:
        loop = virtual_loop()
        for order, (when, kind) in enumerate(timers):
            if kind == "handle":
                loop.call_at(when, fired.append, (when, order))
            else:
                loop.wake_at(when).add_done_callback(lambda _, key=(when, order): fired.append(key))  # type: ignore[misc]
        await asyncio.sleep(2)

    run_virtual(main)
    assert fired == sorted((when, order) for order, (when, _) in enumerate(timers))


@pytest.mark.parametrize("start_s", [0.0, 1e7, 4e9, 1e15])
def test_a_positive_delay_always_moves_the_time_however_late_it_is(start_s: float) -> None:
    async def main() -> list[float]:
        clock, loop = LoopClock(origin_s=0.0), asyncio.get_running_loop()
        seen = [clock.now()]
        await clock.sleep(1e-12)
        seen.append(loop.time())
        await asyncio.sleep(1e-12)
        seen.append(loop.time())
        return seen

    seen = run_virtual(main, start_s=start_s)
    assert seen[0] == start_s
    assert all(earlier < later for earlier, later in pairwise(seen))


def test_polling_until_an_instant_ends_at_times_where_a_float_step_exceeds_a_nanosecond() -> None:
    async def main() -> int:
        clock, turns = LoopClock(origin_s=0.0), 0
        until_s = clock.now() + 1.0
        while clock.now() < until_s:
            await clock.sleep(until_s - clock.now())
            turns += 1
        return turns

    assert run_virtual(main, start_s=1e7 + 0.1) <= 2


def test_a_sleep_into_the_past_or_of_nothing_lets_others_run_and_keeps_the_time() -> None:
    async def main() -> tuple[list[str], float]:
        clock, ran = LoopClock(), list[str]()
        await clock.sleep(5)
        other = asyncio.create_task(_note(ran, "other"))
        await clock.sleep_until(1.0)
        ran.append("main")
        await clock.sleep(0)
        await clock.sleep(-3)
        await other
        return ran, clock.now()

    assert run_virtual(main) == (["other", "main"], 5.0)


async def _note(notes: list[str], word: str) -> None:
    notes.append(word)


def test_a_clock_made_later_counts_from_then() -> None:
    async def main() -> tuple[float, float]:
        await asyncio.sleep(7)
        clock = LoopClock()
        await clock.sleep_until(2.5)
        return clock.now(), asyncio.get_running_loop().time()

    assert run_virtual(main) == (2.5, 9.5)


def test_an_hour_of_sleeps_never_waits_for_the_machine() -> None:
    async def main() -> tuple[float, int]:
        for _ in range(3600):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time(), virtual_loop().waits

    assert run_virtual(main) == (3600.0, 0)


def test_a_timer_that_is_not_a_number_is_refused_and_one_at_infinity_never_fires() -> None:
    async def main() -> float:
        clock, loop = LoopClock(), asyncio.get_running_loop()
        with pytest.raises(ValueError, match="not a number"):
            clock.sleep(float("nan"))
        never = loop.call_at(float("inf"), pytest.fail, "fired")
        async with asyncio.timeout(float("inf")):
            await clock.sleep(1e9)
        never.cancel()
        return clock.now()

    assert run_virtual(main) == 1e9


def test_time_does_not_jump_to_a_cancelled_timer() -> None:
    async def main() -> float:
        clock, loop = LoopClock(), asyncio.get_running_loop()
        loop.call_at(1.0, pytest.fail, "fired").cancel()
        sleeper = asyncio.create_task(asyncio.wait_for(clock.sleep_until(2.0), None))
        await asyncio.sleep(0)
        sleeper.cancel()
        await asyncio.gather(sleeper, return_exceptions=True)
        seen: list[float] = []
        loop.call_at(3.0, lambda: seen.append(loop.time()))
        await asyncio.sleep(3)
        assert seen == [3.0]
        return clock.now()

    assert run_virtual(main) == 3.0


def test_cancelled_timers_do_not_pile_up() -> None:
    async def main() -> int:
        gc.collect()
        before = _living(asyncio.TimerHandle)
        for _ in range(20_000):
            async with asyncio.timeout(600):
                pass
        return _living(asyncio.TimerHandle) - before

    assert run_virtual(main) < 4_000


def _living(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


def test_timeouts_of_asyncio_follow_virtual_time() -> None:
    async def main() -> list[float]:
        clock, seen = LoopClock(), list[float]()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await clock.sleep(31)
        seen.append(clock.now())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 12.5)
        seen.append(clock.now())
        assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 2) == "in time"
        seen.append(clock.now())
        return seen

    assert run_virtual(main) == [30.0, 42.5, 43.5]


def test_aiolimiter_follows_virtual_time() -> None:
    async def main() -> float:
        limiter, loop = AsyncLimiter(10, 60), asyncio.get_running_loop()
        for _ in range(10 + 100):
            await limiter.acquire()
        return loop.time()

    assert run_virtual(main) == pytest.approx(600, rel=0.02)


def test_jobs_for_an_executor_run_inline_in_the_order_of_submission() -> None:
    ran: list[tuple[int, int]] = []

    def job(number: int) -> int:
        ran.append((number, threading.get_ident()))
        return number * number

    def fail(error: Exception) -> int:
        raise error

    async def main() -> list[int | BaseException]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(4) as pool:
            jobs = [loop.run_in_executor(pool if number % 2 else None, job, number) for number in range(20)]
            jobs.append(loop.run_in_executor(pool, fail, ZeroDivisionError("in the job")))
            jobs.append(loop.run_in_executor(None, next, iter(())))
            jobs.append(asyncio.ensure_future(asyncio.to_thread(job, 20)))
            return await asyncio.gather(*jobs, return_exceptions=True)

    *squares, failed, stopped, last = run_virtual(main)
    assert squares == [number * number for number in range(20)]
    assert ran == [(number, threading.get_ident()) for number in range(21)]
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(stopped, RuntimeError)
    assert last == 400


def _trace_of_a_busy_run() -> list[tuple[float, str]]:
    trace: list[tuple[float, str]] = []

    async def worker(name: int, clock: LoopClock, queue: asyncio.Queue[int], limiter: AsyncLimiter) -> None:
        try:
            while True:
                job = await queue.get()
                async with limiter:
                    await one(f"{name}, {job}", clock, job)
        finally:
            trace.append((clock.now(), f"{name} stopped"))

    async def one(name: str, clock: LoopClock, job: int) -> None:
        try:
            async with asyncio.timeout(0.3):
                await clock.sleep((job * 7919 % 13) / 20)
            trace.append((clock.now(), f"{name} done"))
        except TimeoutError:
            trace.append((clock.now(), f"{name} given up"))

    async def main() -> None:
        clock, queue, limiter = LoopClock(), asyncio.Queue[int](5), AsyncLimiter(4, 1)
        workers = [asyncio.create_task(worker(name, clock, queue, limiter)) for name in range(6)]
        for job in range(60):
            await queue.put(job)
        assert len(workers) == 6  # left to be cancelled by the end of the run

    run_virtual(main)
    return trace


def test_two_runs_do_the_same_in_the_same_order_to_the_last_cancellation() -> None:
    first = _trace_of_a_busy_run()
    assert [what for _, what in first if what.endswith("stopped")] == [f"{name} stopped" for name in range(6)]
    assert {what.split()[-1] for _, what in first[:-6]} == {"done", "up"}
    assert all(_trace_of_a_busy_run() == first for _ in range(5))


async def test_on_a_wall_clock_loop_a_clock_counts_from_its_making_and_sleeps_on_that_loop() -> None:
    clock = LoopClock()
    assert 0 <= clock.now() < 60
    await clock.sleep_until(-1.0)
    await clock.sleep(0)
    late = asyncio.ensure_future(clock.sleep_until(3600.0))
    await asyncio.sleep(0)
    late.cancel()
    assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], asyncio.CancelledError)
    with owed_by_thread():  # freezes nothing here, and is allowed
        assert await asyncio.to_thread(lambda: "from a thread") == "from a thread"


@pytest.mark.soak
def test_three_million_naps_under_deadlines_leave_the_memory_as_it_was() -> None:
    async def main() -> tuple[int, int]:
        clock = LoopClock()

        async def sleeper(naps: int) -> None:
            for _ in range(naps):
                async with asyncio.timeout(900):
                    await clock.sleep(0.25)

        async def sleepers(naps: int) -> int:
            await asyncio.gather(*(sleeper(naps) for _ in range(100)))
            gc.collect()
            return len(gc.get_objects())

        return await sleepers(1_000), await sleepers(30_000)

    early, late = run_virtual(main)
    assert late < early + 10_000
