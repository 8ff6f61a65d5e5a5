"""The upstream cost of one attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.prices import cost_pico_usd
from clawbench.types import Rates, Usage

counts = st.integers(0, 10**7)
rates = st.integers(0, 10**9)


def test_each_part_of_prompt_and_output_goes_at_its_own_rate() -> None:
    usage = Usage(
        input_tokens=100, cached_input_tokens=40, cache_write_tokens=10, output_tokens=30, reasoning_tokens=20
    )
    price = Rates(input=1_000, cached_input=100, cache_write=1_250, output=5_000, reasoning=7_000)
    assert cost_pico_usd(usage, price) == 50 * 1_000 + 40 * 100 + 10 * 1_250 + 10 * 5_000 + 20 * 7_000


def test_a_part_without_a_rate_of_its_own_costs_what_it_is_part_of() -> None:
    usage = Usage(input_tokens=100, cached_input_tokens=40, output_tokens=30, reasoning_tokens=20)
    assert cost_pico_usd(usage, Rates(input=3, output=5)) == 100 * 3 + 30 * 5


def test_an_unknown_price_or_count_makes_the_cost_unknown() -> None:
    assert cost_pico_usd(Usage(input_tokens=1, output_tokens=1), None) is None
    assert cost_pico_usd(None, Rates(input=1, output=1)) is None
    assert cost_pico_usd(Usage(input_tokens=1), Rates(input=1, output=1)) is None


def test_parts_larger_than_their_whole_prove_nothing() -> None:
    price = Rates(input=1, output=1)
    assert cost_pico_usd(Usage(input_tokens=1, cached_input_tokens=2, output_tokens=1), price) is None
    assert cost_pico_usd(Usage(input_tokens=1, output_tokens=1, reasoning_tokens=2), price) is None


@given(counts, counts, counts, counts, rates, rates)
def test_splitting_a_whole_into_parts_of_one_rate_changes_nothing(
    a: int, b: int, c: int, d: int, rin: int, rout: int
) -> None:
    split = Usage(input_tokens=a + b, cached_input_tokens=b, output_tokens=c + d, reasoning_tokens=d)
    whole = Usage(input_tokens=a + b, output_tokens=c + d)
    price = Rates(input=rin, output=rout)
    assert cost_pico_usd(split, price) == cost_pico_usd(whole, price)
