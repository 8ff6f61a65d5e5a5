"""The file of a ledger, for the one thread that writes to it: looks back, gathers a batch, commits it as a whole.

Rows go in by statements of many rows each: SQLite then works without the interpreter's lock, and a busy event loop
delays a commit by a few switches of threads, not by one for each row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from clawbench.billing.ledger.archive import MemoryArchive
from clawbench.billing.ledger.chain import hash_of
from clawbench.billing.ledger.lines import progress_of
from clawbench.billing.ledger.protocol import Entry, Kind, LedgerCorrupt, Progress
from clawbench.billing.ledger.reader import COLUMNS, entries_of, with_postings
from clawbench.billing.ledger.state import State
from clawbench.billing.ledger.tables import ENDED, ONCE, connect, translated

_ROWS_MAX: Final = 1024  # of one statement
_SNAPSHOT_EVERY: Final = 50_000  # entries; what a start has to fold at most


class Store:
    """An `Archive` on disk. What is written is pending until `commit`; `failpoint` is told each step by its name.

    Every method but `drop` may raise sqlite3's errors; what a failed `commit` has left on disk is unknown.
    """

    def __init__(self, path: Path, failpoint: Callable[[str], None] = lambda point: None) -> None:
        self.path, self._failpoint = path, failpoint
        self._made: sqlite3.Connection | None = None
        self._snapshot_seq = 0
        self._begin(0)

    def open(self) -> State:
        """The state of the log on disk. Raises `LedgerFileError`, `LedgerCorrupt` naming the first bad entry."""
        self._failpoint("open")
        made = self._made = connect(self.path)
        try:
            with translated(self.path):
                state = self._load(made)
        except BaseException:
            self.drop()
            raise
        self._begin(state.seq)
        return state

    def drop(self) -> None:
        """Lets go of the file; what was pending is forgotten."""
        made, self._made = self._made, None
        if made is not None:
            with suppress(sqlite3.Error):
                made.close()

    def close(self, state: State) -> None:
        """Leaves a snapshot and an empty WAL, so that the next start is quick."""
        if state.seq > self._snapshot_seq:
            self.leave_snapshot(state)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.drop()

    def commit(self, state: State) -> int:
        """All that is pending, or nothing; `state` is the one after it. The number of entries."""
        count = self._count
        if not count:
            self._begin(state.seq)
            return 0
        made, failpoint = self._connection, self._failpoint
        failpoint("begin")
        made.execute("BEGIN IMMEDIATE")
        failpoint("entries")
        _insert(made, "entry", 8, self._entries)
        failpoint("postings")
        _insert(made, "posting", 4, self._postings)
        failpoint("evidence")
        _insert(made, "evidence", 3, self._evidence)
        failpoint("commit")
        made.execute("COMMIT")
        failpoint("committed")
        self._begin(state.seq)
        if state.seq - self._snapshot_seq >= _SNAPSHOT_EVERY:
            self.leave_snapshot(state)
        return count

    def leave_snapshot(self, state: State) -> None:
        """Makes the next start quicker; `state` is that of the log on disk. The last two are kept."""
        self._failpoint("snapshot")
        made = self._connection
        made.execute("BEGIN IMMEDIATE")
        made.execute("DELETE FROM snapshot WHERE seq < ?", (self._snapshot_seq,))
        row = (state.seq, bytes.fromhex(state.hash), msgspec.json.encode(state))
        made.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", row)
        made.execute("COMMIT")
        self._snapshot_seq = state.seq

    def has(self, seq: int, hashed: str) -> bool:
        """Whether the entry with that number on disk is the one with that hash."""
        row = self._connection.execute("SELECT hash FROM entry WHERE seq = ?", (seq,)).fetchone()
        return row is not None and row[0].hex() == hashed

    def look_ahead(self, requests: Sequence[str], attempts: Sequence[str]) -> None:
        """Looks up at once what a batch is going to ask for: holds of requests, costs and risks of attempts."""
        made = self._connection
        for some in _chunks(requests):
            padded = [*some, *[None] * (_room(len(some)) - len(some))]
            bounds = chain.from_iterable((each, each and f"{each[:-1]}0") for each in padded)
            self._counted.update(made.execute(_count_sql(len(padded)), list(bounds)))
        for some in _chunks(attempts):
            padded = [*some, *[None] * (_room(len(some)) - len(some))]
            self._unknown.update(some)
            self._unknown.difference_update(ref for (ref,) in made.execute(_known_sql(len(padded)), padded))

    def checkpoint_of(self, hold: str) -> tuple[int, Progress] | None:
        """The last checkpoint of a hold, with the number of its entry."""
        row = self._row("kind = 'checkpoint' AND ref = ? ORDER BY seq DESC LIMIT 1", hold)
        return None if row is None else (row.seq, progress_of(row.detail["progress"]))

    # What the books ask.

    def write(self, entry: Entry, detail: bytes, evidence: Sequence[bytes]) -> None:
        seq = entry.seq
        self._count += 1
        self._entries += (
            seq, entry.kind, entry.at_us, entry.account, entry.ref, entry.detail.get("request_id"), detail.decode(),
            bytes.fromhex(entry.hash),
        )  # fmt: skip
        for place, posting in enumerate(entry.postings):
            self._postings += (seq, place, posting.account, posting.amount)
        for place, text in enumerate(evidence):
            self._evidence += (seq, place, text)
        self._batch.write(entry, detail, evidence)

    def find(self, kind: Kind, ref: str) -> Entry | None:
        found = self._batch.find(kind, ref)
        if found is not None or (kind in ("cost", "risk") and ref in self._unknown):
            return found
        return self._row(f"ref = ? AND kind = ? AND {ONCE}", ref, kind)

    def ending(self, hold: str) -> Entry | None:
        return self._batch.ending(hold) or self._row(f"ref = ? AND {ENDED} ORDER BY seq DESC LIMIT 1", hold)

    def attempts(self, request: str) -> int:
        pending = self._batch.attempts(request)
        if pending:
            return pending
        if request not in self._counted:
            self.look_ahead([request], [])
        return self._counted[request]

    def at(self, seq: int) -> Entry | None:
        return self._batch.at(seq) or self._row("seq = ?", seq)

    def adjusted(self, seq: int) -> int:
        rows = self._connection.execute(
            f"SELECT detail FROM entry WHERE ref >= ? AND ref < ? AND kind = 'adjust' AND {ONCE}",
            (f"{seq}/", f"{seq}0"),
        )
        return self._batch.adjusted(seq) + sum(int(msgspec.json.decode(detail)["amount"]) for (detail,) in rows)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._made is None:
            raise sqlite3.OperationalError("the ledger's file is not open")
        return self._made

    def _begin(self, seq: int) -> None:
        """An empty batch behind the entry `seq`."""
        self._batch = MemoryArchive(after=seq)
        self._count = 0  # of entries; the values of all rows of a table stand in one list
        self._entries, self._postings, self._evidence = list[Any](), list[Any](), list[Any]()
        self._counted: dict[str, int] = {}
        self._unknown: set[str] = set()

    def _row(self, where: str, *bound: object) -> Entry | None:
        made = self._connection
        row = made.execute(f"SELECT {COLUMNS} FROM entry WHERE {where}", bound).fetchone()
        if row is None:
            return None
        return with_postings(made, row, self.path)

    def _load(self, made: sqlite3.Connection) -> State:
        """The last snapshot, and the fold of what came after it."""
        state = State()
        for seq, hashed, text in made.execute("SELECT seq, hash, state FROM snapshot ORDER BY seq DESC LIMIT 1"):
            if not self.has(seq, hashed.hex()):
                raise LedgerCorrupt(f"entry {seq} is not, or no longer, what its snapshot says", file=self.path)
            state = msgspec.json.decode(text, type=State)
        self._snapshot_seq = state.seq
        for entry in entries_of(made, self.path, state.seq):
            if entry.seq != state.seq + 1 or entry.hash != hash_of(entry):
                raise LedgerCorrupt(
                    f"the chain of hashes breaks at entry {entry.seq}: it is not what was written after {state.seq}",
                    file=self.path,
                )
            state.apply(entry)
        return state


def _insert(made: sqlite3.Connection, table: str, columns: int, values: list[Any]) -> None:
    for start in range(0, len(values), _ROWS_MAX * columns):
        some = values[start : start + _ROWS_MAX * columns]
        room = _room(len(some) // columns)
        some += [None] * (room * columns - len(some))
        made.execute(_insert_sql(table, columns, room), some)


def _chunks(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (rows[start : start + _ROWS_MAX] for start in range(0, len(rows), _ROWS_MAX))


def _room(rows: int) -> int:
    """At most a quarter more: four sizes an octave, so that there are few different statements, which stay prepared."""
    step = 1 << max((rows - 1).bit_length() - 3, 2)
    return -(-rows // step) * step


@lru_cache
def _insert_sql(table: str, columns: int, rows: int) -> str:
    return f"INSERT INTO {table} SELECT * FROM ({_values(columns, rows)}) WHERE column1 IS NOT NULL"


@lru_cache
def _count_sql(rows: int) -> str:
    """Tries are numbered without gaps, so their count is the last one's number."""
    count = f"SELECT count(*) FROM entry WHERE ref >= column1 AND ref < column2 AND kind = 'hold' AND {ONCE}"
    return f"SELECT column1, ({count}) FROM ({_values(2, rows)}) WHERE column1 IS NOT NULL"


@lru_cache
def _known_sql(rows: int) -> str:
    return f"SELECT ref FROM entry WHERE ref IN ({_values(1, rows)}) AND kind IN ('cost', 'risk') AND {ONCE}"


def _values(columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"VALUES {', '.join([row] * rows)}"
