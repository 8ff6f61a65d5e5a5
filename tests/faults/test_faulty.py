"""What a fault does to calls, seen through the whole gateway in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from clawbench.clock import Clock, LoopClock, run_virtual
from clawbench.faults.kinds import AnyFault, Brownout, Cut, ErrorBurst, Outage, RateLimitStorm, SharedQuota, Stall
from clawbench.faults.plan import FaultPlan
from clawbench.gateway.limits import Limits
from clawbench.transports.faulty import FaultyTransport
from clawbench.transports.protocol import Transport
from clawbench.types import HttpCall
from tests.lab import Lab, ScriptedTransport, chat, completion, events, in_lab, offer, streamed

A, B = offer("a"), offer("b")
WHOLE = {"a/m": completion(at_s=1.0), "b/m": completion(at_s=1.0)}
STREAMS = {"a/m": streamed("x", "y", "z"), "b/m": streamed("x", "y", "z")}


def faulty(*faults: AnyFault, seed: int = 0) -> Any:
    def in_front(transport: Transport, clock: Clock) -> Transport:
        return FaultyTransport(transport, FaultPlan(name="test", faults=faults), clock, seed=seed)

    return in_front


def attempts(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.frame("attempts").select("offer_id", "outcome", "fault").rows()


def test_an_outage_is_mended_by_the_other_offer_and_named_in_the_record() -> None:
    (answer,), lab = in_lab([A, B], WHOLE, chat(), in_front=faulty(Outage(offers=("a/m",))))
    assert answer.status == 200
    assert attempts(lab) == [("a/m", "connect_error", "outage"), ("b/m", "ok", None)]


def test_a_silent_outage_takes_as_long_as_connecting_may_take() -> None:
    outage = Outage(offers=("a/m",), how="silent", connect_timeout_s=7.0)
    _, lab = in_lab([A, B], WHOLE, chat(), in_front=faulty(outage))
    first = lab.frame("attempts").row(0, named=True)
    assert first["t_end_s"] - first["t_dispatch_s"] == 7.0


def test_an_outage_that_is_over_is_over() -> None:
    async def main() -> Lab:
        lab = Lab([A], WHOLE, in_front=faulty(Outage(offers=("a/m",), until_s=3.0)))
        assert (await lab.ask(chat())).status >= 500
        await lab.clock.sleep_until(30.0)
        assert (await lab.ask(chat())).status == 200
        return lab

    assert attempts(run_virtual(main))[-1] == ("a/m", "ok", None)


def test_a_brownout_stretches_headers_and_every_piece_by_its_factor() -> None:
    _, plain = in_lab([A], STREAMS, chat(stream=True))
    _, slow = in_lab([A], STREAMS, chat(stream=True), in_front=faulty(Brownout(offers=("*",), factor=4.0)))
    for column in ("t_headers_s", "t_first_token_s", "t_last_token_s", "t_end_s"):
        quick_s, slow_s = plain.frame("attempts")[column][0], slow.frame("attempts")[column][0]
        assert slow_s == pytest.approx(4 * quick_s)
    assert attempts(slow) == [("a/m", "ok", "brownout")]


def test_a_brownout_beyond_the_time_to_first_token_is_named_though_nothing_came() -> None:
    limits = Limits(ttft_timeout_s=5.0, attempts_max=1)
    brownout = Brownout(offers=("*",), factor=20.0)
    _, lab = in_lab([A], STREAMS, chat(stream=True), in_front=faulty(brownout), limits=limits)
    assert attempts(lab) == [("a/m", "timeout_first", "brownout")]


def test_a_burst_of_errors_strikes_about_its_share_and_the_same_requests_every_time() -> None:
    burst = ErrorBurst(offers=("a/m",), share=0.3, status=500)

    def struck(seed: int) -> list[bool]:
        async def main() -> list[bool]:
            clock = LoopClock()
            inner = ScriptedTransport({"a/m": completion()}, clock)
            transport = FaultyTransport(inner, FaultPlan(name="test", faults=(burst,)), clock, seed=seed)
            calls = [
                HttpCall(method="POST", url="", headers={}, body=b"", offer_id="a/m", draw_key=str(number))
                for number in range(1_000)
            ]
            return [(await transport.send(call, deadline_s=1e9)).status == 500 for call in calls]

        return run_virtual(main)

    assert 240 < sum(struck(1)) < 360
    assert struck(1) == struck(1)
    assert struck(1) != struck(2)


def test_a_storm_of_429s_is_waited_out_as_long_as_it_asks() -> None:
    storm = RateLimitStorm(offers=("a/m",), retry_after_s=20.0, until_s=1.0)

    async def main() -> Lab:
        lab = Lab([A, B], WHOLE, in_front=faulty(storm))
        for _ in range(30):
            assert (await lab.ask(chat())).status == 200
        return lab

    rows = run_virtual(main).frame("attempts")
    first = rows.row(0, named=True)
    assert (first["outcome"], first["http_status"], first["retry_after_s"]) == ("rate_limited", 429, 20.0)
    resting = rows.filter((rows["t_dispatch_s"] > 0.1) & (rows["t_dispatch_s"] < 20.0))
    assert set(resting["offer_id"]) == {"b/m"}
    assert "a/m" in set(rows.filter(rows["t_dispatch_s"] > 20.1)["offer_id"])


def test_a_stall_after_the_headers_is_left_when_the_first_token_is_overdue() -> None:
    limits = Limits(ttft_timeout_s=5.0)
    (answer,), lab = in_lab([A, B], STREAMS, chat(stream=True), in_front=faulty(Stall(offers=("a/m",))), limits=limits)
    assert answer.status == 200
    assert attempts(lab) == [("a/m", "timeout_first", "stall"), ("b/m", "ok", None)]


def test_a_stall_between_pieces_is_told_to_the_client_after_the_idle_time() -> None:
    limits = Limits(idle_timeout_s=9.0)
    (answer,), lab = in_lab(
        [A, B], STREAMS, chat(stream=True), in_front=faulty(Stall(offers=("a/m",), chunks=2)), limits=limits
    )
    assert "error" in events(answer)[-1]
    row = lab.frame("attempts").row(0, named=True)
    assert (row["outcome"], row["fault"]) == ("timeout_idle", "stall")
    assert row["t_end_s"] - row["t_last_token_s"] == pytest.approx(9.0)


def test_a_cut_stream_ends_with_an_error_the_client_can_read() -> None:
    (answer,), lab = in_lab([A, B], STREAMS, chat(stream=True), in_front=faulty(Cut(offers=("a/m",), chunks=2)))
    texts = [event["choices"][0]["delta"].get("content") for event in events(answer)[:-1] if event["choices"]]
    assert "".join(text for text in texts if text) == "xy"
    assert "error" in events(answer)[-1]
    assert attempts(lab) == [("a/m", "reset_mid", "cut")]


def test_a_cut_before_the_first_piece_is_mended_unseen() -> None:
    (answer,), lab = in_lab([A, B], STREAMS, chat(stream=True), in_front=faulty(Cut(offers=("a/m",), chunks=0)))
    assert "error" not in events(answer)[-1]
    assert attempts(lab) == [("a/m", "reset_early", "cut"), ("b/m", "ok", None)]


def test_a_cut_never_lets_a_short_answer_through_whole() -> None:
    _, lab = in_lab([A], WHOLE, chat(), in_front=faulty(Cut(offers=("a/m",), chunks=50)), limits=Limits(attempts_max=1))
    assert attempts(lab) == [("a/m", "reset_early", "cut")]


def test_offers_behind_one_quota_use_it_up_together_and_get_it_back_together() -> None:
    shared = [offer("a", quota="q"), offer("b", quota="q")]
    quota = SharedQuota(offers=("a/m", "b/m"), requests=3, window_s=10.0)

    async def main() -> Lab:
        lab = Lab(shared, {name: completion(at_s=0.1) for name in WHOLE}, in_front=faulty(quota))
        answers = [await lab.ask(chat()) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        await lab.clock.sleep_until(10.5)
        assert (await lab.ask(chat())).status == 200
        return lab

    rows = run_virtual(main).frame("attempts")
    assert set(rows.filter(rows["outcome"] == "ok")["offer_id"]) == {"a/m", "b/m"}
    struck = rows.filter(rows["fault"] == "shared_quota")
    assert struck.height == 1, "the second offer of the quota is not tried in vain"
    assert struck["retry_after_s"][0] == 10.0


def test_without_a_fault_in_force_records_are_those_without_a_plan() -> None:
    bodies = [chat(stream=number % 2 == 0) for number in range(6)]
    scripts = dict.fromkeys(WHOLE, _both)
    _, plain = in_lab([A, B], scripts, *bodies)
    _, planned = in_lab([A, B], scripts, *bodies, in_front=faulty(Outage(offers=("*",), from_s=1e6)))
    for table in ("requests", "attempts", "decisions"):
        assert plain.frame(table).equals(planned.frame(table))


def _both(call: Any) -> Any:
    return streamed("x", "y") if call.stream else completion()
