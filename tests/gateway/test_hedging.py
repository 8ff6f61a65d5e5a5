"""Hedging through the whole gateway: who serves, what is recorded, and that the budget holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.clock import run_virtual
from clawbench.errors import PlanError
from clawbench.gateway.hedging import DROPPED
from clawbench.gateway.limits import HedgingSettings, Limits
from tests.lab import Lab, Played, Script, chat, completion, error, in_lab, offer, streamed

HEDGED = Limits(hedging=HedgingSettings(spend_share=0.5))
OFFERS = [offer("a", price=(1, 1), ttft_s=0.2), offer("b", price=(2, 2), ttft_s=0.2)]
QUICK = streamed("He", "llo", first_s=0.2)
LATE = Played([(0.1, b": hello\n\n"), *streamed("He", "llo", first_s=8.0).chunks], headers=QUICK.headers)
ASKED = chat("m@price", stream=True, max_tokens=2)
WARM = 20


def then(*later: Played) -> Script:
    """Quick answers until the offer is known, then these, the last one again and again."""
    given = iter([QUICK] * WARM + list(later))
    return lambda call: next(given, later[-1])


def lab_of(first: Any, second: Any, *, limits: Limits = HEDGED, requests: int = 1) -> Lab:
    return in_lab(OFFERS, {"a/m": first, "b/m": second}, *[ASKED] * (WARM + requests), limits=limits)[1]


def attempts_of_last(lab: Lab, requests: int = 1) -> list[dict[str, Any]]:
    return [each for each in lab.frame("attempts").to_dicts() if each["request_id"] == f"r{WARM + requests}"]


def test_a_late_stream_is_served_by_the_offer_that_was_asked_second() -> None:
    lab = lab_of(then(LATE), QUICK)
    first, second = attempts_of_last(lab)
    assert (first["offer_id"], first["cause"], first["outcome"]) == ("a/m", "first", "client_abort")
    assert (second["offer_id"], second["cause"], second["outcome"]) == ("b/m", "hedge", "ok")
    assert DROPPED in first["notes"]
    request = lab.frame("requests").to_dicts()[-1]
    assert (request["status"], request["offer_id"], request["attempts"]) == ("ok", "b/m", 2)
    waited_s = request["t_first_token_s"] - request["t_arrival_s"]
    assert 0.39 < waited_s < 0.45, "the usual 0.2 s, then as long for the second offer"
    assert request["cost_pico_usd"] == first["cost_pico_usd"] + second["cost_pico_usd"]
    assert first["cost_pico_usd"] > 0, "the dropped leg's prompt is counted"
    assert all(reply.closed for reply in lab.transport.replies)
    assert lab.router.estimates.in_flight("a/m", lab.clock.now()) == 0


def test_the_first_leg_serves_where_it_is_first_after_all() -> None:
    lab = lab_of(then(streamed("Hi", first_s=0.6)), LATE)
    first, second = attempts_of_last(lab)
    assert (first["outcome"], second["outcome"], second["cause"]) == ("ok", "client_abort", "hedge")
    assert lab.frame("requests").to_dicts()[-1]["offer_id"] == "a/m"


def test_decisions_and_attempts_of_both_legs_run_in_parallel() -> None:
    lab = lab_of(then(LATE), QUICK)
    decisions = [each for each in lab.frame("decisions").to_dicts() if each["request_id"] == f"r{WARM + 1}"]
    assert [(each["attempt"], each["chosen"]) for each in decisions] == [(0, "a/m"), (1, "b/m")]
    assert {"offer_id": "a/m", "reason": "already tried"} in decisions[1]["excluded"]


def test_the_second_leg_serves_where_the_first_fails_meanwhile_and_the_other_way_round() -> None:
    breaks = Played([(0.5, b": hello\n\n")], headers={"content-type": "text/event-stream"}, dies="reset_early")
    first, second = attempts_of_last(lab_of(then(breaks), streamed("Hi", first_s=2.0)))
    assert (first["outcome"], second["outcome"]) == ("reset_early", "ok")
    first, second = attempts_of_last(lab_of(then(streamed("Hi", first_s=2.0)), error(503, "busy")))
    assert (first["outcome"], second["outcome"]) == ("ok", "upstream_5xx")


def test_where_both_legs_fail_each_is_recorded_once_and_the_next_offer_is_asked() -> None:
    breaks = Played([(0.5, b": hello\n\n")], headers={"content-type": "text/event-stream"}, dies="reset_early")
    offers = [*OFFERS, offer("c", price=(3, 3))]
    scripts = {"a/m": then(breaks), "b/m": error(503, "busy"), "c/m": QUICK}
    _, lab = in_lab(offers, scripts, *[ASKED] * (WARM + 1), limits=HEDGED)
    told = [(each["offer_id"], each["cause"], each["outcome"]) for each in attempts_of_last(lab)]
    assert told == [("a/m", "first", "reset_early"), ("b/m", "hedge", "upstream_5xx"), ("c/m", "fallback", "ok")]


def test_nothing_is_hedged_that_is_whole_unaffordable_unwanted_or_not_asked_for() -> None:
    whole = chat("m@price", max_tokens=2)
    given = iter([completion(at_s=0.2)] * WARM)
    slow = in_lab(
        OFFERS,
        {"a/m": lambda call: next(given, completion(at_s=8.0)), "b/m": QUICK},
        *[whole] * (WARM + 1),
        limits=HEDGED,
    )[1]
    assert len(attempts_of_last(slow)) == 1
    assert len(attempts_of_last(lab_of(then(LATE), QUICK, limits=Limits(hedging=HedgingSettings())))) == 1, "2 % of 20"
    assert len(attempts_of_last(lab_of(then(LATE), QUICK, limits=Limits()))) == 1
    alone = {**ASKED, "provider": {"allow_fallbacks": False}}
    bodies = [ASKED] * WARM + [alone]
    assert len(attempts_of_last(in_lab(OFFERS, {"a/m": then(LATE), "b/m": QUICK}, *bodies, limits=HEDGED)[1])) == 1


def test_a_client_that_leaves_during_a_race_leaves_nothing_under_way() -> None:
    async def main() -> Lab:
        lab = Lab(OFFERS, {"a/m": then(LATE), "b/m": LATE}, limits=HEDGED)
        for _ in range(WARM):
            await lab.ask(ASKED)
        asking = asyncio.create_task(lab.ask(ASKED))
        await lab.clock.sleep(1.0)
        asking.cancel()
        await asyncio.wait([asking])
        return lab

    lab = run_virtual(main)
    assert [each["outcome"] for each in attempts_of_last(lab)] == ["client_abort", "client_abort"]
    assert lab.frame("requests").to_dicts()[-1]["status"] == "cancelled"
    assert [lab.router.estimates.in_flight(name, lab.clock.now()) for name in ("a/m", "b/m")] == [0, 0]
    assert all(reply.closed for reply in lab.transport.replies)


def test_an_offer_that_is_overtaken_is_believed_to_be_slower() -> None:
    def believed_s(*later: Played) -> float:
        return lab_of(then(*later), QUICK, requests=4).router.estimates.state("a/m", at_s=20.0).ttft_s

    assert believed_s(streamed("Hi", first_s=50.0)) > 1.08 * believed_s(QUICK)


def test_an_offer_that_only_ever_loses_is_left_to_rest_and_a_second_leg_that_loses_is_not() -> None:
    lab = lab_of(then(streamed("Hi", first_s=50.0)), QUICK, requests=12)
    chosen = lab.frame("decisions")["chosen"].to_list()
    assert chosen[-6:] == ["b/m"] * 6, "five in a row were given up; then it rests"
    excluded = lab.frame("decisions")["excluded"].to_list()[-1]
    assert any("5 attempts in a row were given up or failed" in each["reason"] for each in excluded)
    slow_second = lab_of(then(streamed("Hi", first_s=0.6)), LATE, requests=12)
    now_s = slow_second.clock.now()
    assert slow_second.router.health.resting("b/m", now_s) is None
    assert sum(each == "hedge" for each in slow_second.frame("attempts")["cause"].to_list()) > 5


@given(st.lists(st.floats(0.05, 12.0), min_size=30, max_size=120), st.floats(0.01, 0.3))
def test_dropped_legs_never_cost_more_than_their_share(waits_s: list[float], share: float) -> None:
    waits = iter(waits_s)
    scripts = {"a/m": lambda call: streamed("He", "llo", first_s=next(waits, 1.0)), "b/m": QUICK}
    limits = Limits(hedging=HedgingSettings(quantile=0.5, spend_share=share))
    _, lab = in_lab(OFFERS, scripts, *[ASKED] * len(waits_s), limits=limits)
    attempts = lab.frame("attempts")
    dropped = sum(each["cost_pico_usd"] for each in attempts.to_dicts() if DROPPED in each["notes"])
    assert dropped <= share * float(attempts["cost_pico_usd"].sum())
    assert lab.frame("requests")["status"].to_list() == ["ok"] * len(waits_s)


@pytest.mark.parametrize("wrong", [{"quantile": 1.0}, {"quantile": 0.1}, {"after_s_min": 0}, {"spend_share": 1.5}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError, match=f"gateway.hedging.{next(iter(wrong))}"):
        HedgingSettings(**wrong)
