"""A ledger in one SQLite file: durable when a call returns, commits shared by all who wait.

    ledger = SqliteLedger(path, now_us=…)     makes the file if there is none; raises LedgerFileError
    await ledger.recover(risks_of)            before accepting traffic: what a crash has left open
    …
    await ledger.close()                      writes what is queued; the next start is then quick

Beside the file stand `-wal` and `-shm`, which belong to it, and `.lock`; `.spool` too, after it could not be written
(`spool.py`). Other processes may read (`reader.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.ownership import Ownership
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    Entry,
    Hold,
    KeyLimit,
    Progress,
    Risk,
)
from clawbench.billing.ledger.reader import read_page
from clawbench.billing.ledger.recovery import QUARANTINED, Recovery, recover
from clawbench.billing.ledger.spool import Spool
from clawbench.billing.ledger.store import Store
from clawbench.billing.ledger.writer import Counts, Writer

P = ParamSpec("P")
T = TypeVar("T")


class SqliteLedger:
    """A `Ledger` on disk. Belongs to one process; its methods may be awaited in any loop of it that runs on real time.

    `now_us` gives microseconds since 1970 and is called in another thread, as is `key_limits`, which gives what an API
    key may spend (None: no limit). `failpoint` is told each step of a commit by name. While the file cannot be written,
    it is tried again every `retry_s` seconds.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        now_us: Callable[[], int],
        key_limits: Callable[[str], KeyLimit | None] = lambda key_id: None,
        failpoint: Callable[[str], None] = lambda point: None,
        retry_s: float = 1.0,
    ) -> None:
        self.path = Path(path)
        self._store = Store(self.path, failpoint)
        self._spool = Spool(self.path.with_name(f"{self.path.name}.spool"), failpoint)
        ownership = Ownership(self.path)
        try:
            self._writer = Writer(self._store, self._spool, ownership, now_us, key_limits, retry_s)
        except BaseException:
            ownership.release()
            raise

    @property
    def broken(self) -> bool:
        """Whether the file cannot be written: holds and top-ups are refused, settles and releases wait."""
        return self._writer.broken

    @property
    def queued(self) -> int:
        """How many operations wait for a commit, roughly."""
        return self._writer.queued()

    @property
    def counts(self) -> Counts:
        """What has been written since the start."""
        return self._writer.counts

    async def recover(self, risks_of: Callable[[Hold], Sequence[Risk]] | None = None) -> Recovery:
        """Ends what a crash has left open; see `recovery.py`. To be called once, before any hold."""
        endings, torn = await asyncio.to_thread(self._spool.read)
        recovery = await self._do(recover, self._store.checkpoint_of, risks_of, endings, torn)
        if all(reason == QUARANTINED for _, reason in recovery.left):
            await asyncio.to_thread(self._spool.remove)
        return recovery

    async def close(self) -> None:
        """Writes everything that was asked for, then lets go of the file; harmless when called twice."""
        await asyncio.get_running_loop().run_in_executor(None, self._writer.close)

    async def top_up(self, account: str, external_id: str, amount: int) -> Entry:
        return await self._do(Books.top_up, account, external_id, amount)

    async def hold(
        self, account: str, key_id: str, request_id: str, body_sha256: str, amount: int, expires_at_us: int
    ) -> Hold:
        return await self._do(Books.hold, account, key_id, request_id, body_sha256, amount, expires_at_us)

    async def settle(
        self, hold: str, charge: Charge, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        return await self._do(Books.settle, hold, charge, costs, risks)

    async def release(
        self, hold: str, reason: str, costs: Sequence[AttemptCost] = (), risks: Sequence[Risk] = ()
    ) -> Entry:
        return await self._do(Books.release, hold, reason, costs, risks)

    def checkpoint(self, hold: str, progress: Progress) -> None:
        self._writer.note(Books.checkpoint, (hold, progress))

    async def quarantine(
        self,
        hold: str,
        evidence: Mapping[str, Any],
        costs: Sequence[AttemptCost] = (),
        risks: Sequence[Risk] = (),
    ) -> Entry:
        return await self._do(Books.quarantine, hold, evidence, costs, risks)

    async def find_hold(self, hold: str) -> Hold:
        """A hold with its state, open or not. Raises `UnknownEntry`."""
        return await self._do(Books.find_hold, hold)

    async def expire(self) -> Sequence[Entry]:
        return await self._do(Books.expire)

    async def adjust(self, seq: int, amount: int, reason: str) -> Entry:
        return await self._do(Books.adjust, seq, amount, reason)

    async def resolve_risk(self, attempt_id: str, billed: int | None) -> Sequence[Entry]:
        return await self._do(Books.resolve_risk, attempt_id, billed)

    async def balance(self, account: str) -> Balance:
        return await self._do(Books.balance, account)

    def entries(self, account: str | None = None, after: int = 0, limit: int = 500) -> Iterator[Entry]:
        """Reads the file: what has been committed when it is called. May be called in any thread."""
        return iter(read_page(self.path, account, after, limit))

    def _do(self, call: Callable[Concatenate[Books, P], T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        assert not kwargs
        return self._writer.submit(call, args)
