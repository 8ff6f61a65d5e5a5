"""One cell: a strategy against a workload with one seed, through the whole app.

Requests are sent when the workload means them, whatever became of the earlier ones; a closed loop sends its next
one when a client is free. Everything that could differ between two strategies of a seed, but the strategy, is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count

from msgspec import Struct

from clawbench.clock import Clock
from clawbench.experiments.baselines import router_for
from clawbench.experiments.client import Answer, ask, client_body
from clawbench.experiments.prepare import Prepared
from clawbench.experiments.steady_heap import steady_heap
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.quotas import Quotas
from clawbench.gateway.recorder import Recorder, RequestContext, RunContext
from clawbench.gateway.records import RecordWriter
from clawbench.rng import stream
from clawbench.routing.router import Router
from clawbench.routing.strategies import STRATEGIES
from clawbench.server.app import App
from clawbench.transports.cassette import CassetteTransport
from clawbench.transports.faulty import FaultyTransport
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest
from clawbench.wires import wire_for
from clawbench.workloads.protocol import Arrival

# Answers are stamped with this plus virtual seconds, so that the same seed gives the same bytes.
VIRTUAL_EPOCH_S = 1_767_225_600  # 2026-01-01T00:00:00Z
PROGRESS_EVERY = 200
BODIES_REMEMBERED = 65_536


class Cell(Struct, frozen=True):
    """What one cell runs."""

    strategy: str
    seed: int

    @property
    def id(self) -> str:
        """Folder name and beginning of its request ids."""
        return f"{self.strategy.strip('@').replace('@', '-')}-s{self.seed}"


class CellResult(Struct, frozen=True):
    """What is said of a finished cell beside its records."""

    requests: int
    virtual_s: float
    unmatched: str | None  # why nothing matched, when no request found a recording


def model_reference(model: str, strategy: str) -> str:
    """What the client writes: tags go behind the model; baselines are the gateway's default and leave it bare."""
    tags = strategy.strip("@")
    if tags in STRATEGIES and STRATEGIES[tags].plain:
        return model
    return f"{'' if model == '*' else model}@{tags}"


def build_app(
    prepared: Prepared,
    transport: Transport,
    *,
    strategy: str,
    seed: int,
    clock: Clock,
    writer: RecordWriter,
    run_id: str,
    ids: Callable[[], str],
    epoch_s: int = VIRTUAL_EPOCH_S,
) -> App:
    """The app of `serve` and of every cell: the same, but for clock, transport and writer."""
    table, quotas = prepared.plan.table, Quotas()
    router = build_router(prepared, strategy=strategy, seed=seed, quotas=quotas)
    faults = prepared.plan.faults
    context = RunContext(
        run_id=run_id,
        seed=seed,
        strategy=strategy,
        workload=table.workload.name,
        fault_plan=faults.name if faults else None,
    )
    gateway = Gateway(
        router=router,
        wire_for=wire_for,
        transport=with_faults(prepared, transport, clock, seed=seed),
        clock=clock,
        recorder=Recorder(writer, context),
        limits=table.gateway.limits(),
        quotas=quotas,
        seed=seed,
    )
    return App(gateway, ids=ids, epoch_s=epoch_s)


def build_router(prepared: Prepared, *, strategy: str, seed: int, quotas: Quotas) -> Router:
    """The router of a plan, with nothing learned yet; the same for `serve`, for every cell and for `explain`."""
    table = prepared.plan.table
    return router_for(
        prepared.catalog,
        default_strategy=strategy if strategy in STRATEGIES else table.gateway.default_strategy,
        settings=table.routing.settings(strict=table.replay.matching == "strict"),
        ineligible=prepared.ineligible,
        has_capacity=quotas.has_capacity,
        chain=table.gateway.fallback_models,
        seed=seed,
    )


def with_faults(prepared: Prepared, transport: Transport, clock: Clock, *, seed: int) -> Transport:
    """The transport with the plan's faults in front of it, or as it is where there are none."""
    faults = prepared.plan.faults
    return transport if faults is None else FaultyTransport(transport, faults, clock, seed=seed)


class Bodies:
    """Request bodies as a client would send them; a request that comes again is written once."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._written: dict[int, tuple[ChatRequest, bytes]] = {}

    def of(self, request: ChatRequest) -> bytes:
        # Keyed by identity: the workload hands out the same objects again and again, and they are kept alive here.
        known = self._written.get(id(request))
        if known is None:
            if len(self._written) >= BODIES_REMEMBERED:
                self._written.clear()
            known = self._written[id(request)] = (request, client_body(request, self._reference))
        return known[1]


async def run_cell(
    cell: Cell,
    prepared: Prepared,
    *,
    clock: Clock,
    writer: RecordWriter,
    run_id: str,
    paced: bool = False,
    progress: Callable[[int], None] = lambda requests: None,
) -> CellResult:
    """Runs the cell to its end and closes `writer`. Raises `WriteFailed`; nothing else on purpose."""
    transport = prepared.transport(clock, seed=cell.seed, paced=paced)
    numbers = count()
    app = build_app(
        prepared,
        transport,
        strategy=cell.strategy,
        seed=cell.seed,
        clock=clock,
        writer=writer,
        run_id=run_id,
        ids=lambda: f"{cell.id}-other-{next(numbers)}",
    )
    traffic = prepared.traffic
    bodies = Bodies(model_reference(prepared.plan.table.workload.model, cell.strategy))
    drive = _Drive(app, cell, bodies, clock, progress)
    arrivals = traffic.arrivals(stream(cell.seed, "workload"))
    with steady_heap() if paced else nullcontext():
        if traffic.concurrency is None:
            await drive.open_loop(arrivals)
        else:
            await drive.closed_loop(arrivals, traffic.concurrency)
    writer.close()
    unmatched = None
    if isinstance(transport, CassetteTransport) and not transport.matched:
        unmatched = transport.unmatched
    return CellResult(drive.finished, clock.now(), unmatched)


class _Drive:
    """Sends a workload's requests and waits for their answers."""

    def __init__(self, app: App, cell: Cell, bodies: Bodies, clock: Clock, progress: Callable[[int], None]) -> None:
        self._app, self._cell, self._bodies, self._clock, self._progress = app, cell, bodies, clock, progress
        self._failure: BaseException | None = None
        self.finished = 0

    async def open_loop(self, arrivals: Iterator[Arrival]) -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        for arrival in arrivals:
            if arrival.t_s > self._clock.now():
                await self._clock.sleep_until(arrival.t_s)
            if self._failure is not None:
                break
            task = loop.create_task(self._one(arrival, arrival.t_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        while tasks:
            await asyncio.wait(tasks)
        self._check()

    async def closed_loop(self, arrivals: Iterator[Arrival], concurrency: int) -> None:
        async def client() -> None:
            for arrival in arrivals:
                if self._failure is not None:
                    return
                await self._one(arrival, self._clock.now())

        await asyncio.gather(*(client() for _ in range(concurrency)))
        self._check()

    async def _one(self, arrival: Arrival, t_scheduled_s: float) -> None:
        context = RequestContext(
            request_id=f"{self._cell.id}-{arrival.index:07d}",
            draw_key=str(arrival.index),
            account="bench",
            t_scheduled_s=t_scheduled_s,
        )
        try:
            answer: Answer = await ask(self._app, self._bodies.of(arrival.request), context)
            if not answer.complete:
                raise RuntimeError(f"request {context.request_id} got no whole answer (status {answer.status})")
        except Exception as error:
            self._failure = self._failure or error
        self.finished += 1
        if self.finished % PROGRESS_EVERY == 0:
            self._progress(PROGRESS_EVERY)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
