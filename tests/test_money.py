"""Money: exact from decimal text to whole pico units and back, and nothing that is no amount gets in."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.money import (
    INT64_MAX,
    PICO,
    NotMoney,
    decimal,
    pico_per_token_from_usd_per_million,
    pico_per_token_from_usd_per_token,
    usd_text,
)

AMOUNTS = st.integers(min_value=-INT64_MAX, max_value=INT64_MAX)


@pytest.mark.parametrize(
    "text",
    ["NaN", "-nan", "sNaN", "Infinity", "-inf", "", " ", "free", "0x10", "1,5", "1e999999999", "1e-999999999", "1e26"],
)
def test_what_is_no_finite_amount_in_a_sane_range_is_refused(text: str) -> None:
    with pytest.raises(NotMoney):
        decimal(text)


def test_a_text_of_many_digits_is_refused_and_quoted_only_in_part() -> None:
    with pytest.raises(NotMoney) as caught:
        decimal("9" * 100_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "pico", "exact"),
    [
        ("0.000003", 3_000_000, True),
        ("1.5e-07", 150_000, True),
        ("2.5E-6", 2_500_000, True),
        ("0", 0, True),
        ("0.0000000000005", 0, False),  # half a pico goes to the even neighbour
        ("0.0000000000015", 2, False),
    ],
)
def test_a_price_a_token_becomes_whole_pico_and_says_if_it_was_rounded(text: str, pico: int, exact: bool) -> None:
    assert pico_per_token_from_usd_per_token(decimal(text)) == (pico, exact)


@pytest.mark.parametrize(("text", "pico"), [("3", 3_000_000), ("0.15", 150_000), ("1.25", 1_250_000), ("0.000001", 1)])
def test_a_dollar_a_million_tokens_is_a_million_pico_a_token(text: str, pico: int) -> None:
    assert pico_per_token_from_usd_per_million(decimal(text)) == (pico, True)


@given(AMOUNTS)
def test_every_amount_survives_the_way_to_text_and_back(pico: int) -> None:
    assert pico_per_token_from_usd_per_token(decimal(usd_text(pico, places=12))) == (pico, True)


@given(st.integers(min_value=0, max_value=10**15))
def test_both_ways_of_stating_a_price_agree(pico_usd_per_token: int) -> None:
    per_token = Decimal(pico_usd_per_token) / PICO
    per_million = Decimal(pico_usd_per_token) / 1_000_000
    assert pico_per_token_from_usd_per_token(per_token) == (pico_usd_per_token, True)
    assert pico_per_token_from_usd_per_million(per_million) == (pico_usd_per_token, True)


@given(st.decimals(min_value=0, max_value=1000, places=20))
def test_a_rounded_rate_is_off_by_half_a_pico_at_most_and_flagged(usd_per_token: Decimal) -> None:
    pico, exact = pico_per_token_from_usd_per_token(usd_per_token)
    off = abs(Fraction(usd_per_token) * PICO - pico)
    assert off <= Fraction(1, 2)
    assert exact == (off == 0)


@given(AMOUNTS, st.integers(min_value=0, max_value=12))
def test_a_text_is_the_amount_rounded_to_its_places_and_never_in_exponents(pico: int, places: int) -> None:
    text = usd_text(pico, places)
    assert abs(Fraction(text) - Fraction(pico, PICO)) <= Fraction(1, 2 * 10**places)
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) == places


@given(st.lists(AMOUNTS, max_size=20))
def test_sums_of_texts_at_full_precision_are_the_text_of_the_sum(amounts: list[int]) -> None:
    total = sum((Fraction(usd_text(pico, 12)) for pico in amounts), Fraction(0))
    assert total == Fraction(sum(amounts), PICO)
