"""The recorder: what happened to each request, as rows of the record schema.

It is told facts as they happen and writes the rows when a request is over. It decides nothing and derives nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from clawbench.gateway.records import RecordWriter
from clawbench.types import ChatRequest, Decision, Offer, Provenance, Usage

LOCAL_ACCOUNT = "local"
"""Of callers that need no account of their own."""

_NO_USAGE = Usage()


class RunContext(Struct, frozen=True, kw_only=True):
    """What all requests of a cell share."""

    run_id: str = "live"
    seed: int = 0
    strategy: str = ""
    workload: str = "clients"
    fault_plan: str | None = None


class RequestContext(Struct, frozen=True, kw_only=True):
    """What came with a request beside its body.

    `draw_key` names it in keyed random draws; `t_scheduled_s` is when the workload meant it (None: on arrival);
    `session` is what the client calls the conversation (None: nothing).
    """

    request_id: str
    draw_key: str
    surface: str = "chat"
    account: str = LOCAL_ACCOUNT
    key_id: str = ""  # of the key that the request came with
    body_sha256: str = ""  # of a request that named its own id: another body under the same id is another request
    t_scheduled_s: float | None = None
    session: str | None = None


class AttemptFacts(Struct, kw_only=True):
    """One attempt, filled in as it goes; instants in seconds, None: did not happen."""

    offer: Offer
    number: int
    cause: str
    t_dispatch_s: float
    t_headers_s: float | None = None
    t_first_token_s: float | None = None
    t_last_token_s: float | None = None
    t_end_s: float | None = None  # None: still under way
    outcome: str = "ok"
    http_status: int | None = None
    retry_after_s: float | None = None
    provenance: Provenance | None = None
    usage: Usage | None = None
    usage_source: str | None = None
    cost_pico_usd: int | None = None
    chunks: int = 0
    notes: tuple[str, ...] = ()


class Trace:
    """One request under way."""

    __slots__ = (
        "_context", "_recorder", "_request", "attempts", "charge_pico_uat", "decisions", "held_pico_uat", "t_arrival_s",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, request: ChatRequest, context: RequestContext, at_s: float) -> None:
        self._recorder, self._request, self._context = recorder, request, context
        self.t_arrival_s = at_s
        self.decisions: list[Decision] = []
        self.attempts: list[AttemptFacts] = []
        self.held_pico_uat: int | None = None
        self.charge_pico_uat: int | None = None

    @property
    def cost_pico_usd(self) -> int | None:
        """Upstream cost of all attempts; None if one of them is unknown, or there was none."""
        total: int | None = None
        for attempt in self.attempts:
            cost = attempt.cost_pico_usd
            if cost is None:
                return None
            total = cost if total is None else total + cost
        return total

    def close(self, status: str, *, t_end_s: float, error_kind: str | None = None) -> None:
        """Writes the request's rows. Call once, when nothing more will happen."""
        request_id = self._context.request_id
        add = self._recorder.writer.add
        for number, decision in enumerate(self.decisions):
            add("decisions", _decision_row(request_id, number, decision))
        for attempt in self.attempts:
            add("attempts", _attempt_row(request_id, attempt))
        add("requests", self._request_row(status, t_end_s, error_kind))

    def _request_row(self, status: str, t_end_s: float, error_kind: str | None) -> tuple[Any, ...]:
        run, context, request = self._recorder.run, self._context, self._request
        # The one that was first, where two legs of a hedge ran.
        served = (
            next((each for each in reversed(self.attempts) if each.outcome == "ok"), None) if status == "ok" else None
        )
        usage = (served and served.usage) or _NO_USAGE
        scheduled = context.t_scheduled_s
        return (
            run.run_id,
            context.request_id,
            run.seed,
            run.strategy,
            run.workload,
            run.fault_plan,
            context.surface,
            request.model,
            context.account,
            request.stream,
            self.t_arrival_s if scheduled is None else scheduled,
            self.t_arrival_s,
            served.t_first_token_s if served else None,
            served.t_last_token_s if served else None,
            t_end_s,
            status,
            error_kind,
            len(self.attempts),
            served.offer.id if served else None,
            served.offer.model if served else None,
            served.offer.provider if served else None,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            served.usage_source if served else None,
            self.cost_pico_usd,
            self.charge_pico_uat,
            self.held_pico_uat,
            None,
            None,
        )


class Recorder:
    """Opens a trace a request; the rows go to `writer`."""

    def __init__(self, writer: RecordWriter, run: RunContext) -> None:
        self.writer, self.run = writer, run

    def open(self, request: ChatRequest, context: RequestContext, *, at_s: float) -> Trace:
        """A request has arrived at `at_s`."""
        return Trace(self, request, context, at_s)


def _decision_row(request_id: str, number: int, decision: Decision) -> tuple[Any, ...]:
    return (
        request_id,
        number,
        decision.strategy,
        decision.t_s,
        decision.candidates,
        decision.scores,
        [{"offer_id": each.offer_id, "reason": each.reason} for each in decision.excluded],
        decision.chosen,
        decision.propensity,
        decision.in_flight,
    )


def _attempt_row(request_id: str, facts: AttemptFacts) -> tuple[Any, ...]:
    usage = facts.usage or _NO_USAGE
    provenance = facts.provenance
    return (
        request_id,
        facts.number,
        facts.offer.id,
        facts.cause,
        facts.t_dispatch_s,
        facts.t_headers_s,
        facts.t_first_token_s,
        facts.t_last_token_s,
        facts.t_end_s,
        facts.outcome,
        facts.http_status,
        facts.retry_after_s,
        provenance.match if provenance else None,
        provenance.timing if provenance else None,
        provenance.interaction if provenance else None,
        provenance.fault if provenance else None,
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        facts.cost_pico_usd,
        facts.chunks,
        facts.notes,
    )
