"""A ledger in memory: for virtual runs and tests. Operations are atomic, since nothing in them waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from clawbench.billing.ledger.archive import MemoryArchive
from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    Entry,
    Hold,
    KeyLimit,
    LedgerRefusal,
    Progress,
    Risk,
)


class MemoryLedger:
    """A `Ledger` that lives as long as its process. `now_us` gives microseconds since 1970.

    `window`: how many of the last entries are kept; with None all are, and memory grows with the log. Each entry is
    handed to `sink`, with the canonical JSON of its detail, as it is written.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        window: int | None = None,
        sink: Callable[[Entry, bytes], None] | None = None,
        key_limits: Callable[[str], KeyLimit | None] = lambda key_id: None,
    ) -> None:
        self.archive = MemoryArchive(window=window, sink=sink)
        self.books = Books(now_us, self.archive, key_limits=key_limits)

    async def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        return self.books.top_up(account, external_id, amount)

    async def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        return self.books.hold(account, key_id, request_id, body_sha256, amount, expires_at_us)

    async def settle(
        self, hold: str, charge: Charge, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        return self.books.settle(hold, charge, costs, risks)

    async def release(
        self, hold: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        return self.books.release(hold, reason, costs, risks)

    def checkpoint(self, hold: str, progress: Progress) -> None:
        with suppress(LedgerRefusal):
            self.books.checkpoint(hold, progress)

    async def quarantine(
        self,
        hold: str,
        evidence: Mapping[str, Any],
        costs: Sequence[AttemptCost] = (),
        risks: Sequence[Risk] = (),
    ) -> Entry:
        return self.books.quarantine(hold, evidence, costs, risks)

    async def expire(self) -> Sequence[Entry]:
        return self.books.expire()

    async def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        return self.books.adjust(seq, amount, reason)

    async def resolve_risk(self, attempt_id: str, billed: int | None) -> Sequence[Entry]:
        return self.books.resolve_risk(attempt_id, billed)

    async def balance(self, account: str) -> Balance:
        return self.books.balance(account)

    def entries(self, account: str | None = None, after: int = 0, limit: int = 500) -> Iterator[Entry]:
        return self.archive.entries(account, after, limit)
