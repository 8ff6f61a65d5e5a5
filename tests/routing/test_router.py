"""Which offer is chosen, with which probability, and which are left out for what reason."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from clawbench.catalog.catalog import Catalog
from clawbench.errors import RequestError
from clawbench.rng import Draws, draws
from clawbench.routing.estimates import Estimates
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.types import Decision, Offer, Rates, RequestShape, Tier
from tests.lab import offer

SHORT = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=True, needs=frozenset())


def decide(
    offers: list[Offer], tags: tuple[str, ...], shape: RequestShape = SHORT, *, key: str = "1", **more: object
) -> Decision:
    router = Router(Catalog(offers), **more)  # type: ignore[arg-type]
    return router.decide(Reference(None, tags), shape, at_s=0.0, draw=lambda: draws(1, key))


def test_price_is_what_this_request_costs_not_the_sum_of_unit_prices() -> None:
    long_in_short_out = RequestShape(prompt_tokens=20_000, max_output_tokens=10, stream=False, needs=frozenset())
    offers = [offer("a", price=(1, 10)), offer("b", price=(4, 4))]
    assert decide(offers, ("price",), long_in_short_out).chosen == "a/m"
    chatty = RequestShape(prompt_tokens=10, max_output_tokens=10_000, stream=False, needs=frozenset())
    assert decide(offers, ("price",), chatty).chosen == "b/m"


def test_a_free_offer_wins_on_price_and_an_unpriced_one_cannot_be_scored() -> None:
    decision = decide([offer("paid"), offer("free", price=(0, 0)), offer("unknown", price=None)], ("price",))
    assert decision.chosen == "free/m"
    assert [(each.offer_id, each.reason) for each in decision.excluded] == [("unknown/m", "price unknown")]


def test_two_equal_prices_are_drawn_about_half_each_and_say_so() -> None:
    router = Router(Catalog([offer("a"), offer("b")]))
    picks = [
        router.decide(Reference(None, ("price",)), SHORT, at_s=0.0, draw=partial(draws, 1, str(number)))
        for number in range(400)
    ]
    assert {pick.propensity for pick in picks} == {0.5}
    assert 150 < Counter(pick.chosen for pick in picks)["a/m"] < 250


def test_latency_follows_what_was_observed_rather_than_the_profile() -> None:
    offers = [offer("claims", ttft_s=0.1), offer("keeps", ttft_s=0.5)]
    router = Router(Catalog(offers), settings=RoutingSettings(exploration=0))
    for _ in range(50):
        lease = router.estimates.dispatched("claims/m")
        router.estimates.finished("claims/m", lease, at_s=1.0, ttft_s=3.0, token_rate=50.0, output_tokens=100)
    assert router.decide(Reference(None, ("latency",)), SHORT, at_s=1.0, draw=_no_draw).chosen == "keeps/m"


def test_latency_of_what_is_not_streamed_counts_the_whole_answer() -> None:
    offers = [offer("quick_start", ttft_s=0.1, rate=10), offer("quick_end", ttft_s=1.0, rate=500)]
    assert decide(offers, ("latency",)).chosen == "quick_start/m"
    whole = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=False, needs=frozenset())
    assert decide(offers, ("latency",), whole).chosen == "quick_end/m"


def test_a_fast_failure_does_not_make_an_offer_look_fast() -> None:
    estimates = Estimates([offer("a", ttft_s=1.0)])
    before = estimates.state("a/m", at_s=0.0)
    for _ in range(20):
        lease = estimates.dispatched("a/m")
        estimates.finished("a/m", lease, at_s=0.0, outcome="upstream_5xx", elapsed_s=0.01)
    after = estimates.state("a/m", at_s=0.0)
    assert after.ttft_s == before.ttft_s
    assert after.failure_share > 0.5


def test_old_observations_fade_towards_the_prior() -> None:
    estimates = Estimates([offer("a", ttft_s=1.0)])
    for _ in range(100):
        lease = estimates.dispatched("a/m")
        estimates.finished("a/m", lease, at_s=0.0, ttft_s=10.0)
    fresh, later = estimates.state("a/m", at_s=0.0).ttft_s, estimates.state("a/m", at_s=3600.0).ttft_s
    assert fresh > 8
    assert later == pytest.approx(1.0, rel=0.01)


def test_round_robin_takes_the_offer_that_was_used_longest_ago() -> None:
    router = Router(Catalog([offer("a"), offer("b"), offer("c")]), default_strategy="round_robin")
    chosen = []
    for _ in range(7):
        decision = router.decide(Reference(None, ()), SHORT, at_s=0.0, draw=_no_draw)
        router.estimates.dispatched(decision.chosen)
        chosen.append(decision.chosen[0])
    assert "".join(chosen) == "abcabca"


def test_random_is_even_and_states_its_probability() -> None:
    decision = decide([offer("a"), offer("b"), offer("c"), offer("d")], (), default_strategy="random")
    assert decision.propensity == 0.25


@pytest.mark.parametrize(
    ("needs", "tokens", "reason", "code"),
    [
        ({"tools"}, 10, "cannot do tools", "unsupported_parameter"),
        (set(), 5_000, "context window 1000 tokens, prompt about 5000", "context_length_exceeded"),
    ],
)
def test_what_no_offer_can_serve_names_the_reason_that_binds(
    needs: set[str], tokens: int, reason: str, code: str
) -> None:
    shape = RequestShape(prompt_tokens=tokens, max_output_tokens=None, stream=False, needs=frozenset(needs))
    small = offer("a", context_window=1_000, capabilities=frozenset())
    with pytest.raises(RequestError, match=reason) as raised:
        decide([small], ("price",), shape)
    assert (raised.value.status, raised.value.code) == (400, code)


def test_offers_that_each_lack_something_else_make_a_bad_request_not_an_unknown_model() -> None:
    shape = RequestShape(prompt_tokens=5_000, max_output_tokens=None, stream=False, needs=frozenset({"tools"}))
    offers = [offer("small", context_window=1_000), offer("plain", capabilities=frozenset())]
    with pytest.raises(RequestError, match=r"context window 1000 tokens.*; cannot do tools") as raised:
        decide(offers, ("price",), shape)
    assert (raised.value.status, raised.value.code) == (400, "bad_request")
    with pytest.raises(RequestError, match="price unknown") as raised:
        decide([offer("a", price=None)], ("price",))
    assert (raised.value.status, raised.value.code) == (400, "bad_request")


DEAR = [offer("a", price=(3, 6)), offer("b", price=(2, 8)), offer("unpriced", price=None)]


@pytest.mark.parametrize(
    ("model", "provider", "told"),
    [
        (
            "m",
            {"max_price": {"prompt": "0.25"}},
            'No offer of "m" is cheap enough: provider.max_price.prompt is 0.25 USD per million tokens. '
            "The nearest is b/m at 2 USD prompt, 8 USD completion.",
        ),
        (
            "m",
            {"max_price": {"prompt": 5, "completion": 5}},
            'No offer of "m" is cheap enough: provider.max_price.completion is 5 USD per million tokens. '
            "The nearest is a/m at 3 USD prompt, 6 USD completion.",
        ),
        (
            "m",
            {"max_price": {"prompt": 1, "completion": 4}, "ignore": ["b"]},
            'No offer of "m" is cheap enough: provider.max_price.prompt is 1 and provider.max_price.completion is 4 '
            "USD per million tokens. The nearest is a/m at 3 USD prompt, 6 USD completion. "
            "Of its others: among provider.ignore.",
        ),
        (
            "m:free",
            None,
            'No offer of "m" is free. The nearest is a/m at 3 USD prompt, 6 USD completion per million tokens.',
        ),
        (
            "m",
            {"max_price": {"prompt": 1}, "only": ["unpriced"]},
            'No offer of "m" is cheap enough: none of them has a known price. Of its others: not among provider.only.',
        ),
    ],
)
def test_a_price_limit_below_every_offer_names_the_limit_that_binds_and_the_nearest_offer(
    model: str, provider: dict[str, Any] | None, told: str
) -> None:
    router = Router(Catalog(DEAR))
    reference = router.reference(model, provider=provider)
    with pytest.raises(RequestError) as raised:
        router.decide(reference, SHORT, at_s=0.0, draw=lambda: draws(1, "x"))
    assert (raised.value.status, raised.value.message) == (400, told)


def test_a_price_limit_is_held_against_the_prices_that_a_prompt_reaches() -> None:
    rates = Rates(input=1_000_000, output=1, tiers=(Tier(above=1_000, rates=Rates(input=3_000_000, output=1)),))
    router = Router(Catalog([structs.replace(offer("a"), rates=rates)]))
    reference = router.reference("m", provider={"max_price": {"prompt": 2}})
    assert router.decide(reference, SHORT, at_s=0.0, draw=lambda: draws(1, "x")).chosen == "a/m"
    with pytest.raises(RequestError, match=r"max_price.prompt is 2 USD .* a/m at 3 USD prompt"):
        router.decide(reference, structs.replace(SHORT, prompt_tokens=1_001), at_s=0.0, draw=lambda: draws(1, "x"))


def test_a_provider_prefix_binds_the_model_that_was_named_and_not_its_fallbacks() -> None:
    offers = [offer("a"), offer("b", price=(9, 9)), offer("c", model="other")]
    router = Router(Catalog(offers), chain=["other"])
    reference = router.reference("b/m")

    def next_after(*tried: str) -> str:
        return router.decide(reference, SHORT, at_s=0.0, draw=lambda: draws(1, "x"), tried=tried).chosen

    assert (next_after(), next_after("b/m")) == ("b/m", "c/other")
    with pytest.raises(RequestError):
        router.reference("nobody-knows-this", chained=False)


def test_of_the_fallback_chain_the_first_capable_model_serves() -> None:
    offers = [
        offer("a"), offer("b", model="text", capabilities=frozenset()), offer("c", model="able"),
    ]  # fmt: skip
    router = Router(Catalog(offers), chain=["text", "able"])
    shape = RequestShape(prompt_tokens=10, max_output_tokens=None, stream=False, needs=frozenset({"tools"}))
    for name in ("m", "unknown-model"):
        reference = router.reference(name)
        chosen = router.decide(reference, shape, at_s=0.0, draw=lambda: draws(1, "x"), tried=["a/m"]).chosen
        assert chosen == "c/able"


def test_an_offer_of_which_only_errors_are_recorded_is_left_out_with_that_reason() -> None:
    decision = decide([offer("a"), offer("b")], ("price",), ineligible={"a/m": "only errors are recorded"})
    assert decision.chosen == "b/m"
    assert decision.excluded[0].reason == "only errors are recorded"


prices = st.tuples(st.integers(0, 50), st.integers(0, 50))
shapes = st.builds(
    RequestShape,
    prompt_tokens=st.integers(1, 100_000),
    max_output_tokens=st.none() | st.integers(1, 10_000),
    stream=st.booleans(),
    needs=st.just(frozenset()),
)
TAGS = st.sampled_from(
    [("price",), ("latency",), ("token_rate",), ("latency", "price"), ("latency", "price", "token_rate")]
)


@given(st.lists(st.tuples(prices, st.floats(0.01, 10), st.floats(1, 1000)), min_size=2, max_size=6), shapes, TAGS)
def test_the_order_of_two_offers_does_not_depend_on_the_others(
    facts: list[tuple[tuple[int, int], float, float]], shape: RequestShape, tags: tuple[str, ...]
) -> None:
    offers = [offer(f"o{i}", price=price, ttft_s=ttft_s, rate=rate) for i, (price, ttft_s, rate) in enumerate(facts)]
    every = decide(offers, tags, shape)
    pair = decide(offers[:2], tags, shape)
    score = dict(zip(every.candidates, every.scores, strict=True))
    assert [score[name] for name in pair.candidates] == pytest.approx(list(pair.scores))


@given(prices, st.integers(0, 49), shapes)
def test_lowering_a_price_never_worsens_its_score(price: tuple[int, int], less: int, shape: RequestShape) -> None:
    cheaper = (max(0, price[0] - less), max(0, price[1] - less))
    before, after = (
        decide([offer("a", price=price)], ("price",), shape),
        decide([offer("a", price=cheaper)], ("price",), shape),
    )
    assert after.scores[0] <= before.scores[0]


@given(st.permutations(["a", "b", "c"]), shapes)
def test_the_pick_does_not_depend_on_the_order_of_the_catalog(order: list[str], shape: RequestShape) -> None:
    known = {"a": (1, 5), "b": (2, 2), "c": (3, 1)}
    offers = [offer(name, price=known[name]) for name in order]
    reference = [offer(name, price=known[name]) for name in "abc"]
    assert (
        decide(offers, ("price",), shape).scores[decide(offers, ("price",), shape).candidates.index("a/m")]
        == decide(reference, ("price",), shape).scores[0]
    )


def _no_draw() -> Draws:
    raise AssertionError("nothing is equal, so nothing may be drawn")
