"""The main path of a request, to be read top to bottom.

The same code serves HTTP clients and the bench: clock and transport are handed in. Streaming is the normal case;
once the first output has gone out there is no silent fallback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from clawbench.clock import Clock
from clawbench.errors import RequestError, UpstreamError
from clawbench.gateway.admission import shape_of
from clawbench.gateway.attempt import Attempt
from clawbench.gateway.limits import Limits
from clawbench.gateway.recorder import AttemptFacts, Recorder, RequestContext, Trace
from clawbench.gateway.reply import CompletionReply, Reply, Served, StreamReply
from clawbench.rng import Draws, draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest, Offer, RequestShape
from clawbench.wires.protocol import Wire

ESTIMATE_TOKENS_MIN = 2  # below two output tokens there is no rate


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
        limits: Limits | None = None,
        seed: int = 0,
    ) -> None:
        self.router, self.wire_for, self.transport = router, wire_for, transport
        self.clock, self.recorder, self.limits, self.seed = clock, recorder, limits or Limits(), seed

    async def handle(self, request: ChatRequest, context: RequestContext) -> Reply:
        """The answer; raises `RequestError` when there is none. The request is recorded in either case."""
        trace = self.recorder.open(request, context, at_s=self.clock.now())
        try:
            shape = shape_of(request)
            reference = self.router.reference(request.model)
            return await self._attempts(request, reference, shape, context, trace)
        except RequestError as error:
            status = "failed" if trace.attempts else "rejected"
            trace.close(status, t_end_s=self.clock.now(), error_kind=error.code)
            raise
        except asyncio.CancelledError:
            trace.close("cancelled", t_end_s=self.clock.now(), error_kind="client_abort")
            raise
        except Exception:
            # A mistake of ours: the surface answers 500 and logs it; the records must not lose the request.
            trace.close("failed", t_end_s=self.clock.now(), error_kind="internal")
            raise

    async def _attempts(
        self, request: ChatRequest, reference: Reference, shape: RequestShape, context: RequestContext, trace: Trace
    ) -> Reply:
        """Offer after offer, until one has answered or nothing is left to try."""
        deadline_s = trace.t_arrival_s + self.limits.request_timeout_s
        tried: list[str] = []
        failure: UpstreamError | None = None
        while len(tried) < self.limits.attempts_max:
            try:
                decision = self.router.decide(
                    reference,
                    shape,
                    at_s=self.clock.now(),
                    draw=partial(self._draw, context, len(tried)),
                    tried=tried,
                )
            except RequestError:
                if failure is None:
                    raise
                break
            trace.decisions.append(decision)
            attempt = self._begin(decision.chosen, trace)
            try:
                return await self._run(attempt, request, context, trace, deadline_s)
            except UpstreamError as error:
                failure = error
                self._fail(attempt, error)
                tried.append(decision.chosen)
                if not error.try_next or self.clock.now() >= deadline_s:
                    break
            except BaseException as error:
                self._fail(attempt, _client_abort() if isinstance(error, asyncio.CancelledError) else _our_mistake())
                raise
        assert failure is not None, "the loop runs at least once"
        raise request_error(failure, attempts=len(tried))

    def _draw(self, context: RequestContext, number: int) -> Draws:
        """The stream for the pick of one attempt; the same under every strategy of a seed."""
        return draws(self.seed, context.draw_key, "pick", str(number))

    def _begin(self, offer_id: str, trace: Trace) -> Attempt:
        offer = self.router.catalog.offers[offer_id]
        facts = AttemptFacts(
            offer=offer,
            number=len(trace.attempts),
            cause="fallback" if trace.attempts else "first",
            t_dispatch_s=self.clock.now(),
        )
        trace.attempts.append(facts)
        self.router.estimates.dispatched(offer_id)
        return Attempt(self.wire_for(offer), facts)

    async def _run(
        self, attempt: Attempt, request: ChatRequest, context: RequestContext, trace: Trace, deadline_s: float
    ) -> Reply:
        """One attempt, up to a whole answer or to the first output of a stream."""
        await attempt.send(request, self.transport, draw_key=context.draw_key, deadline_s=deadline_s)
        try:
            if request.stream:
                await attempt.open_stream()
                return StreamReply(
                    self._served(attempt, context, trace),
                    attempt,
                    done=partial(self._stream_done, attempt, trace),
                    broke=partial(self._stream_broke, attempt, trace),
                )
            completion = await attempt.completion()
        except BaseException:
            await attempt.aclose()
            raise
        await attempt.aclose()
        self._succeed(attempt)
        trace.close("ok", t_end_s=self._ended_s(attempt))
        return CompletionReply(self._served(attempt, context, trace), completion)

    def _served(self, attempt: Attempt, context: RequestContext, trace: Trace) -> Served:
        return Served(
            request_id=context.request_id,
            offer=attempt.facts.offer,
            strategy=trace.decisions[-1].strategy,
            attempts=len(trace.attempts),
            cost_pico_usd=trace.cost_pico_usd,
        )

    def _stream_done(self, attempt: Attempt, trace: Trace) -> None:
        self._succeed(attempt)
        trace.close("ok", t_end_s=self._ended_s(attempt))

    def _stream_broke(self, attempt: Attempt, trace: Trace, error: BaseException) -> Exception:
        """Records a stream that broke after its first output; the error that the client is told."""
        if isinstance(error, UpstreamError):
            self._fail(attempt, error)
            told = request_error(error, attempts=len(trace.attempts))
            trace.close("failed", t_end_s=self._ended_s(attempt), error_kind=told.code)
            return told
        if isinstance(error, Exception):
            self._fail(attempt, _our_mistake())
            trace.close("failed", t_end_s=self.clock.now(), error_kind="internal")
        else:
            self._fail(attempt, _client_abort())
            trace.close("cancelled", t_end_s=self.clock.now(), error_kind="client_abort")
        raise error

    def _ended_s(self, attempt: Attempt) -> float:
        """The attempt's end; now, for a body that was empty."""
        if attempt.facts.t_end_s is None:
            attempt.facts.t_end_s = self.clock.now()
        return attempt.facts.t_end_s

    def _succeed(self, attempt: Attempt) -> None:
        attempt.settle()
        facts = attempt.facts
        tokens = facts.usage.output_tokens if facts.usage else None
        ttft_s = rate = None
        if facts.t_first_token_s is not None:
            ttft_s = facts.t_first_token_s - facts.t_dispatch_s
            if facts.t_last_token_s is not None and tokens is not None and tokens >= ESTIMATE_TOKENS_MIN:
                span_s = facts.t_last_token_s - facts.t_first_token_s
                rate = (tokens - 1) / span_s if span_s > 0 else None
        self.router.estimates.finished(
            facts.offer.id, at_s=self.clock.now(), ok=True, ttft_s=ttft_s, token_rate=rate, output_tokens=tokens
        )

    def _fail(self, attempt: Attempt, error: UpstreamError) -> None:
        facts = attempt.facts
        facts.outcome = error.outcome
        if facts.t_end_s is None or error.outcome in _TIMEOUTS:
            facts.t_end_s = self.clock.now()
        facts.retry_after_s = error.retry_after_s
        facts.provenance = facts.provenance or error.provenance
        if error.status is not None:
            facts.http_status = error.status
        attempt.settle()
        self.router.estimates.finished(facts.offer.id, at_s=self.clock.now(), ok=False)


