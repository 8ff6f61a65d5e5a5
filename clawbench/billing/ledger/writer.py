"""The one thread that decides and writes: takes what has gathered, validates it in order, commits once, answers all.

There is no artificial delay: while one batch reaches the disk the next one gathers. What ends a hold goes before what
opens one, so that credit is back before it is asked for. An answer, a refusal too, is given after the commit.

A commit that fails has an unknown result. The overlay is dropped, the file opened anew, and the last entry of the batch
looked up: either it is there, and so is the whole batch, or none of it is, and the batch is decided again. While the
file cannot be written, what ends a hold is written to the spool, so that nobody waits for it any more, and is tried
again; where that fails too it waits. Everything else is refused.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Final

from msgspec import Struct

from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.lines import request_prefix
from clawbench.billing.ledger.ownership import Ownership
from clawbench.billing.ledger.protocol import (
    Hold,
    KeyLimit,
    LedgerFileError,
    LedgerRefusal,
    LedgerUnavailable,
    Spooled,
    Unwritable,
)
from clawbench.billing.ledger.spool import Spool, SpooledEnding, line_of
from clawbench.billing.ledger.store import Store

BATCH_MAX: Final = 1024
_TRIES: Final = 3  # of a batch, before the ledger counts as broken
_CAN_WAIT: Final = frozenset({Books.hold, Books.top_up, Books.balance})
_FAILURES: Final = (sqlite3.Error, LedgerFileError, OSError)


class Operation(Struct, frozen=True):
    """A call of the books, and who waits for its answer; nobody does where `future` is None."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    future: asyncio.Future[Any] | None = None
    loop: asyncio.AbstractEventLoop | None = None


class Counts(Struct):
    """Since the start: commits, the entries and operations in them, the largest batch, commits that failed."""

    commits: int = 0
    entries: int = 0
    operations: int = 0
    batch_max: int = 0
    failures: int = 0


class _Answer(Struct, frozen=True):
    operation: Operation
    value: Any
    error: BaseException | None


