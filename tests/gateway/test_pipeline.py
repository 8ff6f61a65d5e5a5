"""The main path: answers, fallback, what is recorded, what clients are told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clawbench.errors import UpstreamError
from clawbench.gateway.limits import Limits
from clawbench.routing.settings import RoutingSettings
from tests.lab import Played, chat, completion, error, events, frames, in_lab, offer, streamed

A, B = offer("a"), offer("b")


def test_a_whole_answer_is_recorded_with_its_instants_tokens_and_exact_cost() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    (answer,), lab = in_lab([offer("a", price=(2, 3))], {"a/m": completion(at_s=1.5, usage=usage)}, chat())
    assert answer.status == 200
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["t_arrival_s"], request["t_end_s"]) == ("ok", 0.0, 1.5)
    assert (request["input_tokens"], request["cached_input_tokens"], request["output_tokens"]) == (10, 4, 5)
    assert request["cost_pico_usd"] == 10 * 2_000_000 + 5 * 3_000_000
    assert request["t_first_token_s"] is None, "nothing was streamed"
    assert request["charge_pico_uat"] == request["cost_pico_usd"], "no margin, and 1 USD for 1 UAT"
    assert request["held_pico_uat"] > request["charge_pico_uat"]


def test_cached_tokens_cost_their_own_rate() -> None:
    cheap = msgspec.structs.replace(A, rates=msgspec.structs.replace(A.rates, input=100, cached_input=7, output=0))  # type: ignore[type-var]
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    _, lab = in_lab([cheap], {"a/m": completion(usage=usage)}, chat())
    assert lab.frame("requests")["cost_pico_usd"].to_list() == [6 * 100 + 4 * 7]


def test_a_stream_is_recorded_by_the_instants_at_which_its_chunks_arrived() -> None:
    (answer,), lab = in_lab([A], {"a/m": streamed("He", "l", "lo", first_s=2.0, every_s=0.25)}, chat(stream=True))
    (request,) = lab.frame("requests").to_dicts()
    assert (request["t_first_token_s"], request["t_last_token_s"]) == (2.0, 2.5)
    assert request["t_end_s"] == 2.0 + 5 * 0.25, "the end marker's arrival"
    assert request["output_tokens"] == 3
    text = "".join(choice["delta"].get("content", "") for event in events(answer) for choice in event["choices"])
    assert text == "Hello"
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_a_failing_offer_is_followed_by_the_next_and_both_attempts_are_recorded() -> None:
    scripts = {"a/m": error(503, "overloaded"), "b/m": completion()}
    (answer,), lab = in_lab([A, B], scripts, chat())
    assert answer.status == 200
    attempts = lab.frame("attempts")
    assert attempts["offer_id"].to_list() == ["a/m", "b/m"]
    assert attempts["cause"].to_list() == ["first", "fallback"]
    assert attempts["outcome"].to_list() == ["upstream_5xx", "ok"]
    decisions = lab.frame("decisions")
    assert decisions["excluded"].to_list()[1] == [{"offer_id": "a/m", "reason": "already tried"}]
    assert dict(answer.headers)[b"x-clawbench-attempts"] == b"2"


def test_a_stream_that_breaks_before_its_first_output_is_mended_by_another_offer() -> None:
    broken = Played([(1.0, b": hello\n\n")], headers={"content-type": "text/event-stream"}, dies="reset_early")
    (answer,), lab = in_lab([A, B], {"a/m": broken, "b/m": streamed("ok")}, chat(stream=True))
    assert [event["choices"][0]["finish_reason"] for event in events(answer) if event["choices"]][-1] == "stop"
    assert lab.frame("attempts")["outcome"].to_list() == ["reset_early", "ok"]
    assert lab.frame("requests")["status"].to_list() == ["ok"]


def test_a_stream_that_breaks_after_output_ends_with_a_visible_error_and_no_second_attempt() -> None:
    cut = streamed("Hel", "lo", finish=False, done=False)
    (answer,), lab = in_lab([A, B], {"a/m": cut, "b/m": streamed("other")}, chat(stream=True))
    last = events(answer)[-1]
    assert last["object"] == "error"
    assert last["error"]["code"] == "upstream_error"
    assert last["choices"][0]["finish_reason"] == "error"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert lab.frame("attempts")["outcome"].to_list() == ["truncated"]
    assert lab.frame("requests").select("status", "error_kind").row(0) == ("failed", "upstream_error")


def test_an_error_event_in_the_same_batch_as_output_is_told_after_that_output() -> None:
    event = b'data: {"error":{"message":"boom","code":"server_error"}}\n\n'
    both = Played(
        [(1.0, frames("half", finish=False, done=False)[0] + event)], headers={"content-type": "text/event-stream"}
    )
    (answer,), lab = in_lab([A], {"a/m": both}, chat(stream=True))
    told = events(answer)
    assert any(event["choices"][0]["delta"].get("content") == "half" for event in told if event["choices"])
    assert told[-1]["object"] == "error"
    assert lab.frame("attempts")["outcome"].to_list() == ["error_event"]


def test_a_mistake_of_the_client_is_not_repeated_elsewhere() -> None:
    (answer,), lab = in_lab([A, B], {"a/m": error(400, "invalid_request_error"), "b/m": completion()}, chat())
    assert answer.status == 400
    assert lab.frame("attempts").height == 1
    assert lab.frame("requests")["error_kind"].to_list() == ["bad_request"]


def test_when_all_offers_limit_the_client_is_told_when_to_come_back() -> None:
    limited = error(429, "rate_limit_exceeded", retry_after="7")
    (answer,), lab = in_lab([A, B], {"a/m": limited, "b/m": limited}, chat())
    assert answer.status == 429
    assert dict(answer.headers)[b"retry-after"] == b"7"
    assert lab.frame("attempts")["retry_after_s"].to_list() == [7.0, 7.0]


def test_our_key_refused_upstream_is_never_the_clients_401() -> None:
    (answer,), _ = in_lab([A], {"a/m": error(401, "invalid_api_key", "Incorrect API key: sk-secret")}, chat())
    assert answer.status == 502
    assert b"sk-secret" not in answer.body
    assert dict(answer.headers)[b"x-should-retry"] == b"false"


def test_attempts_are_bounded() -> None:
    offers = [offer(name) for name in "abcde"]
    scripts = {one.id: error(500, "oops") for one in offers}
    (answer,), lab = in_lab(offers, scripts, chat(), limits=Limits(attempts_max=2))
    assert answer.status == 502
    assert lab.frame("attempts").height == 2


def test_a_request_for_an_unknown_model_is_rejected_before_any_attempt() -> None:
    (answer,), lab = in_lab([A], {}, chat("lama"))
    assert answer.status == 404
    assert msgspec.json.decode(answer.body)["error"]["code"] == "model_not_found"
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["attempts"], request["cost_pico_usd"]) == ("rejected", 0, None)


def test_a_failure_of_the_transport_is_recorded_with_its_kind() -> None:
    refused = UpstreamError("refused", outcome="connect_error")
    (answer,), lab = in_lab([A, B], {"a/m": refused, "b/m": completion()}, chat())
    assert answer.status == 200
    assert lab.frame("attempts")["outcome"].to_list() == ["connect_error", "ok"]
    assert lab.frame("attempts")["cost_pico_usd"].to_list()[0] == 0


def test_a_cost_with_an_unpriced_offer_in_it_is_unknown_not_zero() -> None:
    _, lab = in_lab([offer("a", price=None)], {"a/m": completion()}, chat())
    assert lab.frame("requests")["cost_pico_usd"].to_list() == [None]


@pytest.mark.parametrize("stream", [False, True])
def test_every_reply_is_closed(stream: bool) -> None:
    scripts = {"a/m": error(500, "oops"), "b/m": streamed("x") if stream else completion()}
    _, lab = in_lab([A, B], scripts, chat(stream=stream))
    assert [reply.closed for reply in lab.transport.replies] == [True, True]


def test_nothing_is_left_in_flight() -> None:
    scripts = {"a/m": error(500, "oops"), "b/m": streamed("x", finish=False, done=False)}
    _, lab = in_lab([A, B], scripts, chat(stream=True), chat(stream=True))
    assert [lab.router.estimates.state(one.id, at_s=100.0).in_flight for one in (A, B)] == [0, 0]


def test_a_mistake_of_ours_loses_no_record_and_leaves_nothing_in_flight() -> None:
    def broken(_: object) -> Played:
        raise ZeroDivisionError

    (answer,), lab = in_lab([A], {"a/m": broken}, chat())
    assert answer.status == 500
    assert lab.frame("requests").select("status", "error_kind").row(0) == ("failed", "internal")
    assert lab.router.estimates.state("a/m", at_s=0.0).in_flight == 0


def test_after_a_prompt_was_too_long_for_one_window_only_larger_ones_are_asked() -> None:
    offers = [offer("a", context_window=8_000), offer("b", context_window=8_000), offer("c", context_window=32_000)]
    refused = error(400, "context_length_exceeded", "This model's maximum context length is 8000 tokens.")
    scripts = {"a/m": refused, "b/m": refused, "c/m": completion()}
    (answer,), lab = in_lab(offers, scripts, chat())
    assert answer.status == 200
    assert lab.frame("attempts")["offer_id"].to_list() == ["a/m", "c/m"]
    (answer,), lab = in_lab(offers[:2], scripts, chat())
    assert msgspec.json.decode(answer.body)["error"]["code"] == "context_length_exceeded"
    assert answer.status == 400
    assert lab.frame("attempts")["offer_id"].to_list() == ["a/m"]


def test_a_session_stays_where_its_prompt_was_cached_and_others_do_not() -> None:
    dear = offer("b", price=(3, 3))
    assert dear.rates is not None
    dear = msgspec.structs.replace(dear, rates=msgspec.structs.replace(dear.rates, cached_input=1))
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 95}}
    offers, scripts = [offer("a", price=(2, 2)), dear], {"a/m": completion(), "b/m": completion(usage=usage)}
    mine: dict[str, Any] = {"prompt_cache_key": "mine", "max_tokens": 1, "text": "hello " * 500}
    bodies = [
        chat("b/m@price", **mine),
        chat("m@price", **mine),
        chat("m@price", **{**mine, "prompt_cache_key": "other"}),
    ]
    settings = RoutingSettings(exploration=0, sticky_margin=0.0)
    _, lab = in_lab(offers, scripts, *bodies, settings=settings)
    assert lab.frame("attempts")["offer_id"].to_list() == ["b/m", "b/m", "a/m"]
    _, lab = in_lab(offers, scripts, *bodies, settings=RoutingSettings(exploration=0))
    assert lab.frame("attempts")["offer_id"].to_list() == ["b/m", "a/m", "a/m"]
