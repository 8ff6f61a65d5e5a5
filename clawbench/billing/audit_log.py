"""What an audit proves of a log as a whole, in this process or, for a long log in a file, in one of its own.

Chain, sums and invariants need every entry and no price; charges need prices and no sum. So the two can be read side
by side, each from the file, up to the same entry: it is append-only, and what is before that entry stands still.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from msgspec import Struct

from clawbench.billing.ledger.proof import Proof, Prover
from clawbench.billing.ledger.protocol import Entry, LedgerFileError, LedgerRefusal
from clawbench.billing.ledger.reader import damage, read_entries


class Proved(Struct, frozen=True, kw_only=True):
    """A proof, and what goes with it.

    `short_since`: when each account that owes began to, microseconds since 1970. `unhashed`: entries that no hash can
    be of, with the reason. `pages`: what SQLite finds damaged. `broken`: why the log was not read to its end, "" if so.
    """

    proof: Proof
    short_since: dict[str, int]
    unhashed: tuple[tuple[int, str], ...] = ()
    pages: tuple[str, ...] = ()
    broken: str = ""


class LogProof:
    """`add` every entry in order, then `result`."""

    def __init__(self) -> None:
        self._prover = Prover()
        self._short_since: dict[str, int] = {}
        self._unhashed: list[tuple[int, str]] = []

    def add(self, entry: Entry) -> None:
        try:
            self._prover.add(entry)
        except (LedgerRefusal, ValueError, TypeError, OverflowError, RecursionError) as error:
            self._unhashed.append((entry.seq, f"what it says cannot be hashed: {error}"))
        if entry.account and entry.kind != "hold":
            owed = self._prover.balances.get(f"client:{entry.account}:shortfall", 0)
            if owed:
                self._short_since.setdefault(entry.account, entry.at_us)
            elif self._short_since:
                self._short_since.pop(entry.account, None)

    def result(self, *, pages: tuple[str, ...] = (), broken: str = "") -> Proved:
        return Proved(
            proof=self._prover.proof(),
            short_since=self._short_since,
            unhashed=tuple(self._unhashed),
            pages=pages,
            broken=broken,
        )


def prove_file(path: Path, last: int) -> Proved:
    """The log of a file up to the entry `last`, and SQLite's own check of the file. Never raises for what it holds."""
    log, broken = LogProof(), ""
    try:
        for entry in read_entries(path):
            if entry.seq > last:
                break
            log.add(entry)
    except LedgerFileError as error:
        broken = error.reason
    return log.result(pages=checked(path), broken=broken)


def checked(path: Path) -> tuple[str, ...]:
    """What SQLite finds wrong with the file; () where nothing is."""
    try:
        return tuple(damage(path))
    except LedgerFileError as error:
        return (error.reason,)


class ProvedApart:
    """`prove_file` in a process of its own, from now on. `stop` in every case."""

    def __init__(self, path: Path, last: int) -> None:
        # A fresh process, not a fork: this one may have threads.
        context = get_context("spawn")
        self._path, self._last = path, last
        self._receive, send = context.Pipe(duplex=False)
        self._process = context.Process(target=_apart, args=(send, path, last), daemon=True)
        self._process.start()
        send.close()

    def result(self) -> Proved:
        """Waits for it. Where that process was lost, the proof is made here."""
        try:
            found = self._receive.recv()
        except (EOFError, OSError):
            return prove_file(self._path, self._last)
        assert isinstance(found, Proved)
        return found

    def stop(self) -> None:
        """Harmless when it has ended."""
        self._process.terminate()
        self._process.join()
        self._receive.close()


def _apart(send: Connection, path: Path, last: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is interrupted, and ends it
    with suppress(BrokenPipeError):
        send.send(prove_file(path, last))
