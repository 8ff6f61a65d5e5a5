"""From counted buckets and a price to an exact cost, and from a cost to a charge: rounded once, upward, at the end.

    cost   = Σ parts (Σ bucket × rate) × Π multipliers + Σ uses × fee        pico-USD, exact
    charge = ceil(cost × (1 + margin) / usd_per_uat)                         pico-UAT, a whole number

Integers and fractions only. What has no price is never charged as zero: it comes back as the reason why there is no
cost. Knows no outcome and no ledger.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from clawbench.billing.price_book import CompiledRow, Price, PriceBook
from clawbench.money import INT64_MAX, NotMoney, decimal
from clawbench.usage.buckets import BUCKETS, INPUTS, Buckets, Counted, Uses

_ONE: Final = Fraction(1)


class ChargeOverflow(ArithmeticError):
    """A charge that no ledger amount can hold."""


class Terms(Struct, frozen=True, kw_only=True):
    """What the gateway adds to a cost: `charge = cost × factor`, factor = (1 + margin) / usd_per_uat.

    `settle_cap`: a charge of more than so many times its hold is not believed. Make it with `terms`.
    """

    margin: str
    usd_per_uat: str
    factor: Fraction
    settle_cap: int = 4


def terms(margin: str = "0", usd_per_uat: str = "1", *, settle_cap: int = 4) -> Terms:
    """Terms from decimal texts: `margin` ≥ 0, `usd_per_uat` (USD for 1 UAT) > 0. Raises `NotMoney`."""
    added, rate = Fraction(decimal(margin)), Fraction(decimal(usd_per_uat))
    if added < 0 or rate <= 0:
        raise NotMoney(f"a margin of {margin} at {usd_per_uat} USD for 1 UAT is no price")
    return Terms(margin=margin, usd_per_uat=usd_per_uat, factor=(1 + added) / rate, settle_cap=settle_cap)


class Fee(Struct, frozen=True):
    """Something billed by the use: how many at which fee (pico-USD)."""

    kind: str
    count: int
    unit_pico_usd: int


class Cost(Struct, frozen=True, kw_only=True):
    """An exact upstream cost and what it rests on. `prices` run parallel to the parts that were priced."""

    pico_usd: Fraction
    prices: tuple[Price, ...]
    multipliers: tuple[str, ...] = ()
    fees: tuple[Fee, ...] = ()


Lacking = Literal["model", "tier", "bucket", "multiplier", "use"]


class Unpriced(Struct, frozen=True):
    """No cost is known, because something that was used has no price: says what, and of which kind it is."""

    reason: str
    lacks: Lacking


class Served(Struct, frozen=True, kw_only=True):
    """What served a request: selects the price. `at_s` is when it was sent, in Unix seconds."""

    provider: str
    model: str
    at_s: float
    service_tier: str | None = None


def cost_of(book: PriceBook, counted: Counted, served: Served, uses: tuple[Uses, ...] = ()) -> Cost | Unpriced:
    """The exact cost of what was counted; `uses` are those that stand outside the usage object.

    What the usage object counts is not counted again: xAI states its searches there and among the output's items.
    """
    tier = counted.service_tier if served.service_tier is None else served.service_tier
    total: int | Fraction = 0
    prices: list[Price] = []
    for part in counted.parts:
        buckets = part.buckets
        model = part.model or served.model
        price = book.price(served.provider, model, served.at_s, tier, sum(buckets[:INPUTS]))
        if price is None:
            return _unpriced(book, served, model, tier)
        tokens = 0
        for count, rate in zip(buckets, price.rates, strict=True):
            if count:
                if rate is None:
                    return Unpriced(f"{model} has no price for {_first_unpriced(buckets, price)}", "bucket")
                tokens += count * rate
        if counted.traits:
            factor = _factor(price.row, counted.traits)
            if factor is None:
                return Unpriced(f"{model} has no multiplier for {' and '.join(counted.traits)}", "multiplier")
            total += tokens * factor
        else:
            total += tokens
        prices.append(price)
    fees: tuple[Fee, ...] = ()
    if prices and (counted.uses or uses):
        found = _fees(prices[0].row, counted.uses + (_uncounted(uses, counted.uses) if counted.uses else uses))
        if isinstance(found, Unpriced):
            return found
        fees = found
        total += sum(fee.count * fee.unit_pico_usd for fee in fees)
    return Cost(pico_usd=Fraction(total), prices=tuple(prices), multipliers=counted.traits, fees=fees)


def charge_pico_uat(cost_pico_usd: Fraction | int, agreed: Terms) -> int:
    """The charge for a cost: whole pico-UAT, rounded up once. Raises `ChargeOverflow` beyond a signed 64-bit int."""
    cost, scale = cost_pico_usd.as_integer_ratio()
    if cost < 0:
        raise ValueError("a cost below zero is no cost")
    times, per = agreed.factor.as_integer_ratio()
    charge = -(-cost * times // (scale * per))
    if charge > INT64_MAX:
        raise ChargeOverflow(f"{charge} pico-UAT do not fit a ledger amount")
    return charge


def _unpriced(book: PriceBook, served: Served, model: str, tier: str | None) -> Unpriced:
    if book.row(served.provider, model, served.at_s) is None:
        return Unpriced(f"{served.provider}/{model} has no price", "model")
    return Unpriced(f"{served.provider}/{model} has no price in the tier {tier}", "tier")


def _factor(row: CompiledRow, traits: tuple[str, ...]) -> Fraction | None:
    factor = _ONE
    for trait in traits:
        multiplier = row.multipliers.get(trait)
        if multiplier is None:
            return None
        factor *= multiplier
    return factor


def _fees(row: CompiledRow, uses: tuple[Uses, ...]) -> tuple[Fee, ...] | Unpriced:
    fees: list[Fee] = []
    for each in uses:
        priced = [Fee(kind, count, row.fees[kind]) for kind, count in each.counts.items() if kind in row.fees]
        if not priced:
            return Unpriced(f"{row.id} has no fee for {' or '.join(each.counts)}", "use")
        fees += priced
    return tuple(fees)


def _uncounted(uses: tuple[Uses, ...], stated: tuple[Uses, ...]) -> tuple[Uses, ...]:
    kinds = {kind for each in stated for kind in each.counts}
    return tuple(each for each in uses if kinds.isdisjoint(each.counts))


def _first_unpriced(buckets: Buckets, price: Price) -> str:
    return next(name for name, count, rate in zip(BUCKETS, buckets, price.rates, strict=True) if count and rate is None)
