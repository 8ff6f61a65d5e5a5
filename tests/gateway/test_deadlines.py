"""When an attempt is given up, and what is tried after it: in virtual time, through the whole gateway."""

from __future__ import annotations

from typing import Any

import pytest

from clawbench.clock import Clock
from clawbench.errors import PlanError, UpstreamError
from clawbench.faults.kinds import AnyFault, Cut, Outage, Stall
from clawbench.faults.plan import FaultPlan
from clawbench.gateway.limits import Limits
from clawbench.transports.faulty import FaultyTransport
from clawbench.transports.protocol import Transport
from tests.lab import Lab, Played, chat, completion, error, in_lab, offer

A, B = offer("a", price=(1, 1)), offer("b", price=(2, 2))
ANSWER = completion()
BEFORE_HEADERS = completion(at_s=10_000.0)
AFTER_HEADERS = Played([(0.1, b" "), *BEFORE_HEADERS.chunks])


def asked(first: Any, second: Any = ANSWER, *, limits: Limits | None = None, **more: Any) -> tuple[int, Lab]:
    """The status of one request that is not streamed, at the price of `A` first."""
    (answer,), lab = in_lab([A, B], {"a/m": first, "b/m": second}, chat(**more), strategy="price", limits=limits)
    return answer.status, lab


def attempts(lab: Lab) -> list[tuple[str, str, str]]:
    return [(row["offer_id"], row["cause"], row["outcome"]) for row in lab.frame("attempts").to_dicts()]


@pytest.mark.parametrize("hangs", [BEFORE_HEADERS, AFTER_HEADERS])
def test_a_whole_answer_that_hangs_is_asked_of_the_next_offer_within_the_total_time(hangs: Played) -> None:
    status, lab = asked(hangs)
    assert status == 200
    assert attempts(lab) == [("a/m", "first", "timeout_attempt"), ("b/m", "fallback", "ok")]
    first, second = lab.frame("attempts").to_dicts()
    assert (first["t_end_s"], second["t_end_s"]) == (80.0, 81.0), "two thirds of 120 s, then the answer of one second"
    assert lab.frame("requests")["status"].to_list() == ["ok"]
    assert hangs is BEFORE_HEADERS or all(reply.closed for reply in lab.transport.replies)
    assert lab.router.estimates.in_flight("a/m", 81.0) == 0


def test_the_limit_of_an_attempt_can_be_set() -> None:
    _, lab = asked(BEFORE_HEADERS, limits=Limits(attempt_timeout_s=7.0))
    assert lab.frame("attempts")["t_end_s"].to_list() == [7.0, 8.0]
    with pytest.raises(PlanError, match="attempt_timeout_s must be > 0"):
        Limits(attempt_timeout_s=0.0)


@pytest.mark.parametrize(
    ("limits", "more"),
    [
        (Limits(attempts_max=1), {}),
        (Limits(), {"provider": {"allow_fallbacks": False}}),
        (Limits(), {"provider": {"only": ["a"]}}),
    ],
)
def test_a_slow_whole_answer_has_the_whole_time_where_nobody_else_could_be_asked(
    limits: Limits, more: dict[str, Any]
) -> None:
    status, lab = asked(completion(at_s=110.0), limits=limits, **more)
    assert (status, attempts(lab)) == (200, [("a/m", "first", "ok")])


def test_the_total_deadline_ends_the_last_attempt() -> None:
    def stalled(transport: Transport, clock: Clock) -> Transport:
        return FaultyTransport(transport, FaultPlan(name="f", faults=(Stall(offers=("*",)),)), clock, seed=1)

    scripts = {"a/m": ANSWER, "b/m": ANSWER}
    (answer,), lab = in_lab([A, B], scripts, chat(), strategy="price", in_front=stalled)
    assert answer.status == 504
    assert [row[2] for row in attempts(lab)] == ["timeout_attempt", "timeout_total"]
    assert lab.frame("requests")["t_end_s"].to_list() == [120.0]


def test_a_hang_is_noticed_by_the_router() -> None:
    _, lab = asked(BEFORE_HEADERS)
    state = lab.router.estimates.state("a/m", at_s=81.0, stream=False)
    assert state.failure_share > 0
    usual_s = lab.router.estimates.state("b/m", at_s=81.0, stream=False).ttft_s
    assert state.ttft_s > 1.5 * usual_s, "the wait counts as at least so long"


@pytest.mark.parametrize(
    ("fault", "outcome", "causes"),
    [
        (Cut(offers=("a/m",), chunks=0, until_s=0.1), "reset_early", ["first", "retry"]),
        (Outage(offers=("a/m",)), "connect_error", ["first"]),
        (Outage(offers=("a/m",), how="silent", connect_timeout_s=10.0), "connect_error", ["first"]),
    ],
)
def test_only_a_reset_before_the_first_byte_is_tried_again_at_the_only_offer(
    fault: AnyFault, outcome: str, causes: list[str]
) -> None:
    def faulty(transport: Transport, clock: Clock) -> Transport:
        return FaultyTransport(transport, FaultPlan(name="f", faults=(fault,)), clock, seed=1)

    _, lab = in_lab([A], {"a/m": ANSWER}, chat(), in_front=faulty)
    assert attempts(lab)[0][2] == outcome
    assert lab.frame("attempts")["cause"].to_list() == causes


@pytest.mark.parametrize("status", [401, 402, 403, 404, 408, 409, 413, 429, 500, 503, 529])
def test_what_is_an_offers_own_trouble_is_asked_of_the_next(status: int) -> None:
    told, lab = asked(error(status, "no"))
    assert told == 200
    assert [row[:2] for row in attempts(lab)] == [("a/m", "first"), ("b/m", "fallback")]


@pytest.mark.parametrize("status", [400, 422])
def test_what_the_next_offer_would_refuse_too_is_told_at_once(status: int) -> None:
    told, lab = asked(error(status, "invalid_request_error"))
    assert told == 400
    assert attempts(lab) == [("a/m", "first", "rejected")]


@pytest.mark.parametrize(("wait", "causes"), [("1", ["first", "retry"]), ("30", ["first"])])
def test_a_limit_that_passes_soon_is_waited_for_at_the_only_offer(wait: str, causes: list[str]) -> None:
    given = iter([error(429, "rate_limit_exceeded", retry_after=wait)])
    _, lab = in_lab([A], {"a/m": lambda call: next(given, ANSWER)}, chat())
    assert lab.frame("attempts")["cause"].to_list() == causes


def test_a_failure_that_a_transport_raises_before_the_headers_is_mended_too() -> None:
    status, lab = asked(UpstreamError("refused", outcome="connect_error"))
    assert (status, attempts(lab)[0]) == (200, ("a/m", "first", "connect_error"))
