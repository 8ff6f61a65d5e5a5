"""What providers bill by a ledger: its cost entries, losers included, by provider, model, tier, day and meter.

A cost entry says provider, amount and request. Model, tier and meters are those of its request's charge where the
entry is that charge's own cost (it follows it in the log); for other attempts they are unknown (""), unless the entry
says `model` and `service_tier` itself. A meter is a bucket of tokens or a kind of fee.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

from clawbench.billing.audit_figures import Figures
from clawbench.billing.ledger.proof import Proof
from clawbench.billing.ledger.protocol import Entry
from clawbench.billing.price_book import STANDARD
from clawbench.billing.working_again import WorkedAgain
from clawbench.money import PICO
from clawbench.usage.buckets import BUCKETS

WHOLE: Final = "whole"
"""The meter of a cost of which nothing says what it is made of."""

_US: Final = 1_000_000


class Meter(NamedTuple):
    """What an amount is for. `day` as 2026-11-27, UTC; `model` and `tier` "" where unknown."""

    provider: str
    model: str
    tier: str
    day: str
    meter: str


class Amount:
    """Tokens or uses, and exact USD."""

    __slots__ = ("quantity", "usd")

    def __init__(self) -> None:
        self.quantity, self.usd = 0, Fraction(0)


class CostSums:
    """Adds up costs and open risks while a log is audited. Memory: one sum a meter."""

    def __init__(self) -> None:
        self.costs: dict[Meter, Amount] = {}
        self.risks: dict[tuple[str, str], Fraction] = {}  # by provider and day, in USD; what is still open
        self._worked: tuple[Entry, Mapping[str, Any], WorkedAgain] | None = None
        self._rate = Fraction(1)

    def charge(self, entry: Entry, derivation: Mapping[str, Any], worked: WorkedAgain) -> None:
        self._worked = (entry, derivation, worked)
        self._rate = Fraction(derivation["usd_per_uat"])

    def cost(self, entry: Entry, ended: Entry | None) -> None:
        detail, worked = entry.detail, self._worked
        provider, day = str(detail["provider"]), day_of(entry.at_us)
        usd = Fraction(detail["usd"]) if detail.get("usd") else Fraction(int(detail["amount"]), PICO) * self._rate
        own = None
        if worked is not None and worked[0] is ended and worked[1]["provider"] == provider:
            own = worked if worked[1]["cost_usd"] == detail.get("usd") else None
        if own is None:
            tier = _tier(detail.get("service_tier")) if detail.get("model") else ""
            self._add(Meter(provider, str(detail.get("model") or ""), tier, day, WHOLE), 0, usd)
            return
        self._worked = None  # a loser with the same amount at the same provider is another cost
        derivation, again = own[1], own[2]
        model = str(derivation["model_served"] or derivation["price_of"][1])
        tier = _tier(derivation["service_tier"])
        split = _split(again)
        if split is None or sum(amount for _, _, amount in split) != usd:
            self._add(Meter(provider, model, tier, day, WHOLE), sum(again.counted.buckets), usd)
            return
        for meter, quantity, amount in split:
            self._add(Meter(provider, model, tier, day, meter), quantity, amount)

    def finish(self, figures: Figures, proof: Proof) -> None:
        for risk in proof.open_risks:
            key = (risk.provider, day_of(risk.opened_us))
            self.risks[key] = self.risks.get(key, Fraction(0)) + Fraction(risk.amount, PICO) * self._rate
        self._worked = None

    def _add(self, meter: Meter, quantity: int, usd: Fraction) -> None:
        amount = self.costs.get(meter)
        if amount is None:
            amount = self.costs[meter] = Amount()
        amount.quantity += quantity
        amount.usd += usd


def day_of(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // _US, UTC).date().isoformat()


def _tier(tier: Any) -> str:
    return "standard" if tier is None or tier in STANDARD else str(tier)


def _split(worked: WorkedAgain) -> list[tuple[str, int, Fraction]] | None:
    """(meter, quantity, USD) that a recomputed cost is the sum of; None where it is not our reckoning."""
    basis, counted = worked.bill.basis, worked.counted
    if basis is None or worked.bill.estimated or len(basis.prices) != len(counted.parts):
        return None
    factor = Fraction(1)
    for trait in basis.multipliers:
        factor *= basis.prices[0].row.multipliers[trait]
    sums: dict[str, tuple[int, Fraction]] = {}
    for part, price in zip(counted.parts, basis.prices, strict=True):
        for name, tokens, rate in zip(BUCKETS, part.buckets, price.rates, strict=True):
            if tokens and rate is not None:
                before, usd = sums.get(name, (0, Fraction(0)))
                sums[name] = (before + tokens, usd + tokens * rate * factor / PICO)
    for fee in basis.fees:
        before, usd = sums.get(fee.kind, (0, Fraction(0)))
        sums[fee.kind] = (before + fee.count, usd + Fraction(fee.count * fee.unit_pico_usd, PICO))
    return [(name, quantity, usd) for name, (quantity, usd) in sums.items()]
