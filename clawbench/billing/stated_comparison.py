"""What providers say that calls cost against what we make of the same counts: each pair in one class, with the reason.

| class | meaning |
|---|---|
| equal | no more than 1e-9 USD apart |
| rounded | no further apart than the provider's declared rounding, or than its list rounds a cache write's price |
| promotion | all differing calls of a price row within a period differ by one and the same ratio |
| unpriced | no price is known for what served the call at that date, and what shows it |
| refused | the counts contradict themselves, so there is nothing to make a cost of |
| unexplained | none of these: an alarm |

A price counts as not known at a date only on evidence: no row has one; the provider's own breakdown comes to other
whole rates than the row's; another reading of a list comes to the stated amount; or the row was read later than the
call was made, and no call near it agrees with the row. Amounts are exact. Knows no ledger and no reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from clawbench.billing.charge import Cost, Unpriced
from clawbench.billing.price_book import Price, instant
from clawbench.money import PICO
from clawbench.usage.buckets import BUCKETS, INPUTS, Buckets, Counted
from clawbench.usage.gateway_buckets import WRITTEN_AND_READ
from clawbench.usage.stated_costs import StatedCost

Verdict = Literal["equal", "rounded", "promotion", "unpriced", "refused", "unexplained"]

EQUAL_USD: Final = Fraction(1, 10**9)
_ROUND_RATE: Final = 1_000  # pico-USD a token: rates are published in tenths of a cent for a million tokens
_LISTED_WITHIN: Final = 5  # pico-USD a token: lists write no more than five decimals of a USD for a million tokens
_FOUR_DECIMALS: Final = 50  # pico-USD a token that a rate of four decimals of a USD for a million may be off
_PERIOD_S: Final = 31 * 86_400


class Pair(Struct, frozen=True, kw_only=True):
    """One call: what was stated, and what we make of it.

    `cost` is the recomputed one, or why there is none; None where the counts were refused. `readings` are what other
    lists, or the same one read on another day, come to, by name. `at_s` is in Unix seconds, null where nobody knows.
    """

    name: str
    counted: Counted
    stated: StatedCost
    cost: Cost | Unpriced | None
    readings: tuple[tuple[str, Fraction], ...] = ()
    at_s: float | None = None


class Compared(Struct, frozen=True):
    """A pair's class, and why it is in it."""

    pair: Pair
    verdict: Verdict
    reason: str


def compared(pairs: Sequence[Pair]) -> list[Compared]:
    """Every pair with its class, in the order of the pairs."""
    found = [_alone(pair) for pair in pairs]
    agreeing = [each.pair for each in found if each.verdict in ("equal", "rounded")]
    promoted = _promotions([each.pair for each in found if each.verdict == "unexplained"])
    return [_explained(each, agreeing, promoted) if each.verdict == "unexplained" else each for each in found]


def _explained(each: Compared, agreeing: list[Pair], promoted: dict[str, str]) -> Compared:
    """A pair that alone cannot be explained, looked at among the others."""
    pair = each.pair
    if pair.name in promoted:
        return Compared(pair, "promotion", promoted[pair.name])
    cost = pair.cost
    if isinstance(cost, Cost) and _read_later(pair, cost) and not any(_near(pair, other) for other in agreeing):
        return Compared(pair, "unpriced", f"{_row(cost)} was read later, on {cost.prices[0].row.tariff.read_on}")
    return each


def _alone(pair: Pair) -> Compared:
    cost, stated = pair.cost, pair.stated
    if cost is None:
        return Compared(pair, "refused", "; ".join(pair.counted.refused or pair.counted.missing))
    if isinstance(cost, Unpriced):
        return Compared(pair, "unpriced", cost.reason)
    ours = cost.pico_usd / PICO
    apart = abs(stated.usd - ours)
    if apart <= EQUAL_USD:
        return Compared(pair, "equal", "no more than 1e-9 USD apart")
    if stated.within_usd is not None and apart <= stated.within_usd:
        return Compared(pair, "rounded", f"{stated.where} is rounded to within {_text(stated.within_usd)} USD")
    if _is_without_input_of_writes(pair, cost):
        return Compared(pair, "rounded", "of tokens written and read at once the write is billed without its input")
    reason = _other_rates(pair, cost) or _other_reading(pair)
    if reason is not None:
        return Compared(pair, "unpriced", reason)
    return Compared(pair, "unexplained", f"stated {_text(stated.usd)} USD, recomputed {_text(ours)} by {_row(cost)}")


def _is_without_input_of_writes(pair: Pair, cost: Cost) -> bool:
    """Whether the stated cost is ours, with the written tokens' input billed by their read alone.

    OpenRouter lists a write to Google's caches as the input's price plus that of storage, to four decimals.
    """
    written, price = pair.counted.buckets.cache_write_5m, cost.prices[0]
    if not any(flag.endswith(WRITTEN_AND_READ) for flag in pair.counted.flags):
        return False
    rates = dict(zip(BUCKETS, price.rates, strict=True))
    ours = cost.pico_usd - written * min(rates["uncached_input"] or 0, rates["cache_write_5m"] or 0)
    return abs(pair.stated.usd * PICO - ours) <= EQUAL_USD * PICO + written * _FOUR_DECIMALS


