"""Time: the clock that is handed to everything, and the event loop whose time is computed instead of awaited.

The loop *is* the clock. `Clock.now()` is `loop.time()`, so `asyncio.timeout`, `wait_for`, aiolimiter and the
back-offs of libraries follow the same time without knowing of it. Under `VirtualLoop` an hour of sleeps costs what
its wake-ups cost: when nothing is ready, the loop's `select()` sets the time to that of the next timer.

Timers live in one heap of (instant, order number, what to wake). They fire at exactly their instant, ties in the
order in which they were set. There is no clock resolution: no timer fires early, and a positive delay always
moves the time, by one representable step if the delay is smaller than that (from 1e7 s on a step is over 1 ns).

What is refused, because it would let the machine's speed into a run: sockets, pipes, subprocesses, name look-ups.
What waits on a foreign thread says so with `owed_by_thread()`; time stands still until the thread has delivered.

Two runs do the same in the same order, as far as the program lets them: `asyncio.wait` and `TaskGroup` keep tasks
in sets, so the order of iteration over what they give, or in which a failing group cancels, is no one's promise.

Relies on one private name of asyncio, the same in CPython 3.11 to 3.13: `BaseEventLoop._ready`, the deque of handles
to run. Also on the (undocumented) order in which a loop's turn goes: `select(None)` when nothing is ready and
`select(0)` otherwise, then everything in `_ready`, while its own timer heap stays empty.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from asyncio import TimerHandle
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import Context, copy_context
from functools import partial
from heapq import heapify, heappop, heappush
from math import inf, isnan, nextafter
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple, cast

from clawbench.errors import RealTimeRefused, StuckLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Sleeper = TimerHandle | asyncio.Future[None]
Main = Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]

_NAMED_WHEN_STUCK = 10  # tasks named in the error; the rest is counted
_FIRST_SWEEP = 1024  # timers; below this, dead ones are not worth a look
_ASYNCIO = Path(asyncio.__file__).parent
_OUTSIDE = """
    add_signal_handler connect_accepted_socket connect_read_pipe connect_write_pipe create_connection
    create_datagram_endpoint create_server create_unix_connection create_unix_server getaddrinfo getnameinfo sendfile
    sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendfile
    sock_sendto start_tls subprocess_exec subprocess_shell
"""  # methods of a loop that wait for the machine
_REFUSAL = (
    "{} is refused in virtual time: its speed is the machine's, and a run would not repeat. Use the cassette or "
    "emulator transport; in a wall-clock loop everything is allowed."
)


class Clock(Protocol):
    """What time it is, and waiting for a later one. Everything that needs time is given one of these.

    Instants are seconds since the clock's zero; sleeping until a past instant lets other tasks run once.
    """

    def now(self) -> float:
        """Seconds since the clock's zero; never decreases."""

    def sleep(self, s: float) -> Awaitable[None]:
        """Wait `s` seconds from now. Await the result once."""

    def sleep_until(self, t_s: float) -> Awaitable[None]:
        """Wait until the instant `t_s`. Await the result once."""


class LoopClock:
    """The time of an event loop, counted from `origin_s` (default: the loop's time when the clock is made).

    `loop` defaults to the running one. On a `VirtualLoop` with origin 0 every wake-up is at exactly the instant asked
    for; with another origin, or a real loop, at the nearest that floats, or the machine, allow.
    """

    __slots__ = ("_loop", "_origin_s", "_wake_at")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, origin_s: float | None = None) -> None:
        self._loop = loop = loop or asyncio.get_running_loop()
        self._origin_s = loop.time() if origin_s is None else origin_s
        self._wake_at: Callable[[float], Awaitable[None]]
        self._wake_at = loop.wake_at if isinstance(loop, VirtualLoop) else partial(_wait_until, loop)

    def now(self) -> float:
        """Seconds since the origin."""
        return self._loop.time() - self._origin_s

    def sleep(self, s: float) -> Awaitable[None]:
        """Wait `s` seconds from now; 0 or less lets other tasks run once."""
        return self._wake_at(_later(self._loop.time(), s))

    def sleep_until(self, t_s: float) -> Awaitable[None]:
        """Wait until the instant `t_s`; a past one lets other tasks run once."""
        return self._wake_at(t_s + self._origin_s)


async def _wait_until(loop: asyncio.AbstractEventLoop, when: float) -> None:
    """Sleep on a loop that has nothing cheaper; straight to `call_at`, since a delay would have to be rounded."""
    woken = loop.create_future()
    timer = loop.call_at(when, _wake, woken)
    try:
        await woken
    finally:
        timer.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _later(now: float, delay: float) -> float:
    """The instant `delay` seconds after `now`, later than `now` by at least one float if the delay is positive."""
    when = now + delay
    return nextafter(now, inf) if when == now and delay > 0 else when


