"""Chance: keyed by purpose, the same whatever was drawn before, and distributed as promised."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist, fmean, median, pstdev

from hypothesis import given
from hypothesis import strategies as st

from clawbench.rng import Draws, draws, stream

SEEDS = st.integers(min_value=-(2**127), max_value=2**127 - 1)
KEYS = st.lists(st.text(max_size=12), min_size=1, max_size=4)


def numbers(source: Draws, count: int = 20) -> list[float]:
    return [source.random() for _ in range(count)]


@given(SEEDS, KEYS)
def test_the_same_seed_and_key_give_the_same_numbers(seed: int, key: list[str]) -> None:
    assert numbers(draws(seed, *key)) == numbers(draws(seed, *key))
    assert stream(seed, *key).random() == stream(seed, *key).random()


@given(SEEDS, SEEDS, KEYS, KEYS)
def test_another_seed_or_key_gives_other_numbers(seed: int, other: int, key: list[str], other_key: list[str]) -> None:
    same = (seed, "\x1f".join(key)) == (other, "\x1f".join(other_key))
    assert (numbers(draws(seed, *key)) == numbers(draws(other, *other_key))) == same


def test_a_key_split_elsewhere_is_another_key() -> None:
    assert numbers(draws(1, "ab", "c")) != numbers(draws(1, "a", "bc")) != numbers(draws(1, "abc"))


@given(st.permutations(["ttft", "rate", "failure", "length", "arrival"]), st.lists(st.integers(0, 4), max_size=60))
def test_what_a_key_gives_depends_on_nothing_drawn_elsewhere(order: list[str], interleaving: list[int]) -> None:
    alone = {key: numbers(draws(7, "req-1", key), 60) for key in order}
    opened = {key: draws(7, "req-1", key) for key in order}
    seen: dict[str, list[float]] = {key: [] for key in order}
    for choice in interleaving:
        seen[order[choice]].append(opened[order[choice]].random())
    assert all(alone[key][: len(got)] == got for key, got in seen.items())


def test_numbers_are_what_they_were_when_records_were_first_written() -> None:
    assert numbers(draws(42, "req-000001", "groq/llama", "ttft"), 3) == [
        0.2758585374004968,
        0.984278977193262,
        0.5266152729854868,
    ]
    assert draws(42, "x").below(1000) == 979


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    drawn = numbers(draws(1, "uniformity"), 20_000)
    assert all(0 <= number < 1 for number in drawn)
    tenths = [sum(1 for number in drawn if int(number * 10) == tenth) for tenth in range(10)]
    assert sum((count - 2000) ** 2 / 2000 for count in tenths) < 27.9  # chi-square, 9 degrees, p = 0.001
    pairs = fmean((a - 0.5) * (b - 0.5) for a, b in pairwise(drawn)) * 12
    assert abs(pairs) < 0.03  # neighbours do not know of each other, nor do blocks of eight


def test_first_numbers_of_neighbouring_keys_are_even_too() -> None:
    drawn = [draws(1, f"req-{number:06d}", "ttft").random() for number in range(20_000)]
    assert abs(fmean(drawn) - 0.5) < 0.01
    assert abs(pstdev(drawn) - 12**-0.5) < 0.005


@given(SEEDS, st.integers(min_value=1, max_value=1000))
def test_an_integer_below_n_is_one_of_0_to_n_minus_1(seed: int, n: int) -> None:
    source = draws(seed, "below")
    assert all(source.below(n) in range(n) for _ in range(20))


def test_normals_are_standard() -> None:
    source = draws(3, "normal")
    drawn = [source.normal() for _ in range(20_000)]
    assert abs(fmean(drawn)) < 0.03
    assert abs(pstdev(drawn) - 1) < 0.03
    assert abs(sum(1 for number in drawn if number < -1) / 20_000 - NormalDist().cdf(-1)) < 0.01


def test_a_log_normal_has_the_median_and_spread_asked_for() -> None:
    source = draws(4, "lognormal")
    drawn = [source.lognormal(0.35, 0.6) for _ in range(20_000)]
    assert abs(median(drawn) / 0.35 - 1) < 0.03
    above = sum(1 for number in drawn if number > 0.35 * 2.718281828**0.6) / 20_000
    assert abs(above - (1 - NormalDist().cdf(1))) < 0.01


@given(SEEDS, st.floats(1e-6, 1e6))
def test_a_log_normal_without_spread_is_its_median(seed: int, median_s: float) -> None:
    assert abs(draws(seed, "flat").lognormal(median_s, 0.0) / median_s - 1) < 1e-9
