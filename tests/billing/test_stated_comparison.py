"""Stated costs against recomputed ones: which class a pair is in, and what it takes to be excused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from clawbench.billing.charge import Served, cost_of
from clawbench.billing.price_book import PriceBook, Tariff
from clawbench.billing.stated_comparison import Compared, Pair, compared
from clawbench.usage.buckets import Buckets, Counted, Part
from clawbench.usage.stated_costs import StatedCost

BOOK = PriceBook(
    [
        Tariff(
            provider="p",
            models=("m",),
            rates={"uncached_input": 1_000_000, "output_text": 4_000_000, "reasoning": 4_000_000},
            read_on="2026-08-01",
        )
    ]
)
JULY_S, SEPTEMBER_S = 1_783_000_000.0, 1_788_500_000.0


def pair(usd: str, *, tokens: tuple[int, int] = (1000, 100), name: str = "a", **changes: Any) -> Pair:
    """1,000 tokens in and 100 out come to 0.0014 USD."""
    counted = Counted(normaliser="n/1", parts=(Part(Buckets(uncached_input=tokens[0], output_text=tokens[1])),))
    stated = changes.pop("stated", {})
    cost = cost_of(BOOK, counted, Served(provider="p", model=changes.pop("model", "m"), at_s=0))
    made: dict[str, Any] = {"counted": counted, "cost": cost, "at_s": SEPTEMBER_S} | changes
    return Pair(name=name, stated=StatedCost(usd=Fraction(usd), where="usage.cost", **stated), **made)


def only(found: Pair) -> Compared:
    (each,) = compared([found])
    return each


def test_a_billionth_of_a_dollar_apart_is_equal_and_more_is_not() -> None:
    assert only(pair("0.001400001")).verdict == "equal"
    assert only(pair("0.0014000011")).verdict == "unexplained"


def test_within_the_declared_rounding_is_rounded_and_beyond_it_is_not() -> None:
    within = {"within_usd": Fraction(1, 1000)}
    assert only(pair("0.0024", stated=within)).verdict == "rounded"
    assert only(pair("0.00241", stated=within)).verdict == "unexplained"


def test_tokens_written_and_read_at_once_are_not_billed_as_input_twice() -> None:
    """OpenRouter's list has 0.3833 USD for a write: 0.3 for the input and 0.0833 for storage."""
    rates = {"uncached_input": 300_000, "cache_read": 30_000, "cache_write_5m": 383_300, "output_text": 2_500_000}
    book = PriceBook([Tariff(provider="p", models=("m",), rates=rates)])
    buckets = Buckets(uncached_input=7, cache_read=2161, cache_write_5m=2161, output_text=100)
    flag = "the 2161 written tokens were read in the same call"

    def verdict(usd: str, *flags: str) -> str:
        counted = Counted(normaliser="n/1", parts=(Part(buckets),), flags=flags)
        cost = cost_of(book, counted, Served(provider="p", model="m", at_s=0))
        return only(pair(usd, counted=counted, cost=cost)).verdict

    assert verdict("0.0004970133", flag) == "rounded"
    assert verdict("0.0004970133") == "unexplained"
    assert verdict("0.0004990133", flag) == "unexplained"


def test_what_has_no_price_or_no_counts_says_so() -> None:
    assert only(pair("1", model="other")).reason == "p/other has no price"
    refused = Counted(normaliser="n/1", refused=("cached tokens 9 exceeds 1",))
    assert only(pair("1", counted=refused, cost=None)) == Compared(
        pair("1", counted=refused, cost=None), "refused", "cached tokens 9 exceeds 1"
    )


def test_a_breakdown_into_other_whole_rates_shows_that_the_price_was_another() -> None:
    parts = {"input": Fraction("0.0005"), "output": Fraction("0.0004")}
    found = only(pair("0.0009", stated={"parts": parts}))
    assert found.verdict == "unpriced"
    assert "input at 0.5 USD per million" in found.reason
    assert "output" not in found.reason


def test_a_breakdown_that_comes_to_no_published_rate_is_no_excuse() -> None:
    """7 tokens too few would be an odd rate: a miscount must not pass for a price."""
    parts = {"input": Fraction("0.000993"), "output": Fraction("0.00041237")}
    assert only(pair("0.00140537", stated={"parts": parts})).verdict == "unexplained"
    short = {"input": Fraction("0.0005"), "output": Fraction("0.0001")}  # does not add up
    assert only(pair("0.0009", stated={"parts": short})).verdict == "unexplained"


def test_another_reading_that_comes_to_the_amount_shows_that_the_price_changed() -> None:
    readings = (("older", Fraction(10**9)), ("newer", Fraction(2_800_000_000)))
    found = only(pair("0.0028", readings=readings))
    assert (found.verdict, "newer" in found.reason) == ("unpriced", True)


def test_one_ratio_over_a_row_and_a_period_is_a_promotion() -> None:
    promoted = [
        pair("0.0007", name="a"),
        pair("0.0003", name="b", tokens=(200, 100)),
        pair("0.00125", name="c", tokens=(500, 500)),
    ]
    assert {each.verdict for each in compared(promoted)} == {"promotion"}
    assert "0.5 of p/m/always in all 3 calls" in compared(promoted)[0].reason


def test_one_call_or_one_shape_or_two_ratios_or_far_apart_is_no_promotion() -> None:
    month = 32 * 86_400
    for pairs in (
        [pair("0.0007", name="a")],
        [pair("0.0007", name="a"), pair("0.0007", name="b")],
        [pair("0.0007", name="a"), pair("0.00031", name="b", tokens=(200, 100))],
        [pair("0.0007", name="a"), pair("0.0003", name="b", tokens=(200, 100), at_s=SEPTEMBER_S + month)],
    ):
        assert {each.verdict for each in compared(pairs)} == {"unexplained"}


def test_a_row_that_was_read_after_the_call_excuses_only_where_no_call_near_it_agrees() -> None:
    late = pair("0.0009", name="late", at_s=JULY_S)
    assert only(late).verdict == "unpriced"
    assert "read later, on 2026-08-01" in only(late).reason
    agreeing = pair("0.0014", name="agreeing", at_s=JULY_S + 86_400)
    assert [each.verdict for each in compared([late, agreeing])] == ["unexplained", "equal"]
