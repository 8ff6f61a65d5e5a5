"""A ledger in memory: for virtual runs and tests. Operations are atomic, since nothing in them waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.protocol import AttemptCost, Balance, Charge, Entry, Hold, Risk


class MemoryLedger:
    """A `Ledger` that lives as long as its process. `now_us` gives microseconds since 1970."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.books = Books(now_us)

    async def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        return self.books.top_up(account, external_id, amount)

    async def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        return self.books.hold(account, key_id, request_id, body_sha256, amount, expires_at_us)

    async def settle(self, hold: str, charge: Charge, costs: Sequence[AttemptCost] = ()) -> Entry:
        return self.books.settle(hold, charge, costs)

    async def release(
        self, hold: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        return self.books.release(hold, reason, costs, risks)

    async def quarantine(self, hold: str, evidence: Mapping[str, Any]) -> Entry:
        return self.books.quarantine(hold, evidence)

    async def expire(self) -> Sequence[Entry]:
        return self.books.expire()

    async def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        return self.books.adjust(seq, amount, reason)

    async def resolve_risk(self, attempt_id: str, billed: int | None) -> Sequence[Entry]:
        return self.books.resolve_risk(attempt_id, billed)

    async def balance(self, account: str) -> Balance:
        return self.books.balance(account)

    def entries(self, account: str | None = None, after: int = 0, limit: int = 500) -> Iterator[Entry]:
        return self.books.entries(account, after, limit)
