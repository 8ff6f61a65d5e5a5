"""What a bill's cost is the sum of, by meter: a bucket of tokens or a kind of fee, as a provider's invoice has lines.

Knows no ledger and no invoice.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from clawbench.billing.amounts import usd
from clawbench.billing.outcomes import Bill
from clawbench.money import PICO
from clawbench.usage.buckets import BUCKETS, Counted


def meters_of(bill: Bill, counted: Counted) -> dict[str, tuple[int, Fraction]] | None:
    """Meter → (quantity, pico-USD) of a recomputed cost; None where the cost is not our reckoning, or another sum."""
    basis = bill.basis
    if basis is None or bill.estimated or len(basis.prices) != len(counted.parts):
        return None
    factor = Fraction(1)
    for trait in basis.multipliers:
        factor *= basis.prices[0].row.multipliers[trait]
    sums: dict[str, tuple[int, Fraction]] = {}
    for part, price in zip(counted.parts, basis.prices, strict=True):
        for name, tokens, rate in zip(BUCKETS, part.buckets, price.rates, strict=True):
            if tokens and rate is not None:
                before, pico_usd = sums.get(name, (0, Fraction(0)))
                sums[name] = (before + tokens, pico_usd + tokens * rate * factor)
    for fee in basis.fees:
        before, pico_usd = sums.get(fee.kind, (0, Fraction(0)))
        sums[fee.kind] = (before + fee.count, pico_usd + fee.count * fee.unit_pico_usd)
    return sums if sum(pico_usd for _, pico_usd in sums.values()) == bill.cost_pico_usd else None


def stated_meters(bill: Bill, counted: Counted) -> dict[str, tuple[int, str]]:
    """The same as a ledger keeps it, in USD as text; {} where there is none."""
    return {name: (number, usd(pico_usd)) for name, (number, pico_usd) in (meters_of(bill, counted) or {}).items()}


def read_meters(stated: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, Fraction]]:
    """What `stated_meters` gave, in pico-USD again. Raises `ValueError` or `TypeError` for anything else."""
    return {name: (int(number), Fraction(text) * PICO) for name, (number, text) in stated.items()}