def _other_rates(pair: Pair, cost: Cost) -> str | None:
    """The provider's breakdown, where it adds up and comes to whole published rates that are not the row's."""
    parts, buckets = pair.stated.parts, pair.counted.buckets
    if set(parts) != {"input", "output"} or abs(sum(parts.values()) - pair.stated.usd) > EQUAL_USD or cost.fees:
        return None
    told: list[str] = []
    for part, tokens, ours in (
        ("input", *_input(buckets, cost.prices[0])),
        ("output", *_output(buckets, cost.prices[0])),
    ):
        if abs(parts[part] * PICO - ours) <= EQUAL_USD * PICO:
            continue
        rate = None if tokens is None else _whole_rate(parts[part], tokens)
        if rate is None:
            return None
        told.append(f"{part} at {_text(Fraction(rate, 10**6))} USD per million")
    return f"the provider's own breakdown has {' and '.join(told)}, {_row(cost)} has not" if told else None


def _input(buckets: Buckets, price: Price) -> tuple[int | None, int]:
    """Tokens that share a rate (None where a cache mixes two), and what they cost by the row."""
    ours = sum(tokens * (rate or 0) for tokens, rate in zip(buckets[:INPUTS], price.rates[:INPUTS], strict=True))
    return (buckets.uncached_input if buckets.uncached_input == buckets.input_tokens else None), ours


def _output(buckets: Buckets, price: Price) -> tuple[int | None, int]:
    outputs, rates = buckets[INPUTS:], price.rates[INPUTS:]
    ours = sum(tokens * (rate or 0) for tokens, rate in zip(outputs, rates, strict=True))
    tokens = buckets.output_text + buckets.reasoning
    return (tokens if tokens == sum(outputs) else None), ours


def _whole_rate(usd: Fraction, tokens: int) -> int | None:
    """The published rate in pico-USD a token that an amount for so many tokens comes to; None if it is none."""
    if not tokens:
        return None
    rate = round(usd * PICO / tokens / _ROUND_RATE) * _ROUND_RATE
    return rate if abs(usd * PICO - rate * tokens) <= EQUAL_USD * PICO else None


def _other_reading(pair: Pair) -> str | None:
    within = max(EQUAL_USD, Fraction(_LISTED_WITHIN * sum(pair.counted.buckets), PICO))
    for name, pico_usd in pair.readings:
        if abs(pico_usd / PICO - pair.stated.usd) <= within:
            return f"the price changed at a day that nobody read: {name} comes to the stated amount"
    return None


def _read_later(pair: Pair, cost: Cost) -> bool:
    read_on = cost.prices[0].row.tariff.read_on
    return pair.at_s is not None and bool(read_on) and pair.at_s < instant(f"{read_on}T00:00:00Z")


def _near(pair: Pair, other: Pair) -> bool:
    """Whether two calls were priced by one row within a period."""
    if not isinstance(pair.cost, Cost) or not isinstance(other.cost, Cost) or pair.at_s is None or other.at_s is None:
        return False
    same_row = pair.cost.prices[0].row_id == other.cost.prices[0].row_id
    return same_row and abs(pair.at_s - other.at_s) <= _PERIOD_S


def _promotions(pairs: Sequence[Pair]) -> dict[str, str]:
    """By name: calls of one row within a period that all differ by one ratio, of which there must be two at least."""
    groups: dict[str, list[tuple[Pair, Fraction]]] = {}
    for pair in pairs:
        if isinstance(pair.cost, Cost) and pair.cost.pico_usd:
            groups.setdefault(_row(pair.cost), []).append((pair, pair.stated.usd * PICO / pair.cost.pico_usd))
    found: dict[str, str] = {}
    for row, members in groups.items():
        instants = [pair.at_s for pair, _ in members if pair.at_s is not None]
        together = len(instants) == len(members) and max(instants) - min(instants) <= _PERIOD_S
        shapes = {pair.counted.buckets for pair, _ in members}
        ratio = members[0][1]
        same = all(
            abs(pair.stated.usd - ratio * pair.cost.pico_usd / PICO) <= EQUAL_USD
            for pair, _ in members
            if isinstance(pair.cost, Cost)
        )
        if together and len(shapes) > 1 and same:
            found |= {pair.name: f"{_text(ratio)} of {row} in all {len(members)} calls" for pair, _ in members}
    return found


def _row(cost: Cost) -> str:
    price = cost.prices[0]
    return f"{price.row_id} ({price.row.tariff.source})" if price.row.tariff.source else price.row_id


def _text(amount: Fraction) -> str:
    return f"{Decimal(amount.numerator) / amount.denominator:.6g}"  # for reading only
