"""Entries before they have a place in the log, and the names in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from clawbench.billing.ledger import postings
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Charge,
    Entry,
    Kind,
    LedgerOverflow,
    Posting,
    Progress,
    Risk,
    Unwritable,
)


class Line(NamedTuple):
    """What an entry says; number, time and hashes come with its place. `evidence` are raw usage texts."""

    kind: Kind
    account: str
    ref: str
    moves: tuple[Posting, ...]
    detail: Mapping[str, Any]
    evidence: Sequence[bytes] = ()


def cost_lines(costs: Sequence[AttemptCost], request_id: str, at_us: int) -> list[Line]:
    """What providers bill for attempts of a request."""
    return [
        Line("cost", "", each.attempt_id, postings.cost(each.provider, not_negative(each.amount), at_us), detail)
        for each in costs
        for detail in ({**_plain(each), "request_id": request_id},)
    ]


def risk_lines(risks: Sequence[Risk], request_id: str, at_us: int) -> list[Line]:
    """What providers may bill for attempts of a request."""
    return [
        Line("risk", "", each.attempt_id, postings.risk(each.provider, not_negative(each.amount), at_us), detail)
        for each in risks
        for detail in ({**_plain(each), "request_id": request_id},)
    ]


def resolved_cost(risk: Entry, billed: int) -> AttemptCost:
    """What a provider took of what it might, for the same thing; `billed` in pico-UAT."""
    detail = risk.detail
    return AttemptCost(
        attempt_id=risk.ref,
        provider=detail["provider"],
        amount=billed,
        model=detail.get("model", ""),
        service_tier=detail.get("service_tier", ""),
        usd_per_uat=detail.get("usd_per_uat", ""),
    )


def charge_detail(charge: Charge) -> dict[str, Any]:
    """Amount and derivation, and the hashes of the usage texts that the charge rests on."""
    detail: dict[str, Any] = {"amount": str(charge.amount), "derivation": dict(charge.derivation)}
    if charge.evidence:
        detail["evidence"] = [sha256(text).hexdigest() for text in charge.evidence]
    return detail


def progress_detail(progress: Progress) -> dict[str, Any]:
    """What `progress_of` reads again."""
    return {
        "charge": None if progress.charge is None else charge_detail(progress.charge),
        "costs": [{"attempt_id": each.attempt_id, **_plain(each)} for each in progress.costs],
        "risks": [{"attempt_id": each.attempt_id, **_plain(each)} for each in progress.risks],
    }


def progress_of(detail: Mapping[str, Any]) -> Progress:
    """The progress that a checkpoint has noted; the texts themselves stay with the checkpoint."""
    charge = detail["charge"]
    return Progress(
        charge=charge and Charge(amount=int(charge["amount"]), derivation=charge["derivation"]),
        costs=tuple(AttemptCost(**{**each, "amount": int(each["amount"])}) for each in detail["costs"]),
        risks=tuple(Risk(**{**each, "amount": int(each["amount"])}) for each in detail["risks"]),
    )


def request_prefix(account: str, request_id: str) -> str:
    """What the ids of all holds of a request begin with: "account/request/"; the number of the try follows.

    A slash within either is written as %2F, so that no account reaches into another's requests. Raises `Unwritable`.
    """
    return f"{_part(account)}/{_part(request_id)}/"


def request_of(hold_id: str) -> str:
    """The prefix of a hold's id."""
    return hold_id[: hold_id.rindex("/") + 1]


def not_negative(amount: int) -> int:
    if amount < 0:
        raise LedgerOverflow("a cost is not negative")
    return amount


def _plain(each: AttemptCost | Risk) -> dict[str, Any]:
    """What is not known is not written; `resolved_cost` and whoever reads a log do without."""
    plain: dict[str, Any] = {"amount": str(each.amount), "provider": each.provider}
    if each.model:
        plain["model"] = each.model
    if each.service_tier:
        plain["service_tier"] = each.service_tier
    if each.usd_per_uat:
        plain["usd_per_uat"] = each.usd_per_uat
    if isinstance(each, Risk):
        plain["reason"] = each.reason
        return plain
    plain["usd"] = each.usd
    if each.meters:
        plain["meters"] = each.meters
    return plain


def _part(name: str) -> str:
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise Unwritable(f"{name!r} is no text that can be written: {error.reason}") from error
    return name.replace("%", "%25").replace("/", "%2F") if "/" in name or "%" in name else name
