"""Ledgers for tests: a clock that they set, the two kinds behind one seam, a process that dies at a named step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from clawbench.billing.ledger.memory import MemoryLedger
from clawbench.billing.ledger.protocol import Balance, Entry, Hold, KeyLimit
from clawbench.billing.ledger.sqlite import SqliteLedger

NOON_US = 1_763_726_400_000_000
KINDS = ("memory", "sqlite")


class Clock:
    """Microseconds that a test sets."""

    def __init__(self) -> None:
        self.now_us = NOON_US

    def __call__(self) -> int:
        return self.now_us


class Kept:
    """A ledger, its clock, and what tests ask of it again and again."""

    def __init__(self, ledger: MemoryLedger | SqliteLedger, clock: Clock) -> None:
        self.ledger, self.clock = ledger, clock

    async def hold(self, amount: int = 100, request: str = "r", body: str = "b", key: str = "key") -> Hold:
        return await self.ledger.hold("a", key, request, body, amount, NOON_US + 60_000_000)

    async def balance(self, account: str = "a") -> Balance:
        return await self.ledger.balance(account)

    def log(self) -> list[Entry]:
        return list(self.ledger.entries(limit=1_000_000))

    def balances(self) -> dict[str, int]:
        """Of every account, by adding the log up."""
        found: dict[str, int] = {}
        for entry in self.log():
            for posting in entry.postings:
                found[posting.account] = found.get(posting.account, 0) + posting.amount
        return found


@asynccontextmanager
async def kept(
    kind: str, folder: Path, credit: int = 1000, key_limits: Callable[[str], KeyLimit | None] = lambda key: None
) -> AsyncIterator[Kept]:
    """A ledger of a kind in which account "a" has some credit."""
    clock = Clock()
    if kind == "memory":
        made = Kept(MemoryLedger(clock, key_limits=key_limits), clock)
    else:
        made = Kept(SqliteLedger(folder / "ledger.db", now_us=clock, key_limits=key_limits), clock)
    try:
        if credit:
            await made.ledger.top_up("a", "first", credit)
        yield made
    finally:
        if isinstance(made.ledger, SqliteLedger):
            await made.ledger.close()


class Killed(BaseException):
    """The end of a process, as far as its ledger can tell."""


class Failpoints:
    """Follows the steps of a ledger; once armed, raises an error `times` times, from a step on."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._from = self._until = 0
        self._error: BaseException = Killed()
        self._named: set[str] = set()

    def arm(self, after: int = 0, error: BaseException | None = None, times: int = 1) -> None:
        """`after`: how many steps still pass."""
        self._from = len(self.steps) + after
        self._until = self._from + times
        self._error = error or Killed()

    def fail_at(self, step: str, error: BaseException) -> None:
        """At every step of that name."""
        self._named.add(step)
        self._error = error

    def disarm(self, *, but: str = "") -> None:
        """No step fails any more, `but` that one if it did by name."""
        self._from = self._until = 0
        self._named.intersection_update({but})

    def __call__(self, step: str) -> None:
        self.steps.append(step)
        if self._from < len(self.steps) <= self._until or step in self._named:
            raise self._error
