"""What providers bill by a ledger: its cost entries, losers included, by provider, model, tier, day and meter.

A cost entry says provider, model, tier, amount and request, and for attempts that no charge is derived from what the
amount is the sum of. Meters of a charge's own cost (it follows it in the log) are those of the charge. Ledgers of
earlier versions say neither model nor tier: there they are the charge's too, and unknown ("") for other attempts. A
meter is a bucket of tokens or a kind of fee.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

from clawbench.billing.audit_figures import Figures
from clawbench.billing.ledger.proof import Proof
from clawbench.billing.ledger.protocol import Entry
from clawbench.billing.meters import meters_of, read_meters
from clawbench.billing.price_book import STANDARD
from clawbench.billing.working_again import WorkedAgain
from clawbench.money import PICO

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
        self.risks: dict[Meter, Fraction] = {}  # in USD; what is still open
        self._worked: tuple[Entry, Mapping[str, Any], WorkedAgain] | None = None
        self._rate = Fraction(1)

    def charge(self, entry: Entry, derivation: Mapping[str, Any], worked: WorkedAgain) -> None:
        self._worked = (entry, derivation, worked)
        self._rate = Fraction(derivation["usd_per_uat"])

    def cost(self, entry: Entry, ended: Entry | None) -> None:
        detail = entry.detail
        provider, day = str(detail["provider"]), day_of(entry.at_us)
        usd = Fraction(detail["usd"]) if detail.get("usd") else self._usd(int(detail["amount"]), detail)
        meters: Mapping[str, tuple[int, Fraction]] | None = None
        quantity = 0
        own = self._own(entry, ended)
        if detail.get("meters"):
            meters = read_meters(detail["meters"])
        elif own is not None:
            worked = own[2]
            meters, quantity = meters_of(worked.bill, worked.counted), sum(worked.counted.buckets)
            self._worked = None  # a loser with the same amount at the same provider is another cost
        model, tier = _thing(detail if detail.get("model") or own is None else _served(own[1]))
        if meters is None or sum(pico_usd for _, pico_usd in meters.values()) != usd * PICO:
            self._add(Meter(provider, model, tier, day, WHOLE), quantity, usd)
            return
        for meter, (quantity, pico_usd) in meters.items():
            self._add(Meter(provider, model, tier, day, meter), quantity, pico_usd / PICO)

    def finish(self, figures: Figures, proof: Proof) -> None:
        for risk in proof.open_risks:
            said = {"model": risk.model, "service_tier": risk.service_tier, "usd_per_uat": risk.usd_per_uat}
            meter = Meter(risk.provider, *_thing(said), day_of(risk.opened_us), WHOLE)
            self.risks[meter] = self.risks.get(meter, Fraction(0)) + self._usd(risk.amount, said)
        self._worked = None

    def _own(self, entry: Entry, ended: Entry | None) -> tuple[Entry, Mapping[str, Any], WorkedAgain] | None:
        """The charge whose own cost an entry is: the one before it, of the same provider, model and amount."""
        detail, worked = entry.detail, self._worked
        if worked is None or worked[0] is not ended or detail.get("meters"):
            return None
        derivation = worked[1]
        is_same = derivation["provider"] == detail["provider"] and derivation["cost_usd"] == detail.get("usd")
        if is_same and detail.get("model"):
            is_same = _thing(detail) == _thing(_served(derivation))
        return worked if is_same else None

    def _usd(self, amount: int, detail: Mapping[str, Any]) -> Fraction:
        """USD of pico-UAT; entries that name no rate have that of the last charge."""
        return Fraction(amount, PICO) * (Fraction(detail["usd_per_uat"]) if detail.get("usd_per_uat") else self._rate)

    def _add(self, meter: Meter, quantity: int, usd: Fraction) -> None:
        amount = self.costs.get(meter)
        if amount is None:
            amount = self.costs[meter] = Amount()
        amount.quantity += quantity
        amount.usd += usd


def _served(derivation: Mapping[str, Any]) -> dict[str, Any]:
    """What a charge was for, as a cost entry says it."""
    model = derivation["model_served"] or derivation["price_of"][1]
    return {"model": model, "service_tier": derivation["service_tier"]}


def _thing(detail: Mapping[str, Any]) -> tuple[str, str]:
    """(model, tier); ("", "") where an entry does not say which."""
    model = str(detail.get("model") or "")
    return model, _tier(detail.get("service_tier") or None) if model else ""


def day_of(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // _US, UTC).date().isoformat()


def _tier(tier: Any) -> str:
    return "standard" if tier is None or tier in STANDARD else str(tier)
