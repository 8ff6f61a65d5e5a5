"""Holds that are kept open for somebody to judge, and what becomes of them when nobody does.

An operator charges at most the hold, or gives all of it back. After 72 hours it is given back, so that no client's
credit is locked for ever. However it ends, a risk is booked: the answer was delivered, its provider may bill it.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.billing.ledger.archive import Archive
from clawbench.billing.ledger.protocol import Charge, Entry, Hold, Risk
from clawbench.billing.ledger.state import State

KEPT_US: Final = 72 * 3_600_000_000
UNJUDGED: Final = "nobody judged it within 72 hours"
JUDGED: Final = "judged"
"""The outcome in the derivation of a charge that an operator decided: it can be derived from nothing else."""

_UNKNOWN_PROVIDER: Final = "unknown"
_CITED: tuple[str, ...] = ("model_requested", "model_served", "offer", "provider")


def overdue(state: State, archive: Archive, now_us: int) -> list[tuple[Hold, Risk]]:
    """The holds that have been kept long enough, each with the risk that is left of it."""
    found = []
    for held in state.open.values():
        if held.quarantined:
            entry = archive.find("quarantine", held.id)
            since_us = held.expires_at_us if entry is None else entry.at_us  # None: a short memory has lost it
            if since_us + KEPT_US <= now_us:
                found.append((held, risk_of(held, entry, UNJUDGED)))
    return found


def risk_of(held: Hold, quarantine: Entry | None, reason: str) -> Risk:
    """What a provider may bill for the answer: nobody knows, so it is all that was held for it."""
    provider = _evidence(quarantine).get("provider")
    return Risk(
        attempt_id=f"{held.id}/quarantine",
        provider=provider if isinstance(provider, str) and provider else _UNKNOWN_PROVIDER,
        amount=held.amount,
        reason=reason,
    )


def judged(quarantine: Entry, amount: int, reason: str) -> Charge:
    """A charge by an operator's word, citing what was kept."""
    evidence = _evidence(quarantine)
    cited = {name: evidence[name] for name in _CITED if name in evidence}
    return Charge(
        amount=amount, derivation={**cited, "outcome": JUDGED, "quarantine": quarantine.seq, "reason": reason}
    )


def _evidence(quarantine: Entry | None) -> dict[str, Any]:
    return {} if quarantine is None else quarantine.detail["evidence"]
