"""The tables of a ledger in SQLite, and how a connection to them is opened.

Append-only: triggers refuse UPDATE and DELETE. Each kind of entry is unique by what must happen once. No arithmetic is
done in SQL: an overflowing sum would become a float.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from clawbench.billing.ledger.protocol import LedgerCorrupt, LedgerFileError

VERSION: Final = 1
_APPLICATION_ID: Final = 0x434C4C47  # "CLLG"; `file` and the sqlite3 shell show it
_SQLITE_MIN: Final = (3, 37, 0)  # STRICT tables

ONCE: Final = "kind IN ('topup', 'hold', 'cost', 'risk', 'risk_resolved', 'quarantine', 'adjust')"
ENDED: Final = "kind IN ('settle', 'release', 'expire', 'late_settle')"
"""A query uses a partial index only if it repeats the index's condition word by word."""

_TABLES: Final = (
    """CREATE TABLE entry (
        seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, at_us INTEGER NOT NULL, account TEXT NOT NULL, ref TEXT NOT NULL,
        request_id TEXT, detail TEXT NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT""",
    """CREATE TABLE posting (
        seq INTEGER NOT NULL, place INTEGER NOT NULL, account TEXT NOT NULL, amount INTEGER NOT NULL,
        PRIMARY KEY (seq, place)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE evidence (
        seq INTEGER NOT NULL, place INTEGER NOT NULL, usage BLOB NOT NULL, PRIMARY KEY (seq, place)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, state BLOB NOT NULL) STRICT",
    f"CREATE UNIQUE INDEX once ON entry (ref, kind) WHERE {ONCE}",
    f"CREATE UNIQUE INDEX ended_once ON entry (ref, kind = 'late_settle') WHERE {ENDED}",
    "CREATE UNIQUE INDEX charged_once ON entry (account, request_id) WHERE kind IN ('settle', 'late_settle')",
    "CREATE INDEX checkpoint_of ON entry (ref) WHERE kind = 'checkpoint'",
    "CREATE INDEX of_account ON entry (account) WHERE account <> ''",
    *(
        f"""CREATE TRIGGER {table}_keeps_{verb.lower()} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a correction is a new entry'); END"""
        for table in ("entry", "posting", "evidence")
        for verb in ("UPDATE", "DELETE")
    ),
)


def connect(path: Path) -> sqlite3.Connection:
    """The connection of the one process that writes; the file and its tables are made where there are none.

    Raises `LedgerFileError`.
    """
    if sqlite3.sqlite_version_info < _SQLITE_MIN:
        raise LedgerFileError(
            f"a ledger needs SQLite 3.37 or later, and this Python has {sqlite3.sqlite_version}", file=path
        )
    with translated(path):
        # No waiting for locks: the lock file keeps other writers out, and readers do not block under WAL.
        made = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256)
        try:
            found = made.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if found:
                _check(made, path)
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = FULL")
            made.execute("PRAGMA wal_autocheckpoint = 8000")  # pages of 4 KiB: a page written often is copied once
            made.execute("PRAGMA cache_size = -32768")  # 32 MiB
            if not found:
                _create(made)
        except BaseException:
            made.close()
            raise
        return made


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, beside a running ledger or to a file of which only this is known.

    Raises `LedgerFileError` where there is no ledger, `LedgerCorrupt` where it is damaged at its start.
    """
    if not path.is_file():
        raise LedgerFileError("there is no such file", file=path)
    where = f"{path.resolve().as_uri()}?mode=ro"
    with translated(path):
        made = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
        try:
            made.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            made.close()
            # Under WAL even a reader writes to the -shm file; in a folder where it cannot, the file stands still.
            made = sqlite3.connect(f"{where}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        try:
            _check(made, path)
        except BaseException:
            made.close()
            raise
        return made


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerFileError(f"the ledger cannot be used: {error}", file=path) from error
    except sqlite3.DatabaseError as error:
        raise LedgerCorrupt(f"the ledger is damaged: {error}", file=path) from error


def _check(made: sqlite3.Connection, path: Path) -> None:
    application = made.execute("PRAGMA application_id").fetchone()[0]
    version = made.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION_ID:
        raise LedgerFileError("this SQLite file is no ledger", file=path)
    if version != VERSION:
        raise LedgerFileError(
            f"the ledger has schema version {version}, and this clawbench reads version {VERSION}", file=path
        )


def _create(made: sqlite3.Connection) -> None:
    """All of it or nothing: a process killed here leaves an empty file, which the next one fills."""
    made.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES:
            made.execute(statement)
        made.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        made.execute(f"PRAGMA user_version = {VERSION}")
        made.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            made.execute("ROLLBACK")
        raise
