"""Costs and charges: exact, never below zero, rounded once and upward, and never made of what has no price."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.charge import ChargeOverflow, Cost, Served, Unpriced, charge_pico_uat, cost_of, terms
from clawbench.billing.price_book import PriceBook, Tariff
from clawbench.billing.price_tables import LongContext
from clawbench.money import INT64_MAX, PICO, NotMoney
from clawbench.usage.buckets import BUCKETS, Buckets, Counted, Part, Uses

SERVED = Served(provider="p", model="m", at_s=0)
COUNTS = st.lists(st.integers(0, 10**7), min_size=len(BUCKETS), max_size=len(BUCKETS))
RATES = st.lists(st.integers(0, 10**9), min_size=len(BUCKETS), max_size=len(BUCKETS))


def counted(*parts: Buckets, traits: tuple[str, ...] = (), uses: tuple[Uses, ...] = ()) -> Counted:
    return Counted(normaliser="n/1", parts=tuple(Part(part) for part in parts), traits=traits, uses=uses)


def book(**changes: object) -> PriceBook:
    stated: dict[str, object] = {
        "provider": "p",
        "models": ("m",),
        "rates": {"uncached_input": 3_000_000, "cache_write_5m": 3_750_000, "output_text": 15_000_000},
    }
    return PriceBook([Tariff(**(stated | changes))])  # type: ignore[arg-type]


def test_the_worked_example_comes_out_to_the_last_digit() -> None:
    usage = counted(Buckets(uncached_input=3, cache_write_5m=12_304, output_text=550))
    cost = cost_of(book(), usage, SERVED)
    assert isinstance(cost, Cost)
    assert cost.pico_usd == 54_399_000_000
    assert charge_pico_uat(cost.pico_usd, terms("0.055")) == 57_390_945_000


def test_a_bucket_without_a_rate_has_no_price_and_an_explicit_zero_is_one() -> None:
    audio = counted(Buckets(uncached_input=1, audio_in=1))
    assert cost_of(book(), audio, SERVED) == Unpriced("m has no price for audio_in", "bucket")
    free = book(rates={"uncached_input": 0, "audio_in": 0})
    cost = cost_of(free, audio, SERVED)
    assert isinstance(cost, Cost)
    assert cost.pico_usd == 0


def test_multipliers_stack_on_tokens_and_leave_fees_alone() -> None:
    priced = book(multipliers={"fast": "2", "inference_geo_us": "1.1"}, fees={"web_search": 10**10})
    usage = counted(Buckets(uncached_input=1000), traits=("fast", "inference_geo_us"), uses=(Uses({"web_search": 3}),))
    cost = cost_of(priced, usage, SERVED)
    assert isinstance(cost, Cost)
    assert cost.pico_usd == 1000 * 3_000_000 * Fraction("2.2") + 3 * 10**10
    assert isinstance(cost_of(book(), usage, SERVED), Unpriced)


def test_the_price_says_which_way_of_counting_searches_is_billed() -> None:
    searched = (Uses({"google_search_prompt": 1, "google_search_query": 3}),)
    for kind, fees in (("google_search_prompt", 35), ("google_search_query", 3 * 14)):
        cost = cost_of(book(fees={kind: fees // (3 if "query" in kind else 1)}), counted(Buckets()), SERVED, searched)
        assert isinstance(cost, Cost)
        assert cost.pico_usd == fees
    assert isinstance(cost_of(book(), counted(Buckets()), SERVED, searched), Unpriced)


def test_each_round_is_priced_at_its_own_size_and_model() -> None:
    tier = LongContext(threshold=100, inclusive=False, rates={"uncached_input": 9})
    priced = PriceBook(
        [
            Tariff(provider="p", models=("m",), rates={"uncached_input": 1}, tiers=(tier,)),
            Tariff(provider="p", models=("big",), rates={"uncached_input": 100}),
        ]
    )
    parts = (Part(Buckets(uncached_input=60)), Part(Buckets(uncached_input=60)), Part(Buckets(uncached_input=1), "big"))
    cost = cost_of(priced, Counted(normaliser="n/1", parts=parts), SERVED)
    assert isinstance(cost, Cost)
    assert cost.pico_usd == 60 + 60 + 100
    assert [price.row_id for price in cost.prices] == ["p/m/always", "p/m/always", "p/big/always"]


@given(tokens=COUNTS, rates=RATES)
def test_a_cost_is_the_sum_of_its_buckets_exactly(tokens: list[int], rates: list[int]) -> None:
    cost = cost_of(book(rates=dict(zip(BUCKETS, rates, strict=True))), counted(Buckets(*tokens)), SERVED)
    assert isinstance(cost, Cost)
    assert cost.pico_usd == sum(count * rate for count, rate in zip(tokens, rates, strict=True))


@given(
    cost=st.fractions(0, 10**16, max_denominator=10**9),
    margin=st.decimals(0, 3, places=4, allow_nan=False),
    rate=st.decimals("0.0001", 100, places=4, allow_nan=False),
)
def test_a_charge_is_the_smallest_whole_amount_that_covers_cost_and_margin(
    cost: Fraction, margin: object, rate: object
) -> None:
    agreed = terms(str(margin), str(rate))
    exact = cost * (1 + Fraction(str(margin))) / Fraction(str(rate))
    if exact > INT64_MAX:
        with pytest.raises(ChargeOverflow):
            charge_pico_uat(cost, agreed)
    else:
        charge = charge_pico_uat(cost, agreed)
        assert charge - 1 < exact <= charge


def test_zero_stays_zero_and_a_sliver_rounds_up_once() -> None:
    assert charge_pico_uat(Fraction(0), terms("0.055")) == 0
    assert charge_pico_uat(Fraction("12345678.901234568"), terms("0.05")) == 12_962_963


def test_a_charge_beyond_the_ledger_s_range_is_told_apart_from_any_amount() -> None:
    assert charge_pico_uat(Fraction(INT64_MAX), terms()) == INT64_MAX
    with pytest.raises(ChargeOverflow):
        charge_pico_uat(Fraction(INT64_MAX) + Fraction(1, PICO), terms())


@pytest.mark.parametrize(("margin", "rate"), [("-0.1", "1"), ("0", "0"), ("0", "-1"), ("NaN", "1"), ("0", "x")])
def test_terms_that_are_no_price_are_refused(margin: str, rate: str) -> None:
    with pytest.raises(NotMoney):
        terms(margin, rate)


def test_a_use_that_the_usage_object_counts_is_not_counted_again_from_the_output() -> None:
    priced = book(fees={"web_search": 5 * 10**9, "file_search": 10**9})
    usage = counted(Buckets(uncached_input=1), uses=(Uses({"web_search": 2}),))
    outside = (Uses({"web_search": 2}), Uses({"file_search": 1}))
    cost = cost_of(priced, usage, SERVED, outside)
    assert isinstance(cost, Cost)
    assert [(fee.kind, fee.count) for fee in cost.fees] == [("web_search", 2), ("file_search", 1)]


@pytest.mark.parametrize(
    ("usage", "served", "lacks"),
    [
        (counted(Buckets(uncached_input=1)), Served(provider="p", model="other", at_s=0), "model"),
        (counted(Buckets(uncached_input=1)), Served(provider="p", model="m", at_s=0, service_tier="flex"), "tier"),
        (counted(Buckets(audio_in=1)), SERVED, "bucket"),
        (counted(Buckets(uncached_input=1), traits=("fast",)), SERVED, "multiplier"),
        (counted(Buckets(uncached_input=1), uses=(Uses({"web_search": 1}),)), SERVED, "use"),
    ],
)
def test_what_lacks_a_price_is_named_by_its_kind(usage: Counted, served: Served, lacks: str) -> None:
    found = cost_of(book(), usage, served)
    assert isinstance(found, Unpriced)
    assert found.lacks == lacks
