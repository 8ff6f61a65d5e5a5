"""Recording a plan: every request of its workload, at every offer that can serve it, over the network, within a budget.

`planned` says what is to be asked and what that should cost, what is recorded already left out; `Recording` asks it. A
call is only started once its dearest outcome, beside those of the calls under way, fits the budget: an answer as long
as the request or the offer allows, or as the offer's context has room for. What it did cost is counted from the
provider's own usage, or taken as the dearest outcome where the provider states none.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field, structs

from clawbench.billing.prices import cost_pico_usd
from clawbench.cassettes.reel import Reel
from clawbench.clock import Clock
from clawbench.config.plan import Plan
from clawbench.errors import PlanError, UpstreamError, WriteFailed
from clawbench.gateway.admission import shape_of
from clawbench.rng import stream
from clawbench.transports.recording import RecordingTransport
from clawbench.types import ChatRequest, HttpCall, HttpReply, Offer, Rates, Usage
from clawbench.wires import wire_for
from clawbench.workloads.arrivals import Constant
from clawbench.workloads.prompts import PromptFile, with_model
from clawbench.workloads.traffic import Traffic

PROMPT_MARGIN = 2  # dearest case: as many times the estimated prompt tokens
REFUSALS_MAX = 3  # in a row, after which an offer is given up
_REFUSED = frozenset({"connect_error", "auth", "model_gone"})
_UNBILLED = frozenset({"connect_error", "no_recording", "redirect", "error_200"})


class PlannedCall(Struct, frozen=True):
    """One call to be made and recorded. Costs in pico-USD."""

    offer: Offer
    call: HttpCall
    cost_expected: int
    cost_max: int


class Planned(Struct, frozen=True):
    """What a recording will ask. `left_out`: requests that an offer cannot serve, by reason."""

    calls: list[PlannedCall]
    recorded_already: int
    left_out: Counter[str]

    @property
    def cost_expected(self) -> int:
        """Pico-USD, for prompts as estimated and answers of the expected length."""
        return sum(each.cost_expected for each in self.calls)

    @property
    def cost_max(self) -> int:
        """Pico-USD, if every answer is as long as it can be."""
        return sum(each.cost_max for each in self.calls)


class Tally(Struct, kw_only=True):
    """How far a recording came. Costs in pico-USD."""

    done: int = 0  # planned calls that were made, whatever came of them
    recorded: int = 0  # exchanges written, further tries included
    spent: int = 0
    uncounted: int = 0  # answers whose cost is taken as the dearest, since the provider stated no usage
    outcomes: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, str] = {}
    stopped: str | None = None  # why it ended before its end
    no_room_for: int = 0  # dearest outcome of the call that the budget had no room for


def planned(plan: Plan, reel: Reel | None) -> Planned:
    """Everything the plan asks for that `reel` does not have (None: it has nothing).

    Raises `PlanError` for a plan that cannot be recorded, `CassetteError`.
    """
    for offer in plan.offers:
        if offer.rates is None:
            raise PlanError(f'{plan.path}: offer "{offer.id}" has no usd_per_mtok, so no budget can be kept for it')
    calls: list[PlannedCall] = []
    left_out: Counter[str] = Counter()
    already = 0
    for number, request in enumerate(_requests(plan)):
        for offer in plan.offers:
            made = _call(plan, offer, request, str(number))
            if isinstance(made, str):
                left_out[made] += 1
            elif reel is not None and _is_recorded(made.call, reel):
                already += 1
            else:
                calls.append(made)
    return Planned(calls, already, left_out)


def _is_recorded(call: HttpCall, reel: Reel) -> bool:
    """Whether a recording of this call is left; it is taken, so that a call that is planned twice needs two."""
    return any(tape.play(call.method, call.url, call.body) for tape in reel.tapes(call.offer_id))


def _requests(plan: Plan) -> Iterator[ChatRequest]:
    """The workload's requests in its order, each in the forms that `[record]` wants."""
    workload = plan.table.workload
    if plan.prompt_file is None:
        raise PlanError(f"{plan.path}: recording needs workload.prompts, a JSONL file of prompts")
    traffic = Traffic(
        name=workload.name,
        process=Constant(1.0),  # when is not asked here: calls are made as fast as the concurrency allows
        prompts=PromptFile(plan.prompt_file, order=workload.order, stream=workload.stream),
        requests=workload.requests,
    )
    for arrival in traffic.arrivals(stream(plan.table.seeds[0], "workload")):
        request = arrival.request
        if plan.table.record.streams == "both":
            yield structs.replace(request, stream=True)
            yield structs.replace(request, stream=False)
        else:
            yield request


def _call(plan: Plan, offer: Offer, request: ChatRequest, number: str) -> PlannedCall | str:
    """The call of a request at an offer, or why there is none."""
    model = plan.table.workload.model.partition("@")[0]
    if model not in ("", "*", offer.model):
        return "another model is asked for"
    shape = shape_of(request)
    if offer.capabilities is not None and not shape.needs <= offer.capabilities:
        return "the offer cannot do " + ", ".join(sorted(shape.needs - offer.capabilities))
    if offer.context_window is not None and shape.prompt_tokens > offer.context_window:
        return "the prompt is longer than the offer's context"
    try:
        call = wire_for(offer).encode(with_model(request, offer.model), offer)
    except UpstreamError:
        return f"the dialect {offer.dialect} cannot say it"
    longest = _longest_answer(plan, offer, request, shape.prompt_tokens)
    assert offer.rates is not None
    return PlannedCall(
        offer,
        structs.replace(call, draw_key=number),
        _price(shape.prompt_tokens, min(plan.table.record.output_tokens_expected, longest), offer.rates),
        _price(PROMPT_MARGIN * shape.prompt_tokens, longest, offer.rates),
    )


