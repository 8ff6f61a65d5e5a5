"""The bill of one attempt with all that it rests on, as a derivation that can be stored and worked again.

A derivation holds the raw usage text and its hash, the normaliser's version, the price book's hash with row and table,
rates, terms and hold: whoever has it and the book comes to the same cost and charge, to the last digit
(`worked_again`).
Amounts are decimal text, since JSON numbers are not exact. Knows no ledger and no gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct, structs

from clawbench.billing.amounts import usd
from clawbench.billing.charge import Served, Terms, terms
from clawbench.billing.evidence import Evidence
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.outcomes import Bill, Ending, Hold, decide
from clawbench.billing.price_book import Price, PriceBook
from clawbench.errors import UpstreamError
from clawbench.money import PICO
from clawbench.types import Offer
from clawbench.usage.buckets import BUCKETS, Counted, Uses
from clawbench.usage.normalisers import NAMED, Normaliser, count, normaliser_for

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

    def derivation(self, billed: AttemptBill, *, model_requested: str, attempts: int) -> dict[str, Any]:
        """What the charge or the quarantine cites."""
        bill, counted, evidence, ending = billed.bill, billed.counted, billed.evidence, billed.ending
        basis, texts = bill.basis, evidence.usage
        price = basis.prices[0] if basis is not None else None
        cost = bill.cost_pico_usd
        found: dict[str, Any] = {
            "outcome": bill.outcome,
            "model_requested": model_requested,
            "model_served": billed.model,
            "offer": billed.offer.id,
            "provider": billed.offer.provider,
            "attempts": attempts,
            "usage_raw": [text.decode("utf-8", "replace") for text in texts],
            "usage_sha256": sha256(texts[0] if len(texts) == 1 else b"\n".join(texts)).hexdigest(),
            "normaliser": counted.normaliser,
            "bound": billed.bound,
            "buckets": counted.buckets.stated(),
            "book_id": self.prices.book.id,
            "price_of": (billed.served.provider, billed.served.model),
            "at_s": billed.served.at_s,
            "basis": _basis(bill),
            "cost_usd": None if cost is None else usd(cost),
            "margin": self.agreed.margin,
            "usd_per_uat": self.agreed.usd_per_uat,
            "settle_cap": self.agreed.settle_cap,
            "rounding": "ceil_once",
            "hold_pico_uat": str(billed.hold.pico_uat),
            "hold_input_tokens": billed.hold.input_tokens,
            "status": ending.status,
        }
        if price is not None:
            found["row_id"], found["table"], found["rates_pico_usd"] = price.row_id, price.table, _stated_rates(price)
        if evidence.stream:
            found["stream"] = True
        if billed.served.service_tier is not None:
            found["service_tier"] = billed.served.service_tier
        if bill.reasons or bill.estimated or counted.traits or evidence.uses or billed.asked_ttl:
            found.update(_unusual(billed))
        if counted.reported_usd is not None or counted.rounded_usd is not None:
            found.update(_stated_cost(billed))
        if ending.error is not None or ending.blocked or not ending.has_content or not ending.complete:
            found["ending"] = {
                "failure": ending.error.outcome if ending.error is not None else None,
                "has_content": ending.has_content,
                "complete": ending.complete,
                "blocked": ending.blocked,
            }
        return found


def _unusual(billed: AttemptBill) -> dict[str, Any]:
    """What most bills do not have: flags, estimates, multipliers, things billed by use, a cache lifetime."""
    bill, basis = billed.bill, billed.bill.basis
    return {
        "flags": bill.reasons,
        "estimated": bill.estimated,
        "estimator": billed.estimator,
        "delivered_tokens": billed.ending.delivered_tokens,
        "delivered_bytes": billed.ending.delivered_bytes,
        "multipliers": basis.multipliers if basis is not None else (),
        "uses": [each.counts for each in billed.evidence.uses],
        "fees": [(fee.kind, fee.count, str(fee.unit_pico_usd)) for fee in basis.fees] if basis is not None else (),
        "asked_ttl": billed.asked_ttl,
    }


def _stated_cost(billed: AttemptBill) -> dict[str, Any]:
    """What the provider said that it costs, beside what we make of it."""
    recomputed = billed.bill.recomputed_pico_usd
    return {
        "provider_reported_cost_usd": _reported(billed.counted),
        "recomputed_usd": None if recomputed is None else usd(recomputed),
        "difference": billed.bill.difference,
    }


class WorkedAgain(Struct, frozen=True, kw_only=True):
    """What a derivation comes to when it is worked once more, beside what it states. Empty `differences`: the same."""

    bill: Bill
    differences: tuple[str, ...]


class BadDerivation(ValueError):
    """A derivation that cannot be worked: a member is missing or of another kind; names it."""


def worked_again(derivation: Mapping[str, Any], book: PriceBook) -> WorkedAgain:
    """Raw usage → buckets → cost → charge, by the cited normaliser and book. Raises `BadDerivation`."""
    try:
        return _worked_again(derivation, book)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadDerivation(f"{type(error).__name__}: {error}") from None


def _worked_again(stated: Mapping[str, Any], book: PriceBook) -> WorkedAgain:
    texts = tuple(text.encode() for text in stated["usage_raw"])
    differences = []
    if sha256(b"\n".join(texts)).hexdigest() != stated["usage_sha256"] and "�" not in "".join(stated["usage_raw"]):
        differences.append("usage_sha256 is not that of usage_raw")
    normaliser = NAMED.get(stated["normaliser"])
    if normaliser is None:
        raise BadDerivation(f"normaliser {stated['normaliser']!r} is not known")
    counted = count(
        normaliser,
        texts,
        stream=stated.get("stream", False),
        bound=stated["bound"],
        asked_ttl=stated.get("asked_ttl"),
    )
    ended = stated.get("ending") or {}
    failure = ended.get("failure")
    ending = Ending(
        status=stated["status"],
        error=None if failure is None else UpstreamError("as recorded", outcome=failure, status=stated["status"]),
        has_content=ended.get("has_content", True),
        complete=ended.get("complete", True),
        blocked=ended.get("blocked", False),
        delivered_bytes=stated.get("delivered_bytes", 0),
        delivered_tokens=stated.get("delivered_tokens"),
    )
    provider, model = stated["price_of"]
    served = Served(provider=provider, model=model, at_s=stated["at_s"], service_tier=stated.get("service_tier"))
    agreed = terms(stated["margin"], stated["usd_per_uat"], settle_cap=stated["settle_cap"])
    hold = Hold(pico_uat=int(stated["hold_pico_uat"]), input_tokens=stated["hold_input_tokens"])
    bill = decide(ending, counted, book, served, agreed, hold, tuple(map(Uses, stated.get("uses", ()))))
    cost = None if bill.cost_pico_usd is None else usd(bill.cost_pico_usd)
    for name, ours in (("outcome", bill.outcome), ("buckets", counted.buckets.stated()), ("cost_usd", cost)):
        if stated[name] != ours:
            differences.append(f"{name} is {stated[name]}, worked again it is {ours}")
    return WorkedAgain(bill=bill, differences=tuple(differences))


def _normaliser_of(offer: Offer) -> Normaliser:
    try:
        return normaliser_for(offer.dialect, offer.provider)
    except KeyError:  # spoken through litellm, which gives every answer OpenAI's usage
        return normaliser_for("openai_chat", offer.provider)


def _basis(bill: Bill) -> str | None:
    if bill.estimated:
        return "estimate"
    if bill.outcome == "charge_provider_reported":
        return "provider_reported"
    return None if bill.cost_pico_usd is None or bill.outcome in _NO_ANSWER else "recomputed"


def _reported(counted: Counted) -> str | None:
    reported = counted.reported_usd if counted.reported_usd is not None else counted.rounded_usd
    return None if reported is None else usd(Fraction(reported) * PICO)


_STATED: dict[int, tuple[Price, dict[str, str]]] = {}


def _stated_rates(price: Price) -> dict[str, str]:
    """The rates of a table by bucket; the same table comes again and again."""
    known = _STATED.get(id(price.rates))
    if known is None or known[0].rates is not price.rates:
        if len(_STATED) > 4096:
            _STATED.clear()
        stated = {name: str(rate) for name, rate in zip(BUCKETS, price.rates, strict=True) if rate is not None}
        known = _STATED[id(price.rates)] = (price, stated)
    return known[1]