class Writer:
    """Owns the store from its making; raises what `Store.open` raises. Everything public is for the other threads."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        ownership: Ownership,
        now_us: Callable[[], int],
        key_limits: Callable[[str], KeyLimit | None],
        retry_s: float,
    ) -> None:
        self._store, self._spool, self._ownership, self._retry_s = store, spool, ownership, retry_s
        self._now_us, self._key_limits = now_us, key_limits
        self._books = Books(now_us, store, state=store.open(), key_limits=key_limits)
        self._queue: SimpleQueue[Operation | None] = SimpleQueue()
        self._urgent, self._later = deque[Operation](), deque[Operation]()
        self._under_way: list[Operation] = []
        self._spooled = set[asyncio.Future[Any]]()  # whose endings are in the spool
        self._door = threading.Lock()  # nothing is submitted behind the last look into the queue
        self._closing = threading.Event()
        self.counts = Counts()
        self.broken = self.closed = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """The answer comes after the commit. Raises `LedgerUnavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._door:
            if self.closed or (self.broken and call in _CAN_WAIT):
                raise LedgerUnavailable("the ledger is closed" if self.closed else "the ledger cannot write at present")
            self._queue.put(Operation(call, args, future, loop))
        return future

    def note(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Something that nobody waits for, and that may be lost."""
        if not (self.closed or self.broken):
            self._queue.put(Operation(call, args))

    def queued(self) -> int:
        """How many operations wait, roughly."""
        return self._queue.qsize() + len(self._urgent) + len(self._later)

    def close(self) -> None:
        """Waits until everything that was submitted has been written or given up."""
        with self._door:
            self.closed = True
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        reason, is_mistake = "it was closed", False
        try:
            while batch := self._take():
                self._under_way = batch
                self._work(batch)
                self._under_way = []
                self._mend()
            with suppress(*_FAILURES):
                self._store.close(self._books.state)
        except BaseException as error:  # something of ours broke: nobody may wait for ever
            reason, is_mistake = repr(error), isinstance(error, Exception)
        self._store.drop()
        self._ownership.release()
        with self._door:
            self.closed = True
        self._gather()
        if is_mistake:
            self._save()
        self._refuse((*self._under_way, *self._urgent, *self._later), f"the ledger has ended: {reason}")

    def _take(self) -> list[Operation]:
        """The next batch; empty when the ledger is to close and nothing is left."""
        if not self._urgent and not self._later and not self._closing.is_set():
            self._put(self._queue.get())
        self._gather()
        batch = list[Operation]()
        for waiting in (self._urgent, self._later):
            while waiting and len(batch) < BATCH_MAX:
                batch.append(waiting.popleft())
        return batch

    def _gather(self) -> None:
        with suppress(Empty):
            while True:
                self._put(self._queue.get_nowait())

    def _put(self, operation: Operation | None) -> None:
        if operation is not None:
            (self._later if operation.call in _CAN_WAIT else self._urgent).append(operation)

    def _work(self, batch: list[Operation]) -> None:
        """Commits a batch and answers it, whatever it takes; gives up only when the ledger is to close."""
        tries = 0
        while batch:
            answers: list[_Answer] | None = None
            try:
                answers = self._decide(batch)
                entries = self._store.commit(self._books.state)
            except _FAILURES as error:
                tries += 1
                self.counts.failures += 1
                written = self._reopen(error)
                if written and answers is not None:
                    entries = 0
                elif isinstance(error, sqlite3.IntegrityError):
                    self._work_singly(batch, error)
                    return
                else:
                    if written is None or (tries >= _TRIES and not self._pause(error)):
                        self._refuse(batch, f"the ledger cannot write: {error}")
                        return
                    batch = batch if tries < _TRIES else self._still_waiting(batch, error)
                    continue
            self.broken = False
            self._spooled.clear()
            self._count(len(batch), entries)
            self._deliver(answers)
            return

    def _decide(self, batch: Sequence[Operation]) -> list[_Answer]:
        self._look_ahead(batch)
        answers, books = [], self._books
        for operation in batch:
            try:
                answers.append(_Answer(operation, operation.call(books, *operation.args), None))
            except _FAILURES:
                raise
            except UnicodeEncodeError as error:
                answers.append(_Answer(operation, None, Unwritable(f"a text cannot be written: {error.reason}")))
            except Exception as error:  # a refusal, or a mistake of ours, which must not take the others along
                answers.append(_Answer(operation, None, error))
        return answers

    def _look_ahead(self, batch: Sequence[Operation]) -> None:
        requests, attempts = list[str](), list[str]()
        for operation in batch:
            if operation.call is Books.hold:
                try:
                    requests.append(request_prefix(operation.args[0], operation.args[2]))
                except LedgerRefusal:
                    continue
            elif operation.call in (Books.settle, Books.release):
                attempts += [each.attempt_id for listed in operation.args[2:] for each in listed]
        self._store.look_ahead(requests, [attempt for attempt in attempts if attempt.isascii()])

    def _reopen(self, error: Exception) -> bool | None:
        """Whether what was decided last is on disk; None where the ledger is to close before that is known.

        As long as it is not known, nobody in the batch can be answered: they wait.
        """
        decided = self._books.state
        for tries in count(1):
            self._store.drop()
            try:
                state = self._store.open()
                written = self._store.has(decided.seq, decided.hash)
            except _FAILURES:
                if tries >= _TRIES and not self._pause(error):
                    return None
                continue
            self._books = Books(self._now_us, self._store, state=state, key_limits=self._key_limits)
            return written
        raise AssertionError("counting ended")

    def _mend(self) -> None:
        """Where nobody waits for a write that would show whether one succeeds again, tries one."""
        while self.broken and not self._urgent:
            try:
                self._store.leave_snapshot(self._books.state)
                self.broken = False
            except _FAILURES as error:
                if self._reopen(error) is None or not self._pause(error):
                    return

    def _pause(self, error: Exception) -> bool:
        """Refuses what is new until a batch has been written, and waits a little. Whether to go on."""
        self.broken = True
        self._gather()
        self._refuse(self._later, f"the ledger cannot write: {error}")
        self._later.clear()
        self._save()
        return not self._closing.wait(self._retry_s)

    def _save(self) -> None:
        """Writes the endings of holds that wait to the spool, and says so to those who wait for them."""
        saved, lines = list[Operation](), list[bytes]()
        for each in (*self._under_way, *self._urgent):
            if each.future is None or each.future in self._spooled:
                continue
            with suppress(TypeError, ValueError, OverflowError):  # what no line can state, the books refuse as well
                if ending := _ending(each):
                    lines.append(line_of(ending))
                    saved.append(each)
        if saved:
            with suppress(OSError):
                self._spool.add(b"".join(lines))
                self._spooled.update(each.future for each in saved if each.future)
                self._deliver([_Answer(each, None, Spooled("the ledger cannot write at present")) for each in saved])

    def _still_waiting(self, batch: Sequence[Operation], error: Exception) -> list[Operation]:
        """What of a batch that is not on disk is tried again; the rest is refused."""
        self._refuse([each for each in batch if each.call in _CAN_WAIT], f"the ledger cannot write: {error}")
        return [each for each in batch if each.call not in _CAN_WAIT]

    def _refuse(self, operations: Iterable[Operation], why: str) -> None:
        self._deliver([_Answer(each, None, LedgerUnavailable(why)) for each in operations])

    def _work_singly(self, batch: list[Operation], error: Exception) -> None:
        """Finds the operation that the tables refuse though the books allowed it, and refuses it alone."""
        if len(batch) == 1:
            self._refuse(batch, f"the ledger's tables refuse it: {error}")
            return
        for operation in batch:
            self._work([operation])

    def _count(self, operations: int, entries: int) -> None:
        counts = self.counts
        counts.commits += entries > 0
        counts.entries += entries
        counts.operations += operations
        counts.batch_max = max(counts.batch_max, operations)

    def _deliver(self, answers: Sequence[_Answer]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
        for answer in answers:
            loop = answer.operation.loop
            if loop is not None:
                by_loop.setdefault(loop, []).append(answer)
        for loop, own in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._resolve, own)

    def _resolve(self, answers: Sequence[_Answer]) -> None:
        """In the loop's thread."""
        for answer in answers:
            operation, value, error = answer.operation, answer.value, answer.error
            future = operation.future
            assert future is not None
            if not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)
            elif isinstance(value, Hold) and operation.call is Books.hold:
                # Whoever asked has gone meanwhile, and nobody else knows of the hold.
                self.note(Books.release, (value.id, "nobody waits for it", (), ()))


def _ending(operation: Operation) -> SpooledEnding | None:
    """What the spool keeps of an operation; None where it ends no hold."""
    call, args = operation.call, operation.args
    if call is Books.settle:
        hold, charge, costs, risks = args
        return SpooledEnding(call="settle", hold=hold, charge=charge, costs=tuple(costs), risks=tuple(risks))
    if call is Books.release:
        hold, reason, costs, risks = args
        return SpooledEnding(call="release", hold=hold, reason=reason, costs=tuple(costs), risks=tuple(risks))
    if call is Books.quarantine:
        hold, evidence, costs, risks = args
        return SpooledEnding(call="quarantine", hold=hold, evidence=evidence, costs=tuple(costs), risks=tuple(risks))
    return None
