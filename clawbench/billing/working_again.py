"""A derivation worked once more: raw usage → buckets → cost → charge, by the book and the normaliser that it cites.

What comes out is compared with what is stated, member by member. Knows no ledger: whether the amount that an entry has
moved is the charge is for its reader to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, Literal

from msgspec import Struct

from clawbench.billing.amounts import usd
from clawbench.billing.attempt_bills import basis_of, reported_usd, stated_fees, stated_rates
from clawbench.billing.charge import Served, Terms, terms
from clawbench.billing.outcomes import Bill, Ending, Hold, decide
from clawbench.billing.price_book import PriceBook
from clawbench.errors import UpstreamError
from clawbench.usage.buckets import Buckets, Counted, Part, Uses
from clawbench.usage.normalisers import NAMED, Normaliser, count

Cause = Literal["usage", "normaliser", "buckets", "outcome", "price", "cost"]
"""Which step first comes to something else than is stated."""

_LOST: Final = "\ufffd"  # stands for bytes that were no UTF-8: the text is then not what was hashed
_REMEMBERED_BYTES: Final = 4096  # of usage texts: longer ones are worked each time
RECOVERED: Final = "recovered"  # the flag of a charge that a restart has settled


_COMPARED: Final[dict[str, Cause]] = {
    "buckets": "buckets",
    "outcome": "outcome",
    "estimated": "outcome",
    "row_id": "price",
    "table": "price",
    "rates_pico_usd": "price",
    "multipliers": "price",
    "fees": "price",
    "basis": "cost",
    "cost_usd": "cost",
    "recomputed_usd": "cost",
    "provider_reported_cost_usd": "cost",
    "difference": "cost",
    "rounding": "cost",
}
"""Members that are compared, in the order of the work."""

_members: Final = itemgetter(*_COMPARED)


class Differs(Struct, frozen=True):
    """A member of a derivation that is not what it comes to."""

    cause: Cause
    what: str


class WorkedAgain(Struct, frozen=True, kw_only=True):
    """What a derivation comes to, beside what it states. No `differences`: the same.

    `newer` names the normaliser that was used where the cited version is not kept any more: what it makes of the
    usage is then `found`, no difference, and cost and charge were worked from the stated buckets.
    """

    bill: Bill
    counted: Counted
    differences: tuple[Differs, ...] = ()
    newer: str | None = None
    found: tuple[str, ...] = ()


class BadDerivation(ValueError):
    """A derivation that cannot be worked: a member is missing or of another kind; names it."""


def worked_again(derivation: Mapping[str, Any], book: PriceBook) -> WorkedAgain:
    """Raises `BadDerivation`."""
    try:
        return _worked_again(derivation, book)
    except KeyError as error:
        raise BadDerivation(f"it has no {error}") from None
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BadDerivation(f"{type(error).__name__}: {error}") from None


def _worked_again(stated: Mapping[str, Any], book: PriceBook) -> WorkedAgain:
    raw = stated["usage_raw"]
    texts = tuple([text.encode() for text in raw])
    normaliser, newer = _normaliser(stated["normaliser"])
    sizes = sum(map(len, texts))
    counting = _counted if sizes <= _REMEMBERED_BYTES else _counted.__wrapped__
    counted = counting(normaliser, texts, stated["stream"], stated["bound"], stated["asked_ttl"])
    bill = _decided(stated, counted, book)
    differences = []
    if sha256(b"\n".join(texts)).hexdigest() != stated["usage_sha256"] and not any(_LOST in text for text in raw):
        differences.append(Differs("usage", "usage_sha256 is not the hash of usage_raw"))
    compared = _compared(stated, counted, bill)
    if newer is None or not compared:
        return WorkedAgain(bill=bill, counted=counted, differences=(*differences, *compared), newer=newer)
    # The version that was cited is gone: what it counted stands, and the arithmetic from there on is proved.
    older = _as_stated(stated, counted)
    bill = _decided(stated, older, book)
    found = tuple(each.what for each in compared)
    kept = [each for each in _compared(stated, older, bill) if each.cause != "buckets"]
    return WorkedAgain(bill=bill, counted=older, differences=(*differences, *kept), newer=newer, found=found)


def _decided(stated: Mapping[str, Any], counted: Counted, book: PriceBook) -> Bill:
    failure, status = stated["failure"], stated["status"]
    ending = Ending(
        status=status,
        error=None if failure is None else UpstreamError("as recorded", outcome=failure, status=status),
        has_content=stated["has_content"],
        complete=stated["complete"],
        blocked=stated["blocked"],
        delivered_bytes=stated["delivered_bytes"],
        delivered_tokens=stated["delivered_tokens"],
    )
    provider, model = stated["price_of"]
    served = Served(provider=provider, model=model, at_s=stated["at_s"], service_tier=stated["service_tier"])
    agreed = _terms(stated["margin"], stated["usd_per_uat"], stated["settle_cap"])
    hold = Hold(pico_uat=int(stated["hold_pico_uat"]), input_tokens=stated["hold_input_tokens"])
    return decide(ending, counted, book, served, agreed, hold, tuple([Uses(each) for each in stated["uses"]]))


def _compared(stated: Mapping[str, Any], counted: Counted, bill: Bill) -> list[Differs]:
    """The first step that differs decides the cause, so the order is that of the work."""
    basis = bill.basis
    price = basis.prices[0] if basis is not None else None
    parts = counted.parts
    buckets = parts[0].buckets if len(parts) == 1 else counted.buckets
    ours = (
        buckets.stated(),
        bill.outcome,
        bill.estimated,
        None if price is None else price.row_id,
        None if price is None else price.table,
        {} if price is None else stated_rates(price),
        [] if basis is None else list(basis.multipliers),
        stated_fees(basis),
        basis_of(bill),
        _usd(bill.cost_pico_usd),
        _usd(bill.recomputed_pico_usd),
        reported_usd(counted),
        bill.difference,
        "ceil_once",
    )
    theirs = _members(stated)
    differs: list[Differs] = []
    if theirs != ours:
        for (name, cause), said, value in zip(_COMPARED.items(), theirs, ours, strict=True):
            if said != value:
                differs.append(Differs(cause, f"{name} is stated as {said}, and comes to {value}"))
    elif stated["failure"] is None:
        flags = [flag for flag in stated["flags"] if flag != RECOVERED]
        if flags != list(bill.reasons):
            differs.append(Differs("outcome", f"flags are stated as {flags}, and come to {list(bill.reasons)}"))
    return differs


def _as_stated(stated: Mapping[str, Any], newer: Counted) -> Counted:
    """The counts that a derivation states, with what a newer version of its normaliser says of the circumstances."""
    buckets = Buckets(**{name: _whole(tokens) for name, tokens in stated["buckets"].items()})
    reported = stated["provider_reported_cost_usd"] if stated["basis"] == "provider_reported" else None
    return Counted(
        normaliser=stated["normaliser"],
        parts=(Part(buckets),),
        uses=newer.uses,
        service_tier=newer.service_tier,
        traits=tuple(stated["multipliers"]),
        reported_usd=None if reported is None else Fraction(reported),
        rounded_usd=newer.rounded_usd,
        flags=newer.flags,
    )


def _whole(tokens: Any) -> int:
    if type(tokens) is not int or tokens < 0:
        raise ValueError(f"{tokens!r} is no number of tokens")
    return tokens


def _normaliser(name: str) -> tuple[Normaliser, str | None]:
    """The normaliser that is cited; else the version of it that there is now, with its name."""
    known = NAMED.get(name)
    if known is not None:
        return known, None
    api = name.rpartition("/")[0]
    for now, normaliser in NAMED.items():
        if now.rpartition("/")[0] == api:
            return normaliser, now
    raise BadDerivation(f"normaliser {name!r} is not known")


@lru_cache(maxsize=2048)
def _counted(
    normaliser: Normaliser, texts: tuple[bytes, ...], stream: bool, bound: int, asked_ttl: str | None
) -> Counted:
    return count(normaliser, texts, stream=stream, bound=bound, asked_ttl=asked_ttl)


@lru_cache(maxsize=64)
def _terms(margin: str, usd_per_uat: str, settle_cap: int) -> Terms:
    if (type(margin), type(usd_per_uat), type(settle_cap)) != (str, str, int):
        raise TypeError("margin and usd_per_uat are decimal texts, and settle_cap is a whole number")
    return terms(margin, usd_per_uat, settle_cap=settle_cap)


def _usd(pico_usd: Fraction | None) -> str | None:
    return None if pico_usd is None else usd(pico_usd)
