"""A recorded endpoint for an application's tests: the server, in a thread, on a free port of this machine.

It is the app that `clawbench serve --cassettes` runs. Answers come at once unless the recorded pace is asked for: tests
of an application rarely want to wait as long as its users do.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import uvicorn

from clawbench.clock import Clock, LoopClock
from clawbench.config.plan import Plan, plan_of_cassettes
from clawbench.errors import UsageError
from clawbench.experiments.cell import build_app
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.gateway.records import NullWriter
from clawbench.server.app import App
from clawbench.walltime import now

Pace = Literal["at_once", "recorded"]
Matching = Literal["strict", "exact_then_nearest"]

API_KEY: Final = "clawbench"
START_S, STOP_S = 30.0, 10.0
GRACE_S: Final = 1


class Endpoint:
    """A running endpoint: what a client is given."""

    def __init__(self, port: int, models: list[str]) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.api_key = API_KEY
        """Any key will do; clients insist on one."""
        self.models = models
        """What may be asked for, by id."""


class HurriedClock:
    """The loop's time, in which nobody waits: sleeping lets other tasks run once."""

    def __init__(self) -> None:
        self._real = LoopClock()

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._real.now()

    async def sleep(self, s: float) -> None:
        """Returns at once."""
        await asyncio.sleep(0)

    async def sleep_until(self, t_s: float) -> None:
        """Returns at once."""
        await asyncio.sleep(0)


@contextmanager
def endpoint(
    *cassettes: str | os.PathLike[str], matching: Matching = "strict", pace: Pace = "at_once", seed: int = 1
) -> Iterator[Endpoint]:
    """Serve these files and folders of recordings while the block runs.

    `strict` answers nothing but the very requests that were recorded, `exact_then_nearest` also others, by the nearest
    recording. `recorded` pace takes as long as it took. The same seed and requests give the same answers. Raises
    `UsageError` for a path that is not there or holds nothing to be served.
    """
    if not cassettes:
        raise UsageError("an endpoint needs at least one cassette")
    plan = plan_of_cassettes([Path(each) for each in cassettes], overrides=[f"replay.matching={matching}"])
    prepared = prepare(plan)
    try:
        with serving(partial(_app, plan, prepared, pace=pace, seed=seed)) as port:
            yield Endpoint(port, sorted(prepared.catalog.models))
    finally:
        prepared.opened.close()


def _app(plan: Plan, prepared: Prepared, *, pace: Pace, seed: int) -> App:
    clock: Clock = LoopClock() if pace == "recorded" else HurriedClock()
    numbers = count(1)
    return build_app(
        prepared,
        prepared.transport(clock, seed=seed, paced=True),
        strategy=plan.table.gateway.default_strategy,
        seed=seed,
        clock=clock,
        writer=NullWriter(),
        run_id="live",
        ids=lambda: f"test-{next(numbers):06d}",
        epoch_s=int(now().timestamp()),
    )


@contextmanager
def serving(make_app: Callable[[], Any]) -> Iterator[int]:
    """Serve an ASGI app on a free loopback port, in a thread with a loop of its own; the port.

    `make_app` is called in that loop. Requests under way at the end are given a second.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _Server(make_app)
        thread = threading.Thread(target=server.serve_on, args=(listening,), name="clawbench endpoint", daemon=True)
        thread.start()
        try:
            server.wait_until_started()
            yield listening.getsockname()[1]
        finally:
            server.stop()
            thread.join(STOP_S)


class _Server:
    """uvicorn in a thread of its own."""

    def __init__(self, make_app: Callable[[], Any]) -> None:
        self._make_app = make_app
        self._started = threading.Event()
        self._server: uvicorn.Server | None = None
        self._failure: BaseException | None = None

    def serve_on(self, listening: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listening))
        except BaseException as error:  # told to the thread that waits
            self._failure = error
        finally:
            self._started.set()

    def wait_until_started(self) -> None:
        if not self._started.wait(START_S) or self._failure is not None:
            raise RuntimeError("the server did not start") from self._failure

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True

    async def _serve(self, listening: socket.socket) -> None:
        config = uvicorn.Config(
            self._make_app(),
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        server = self._server = _Telling(config, self._started)
        await server.serve(sockets=[listening])


class _Telling(uvicorn.Server):
    """uvicorn's server, saying when it listens."""

    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told.set()
