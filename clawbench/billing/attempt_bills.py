"""The bill of one attempt with all that it rests on, as a derivation that can be stored and worked again.

A derivation holds the raw usage text and its hash, the normaliser's version, the price book's hash with row and table,
rates, terms and hold: whoever has it and the book comes to the same cost and charge, to the last digit
(`working_again.py`).
Amounts are decimal text, since JSON numbers are not exact. Knows no ledger and no gateway.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct, structs

from clawbench.billing.amounts import usd
from clawbench.billing.charge import Cost, Served, Terms
from clawbench.billing.evidence import Evidence
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.outcomes import Bill, Ending, Hold, decide
from clawbench.billing.price_book import Price
from clawbench.money import PICO
from clawbench.types import Offer
from clawbench.usage.buckets import BUCKETS, Counted
from clawbench.usage.normalisers import Normaliser, count, normaliser_for

BOUND_CONTEXTS: Final = 4  # no count of an answer is larger than so many context windows of its offer
CONTEXT_TOKENS_MAX: Final = 10_000_000  # of an offer that states none
_COUNTED_MAX: Final = 4096
_NO_ANSWER: Final = frozenset({"release", "release_and_flag"})


class AttemptBill(Struct, frozen=True, kw_only=True):
    """One attempt's bill. `estimator` names what counted the tokens of an estimate; None: nothing was estimated."""

    offer: Offer
    ending: Ending
    evidence: Evidence
    counted: Counted
    served: Served
    hold: Hold
    bound: int
    asked_ttl: str | None
    model: str | None  # as the provider named it
    bill: Bill
    estimator: str | None = None


class Biller:
    """Bills attempts by the prices and terms of one gateway."""

    def __init__(self, prices: OfferPrices, agreed: Terms) -> None:
        self.prices, self.agreed = prices, agreed
        self._normalisers: dict[str, Normaliser] = {}
        self._counted: dict[tuple[str, tuple[bytes, ...], bool, int, str | None], Counted] = {}

    def bill(
        self,
        offer: Offer,
        ending: Ending,
        evidence: Evidence,
        *,
        at_s: float,
        model: str | None,
        hold: Hold,
        asked_ttl: str | None = None,
    ) -> AttemptBill:
        """`at_s` is when the attempt was sent, in Unix seconds. Never raises for anything that a provider sent."""
        bound = BOUND_CONTEXTS * (offer.context_window or CONTEXT_TOKENS_MAX)
        normaliser = self._normalisers.get(offer.id)
        if normaliser is None:
            normaliser = self._normalisers[offer.id] = _normaliser_of(offer)
        counted = self._count(normaliser, evidence, bound, asked_ttl)
        tier = evidence.service_tier or counted.service_tier
        served = self.prices.served(offer, model, at_s=at_s, service_tier=tier)
        bill = decide(ending, counted, self.prices.book, served, self.agreed, hold, evidence.uses)
        return AttemptBill(
            offer=offer,
            ending=ending,
            evidence=evidence,
            counted=counted,
            served=served,
            hold=hold,
            bound=bound,
            asked_ttl=asked_ttl,
            model=model,
            bill=bill,
        )

    def _count(self, normaliser: Normaliser, evidence: Evidence, bound: int, asked_ttl: str | None) -> Counted:
        """What the usage states; texts that came before (short answers, replays) are not read once more."""
        key = (normaliser.name, evidence.usage, evidence.stream, bound, asked_ttl)
        known = self._counted.get(key)
        if known is None:
            if len(self._counted) >= _COUNTED_MAX:
                self._counted.clear()
            known = self._counted[key] = count(
                normaliser, evidence.usage, stream=evidence.stream, bound=bound, asked_ttl=asked_ttl
            )
        return known

    def estimated(self, billed: AttemptBill, tokens: int, estimator: str) -> AttemptBill:
        """The same bill with `tokens` delivered, as `estimator` counted them."""
        ending = structs.replace(billed.ending, delivered_tokens=tokens)
        bill = decide(
            ending, billed.counted, self.prices.book, billed.served, self.agreed, billed.hold, billed.evidence.uses
        )
        return structs.replace(billed, ending=ending, bill=bill, estimator=estimator)

    def derivation(
        self, billed: AttemptBill, *, model_requested: str, attempts: int, strategy: str = "", surface: str = ""
    ) -> dict[str, Any]:
        """What the charge or the quarantine cites; by which `strategy` the offer was chosen, and which `surface` asked.

        Nothing is worked out from those two: they are for summing up.
        """
        bill, counted, evidence = billed.bill, billed.counted, billed.evidence
        price = bill.basis.prices[0] if bill.basis is not None else None
        texts = b"\n".join(evidence.usage)
        error = billed.ending.error
        return {
            "outcome": bill.outcome,
            "estimated": bill.estimated,
            "flags": list(bill.reasons),
            "model_requested": model_requested,
            "model_served": billed.model,
            "offer": billed.offer.id,
            "provider": billed.offer.provider,
            "attempts": attempts,
            "strategy": strategy,
            "surface": surface,
            "usage_raw": [text.decode("utf-8", "replace") for text in evidence.usage],
            "usage_sha256": sha256(texts).hexdigest(),
            "stream": evidence.stream,
            "uses": [each.counts for each in evidence.uses],
            "normaliser": counted.normaliser,
            "bound": billed.bound,
            "asked_ttl": billed.asked_ttl,
            "buckets": counted.buckets.stated(),
            "book_id": self.prices.book.id,
            "row_id": price.row_id if price else None,
            "table": price.table if price else None,
            "price_of": [billed.served.provider, billed.served.model],
            "at_s": billed.served.at_s,
            "service_tier": billed.served.service_tier,
            "rates_pico_usd": stated_rates(price) if price else {},
            "multipliers": list(bill.basis.multipliers) if bill.basis else [],
            "fees": stated_fees(bill.basis),
            "basis": basis_of(bill),
            "cost_usd": None if bill.cost_pico_usd is None else usd(bill.cost_pico_usd),
            "recomputed_usd": None if bill.recomputed_pico_usd is None else usd(bill.recomputed_pico_usd),
            "provider_reported_cost_usd": reported_usd(counted),
            "difference": bill.difference,
            "margin": self.agreed.margin,
            "usd_per_uat": self.agreed.usd_per_uat,
            "settle_cap": self.agreed.settle_cap,
            "rounding": "ceil_once",
            "hold_pico_uat": str(billed.hold.pico_uat),
            "hold_input_tokens": billed.hold.input_tokens,
            "delivered_tokens": billed.ending.delivered_tokens,
            "delivered_bytes": billed.ending.delivered_bytes,
            "estimator": billed.estimator,
            "status": billed.ending.status,
            "failure": error.outcome if error is not None else None,
            "has_content": billed.ending.has_content,
            "complete": billed.ending.complete,
            "blocked": billed.ending.blocked,
        }


