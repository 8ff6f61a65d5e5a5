"""One cell: a strategy against a workload with one seed, through the whole app.

Requests are sent when the workload means them, whatever became of the earlier ones; a closed loop sends its next
one when a client is free. Everything that could differ between two strategies of a seed, but the strategy, is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from msgspec import Struct

from clawbench.billing.ledger.memory import MemoryLedger
from clawbench.billing.ledger.protocol import Entry, Ledger
from clawbench.clock import Clock
from clawbench.experiments.baselines import router_for
from clawbench.experiments.client import Answer, ask, client_body
from clawbench.experiments.prepare import VIRTUAL_EPOCH_S, Prepared
from clawbench.experiments.warm_start import restored
from clawbench.gateway.holds import Holds
from clawbench.gateway.ledger_rows import LedgerRows
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.quotas import Quotas
from clawbench.gateway.recorder import LOCAL_ACCOUNT, Recorder, RequestContext, RunContext
from clawbench.gateway.records import RecordWriter
from clawbench.rng import stream
from clawbench.routing.reference import PATTERNS
from clawbench.routing.router import Router
from clawbench.routing.strategies import STRATEGIES
from clawbench.server.app import App
from clawbench.transports.cassette import CassetteTransport
from clawbench.transports.faulty import FaultyTransport
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest
from clawbench.wires import wire_for
from clawbench.workloads.protocol import Arrival

ACCOUNT = "bench"
PROGRESS_EVERY = 200
ENTRIES_REMEMBERED = 50_000  # by the ledger of a server in memory
_US = 1_000_000
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
    estimates: dict[str, Any]  # what was learned: see `Estimates.snapshot`


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
    ledger: Ledger | None = None,
    ledger_waits: bool = False,
    epoch_s: int = VIRTUAL_EPOCH_S,
) -> App:
    """The app of `serve` and of every cell: the same, but for clock, transport, writer and ledger.

    Without a ledger, one in memory, where callers without an account of their own have the plan's credit.
    """
    table, quotas = prepared.plan.table, Quotas()
    router = build_router(prepared, strategy=strategy, seed=seed, quotas=quotas, at_s=clock.now())
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
        holds=Holds(
            ledger or credited(prepared, clock, account=LOCAL_ACCOUNT, epoch_s=epoch_s),
            prepared.biller,
            epoch_s=epoch_s,
            waits=ledger_waits,
            default_output_max=table.billing.default_max_completion_tokens,
        ),
        limits=table.gateway.limits(),
        quotas=quotas,
        seed=seed,
    )
    return App(gateway, ids=ids, epoch_s=epoch_s)


def credited(
    prepared: Prepared,
    clock: Clock,
    *,
    account: str,
    epoch_s: int,
    sink: Callable[[Entry, bytes], None] | None = None,
    remembered: int = ENTRIES_REMEMBERED,
) -> MemoryLedger:
    """A ledger in memory, whose account has the plan's credit.

    `sink` is given every entry; `remembered` of them are kept, so that a request of the same name is known again.
    """
    ledger = MemoryLedger(lambda: int((epoch_s + clock.now()) * _US), window=remembered, sink=sink)
    ledger.books.top_up(account, "credit of the plan", prepared.plan.table.billing.credit_pico_uat())
    return ledger


def build_router(prepared: Prepared, *, strategy: str, seed: int, quotas: Quotas, at_s: float = 0.0) -> Router:
    """The router of a plan at `at_s`; the same for `serve`, for every cell and for `explain`.

    It knows of offers what the plan's `routing.warm_from` says. Raises `UsageError` for a file that holds no estimates.
    """
    table = prepared.plan.table
    router = router_for(
        prepared.catalog,
        default_strategy=strategy if strategy in STRATEGIES else table.gateway.default_strategy,
        settings=table.routing.settings(strict=table.replay.matching == "strict"),
        ineligible=prepared.ineligible,
        has_capacity=quotas.has_capacity,
        chain=table.gateway.fallback_models,
        patterns=PATTERNS if table.gateway.name_patterns is None else table.gateway.name_patterns,
        seed=seed,
    )
    if prepared.warm is not None and prepared.plan.warm_from is not None:
        restored(router.estimates, prepared.warm, prepared.plan.warm_from, at_s=at_s, now=None)
    return router


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
    entries = LedgerRows(writer, prefix=cell.id, epoch_s=VIRTUAL_EPOCH_S)
    numbers = count()
    ledger = credited(prepared, clock, account=ACCOUNT, epoch_s=VIRTUAL_EPOCH_S, sink=entries.add, remembered=0)
    app = build_app(
        prepared,
        transport,
        strategy=cell.strategy,
        seed=cell.seed,
        clock=clock,
        writer=writer,
        ledger=ledger,
        run_id=run_id,
        ids=lambda: f"{cell.id}-other-{next(numbers)}",
    )
    traffic = prepared.traffic
    bodies = Bodies(model_reference(prepared.plan.table.workload.model, cell.strategy))
    drive = _Drive(app, cell, bodies, clock, progress)
    arrivals = traffic.arrivals(stream(cell.seed, "workload"))
    if traffic.concurrency is None:
        await drive.open_loop(arrivals)
    else:
        await drive.closed_loop(arrivals, traffic.concurrency)
    writer.close()
    unmatched = None
    if isinstance(transport, CassetteTransport) and not transport.matched:
        unmatched = transport.unmatched
    learned = app.gateway.router.estimates.snapshot(at_s=clock.now())
    return CellResult(drive.finished, clock.now(), unmatched, learned)


class _Drive:
    """Sends a workload's requests and waits for their answers."""

    def __init__(self, app: App, cell: Cell, bodies: Bodies, clock: Clock, progress: Callable[[int], None]) -> None:
        self._app, self._cell, self._bodies, self._clock, self._progress = app, cell, bodies, clock, progress
        self._failure: BaseException | None = None
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self.finished = 0

    async def open_loop(self, arrivals: Iterator[Arrival]) -> None:
        loop = asyncio.get_running_loop()
        for arrival in arrivals:
            if arrival.t_s > self._clock.now():
                await self._clock.sleep_until(arrival.t_s)
            if self._failure is not None:
                break
            self._under_way[arrival.index] = loop.create_task(self._tracked(arrival))
        if self._under_way:
            await asyncio.wait(self._under_way.values())
        self._check()

    async def _tracked(self, arrival: Arrival) -> None:
        # A callback at the task's end would take the loop one more turn.
        try:
            await self._one(arrival, arrival.t_s)
        finally:
            del self._under_way[arrival.index]

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
            account=ACCOUNT,
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
