"""What a ledger promises, whichever keeps it: nouns, refusals, and the operations.

Amounts are whole pico-UAT (1e-12 UAT) within ±(2^63 − 1); instants are microseconds since 1970. An operation
happens entirely or not at all, and is durable when its call returns. Knows no provider and no price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from clawbench.errors import ClawbenchError, UsageError

Kind = Literal[
    "topup", "hold", "settle", "late_settle", "release", "expire", "quarantine", "cost", "risk", "risk_resolved",
    "adjust", "checkpoint",
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
    """A request id that is running, was settled, or belongs to another body; `reason` says which.

    `entry` is the number of the entry that settled it, None where nothing has.
    """

    def __init__(
        self,
        reason: Literal["running", "settled", "other_body", "other_amount"],
        what: str,
        entry: int | None = None,
    ) -> None:
        self.reason, self.entry = reason, entry
        super().__init__(f"{what}: {reason.replace('_', ' ')}")


class HoldResolved(LedgerRefusal):
    """A hold ends once; this one has, in another way."""


class UnknownEntry(LedgerRefusal):
    """No such hold or entry."""


class LedgerOverflow(LedgerRefusal):
    """An amount or balance that no signed 64-bit integer holds."""


class KeyLimitReached(LedgerRefusal):
    """A hold that an API key's own limit does not allow; `which` limit, and what is left of it."""

    def __init__(self, which: Literal["hold", "day", "total"], key_id: str, limit: int, left: int, amount: int) -> None:
        self.which, self.limit, self.left = which, limit, left
        of = {"hold": "the largest hold", "day": "spending in a day (UTC)", "total": "spending in all"}[which]
        super().__init__(
            f"key {key_id!r} may hold {left} more pico-UAT and {amount} are needed: its limit of {of} is {limit}"
        )


class Unwritable(LedgerRefusal):
    """Something that no line of the log can state, such as half a surrogate pair or an integer over 64 bits."""


class LedgerUnavailable(LedgerRefusal):
    """The ledger cannot write now, or is closed. Whether an operation under way was done, its next start finds out."""


class Spooled(LedgerUnavailable):
    """The ledger cannot write now; how the hold ends is durable beside it, and is booked later, at its next start
    at the latest. Nothing more is to be done for it."""


class LedgerFileError(UsageError):
    """A ledger's file that cannot be used; `file` names it, `reason` says why and what to do."""

    def __init__(self, reason: str, *, file: object) -> None:
        self.reason, self.file = reason, str(file)
        super().__init__(f"{self.file}: {reason}")


class LedgerInUse(LedgerFileError):
    """Another process owns the ledger; `holder` is its number, "" where it did not say."""

    def __init__(self, file: object, holder: str) -> None:
        self.holder = holder
        by = f"process {holder}" if holder else "another process"
        super().__init__(f"the ledger is in use by {by}; one process at a time writes to it", file=file)


class LedgerCorrupt(LedgerFileError):
    """The file is damaged, or is not what was written; opening it for an audit says how far it can be read."""


class Posting(Struct, frozen=True, array_like=True, gc=False):
    """A change of one account; those of an entry sum to zero."""

    account: str
    amount: int


class Entry(Struct, frozen=True, kw_only=True, gc=False):
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


class Hold(Struct, frozen=True, kw_only=True, gc=False):
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


class Charge(Struct, frozen=True, kw_only=True, gc=False):
    """What a request is charged, the derivation that it can be computed again from, and the raw usage texts.

    The entry carries the texts' SHA-256 in `detail["evidence"]`, in the same order; the texts are kept beside it.
    """

    amount: int
    derivation: Mapping[str, Any] = {}
    evidence: tuple[bytes, ...] = ()


class AttemptCost(Struct, frozen=True, kw_only=True, gc=False):
    """What a provider bills for an attempt, the winner's included; `usd` is the exact figure as text.

    `model` and `service_tier` as served and `usd_per_uat` (USD for one UAT) are "" where unknown, a tier also where it
    is the one that everybody gets. `meters` says what `usd` is the sum of, as bucket or fee → [quantity, USD as text],
    where no charge's derivation does.
    """

    attempt_id: str
    provider: str
    amount: int
    usd: str = ""
    model: str = ""
    service_tier: str = ""
    usd_per_uat: str = ""
    meters: Mapping[str, tuple[int, str]] = {}


class Risk(Struct, frozen=True, kw_only=True):
    """What a provider may bill for an attempt; resolved later. `model`, `service_tier`, `usd_per_uat`: as of a cost."""

    attempt_id: str
    provider: str
    amount: int
    reason: str = ""
    model: str = ""
    service_tier: str = ""
    usd_per_uat: str = ""


class Progress(Struct, frozen=True, kw_only=True):
    """What a crash after it leaves to be booked: the charge for what was delivered so far, or a risk alone.

    `charge` None: nothing was delivered, and the hold would be released with `risks`.
    """

    charge: Charge | None = None
    costs: tuple[AttemptCost, ...] = ()
    risks: tuple[Risk, ...] = ()


class KeyLimit(Struct, frozen=True, kw_only=True):
    """What an API key may spend, in pico-UAT: by request (its hold), by day (UTC), in all. None: no limit."""

    hold_max: int | None = None
    day_max: int | None = None
    total_max: int | None = None


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
        """Sets an amount aside. Raises `InsufficientCredits`, `KeyLimitReached` or `DuplicateRequest`."""
        ...

    async def settle(
        self, hold: str, charge: Charge, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Charges and gives the rest back. Again with the same amount: the same entry."""
        ...

    async def release(
        self, hold: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        """Gives all of a hold back."""
        ...

    def checkpoint(self, hold: str, progress: Progress) -> None:
        """Notes how far an answer has come. Rides the next commit, never awaited; dropped where the hold has ended."""
        ...

    async def quarantine(
        self,
        hold: str,
        evidence: Mapping[str, Any],
        costs: Sequence[AttemptCost] = (),
        risks: Sequence[Risk] = (),
    ) -> Entry:
        """Keeps a hold open until somebody settles or releases it, for 72 hours. Again: the same entry."""
        ...

    async def expire(self) -> Sequence[Entry]:
        """Gives back what is held beyond its time; what is in quarantine after 72 hours, as a risk."""
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
