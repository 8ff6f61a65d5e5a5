"""Money along a request's way: what is held, charged, given back or kept, and what the platform owes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.charge import terms
from clawbench.billing.hold_sizing import HoldSizing
from clawbench.billing.ledger.proof import prove
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.working_again import worked_again
from clawbench.clock import run_virtual
from clawbench.errors import UpstreamError
from clawbench.experiments.client import Answer
from clawbench.types import ChatRequest
from tests.lab import CREDIT_PICO_UAT, Lab, chat, completion, error, events, in_lab, offer, streamed

PRICED = offer("a", price=(2, 3), max_output_tokens=100)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
COST = 10 * 2_000_000 + 5 * 3_000_000


def kinds(lab: Lab) -> list[str]:
    return [entry.kind for entry in lab.ledger.entries() if entry.kind != "topup"]


def detail(lab: Lab, kind: str) -> dict[str, Any]:
    return dict(next(entry for entry in lab.ledger.entries() if entry.kind == kind).detail)


def balances(lab: Lab) -> tuple[int, int]:
    """What "local" has available and held, after everything that was charged has been worked again."""
    assert prove(lab.ledger.entries(limit=10_000)).sound
    for entry in lab.ledger.entries():
        if entry.kind in ("settle", "quarantine"):
            derivation = entry.detail["derivation" if entry.kind == "settle" else "evidence"]
            again = worked_again(msgspec.json.decode(msgspec.json.encode(derivation)), lab.holds.biller.prices.book)
            assert not again.differences
            assert entry.kind == "quarantine" or str(again.bill.charge_pico_uat) == entry.detail["amount"]
    balance = lab.ledger.books.balance("local")
    return balance.available, balance.held


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_charged_what_it_cost_and_the_rest_of_its_hold_comes_back(stream: bool) -> None:
    script = streamed(*"abcde") if stream else completion(usage=USAGE)
    (answer,), lab = in_lab([PRICED], {PRICED.id: script}, chat(stream=stream))
    assert answer.status == 200
    assert kinds(lab) == ["hold", "settle", "cost"]
    assert balances(lab) == (CREDIT_PICO_UAT - COST, 0)
    (request,) = lab.frame("requests").to_dicts()
    assert (request["charge_pico_uat"], request["usage_source"]) == (COST, "provider")
    assert request["held_pico_uat"] >= COST


def test_a_charge_can_be_derived_from_what_the_ledger_holds_of_it() -> None:
    _, lab = in_lab([PRICED], {PRICED.id: completion(usage=USAGE)}, chat())
    derivation = detail(lab, "settle")["derivation"]
    assert msgspec.json.decode(derivation["usage_raw"][0]) == USAGE
    assert derivation["buckets"] == {"uncached_input": 10, "output_text": 5}
    assert derivation["rates_pico_usd"]["output_text"] == "3000000"
    assert (derivation["cost_usd"], derivation["basis"]) == ("0.000035", "recomputed")


def test_without_credit_no_provider_is_called() -> None:
    poor = offer("a", price=(2, 3), max_output_tokens=10**9)
    (answer,), lab = in_lab([poor], {poor.id: completion()}, chat())
    told = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, told["code"], told["type"]) == (402, "insufficient_credits", "insufficient_quota")
    assert float(told["required"]) > float(told["available"]) == 1000
    assert lab.transport.calls == []
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["error_kind"], request["held_pico_uat"]) == (
        "rejected", "insufficient_credits", None,
    )  # fmt: skip


def test_a_request_that_nobody_can_serve_any_more_once_its_hold_is_safe_gets_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> tuple[Answer, Lab]:
        lab = Lab([PRICED], {PRICED.id: completion()}, durable=True)
        hold = lab.ledger.hold

        async def while_others_are_refused(*what: Any) -> Any:
            made = await hold(*what)
            lease = lab.router.dispatched(PRICED.id, at_s=0.0, expires_s=60.0)
            lab.router.finished(lease, at_s=0.0, outcome="rate_limited", retry_after_s=30.0)
            return made

        monkeypatch.setattr(lab.ledger, "hold", while_others_are_refused)
        return await lab.ask(chat()), lab

    answer, lab = run_virtual(main)
    assert (answer.status, lab.transport.calls) == (503, [])
    assert kinds(lab) == ["hold", "release"]
    assert balances(lab) == (CREDIT_PICO_UAT, 0)
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["attempts"], request["charge_pico_uat"]) == ("rejected", 0, 0)


def test_a_failure_that_nobody_billed_costs_nothing() -> None:
    (answer,), lab = in_lab([PRICED], {PRICED.id: error(429, "rate_limited")}, chat())
    assert answer.status == 429
    assert kinds(lab) == ["hold", "release"]
    assert balances(lab) == (CREDIT_PICO_UAT, 0)


def test_what_a_failed_attempt_may_have_cost_is_the_platforms_risk_and_the_client_pays_the_winner() -> None:
    first, second = offer("a", price=(1, 1)), offer("b", price=(2, 3))
    late = UpstreamError("nothing came", outcome="timeout_first")
    (answer,), lab = in_lab(
        [first, second], {first.id: late, second.id: completion(usage=USAGE)}, chat(), strategy="cheapest_unit_price"
    )
    assert answer.status == 200
    assert kinds(lab) == ["hold", "settle", "cost", "risk"]
    assert int(detail(lab, "risk")["amount"]) > 0
    assert balances(lab) == (CREDIT_PICO_UAT - COST, 0)


def test_usage_that_cannot_be_believed_is_kept_for_somebody_to_judge() -> None:
    (answer,), lab = in_lab([PRICED], {PRICED.id: completion(usage={**USAGE, "prompt_tokens": -10})}, chat())
    assert answer.status == 200
    assert msgspec.json.decode(answer.body)["usage"] is None
    assert kinds(lab) == ["hold", "quarantine"]
    assert balances(lab)[1] > 0, "the hold stays"
    (attempt,), (request,) = lab.frame("attempts").to_dicts(), lab.frame("requests").to_dicts()
    assert (attempt["outcome"], request["charge_pico_uat"], request["cost_pico_usd"]) == ("ok", None, None)
    assert any(note.startswith("bad_usage") for note in attempt["notes"])


def test_another_model_than_the_one_asked_for_has_its_own_price_or_none() -> None:
    cheap = offer("a", model="n", price=(1, 1))
    asked = offer("a", model="asked", price=(5, 5))
    known, lab = in_lab([asked, cheap], {asked.id: completion(usage=USAGE, served="n-2026-01-01")}, chat("asked"))
    assert (known[0].status, detail(lab, "settle")["amount"]) == (200, str(15 * 1_000_000))
    unknown, lab = in_lab([asked, cheap], {asked.id: completion(usage=USAGE, served="other")}, chat("asked"))
    assert (unknown[0].status, kinds(lab)) == (200, ["hold", "quarantine"])


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_did_not_count_is_counted_here_and_said_to_be(stream: bool) -> None:
    script = streamed("Hello ", "world.", usage=False) if stream else completion("Hello world.", usage={})
    body = chat(stream=stream, stream_options={"include_usage": True})
    (answer,), lab = in_lab([PRICED], {PRICED.id: script}, body)
    usage = events(answer)[-1]["usage"] if stream else msgspec.json.decode(answer.body)["usage"]
    assert (usage["completion_tokens"], usage["estimated"]) == (3, True)
    (request,) = lab.frame("requests").to_dicts()
    assert (request["status"], request["usage_source"]) == ("ok", "tokenizer")
    derivation = detail(lab, "settle")["derivation"]
    assert (derivation["outcome"], derivation["delivered_tokens"]) == ("estimate_and_flag", 3)
    assert derivation["estimator"].startswith("tiktoken")
    balances(lab)


def test_a_stream_cut_by_a_reset_is_charged_what_was_delivered() -> None:
    (answer,), lab = in_lab(
        [PRICED],
        {PRICED.id: streamed("Hello ", "world.", dies="reset_mid", finish=False, done=False)},
        chat(stream=True),
    )
    assert events(answer)[-1]["object"] == "error"
    assert kinds(lab) == ["hold", "settle", "cost"]
    assert 0 < int(detail(lab, "settle")["amount"]) <= int(detail(lab, "hold")["amount"])
    balances(lab)


def test_a_provider_that_breaks_off_with_an_error_is_the_platforms_loss() -> None:
    broken = streamed("Hello ", finish=False, done=False)
    broken.chunks = [*broken.chunks, (2.0, b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n')]
    (answer,), lab = in_lab([PRICED], {PRICED.id: broken}, chat(stream=True))
    assert events(answer)[-1]["object"] == "error"
    assert kinds(lab) == ["hold", "release", "risk"]
    assert balances(lab) == (CREDIT_PICO_UAT, 0)


def test_the_same_idempotency_key_is_never_charged_twice() -> None:
    named = {"idempotency-key": "order-7"}
    answers, lab = in_lab(
        [PRICED], {PRICED.id: completion(usage=USAGE)}, chat(), chat(), chat(text="Another."), headers=named
    )
    first, again, other = answers
    assert (first.status, again.status, other.status) == (200, 200, 422)
    assert again.body == first.body
    assert msgspec.json.decode(other.body)["error"]["code"] == "validation_error"
    assert kinds(lab) == ["hold", "settle", "cost"]
    assert len(lab.transport.calls) == 1


def test_a_default_output_limit_is_sent_upstream_so_that_the_bound_is_real() -> None:
    unlimited = offer("a", price=(2, 3))
    _, lab = in_lab([unlimited], {unlimited.id: completion()}, chat(), default_output_max=50)
    (call,) = lab.transport.calls
    sent = msgspec.json.decode(call.body)
    assert 50 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert int(detail(lab, "hold")["amount"]) < 200 * 2_000_000 + 51 * 3_000_000


@given(
    text=st.text(min_size=1, max_size=300),
    prompt=st.integers(0, 300),
    cached=st.integers(0, 300),
    output=st.integers(0, 100),
)
def test_a_hold_covers_whatever_may_be_counted_within_its_limits(
    text: str, prompt: int, cached: int, output: int
) -> None:
    there = offer("a", price=(2, 3), max_output_tokens=100)
    prices = OfferPrices([there])
    request = ChatRequest(model="m", messages=[{"role": "user", "content": text}])
    held = HoldSizing(prices, terms("0.055")).amount(request, [there], at_s=0)
    bytes_sent = len(text.encode("utf-8", "replace"))
    prompt = min(prompt, bytes_sent)
    charge = (prompt * 2_000_000 + output * 3_000_000) * 1055 // 1000 + 1
    assert held >= charge - 1


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(LOOSE, LOOSE, st.lists(st.dictionaries(st.sampled_from(["type", "text", "image_url"]), LOOSE), max_size=3))
def test_a_hold_can_be_sized_whatever_stands_in_schemas_and_parts(schema: Any, format: Any, parts: list[Any]) -> None:
    there = offer("a", price=(2, 3), max_output_tokens=100)
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    request = ChatRequest(
        model="m",
        messages=[{"role": "user", "content": parts}],
        tools=[tool],
        response_format={"type": "json_schema", "json_schema": format},
    )
    assert HoldSizing(OfferPrices([there]), terms("0")).amount(request, [there], at_s=0) > 0


def test_a_tool_whose_parameter_may_be_null_is_served() -> None:
    parameters = {"type": "object", "properties": {"unit": {"type": ["string", "null"]}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    (answer,), _ = in_lab([PRICED], {PRICED.id: completion(usage=USAGE)}, chat(tools=tools))
    assert answer.status == 200