def _longest_answer(plan: Plan, offer: Offer, request: ChatRequest, prompt_tokens: int) -> int:
    """Output tokens that an answer can have. Raises `PlanError` where nothing limits them."""
    limits = [limit for limit in (request.max_output_tokens, offer.max_output_tokens) if limit is not None]
    if offer.context_window is not None:
        limits.append(max(1, offer.context_window - prompt_tokens))
    if not limits:
        raise PlanError(
            f'{plan.path}: offer "{offer.id}" has neither max_output_tokens nor context_window, and a prompt no '
            "max_completion_tokens: an answer could cost anything, so no budget can be kept; give one of them"
        )
    return min(limits)


def _price(prompt_tokens: int, output_tokens: int, rates: Rates) -> int:
    cost = cost_pico_usd(Usage(input_tokens=prompt_tokens, output_tokens=output_tokens), rates)
    assert cost is not None
    return cost


class Recording:
    """Makes planned calls through a recording transport, until they are done or the budget is reached."""

    def __init__(
        self,
        transport: RecordingTransport,
        clock: Clock,
        *,
        budget_pico_usd: int,
        timeout_s: float,
        concurrency: int,
        retries_max: int,
        progress: Callable[[int], None] = lambda calls: None,
    ) -> None:
        """`timeout_s` bounds each call; `progress` is told of finished calls."""
        self._transport, self._clock, self._timeout_s = transport, clock, timeout_s
        self._budget, self._concurrency, self._retries_max = budget_pico_usd, concurrency, retries_max
        self._progress = progress
        self._held = 0  # dearest outcomes of the calls under way
        self._counted = asyncio.Event()  # one of them has ended, and stands in the tally
        self._refusals: Counter[str] = Counter()  # in a row, by offer
        self.tally = Tally()

    async def run(self, calls: Sequence[PlannedCall]) -> Tally:
        """Ask all of them; what came of it, also in `tally` while it runs. Raises nothing for what providers do."""
        left = iter(calls)

        async def worker() -> None:
            for planned_call in left:
                if self.tally.stopped is not None:
                    return
                if planned_call.offer.id not in self.tally.given_up and await self._one(planned_call):
                    self.tally.done += 1
                self._progress(1)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(worker())
        await self.settle()
        return self.tally

    async def settle(self) -> None:
        """Returns when everything that was answered is written and counted."""
        await self._transport.flush()
        self.tally.recorded = self._transport.recorded

    async def _one(self, asked: PlannedCall) -> bool:
        """Ask, again where the provider wants it so; False if the recording ended before that."""
        for _ in range(self._retries_max + 1):
            if not await self._hold(asked.cost_max):
                return False
            wait_s: float | None = None
            try:
                cost, outcome, wait_s = await self._ask(asked)
            finally:
                self._held -= asked.cost_max
                self._counted.set()  # whoever waits runs after the next line
            self._note(asked.offer.id, cost, outcome)
            if wait_s is None or self.tally.stopped is not None:
                break
            await self._clock.sleep(wait_s)
        return True

    async def _hold(self, cost_max: int) -> bool:
        """Sets the dearest outcome of a call aside, as soon as the calls under way leave room for it.

        False, and the recording ends, where there is none though nothing is under way.
        """
        tally = self.tally
        while tally.stopped is None:
            if tally.spent + self._held + cost_max <= self._budget:
                self._held += cost_max
                return True
            if not self._held:
                tally.stopped, tally.no_room_for = "budget", cost_max
                break
            self._counted.clear()
            await self._counted.wait()
        return False

    def _note(self, offer_id: str, cost: int, outcome: str) -> None:
        tally = self.tally
        tally.spent += cost
        tally.outcomes[outcome] += 1
        self._refusals[offer_id] = self._refusals[offer_id] + 1 if outcome in _REFUSED else 0
        if self._refusals[offer_id] >= REFUSALS_MAX:
            tally.given_up[offer_id] = outcome
        if isinstance(self._transport.failure, WriteFailed):
            tally.stopped = str(self._transport.failure)

    async def _ask(self, asked: PlannedCall) -> tuple[int, str, float | None]:
        """(cost in pico-USD, outcome, seconds after which to ask again or None)."""
        wire = wire_for(asked.offer)
        try:
            reply = await self._transport.send(asked.call, deadline_s=self._clock.now() + self._timeout_s)
            try:
                body = await _body(reply)
            finally:
                await reply.aclose()
            if reply.status >= 400:
                error = wire.error(reply.status, reply.headers, body)
                return 0, error.outcome, (error.retry_after_s or 1.0) if error.retry_same else None
            usage, outcome = _usage(asked, reply, body)
        except UpstreamError as error:
            return 0 if error.outcome in _UNBILLED else asked.cost_max, error.outcome, None
        cost = cost_pico_usd(usage, asked.offer.rates)
        if cost is None:
            self.tally.uncounted += 1
        return asked.cost_max if cost is None else cost, outcome, None


async def _body(reply: HttpReply) -> bytes:
    return b"".join([chunk.data async for batch in reply.chunks() for chunk in batch])


def _usage(asked: PlannedCall, reply: HttpReply, body: bytes) -> tuple[Usage | None, str]:
    """What the provider counted, and the outcome. Raises `UpstreamError`."""
    wire = wire_for(asked.offer)
    if not asked.call.stream:
        return wire.decode(reply.status, reply.headers, body).usage, "ok"
    decoder = wire.stream()
    deltas = decoder.feed(body)
    end = decoder.finish()
    if deltas and deltas[-1].error is not None:
        return end.usage, deltas[-1].error.outcome
    return end.usage, "ok" if end.complete else "truncated"