class _Jump(selectors.BaseSelector):
    """The selector of a `VirtualLoop`: holds the time and decides what becomes ready.

    Wraps the real one, which knows the loop's self-pipe only and is asked only while a thread owes something: what a
    foreign thread calls is in `ready` before it writes to the pipe, so a loop that is awake never needs to look.
    """

    def __init__(self, start_s: float) -> None:
        self.now = start_s
        self.timers: list[tuple[float, int, _Sleeper]] = []
        self.owed = 0  # deliveries by foreign threads that time waits for
        self.waits = 0  # times that the machine was really waited for
        self._loop: VirtualLoop | None = None
        self._ready: deque[asyncio.Handle] = deque()
        self._real = selectors.DefaultSelector()

    def attach(self, loop: VirtualLoop, ready: deque[asyncio.Handle]) -> None:
        """Serve this loop, which has registered its self-pipe; nothing else may be registered from here on."""
        self._loop, self._ready = loop, ready

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Make due timers ready; with nothing ready (`timeout` None) first move the time to the next one."""
        timers = self.timers
        if timeout is None:
            while timers and timers[0][2].cancelled():
                heappop(timers)
            if not timers or timers[0][0] > self.now:
                if self.owed:
                    self.waits += 1
                    return self._real.select(None)
                if not timers:
                    return self._stuck()
                self.now = float(timers[0][0])
        now, ready = self.now, self._ready
        while timers and timers[0][0] <= now:
            sleeper = heappop(timers)[2]
            if isinstance(sleeper, TimerHandle):
                ready.append(sleeper)
            elif not sleeper.done():
                sleeper.set_result(None)
        return []

    def _stuck(self) -> list[tuple[selectors.SelectorKey, int]]:
        if self._ready or self._loop is None:  # a thread called in since the loop looked
            return []
        raise StuckLoop(
            f"nothing can happen any more at {self.now!r} s of virtual time: nothing is ready, no timer is set and no "
            f"thread owes anything. {_waiting(asyncio.all_tasks(self._loop))} If a thread of your own is to complete "
            "one of them, await it inside `with owed_by_thread():`."
        )

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Take the loop's self-pipe; refuse every other file."""
        if self._loop is not None:
            raise RealTimeRefused(_REFUSAL.format("watching a file or socket"))
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Any:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at second `start_s` and jumps to the next timer when nothing is ready.

    Use it through `run_virtual`. A job given to `run_in_executor` runs at once, in the caller's thread: threads that
    end at one virtual instant would end in any order. A job that waits for the loop itself would wait forever.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._jump = _Jump(start_s)
        super().__init__(self._jump)
        self._jump.attach(self, cast(Any, self)._ready)
        self._order = 0
        self._sweep_at = _FIRST_SWEEP

    @property
    def waits(self) -> int:
        """How many times the machine was really waited for; 0 unless a foreign thread owed something."""
        return self._jump.waits

    def time(self) -> float:
        """Virtual seconds."""
        return self._jump.now

    def wake_at(self, when: float) -> asyncio.Future[None]:
        """A future that is done at the instant `when`: the cheapest sleep, without a timer handle or a callback.

        At infinity it is never done; not a number is a ValueError. Cancel it, or its awaiter, to be rid of it.
        """
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        self._push(when, future)
        return future

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Call at exactly `when`; at infinity never, past instants at the loop's next turn."""
        if self.is_closed():
            raise RuntimeError("the virtual loop is closed")
        timer = TimerHandle(when, callback, args, self, context)
        self._push(when, timer)
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Call `delay` seconds from now; a positive delay always moves the time."""
        return self.call_at(_later(self._jump.now, delay), callback, *args, context=context)

    def _push(self, when: float, sleeper: _Sleeper) -> None:
        if not when < inf:
            if isnan(when):
                raise ValueError("a timer needs an instant, got not a number")
            return
        timers = self._jump.timers
        if len(timers) >= self._sweep_at:
            self._sweep()
        self._order = order = self._order + 1
        heappush(timers, (when, order, sleeper))

    def _sweep(self) -> None:
        """Drop cancelled timers, and look again when the living have doubled: constant cost a timer, bounded memory."""
        timers = self._jump.timers
        timers[:] = [timer for timer in timers if not timer[2].cancelled()]
        heapify(timers)
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(timers))

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run the job now; the executor is not used. What it raises is raised by awaiting the future."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except StopIteration as error:  # which no future can carry
            future.set_exception(RuntimeError(f"the job raised {error!r}"))
        except Exception as error:
            future.set_exception(error)
        return future

    @contextmanager
    def owed_by_thread(self) -> Iterator[None]:
        """Freeze the time while a foreign thread is about to call `call_soon_threadsafe`.

        Enter and leave on the loop's own thread, around the await of what the thread will complete. What is ready at
        this instant goes on running; if the thread never delivers, the loop waits for it, in real time.
        """
        if asyncio.get_running_loop() is not self:
            raise RuntimeError("owed_by_thread is entered on the virtual loop's own thread")
        self._jump.owed += 1
        try:
            yield
        finally:
            self._jump.owed -= 1

    def close(self) -> None:
        """Close the loop and forget its timers."""
        super().close()
        self._jump.timers.clear()


def _refused(name: str) -> Any:
    """A loop's method that leads to the outside, as a virtual loop has it."""

    def refusal(self: VirtualLoop, *args: object, **named: object) -> NoReturn:
        raise RealTimeRefused(_REFUSAL.format(name))

    refusal.__name__ = name
    return refusal


