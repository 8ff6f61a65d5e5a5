"""What a start does with the holds that a crash has left open, before any new one: from the journal alone.

| on disk | what becomes of the hold |
|---|---|
| its ending in the spool (`spool.py`) | ended so, exactly |
| no checkpoint, or one without output | released, with the risk that a provider bills what was sent |
| a checkpoint with output | settled at its estimate, at most the hold, flagged; text after it is the platform's loss |
| quarantined | left open: an operator decides; after 72 hours released, with the risk (`quarantines.py`) |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.protocol import (
    Charge,
    Entry,
    Hold,
    HoldResolved,
    LedgerRefusal,
    Progress,
    Risk,
)
from clawbench.billing.ledger.spool import SpooledEnding, booked

UNKNOWN_PROVIDER = "unknown"
QUARANTINED = "quarantined"


class Recovery(Struct, frozen=True, kw_only=True):
    """What was done: entries that settled at a checkpoint, entries that released, holds left open with the reason.

    `spooled` are the endings that the spool still held; what contradicts the log is not booked, and its hold is left.
    `torn` is how many lines of the spool could not be read.
    """

    spooled: tuple[Entry, ...] = ()
    torn: int = 0
    settled: tuple[Entry, ...] = ()
    released: tuple[Entry, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


def recover(
    books: Books,
    checkpoint_of: Callable[[str], tuple[int, Progress] | None],
    risks_of: Callable[[Hold], Sequence[Risk]] | None = None,
    endings: Sequence[SpooledEnding] = (),
    torn: int = 0,
) -> Recovery:
    """Ends every open hold that is not in quarantine; first those of which the spool says how.

    `risks_of` says what a provider may bill for a hold of which no checkpoint tells; without it, that is the whole
    hold, at a provider called "unknown".
    """
    spooled, settled, released, left = [], [], [], []
    before = books.state.seq
    for ending in endings:
        try:
            entry = booked(books, ending)
        except HoldResolved:
            continue  # booked long ago, and ended otherwise since
        except LedgerRefusal as refusal:
            left.append((ending.hold, str(refusal)))
            continue
        if entry.seq > before:
            spooled.append(entry)
    released += books.release_unjudged()
    contradicted = {hold for hold, _ in left}
    for held in list(books.state.open.values()):
        if held.quarantined:
            left.append((held.id, QUARANTINED))
        if held.quarantined or held.id in contradicted:
            continue
        seq, progress = checkpoint_of(held.id) or (None, Progress())
        try:
            if progress.charge is not None:
                settled.append(
                    books.settle(held.id, _estimate(progress.charge, held, seq), progress.costs, progress.risks)
                )
            else:
                risks = progress.risks or (risks_of or _whole)(held)
                released.append(books.release(held.id, "recovered: nothing was delivered", progress.costs, risks))
        except LedgerRefusal as refusal:
            left.append((held.id, str(refusal)))
    return Recovery(
        spooled=tuple(spooled), torn=torn, settled=tuple(settled), released=tuple(released), left=tuple(left)
    )


def _estimate(charge: Charge, held: Hold, seq: int | None) -> Charge:
    stated = {**charge.derivation, "checkpoint": seq, "estimated": True, "outcome": "estimate_and_flag"}
    stated["flags"] = [*charge.derivation.get("flags", ()), "recovered"]
    return Charge(amount=min(charge.amount, held.amount), derivation=stated)


def _whole(held: Hold) -> Sequence[Risk]:
    risk = Risk(attempt_id=f"{held.id}/0", provider=UNKNOWN_PROVIDER, amount=held.amount, reason="crash")
    return (risk,)
