"""The price book: what was served selects the price, what has no price is not charged, and ambiguity is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.price_book import BadPriceBook, PriceBook, Tariff, pico_fee, pico_rate
from clawbench.billing.price_tables import LongContext, ServiceTable, Window
from clawbench.usage.buckets import BUCKETS

INPUT = BUCKETS.index("uncached_input")
WORKDAYS = (1, 2, 3, 4, 5)


def row(**changes: Any) -> Tariff:
    stated: dict[str, Any] = {"provider": "p", "models": ("m",), "rates": {"uncached_input": 10, "output_text": 20}}
    return Tariff(**(stated | changes))


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def rate(book: PriceBook, at: str = "2026-11-18T12:00:00Z", tier: str | None = None, tokens: int = 1) -> int | None:
    price = book.price("p", "m", instant(at), tier, tokens)
    return None if price is None else price.rates[INPUT]


@pytest.mark.parametrize(
    ("inclusive", "tokens", "expected"),
    [(False, 200_000, 10), (False, 200_001, 99), (True, 199_999, 10), (True, 200_000, 99)],
)
def test_the_whole_request_moves_to_the_long_context_table_at_its_threshold(
    inclusive: bool, tokens: int, expected: int
) -> None:
    tier = LongContext(threshold=200_000, inclusive=inclusive, rates={"uncached_input": 99})
    price = PriceBook([row(tiers=(tier,))]).price("p", "m", 0, None, tokens)
    assert price is not None
    assert price.rates[INPUT] == expected
    moved = expected == 99
    assert (price.rates[BUCKETS.index("output_text")] is None) == moved  # complete: nothing is inherited


def test_the_highest_of_several_tiers_applies() -> None:
    tiers = tuple(LongContext(threshold=n, inclusive=False, rates={"uncached_input": n}) for n in (200, 100, 300))
    book = PriceBook([row(tiers=tiers)])
    assert [rate(book, tokens=n) for n in (100, 101, 201, 999)] == [10, 100, 200, 300]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-18T00:59:59Z", 5),
        ("2026-11-18T01:00:00Z", 10),  # Wednesday; the window's end is no part of it
        ("2026-11-18T23:59:59Z", 5),
        ("2026-11-21T12:00:00Z", 5),  # Saturday
        ("2026-11-20T12:00:00Z", 10),  # Friday
        ("2026-11-21T01:30:00+08:00", 10),  # Friday still, in UTC
    ],
)
def test_prices_by_time_of_day_go_by_utc_and_half_open(at: str, expected: int) -> None:
    cheap = {"uncached_input": 5}
    windows = (
        Window(days=WORKDAYS, start="00:00", end="01:00", rates=cheap),
        Window(days=WORKDAYS, start="18:00", end="24:00", rates=cheap),
        Window(days=(6, 7), start="00:00", end="24:00", rates=cheap),
    )
    assert rate(PriceBook([row(windows=windows)]), at) == expected


def test_a_tier_has_the_prices_that_its_own_table_states_and_no_others() -> None:
    book = PriceBook([row(service_tiers={"flex": ServiceTable(rates={"uncached_input": 5})})])
    assert rate(book, tier="flex") == 5
    assert rate(book, tier="priority") is None
    assert [rate(book, tier=tier) for tier in (None, "default", "standard", "on_demand")] == [10] * 4


def test_a_row_is_valid_from_its_first_instant_until_before_its_last() -> None:
    old = row(valid_to="2026-11-01T00:00:00Z")
    new = row(valid_from="2026-11-01T00:00:00Z", rates={"uncached_input": 7})
    book = PriceBook([old, new])
    assert rate(book, "2026-10-31T23:59:59Z") == 10
    assert rate(book, "2026-11-01T00:00:00Z") == 7


def test_a_name_beats_a_pattern_and_a_longer_pattern_a_shorter_one() -> None:
    book = PriceBook(
        [
            row(models=("m-*",), rates={"uncached_input": 1}),
            row(models=("m-mini-*",), rates={"uncached_input": 2}),
            row(models=("m-mini-2026",), rates={"uncached_input": 3}),
        ]
    )
    found = [book.price("p", name, 0, None, 1) for name in ("m-large", "m-mini-2025", "m-mini-2026", "other")]
    assert [price.rates[INPUT] if price else None for price in found] == [1, 2, 3, None]
    assert book.price("q", "m-large", 0, None, 1) is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(), row()], "two rows at the same time"),
        ([row(models=("m*",)), row(models=("m*",))], "two rows at the same time"),
        ([row(rates={"uncached_input": -1})], "no whole number"),
        ([row(rates={"uncached_input": True})], "no whole number"),
        ([row(rates={"prompt": 1})], "no bucket"),
        ([row(fees={"web_search": -1})], "negative"),
        ([row(multipliers={"fast": "-2"})], "negative"),
        ([row(multipliers={"fast": "NaN"})], "not a"),
        ([row(valid_from="2026-11-02T00:00:00Z", valid_to="2026-11-01T00:00:00Z")], "ends before it begins"),
        ([row(valid_from="2026-11-02T00:00:00")], "no time zone"),
        ([row(models=())], "needs a model"),
        ([row(windows=(Window(days=(8,), start="00:00", end="01:00", rates={}),))], "is none"),
        ([row(windows=(Window(days=(1,), start="02:00", end="01:00", rates={}),))], "is none"),
        ([row(windows=(Window(days=(1,), start="25:00", end="26:00", rates={}),))], "no time of day"),
        (
            [
                row(
                    windows=(
                        Window(days=(1,), start="01:00", end="03:00", rates={}),
                        Window(days=(1, 2), start="02:00", end="04:00", rates={}),
                    )
                )
            ],
            "overlaps another",
        ),
        (
            [
                row(
                    tiers=(
                        LongContext(threshold=10, inclusive=False, rates={}),
                        LongContext(threshold=11, inclusive=True, rates={}),
                    )
                )
            ],
            "two tiers",
        ),
    ],
)
def test_a_book_that_could_be_read_in_two_ways_is_not_built(rows: list[Tariff], said: str) -> None:
    with pytest.raises(BadPriceBook, match=said):
        PriceBook(rows)


@pytest.mark.parametrize(
    "text", ['[{"provider": "p"}]', '[{"provider":"p","models":["m"],"rates":{},"x":1}]', "{", "1"]
)
def test_text_that_is_no_book_is_refused(text: str) -> None:
    with pytest.raises(BadPriceBook, match="no price book"):
        PriceBook.from_json(text.encode())


def test_a_rate_that_is_no_whole_pico_dollar_is_refused() -> None:
    assert pico_rate("2.5") == 2_500_000
    assert pico_rate("0.0375") == 37_500
    assert pico_fee("0.035") == 35_000_000_000
    for text in ("0.0000001", "-1", "NaN", "1e99", "free"):
        with pytest.raises(ValueError, match=r"pico-USD|decimal number|finite"):
            pico_rate(text)


def test_a_book_s_id_is_that_of_its_content_whatever_its_writing() -> None:
    book = PriceBook([row(fees={"b": 1, "a": 2})])
    again = PriceBook.from_json(msgspec.json.format(msgspec.json.encode(book.rows)))
    assert again.id == book.id
    assert PriceBook([row(fees={"b": 1, "a": 3})]).id != book.id
    assert book.id.startswith("sha256:")


@given(at_s=st.integers(0, 4 * 10**9), start=st.integers(0, 22), day=st.integers(1, 7))
def test_a_window_holds_exactly_on_its_day_and_between_its_hours(at_s: int, start: int, day: int) -> None:
    window = Window(days=(day,), start=f"{start:02}:00", end=f"{start + 1:02}:00", rates={"uncached_input": 5})
    price = PriceBook([row(windows=(window,))]).price("p", "m", at_s, None, 1)
    assert price is not None
    moment = datetime.fromtimestamp(at_s, tz=UTC)
    assert (price.rates[INPUT] == 5) == (moment.isoweekday() == day and moment.hour == start)