for _name in _OUTSIDE.split():
    setattr(VirtualLoop, _name, _refused(_name))


def _waiting(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Which tasks wait and where: the innermost line outside asyncio of each, in order of their names, bounded."""
    lines = sorted((len(task.get_name()), f"{task.get_name()} waits in {_place(task.get_coro())}") for task in tasks)
    if not lines:
        return "No task is left either."
    shown = "; ".join(line for _, line in lines[:_NAMED_WHEN_STUCK])
    more = len(lines) - _NAMED_WHEN_STUCK
    return f"{shown}{f'; and {more} more' if more > 0 else ''}."


def _place(coroutine: object) -> str:
    """`qualname (file:line)` of the innermost coroutine that is not asyncio's own."""
    place = getattr(coroutine, "__qualname__", repr(coroutine))
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and Path(frame.f_code.co_filename).parent != _ASYNCIO:
            place = f"{getattr(coroutine, '__qualname__', '?')} ({frame.f_code.co_filename}:{frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None)
    return place


def owed_by_thread() -> AbstractContextManager[None]:
    """`VirtualLoop.owed_by_thread` of the running loop; under a wall clock there is nothing to freeze."""
    loop = asyncio.get_running_loop()
    return loop.owed_by_thread() if isinstance(loop, VirtualLoop) else nullcontext()


def run_virtual(main: Main[T], *, start_s: float = 0.0) -> T:
    """Run a coroutine, or a function that gives one, to its end in a virtual loop of its own, and return its result.

    As `asyncio.run`: Ctrl-C cancels `main` and is raised when it has ended; tasks left over are cancelled and awaited.
    StuckLoop if nothing can happen any more; RuntimeError where a loop runs already (`run_blocking` is for there).
    """
    if _loop_runs():
        if not callable(main):
            main.close()
        raise RuntimeError("an event loop runs in this thread already: await the coroutine, or use run_blocking")
    with asyncio.Runner(loop_factory=partial(VirtualLoop, start_s)) as runner:
        return runner.run(_to_the_end(main))


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _to_the_end(main: Main[T]) -> T:
    """Await `main`, then cancel what it left in the order of task names: a runner would in the order of a set."""
    try:
        return await (main() if callable(main) else main)
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        left = sorted(others, key=lambda task: (len(task.get_name()), task.get_name()))
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def run_blocking(main: Main[T], *, start_s: float = 0.0) -> T:
    """`run_virtual`, also where a loop runs already (a notebook): then in a worker thread, waiting for it.

    KeyboardInterrupt cancels the coroutine, waits until it has cleaned up, and is raised; a second one stops waiting.
    """
    return _run_in_thread(main, start_s) if _loop_runs() else run_virtual(main, start_s=start_s)


def _run_in_thread(main: Main[T], start_s: float) -> T:
    stop: Future[Callable[[], object]] = Future()  # what cancels it, from any thread
    finished: Future[T] = Future()

    async def watched() -> T:
        task = cast("asyncio.Task[T]", asyncio.current_task())
        stop.set_result(partial(task.get_loop().call_soon_threadsafe, task.cancel))
        return await (main() if callable(main) else main)

    def work() -> None:
        try:
            finished.set_result(run_virtual(watched, start_s=start_s))
        except BaseException as error:  # all of it belongs to the caller's thread
            finished.set_exception(error)
        finally:
            if not stop.done():  # it never began
                stop.set_result(lambda: None)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="virtual time", daemon=True)
    try:
        thread.start()  # waits for the thread to begin, and may be interrupted in that
        return finished.result()
    except KeyboardInterrupt:
        with suppress(RuntimeError):  # the loop has ended in the meantime
            stop.result()()
        wait([finished])
        raise
