"""Running in virtual time: what is refused, what foreign threads may do, and the ways in which a run ends."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clawbench.clock import LoopClock, VirtualLoop, owed_by_thread, run_blocking, run_virtual
from clawbench.errors import RealTimeRefused, StuckLoop


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def _wait_for_ever(event: asyncio.Event) -> None:
    await event.wait()


def test_a_stuck_loop_names_the_tasks_that_wait_and_where() -> None:
    async def main() -> None:
        event = asyncio.Event()
        await asyncio.sleep(2.5)
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(_wait_for_ever(event), name=f"waiter {number}")

    with pytest.raises(StuckLoop) as caught:
        run_virtual(main)
    message = str(caught.value)
    assert "2.5 s of virtual time" in message
    assert "waiter 0 waits in _wait_for_ever" in message
    assert f"{__file__}:" in message
    assert "and 31 more" in message
    assert "waiter 39" not in message
    assert "owed_by_thread" in message


def test_a_stuck_main_is_named_too_and_gets_to_clean_up() -> None:
    cleaned: list[str] = []

    async def lonely() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned.append("yes")

    with pytest.raises(StuckLoop, match="lonely"):
        run_virtual(lonely)
    assert cleaned == ["yes"]


def test_time_stands_still_until_a_foreign_thread_has_delivered() -> None:
    async def main() -> tuple[float, float, int]:
        loop, asked, delivered = virtual_loop(), threading.Event(), asyncio.Event()

        def deliver() -> None:
            asked.wait()
            loop.call_soon_threadsafe(delivered.set)

        thread = threading.Thread(target=deliver)
        thread.start()
        tick = loop.call_at(10.0, lambda: None)
        loop.call_soon(asked.set)
        with owed_by_thread():
            await delivered.wait()
        t_delivered_s = loop.time()
        thread.join()
        await asyncio.sleep(20)
        assert not tick.cancelled()
        return t_delivered_s, loop.time(), loop.waits

    t_delivered_s, t_end_s, waits = run_virtual(main)
    assert (t_delivered_s, t_end_s) == (0.0, 20.0)
    assert waits <= 2


def test_many_deliveries_by_threads_are_none_lost() -> None:
    async def main() -> tuple[int, float]:
        loop = virtual_loop()
        with ThreadPoolExecutor(3) as pool:
            for _ in range(300):
                arrived = [loop.create_future() for _ in range(3)]
                with owed_by_thread():
                    for future in arrived:
                        pool.submit(loop.call_soon_threadsafe, future.set_result, None)
                    await asyncio.gather(*arrived)
                await asyncio.sleep(1)
        return 300, loop.time()

    assert run_virtual(main) == (300, 300.0)


def test_what_is_due_at_this_instant_runs_while_a_thread_owes() -> None:
    async def main() -> list[str]:
        loop, seen, delivered = virtual_loop(), list[str](), asyncio.Event()
        release = threading.Event()

        def deliver() -> None:
            release.wait()
            loop.call_soon_threadsafe(delivered.set)

        def due() -> None:
            seen.append("due")
            release.set()

        threading.Thread(target=deliver).start()
        loop.call_at(loop.time(), due)
        loop.call_later(1, seen.append, "later")
        with owed_by_thread():
            await delivered.wait()
        return seen

    assert run_virtual(main) == ["due"]


def test_only_the_loops_own_thread_may_say_that_something_is_owed() -> None:
    async def main() -> str:
        loop = virtual_loop()
        with ThreadPoolExecutor(1) as pool:
            return str(pool.submit(loop.owed_by_thread().__enter__).exception())

    assert "running event loop" in run_virtual(main)


REFUSED: dict[str, Callable[[asyncio.AbstractEventLoop], object]] = {
    "create_connection": lambda loop: loop.create_connection(asyncio.Protocol, "127.0.0.1", 9),
    "create_server": lambda loop: loop.create_server(asyncio.Protocol, "127.0.0.1", 0),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 80),
    "subprocess_exec": lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, sys.executable),
    "add_signal_handler": lambda loop: loop.add_signal_handler(signal.SIGTERM, print),
    "watching a file or socket": lambda loop: loop.add_reader(0, print),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_waits_for_the_machine_is_refused_by_name(name: str) -> None:
    async def main() -> None:
        REFUSED[name](asyncio.get_running_loop())

    with pytest.raises(RealTimeRefused, match=f"^{name} is refused in virtual time.*emulator"):
        run_virtual(main)


def test_a_stream_to_a_listening_socket_is_refused_and_reaches_nobody() -> None:
    async def main(port: int) -> None:
        await asyncio.open_connection("127.0.0.1", port)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(RealTimeRefused):
            run_virtual(main(server.getsockname()[1]))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_tasks_left_over_are_cancelled_in_order_and_awaited() -> None:
    ended: list[str] = []

    async def left_over(name: str) -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.5)
            ended.append(f"{name} at {asyncio.get_running_loop().time()}")

    async def main() -> str:
        tasks = [asyncio.create_task(left_over(f"{number}"), name=f"left {number}") for number in range(12)]
        await asyncio.sleep(1)
        return f"{len(tasks)} left"

    assert run_virtual(main) == "12 left"
    assert ended == [f"{number} at 1.5" for number in range(12)]


def test_async_generators_are_closed_when_a_run_ends() -> None:
    closed: list[float] = []

    async def ticks() -> AsyncIterator[float]:
        loop = asyncio.get_running_loop()
        try:
            while True:
                yield loop.time()
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)
            closed.append(loop.time())

    async def main() -> AsyncIterator[float]:
        generator = ticks()
        assert [await anext(generator) for _ in range(3)] == [0.0, 1.0, 2.0]
        return generator

    run_virtual(main)
    assert closed == [3.0]


def test_an_exception_of_main_is_what_the_caller_gets() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        run_virtual(main())


async def _interrupted(cleaned: list[float], interrupt: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.sleep(3)
        interrupt()
        with owed_by_thread():  # nobody delivers: only the interruption ends this
            await loop.create_future()
    finally:
        await asyncio.sleep(4)
        cleaned.append(loop.time())


@pytest.mark.parametrize("run", [run_virtual, run_blocking])
def test_ctrl_c_cancels_main_lets_it_clean_up_and_is_raised(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    cleaned: list[float] = []
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(cleaned, lambda: signal.raise_signal(signal.SIGINT)))
    assert cleaned == [7.0]


def _inside_a_running_loop(call: Callable[[], object]) -> object:
    """What a notebook cell does: call something synchronous while the thread's loop runs."""

    async def cell() -> object:
        return call()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def test_in_a_notebook_a_blocking_run_takes_a_thread_of_its_own_and_the_callers_context() -> None:
    language = contextvars.ContextVar("language", default="none")
    language.set("set by the cell")

    async def main() -> tuple[float, str, bool]:
        await asyncio.sleep(1000)
        return asyncio.get_running_loop().time(), language.get(), threading.current_thread() is threading.main_thread()

    assert _inside_a_running_loop(lambda: run_blocking(main)) == (1000.0, "set by the cell", False)
    assert run_blocking(main) == (1000.0, "set by the cell", True)


def test_in_a_notebook_errors_come_back_and_a_plain_virtual_run_says_what_to_use() -> None:
    async def main() -> None:
        await LoopClock().sleep(1)
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        _inside_a_running_loop(lambda: run_blocking(main()))
    with pytest.raises(RuntimeError, match="run_blocking"):
        _inside_a_running_loop(lambda: run_virtual(main()))


def test_in_a_notebook_ctrl_c_cancels_the_run_waits_for_it_and_is_raised() -> None:
    cleaned: list[float] = []
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt() -> None:
        signal.pthread_kill(main_thread, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _inside_a_running_loop(lambda: run_blocking(_interrupted(cleaned, interrupt)))
    assert cleaned == [7.0]
    assert not [thread for thread in threading.enumerate() if thread.name == "virtual time" and thread.is_alive()]
