"""What a ledger promises, whichever keeps it: nouns, refusals, and the operations.

Amounts are whole pico-UAT (1e-12 UAT) within ±(2^63 − 1); instants are microseconds since 1970. An operation
happens entirely or not at all, and is durable when its call returns. Knows no provider and no price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from clawbench.errors import ClawbenchError

Kind = Literal[
    "topup", "hold", "settle", "late_settle", "release", "expire", "quarantine", "cost", "risk", "risk_resolved",
    "adjust",
]  # fmt: skip
HoldState = Literal["open", "settled", "released", "expired"]


class LedgerRefusal(ClawbenchError):
    """An operation that the ledger did not do; nothing has changed."""


class InsufficientCredits(LedgerRefusal):
    """Less is available than has to be held, or a shortfall is open."""

    def __init__(self, required: int, available: int) -> None:
        self.required, self.available = required, available
        super().__init__(f"{required} pico-UAT are needed and {available} are available")


class DuplicateRequest(LedgerRefusal):
    """A request id that is running, was settled, or belongs to another body; `reason` says which."""

    def __init__(self, reason: Literal["running", "settled", "other_body", "other_amount"], what: str) -> None:
        self.reason = reason
        super().__init__(f"{what}: {reason.replace('_', ' ')}")


class HoldResolved(LedgerRefusal):
    """A hold ends once; this one has, in another way."""


class UnknownEntry(LedgerRefusal):
    """No such hold or entry."""


class LedgerOverflow(LedgerRefusal):
    """An amount or balance that no signed 64-bit integer holds."""


class Posting(Struct, frozen=True, array_like=True):
    """A change of one account; those of an entry sum to zero."""

    account: str
    amount: int


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the log. `hash` is over `prev_hash` and everything else in it."""

    seq: int
    kind: Kind
    at_us: int
    account: str  # the client's, "" for entries of the platform alone
    ref: str  # what makes it unique of its kind: hold, attempt, external id, entry
    postings: tuple[Posting, ...] = ()
    detail: Mapping[str, Any] = {}
    prev_hash: str = ""
    hash: str = ""


class Hold(Struct, frozen=True, kw_only=True):
    """An amount set aside for one try of one request. A quarantined hold is open and does not expire."""

    id: str
    account: str
    key_id: str
    request_id: str
    attempt: int  # 1, 2, …: a released request may run again
    body_sha256: str
    amount: int
    expires_at_us: int
    state: HoldState = "open"
    quarantined: bool = False


class Charge(Struct, frozen=True, kw_only=True):
    """What a request is charged, and the derivation that it can be computed again from."""

    amount: int
    derivation: Mapping[str, Any] = {}


class AttemptCost(Struct, frozen=True, kw_only=True):
    """What a provider bills for an attempt, the winner's included; `usd` is the exact figure as text."""

    attempt_id: str
    provider: str
    amount: int
    usd: str = ""


class Risk(Struct, frozen=True, kw_only=True):
    """What a provider may bill for an attempt; resolved later."""

    attempt_id: str
    provider: str
    amount: int
    reason: str = ""


class Balance(Struct, frozen=True, kw_only=True):
    """`shortfall` is what is owed, at most 0: it blocks new holds."""

    available: int
    held: int
    shortfall: int


class Ledger(Protocol):
    """Every method raises `LedgerRefusal` for what it did not do, and nothing else."""

    async def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        """Credits an account once for each external id; a shortfall is repaid first."""
        ...

    async def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        """Sets an amount aside. Raises `InsufficientCredits` or `DuplicateRequest`."""
        ...

    async def settle(self, hold: str, charge: Charge, costs: Sequence[AttemptCost] = ()) -> Entry:
        """Charges and gives the rest back. Again with the same amount: the same entry."""
        ...

    async def release(
        self, hold: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Gives all of a hold back."""
        ...

    async def quarantine(self, hold: str, evidence: Mapping[str, Any]) -> Entry:
        """Keeps a hold open, exempt from expiry, until somebody settles or releases it."""
        ...

    async def expire(self) -> Sequence[Entry]:
        """Gives back what is held beyond its time."""
        ...

    async def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        """Corrects a charge by a new entry: `amount` > 0 is in the client's favour."""
        ...

    async def resolve_risk(self, attempt_id: str, billed: int | None) -> Sequence[Entry]:
        """Ends a risk: `billed` is what the provider took, None if nothing."""
        ...

    async def balance(self, account: str) -> Balance: ...

    def entries(self, account: str | None = None, after: int = 0, limit: int = 500) -> Iterator[Entry]:
        """The log in order, from behind sequence number `after`; of one account, or all."""
        ...