def _normaliser_of(offer: Offer) -> Normaliser:
    try:
        return normaliser_for(offer.dialect, offer.provider)
    except KeyError:  # spoken through litellm, which gives every answer OpenAI's usage
        return normaliser_for("openai_chat", offer.provider)


def basis_of(bill: Bill) -> str | None:
    """What the cost of a bill rests on; None: it has none."""
    if bill.estimated:
        return "estimate"
    if bill.outcome == "charge_provider_reported":
        return "provider_reported"
    return None if bill.cost_pico_usd is None or bill.outcome in _NO_ANSWER else "recomputed"


def reported_usd(counted: Counted) -> str | None:
    """What the provider says that the call cost, exact or rounded; None: it says nothing."""
    reported = counted.reported_usd if counted.reported_usd is not None else counted.rounded_usd
    return None if reported is None else usd(Fraction(reported) * PICO)


def stated_fees(basis: Cost | None) -> list[list[Any]]:
    """What was billed by the use: [kind, count, pico-USD a use]."""
    return [[fee.kind, fee.count, str(fee.unit_pico_usd)] for fee in basis.fees] if basis is not None else []


_STATED: dict[int, tuple[Price, dict[str, str]]] = {}


def stated_rates(price: Price) -> dict[str, str]:
    """The rates of a table by bucket; the same table comes again and again."""
    known = _STATED.get(id(price.rates))
    if known is None or known[0].rates is not price.rates:
        if len(_STATED) > 4096:
            _STATED.clear()
        stated = {name: str(rate) for name, rate in zip(BUCKETS, price.rates, strict=True) if rate is not None}
        known = _STATED[id(price.rates)] = (price, stated)
    return known[1]