def _client_abort() -> UpstreamError:
    return UpstreamError("The client has gone.", outcome="client_abort", try_next=False)


def _our_mistake() -> UpstreamError:
    return UpstreamError("The gateway failed.", outcome="protocol_error", try_next=False)


_TIMEOUTS = ("timeout_first", "timeout_total", "timeout_idle")


def request_error(error: UpstreamError, *, attempts: int) -> RequestError:
    """What a client is told when the last attempt failed with `error`; the provider's body is never passed on."""
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    if error.outcome == "rate_limited":
        return RequestError(
            f"The providers are limiting requests ({tried}). Try again later.",
            status=429,
            code="rate_limited",
            type="rate_limit_error",
            retry_after_s=error.retry_after_s if error.retry_after_s is not None else 1.0,
        )
    if error.outcome in ("rejected", "filtered"):
        context = error.code == "context_length_exceeded"
        return RequestError(
            f"The provider refused the request: {error.message}",
            status=400,
            code="context_length_exceeded" if context else "bad_request",
            type="invalid_request_error",
            param="messages" if context else None,
        )
    if error.outcome in _TIMEOUTS:
        return RequestError(
            f"No provider answered in time ({tried}).", status=504, code="upstream_timeout", type="upstream_error"
        )
    reason = error.message if error.outcome == "no_recording" else f"The last one failed with {error.outcome}."
    return RequestError(
        f"No provider could answer ({tried}). {reason}", status=502, code="upstream_error", type="upstream_error"
    )
