"""The main path of a request, to be read top to bottom.

The same code serves HTTP clients and the bench: clock and transport are handed in. Streaming is the normal case;
once the first output has gone out there is no silent fallback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import structs

from clawbench.clock import Clock
from clawbench.errors import RequestError, UpstreamError
from clawbench.gateway.admission import shape_of
from clawbench.gateway.asked import Asked, longer
from clawbench.gateway.attempt import Attempt
from clawbench.gateway.deadlines import in_time, late
from clawbench.gateway.hedging import DROPPED, Hedging, Legs, cost_of_dropped
from clawbench.gateway.holds import Holds
from clawbench.gateway.limits import Limits
from clawbench.gateway.quotas import Quotas
from clawbench.gateway.recorder import AttemptFacts, Recorder, RequestContext, Trace
from clawbench.gateway.reply import CompletionReply, Drains, Reply, Served, StreamReply
from clawbench.gateway.seen import seen_of
from clawbench.gateway.told import TIMEOUTS, client_gone, our_mistake, request_error
from clawbench.rng import Draws, draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.routing.state import OVERTAKEN
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest, Completion, Decision, Offer, RequestShape
from clawbench.wires.protocol import Wire

RETRIES_FREE = 3  # before the retry budget counts
LEASE_GRACE_S = 5.0  # how long after its deadline an attempt that was lost still counts as under way


class Gateway:
    """Routes requests to offers through one transport. One object a server or a cell of a run."""

    def __init__(
        self,
        *,
        router: Router,
        wire_for: Callable[[Offer], Wire],
        transport: Transport,
        clock: Clock,
        recorder: Recorder,
        holds: Holds,
        limits: Limits | None = None,
        quotas: Quotas | None = None,
        seed: int = 0,
    ) -> None:
        self.router, self.wire_for, self.transport = router, wire_for, transport
        self.clock, self.recorder, self.holds = clock, recorder, holds
        self.limits, self.seed = limits or Limits(), seed
        self.quotas = quotas or Quotas()
        self._drains = Drains(most=self.limits.drains_max, seconds=self.limits.drain_s)
        self.hedging = Hedging(self.limits.hedging, router.estimates, clock)
        self._requests = self._retries = 0

    async def handle(self, request: ChatRequest, context: RequestContext) -> Reply:
        """The answer; raises `RequestError` when there is none. The request is recorded in either case."""
        trace = self.recorder.open(request, context, at_s=self.clock.now())
        self._requests += 1
        if request.max_output_tokens is None and self.holds.default_output_max is not None:
            # Sent upstream, so that what is held bounds what can be billed.
            request = structs.replace(request, max_output_tokens=self.holds.default_output_max)
        try:
            shape = shape_of(request)
            extra = request.extra
            reference = self.router.reference(request.model, models=extra.get("models"), provider=extra.get("provider"))
            # What no offer can serve is refused before money is held.
            decision = self._decide(request, reference, shape, context, trace)
            deadline_s = trace.t_arrival_s + self.limits.request_timeout_s
            hold = await self.holds.open(
                request, context, self.router.offers(reference),
                prompt_tokens=shape.prompt_tokens, now_s=self.clock.now(), deadline_s=deadline_s,
            )  # fmt: skip
        except RequestError as error:
            trace.close("rejected", t_end_s=self.clock.now(), error_kind=error.code)
            raise
        except BaseException as error:
            self._lost(trace, error)
            raise
        trace.held_pico_uat = hold.held.pico_uat
        asked = Asked(request, reference, shape, context, trace, deadline_s, hold)
        try:
            if self.holds.waits:
                decision = self._next(asked)
            return await self._attempts(asked, decision)
        except RequestError as error:
            await self._settle(asked)
            trace.close("failed" if trace.attempts else "rejected", t_end_s=self.clock.now(), error_kind=error.code)
            raise
        except BaseException as error:
            await self._settle(asked)
            self._lost(trace, error)
            raise

    def _lost(self, trace: Trace, error: BaseException) -> None:
        """Records a request that ended by no error of its own: its client left, or the mistake is ours.

        Of the latter the surface answers 500 and logs it; the records must not lose the request.
        """
        if isinstance(error, Exception):
            trace.close("failed", t_end_s=self.clock.now(), error_kind="internal")
        else:
            trace.close("cancelled", t_end_s=self.clock.now(), error_kind="client_abort")

    def rejected(self, error: RequestError, context: RequestContext) -> None:
        """Records a request that a surface could not even read."""
        unread = ChatRequest(model="", messages=[])
        now_s = self.clock.now()
        self.recorder.open(unread, context, at_s=now_s).close("rejected", t_end_s=now_s, error_kind=error.code)

    async def _attempts(self, asked: Asked, decision: Decision) -> Reply:
        """Offer after offer, until one has answered or nothing is left to try."""
        tried: list[str] = []
        failures: dict[str, UpstreamError] = {}
        cause = "first"
        while True:
            attempt = self._begin(decision, cause, asked)
            try:
                return await self._run(attempt, asked)
            except UpstreamError as error:
                self._fail(attempt, asked, error)
                tried.append(decision.chosen)
                failures[decision.chosen] = error
                asked = longer(asked, error, attempt.facts.offer)
                spent = len(asked.trace.attempts) >= self.limits.attempts_max or self.clock.now() >= asked.deadline_s
                if spent or not self._goes_on(error, asked):
                    raise request_error(error, attempts=len(asked.trace.attempts)) from error
                decision, cause = await self._after(asked, tried, failures)
            except BaseException as error:
                self._fail(
                    attempt, asked, client_gone() if isinstance(error, asyncio.CancelledError) else our_mistake()
                )
                raise

    async def _after(self, asked: Asked, tried: list[str], failures: dict[str, UpstreamError]) -> tuple[Decision, str]:
        """The next decision and its cause; raises what the client is told where nothing is left."""
        try:
            return self._next(asked), "fallback"
        except RequestError:
            again = await self._retried(asked, failures)
            if again is None:
                raise request_error(failures[tried[-1]], attempts=len(asked.trace.attempts)) from None
            return again, "retry"

    def _next(self, asked: Asked) -> Decision:
        """The decision for a further attempt, at an offer that has had none."""
        return self._decide(asked.request, asked.reference, asked.shape, asked.context, asked.trace)

    def _decide(
        self, request: ChatRequest, reference: Reference, shape: RequestShape, context: RequestContext, trace: Trace
    ) -> Decision:
        return self.router.decide(
            reference,
            shape,
            at_s=self.clock.now(),
            draw=partial(self._draw, context, len(trace.attempts)),
            tried=[facts.offer.id for facts in trace.attempts],
            session=self._session(request, context),
        )

    def _session(self, request: ChatRequest, context: RequestContext) -> str | None:
        """The conversation as the router knows it; None where the client names none, or it does not matter."""
        if not self.router.sticky.is_on:
            return None
        named = context.session or request.extra.get("prompt_cache_key")
        return f"{context.account}\x1f{named}" if isinstance(named, str) and named else None

    def _goes_on(self, error: UpstreamError, asked: Asked) -> bool:
        """Whether a further attempt can help, and the client allows it."""
        return error.try_next and asked.reference.preferences.allow_fallbacks

    async def _retried(self, asked: Asked, failures: dict[str, UpstreamError]) -> Decision | None:
        """A decision for the same offer again, where no other is left and its failure may have passed; else None.

        Only for resets before the first byte and 429s with a short wait, within the budget of retries.
        """
        limits, retries = self.limits, sum(attempt.cause == "retry" for attempt in asked.trace.attempts)
        budget = RETRIES_FREE + limits.retry_share * self._requests
        if retries >= limits.retries_max or self._retries >= budget:
            return None
        for offer_id, error in reversed(failures.items()):
            wait_s = error.retry_after_s or 0.0
            if not error.retry_same or wait_s > limits.retry_wait_s_max:
                continue
            if self.clock.now() + wait_s >= asked.deadline_s:
                continue
            await self.clock.sleep(wait_s)
            self._retries += 1
            last = asked.trace.decisions[-1]
            return structs.replace(
                last, t_s=self.clock.now(), candidates=(offer_id,), scores=(0.0,), in_flight=(0,), chosen=offer_id,
                propensity=1.0,
            )  # fmt: skip
        return None

    def _draw(self, context: RequestContext, number: int) -> Draws:
        """The stream for the pick of one attempt; the same under every strategy of a seed."""
        return draws(self.seed, context.draw_key, "pick", str(number))

    def _begin(self, decision: Decision, cause: str, asked: Asked) -> Attempt:
        offer = self.router.catalog.offers[decision.chosen]
        asked.trace.decisions.append(decision)
        now_s = self.clock.now()
        facts = AttemptFacts(offer=offer, number=len(asked.trace.attempts), cause=cause, t_dispatch_s=now_s)
        asked.trace.attempts.append(facts)
        lease = self.router.dispatched(offer.id, at_s=now_s, expires_s=asked.deadline_s + LEASE_GRACE_S)
        return asked.hold.begun(Attempt(self.wire_for(offer), facts, lease), decision.strategy)

    async def _run(self, attempt: Attempt, asked: Asked) -> Reply:
        """One attempt, up to a whole answer or to the first output of a stream."""
        if asked.request.stream:
            attempt = await self._first_output(attempt, asked)
            return StreamReply(
                self._served(attempt, asked),
                attempt,
                self._drains,
                done=partial(self._stream_done, attempt, asked),
                broke=partial(self._stream_broke, attempt, asked),
            )
        completion = await in_time(
            self._whole(attempt, asked), self.limits.whole_timeout_s, gives_up=lambda: self._other(asked) is not None
        )
        self._succeed(attempt, asked)
        await self._settle(asked, attempt)
        asked.trace.close("ok", t_end_s=self._ended_s(attempt))
        usage = attempt.facts.usage  # without what cannot be believed, or with our own count of what nobody counted
        return CompletionReply(self._served(attempt, asked), structs.replace(completion, usage=usage))

    async def _whole(self, attempt: Attempt, asked: Asked) -> Completion:
        await self._send(attempt, asked)
        try:
            return await attempt.completion()
        finally:
            await attempt.aclose()

    async def _first_output(self, attempt: Attempt, asked: Asked) -> Attempt:
        """The attempt whose output comes first: this one, unless a second leg was hedged and overtook it."""
        if not self.hedging.is_on:
            await self._commit(attempt, asked)
            return attempt
        legs = Legs(
            commit=lambda leg: self._commit(leg, asked),
            other=partial(self._other, asked),
            begin=lambda decision: self._begin(decision, "hedge", asked),
            fail=lambda leg, error: self._fail(leg, asked, error),
            drop=lambda leg, overtaken: self._drop(leg, asked, overtaken=overtaken),
        )
        return await self.hedging.race(attempt, legs, asked.shape)

    def _other(self, asked: Asked) -> Decision | None:
        """The decision for one more attempt; None where client, bound on attempts or lack of offers says no."""
        attempts = asked.trace.attempts
        if len(attempts) >= self.limits.attempts_max or not asked.reference.preferences.allow_fallbacks:
            return None
        try:
            return self._next(asked)
        except RequestError:
            return None

    async def _send(self, attempt: Attempt, asked: Asked) -> None:
        await self.quotas.take(attempt.facts.offer, asked.shape.prompt_tokens)
        await attempt.send(asked.request, self.transport, draw_key=asked.context.draw_key, deadline_s=asked.deadline_s)

    async def _commit(self, attempt: Attempt, asked: Asked) -> None:
        """Sends, and reads a stream up to its first output, within the time that there is for it."""
        sent = False
        try:
            async with asyncio.timeout(self.limits.ttft_timeout_s):
                await self._send(attempt, asked)
                sent = True
                await attempt.open_stream(idle_timeout_s=self.limits.idle_timeout_s)
        except BaseException as error:
            if sent:
                await attempt.aclose()
            if isinstance(error, TimeoutError):
                told = f"No output within {self.limits.ttft_timeout_s:g} s."
                raise late(error, told, outcome="timeout_first") from error
            raise

    def _served(self, attempt: Attempt, asked: Asked) -> Served:
        return Served(
            request_id=asked.context.request_id,
            offer=attempt.facts.offer,
            strategy=asked.trace.decisions[-1].strategy,
            attempts=len(asked.trace.attempts),
            cost_pico_usd=asked.trace.cost_pico_usd,
            hold=asked.hold,
        )

    async def _stream_done(self, attempt: Attempt, asked: Asked, is_gone: bool) -> None:
        """The usage frame and the end marker wait for this: what the client is told is already in the ledger."""
        self._succeed(attempt, asked)
        await self._settle(asked, attempt)
        status, kind = ("cancelled", "client_abort") if is_gone else ("ok", None)
        asked.trace.close(status, t_end_s=self._ended_s(attempt), error_kind=kind)

    async def _stream_broke(self, attempt: Attempt, asked: Asked, error: BaseException) -> Exception:
        """Records a stream that broke after its first output; the error that the client is told."""
        trace = asked.trace
        if isinstance(error, UpstreamError):
            self._fail(attempt, asked, error)
            await self._settle(asked, attempt)
            told = request_error(error, attempts=len(trace.attempts))
            trace.close("failed", t_end_s=self._ended_s(attempt), error_kind=told.code)
            return told
        self._fail(attempt, asked, our_mistake() if isinstance(error, Exception) else client_gone())
        await self._settle(asked, attempt)
        self._lost(trace, error)
        raise error

    async def _settle(self, asked: Asked, attempt: Attempt | None = None) -> None:
        """Ends the hold by the bill of this attempt, of the last one where none is named."""
        number = attempt.facts.number if attempt is not None else None
        await asked.hold.close(number)
        asked.trace.charge_pico_uat = asked.hold.charge_pico_uat

    def _ended_s(self, attempt: Attempt) -> float:
        """The attempt's end; now, for a body that was empty."""
        if attempt.facts.t_end_s is None:
            attempt.facts.t_end_s = self.clock.now()
        return attempt.facts.t_end_s

    def _succeed(self, attempt: Attempt, asked: Asked) -> None:
        asked.hold.bill(attempt)
        self._tell_router(attempt, asked)

    def _fail(self, attempt: Attempt, asked: Asked, error: UpstreamError) -> None:
        facts = attempt.facts
        if facts.outcome != "ok":
            return  # told already, as the leg of a hedge
        facts.outcome = error.outcome
        if facts.t_end_s is None or error.outcome in TIMEOUTS:
            facts.t_end_s = self.clock.now()
        facts.retry_after_s = error.retry_after_s
        facts.provenance = facts.provenance or error.provenance
        if error.status is not None:
            facts.http_status = error.status
        attempt.failure = error
        asked.hold.bill(attempt)
        self._tell_router(attempt, asked)

    def _drop(self, attempt: Attempt, asked: Asked, *, overtaken: bool) -> None:
        """A leg of a hedge is given up; its cost is an estimate, for its provider counts what nobody will read."""
        facts = attempt.facts
        facts.outcome, facts.t_end_s, facts.notes = "client_abort", self.clock.now(), (*facts.notes, DROPPED)
        attempt.failure = client_gone()
        asked.hold.bill(attempt)
        facts.cost_pico_usd = cost_of_dropped(facts.offer, asked.shape)
        # A second leg had less time than the first: that it lost says nothing about its offer.
        late = overtaken and facts.cause != "hedge"
        self._tell_router(attempt, asked, outcome=OVERTAKEN if late else facts.outcome)

    def _tell_router(self, attempt: Attempt, asked: Asked, *, outcome: str | None = None) -> None:
        """What was seen of an attempt that is over, good or bad; `outcome` None: as it is recorded."""
        facts, shape, seen = attempt.facts, asked.shape, seen_of(attempt.facts)
        session = self._session(asked.request, asked.context)
        if session is not None and facts.outcome == "ok":
            self.router.sticky.served(session, facts.offer.id, cached_share=seen.cached_share, at_s=self.clock.now())
        self.hedging.paid(facts, dropped=DROPPED in facts.notes)
        self.router.finished(
            attempt.lease,
            at_s=self.clock.now(),
            outcome=outcome or facts.outcome,
            retry_after_s=facts.retry_after_s,
            stream=shape.stream,
            prompt_tokens=shape.prompt_tokens,
            elapsed_s=self._ended_s(attempt) - facts.t_dispatch_s,
            ttft_s=seen.ttft_s,
            token_rate=seen.token_rate,
            output_tokens=seen.output_tokens,
            cached_share=seen.cached_share,
            cost_pico_usd=facts.cost_pico_usd,
        )
