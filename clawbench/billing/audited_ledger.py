"""The audit of a ledger's file: read only, beside the process that writes it or without one, in one pass.

Its price books are read from `<ledger file>.price-books/<hash>.json`, its raw usage texts from the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Final

from msgspec import structs

from clawbench.billing.audit import Auditor, Row, Worked
from clawbench.billing.audit_books import PriceBooks
from clawbench.billing.audit_figures import Figures
from clawbench.billing.audit_log import Proved, ProvedApart, checked
from clawbench.billing.ledger.protocol import Kind, LedgerCorrupt
from clawbench.billing.ledger.reader import read_entries, read_evidence
from clawbench.billing.ledger.tables import connect_to_read, translated
from clawbench.errors import UsageError
from clawbench.money import INT64_MAX

_STEP: Final = 4096
_WITH_TEXTS: Final = frozenset({"settle", "late_settle", "checkpoint"})
_HEAD: Final = b"SQLite format 3\x00"


class UnreadableLedger(UsageError):
    """A file that is no ledger, or that cannot be read to its end; the message says how far it was read."""


def books_beside(ledger: Path) -> Path:
    """The folder of the price books that a ledger's charges cite."""
    return ledger.with_name(f"{ledger.name}.price-books")


def audit_ledger(
    path: Path,
    *,
    now_us: int,
    since_us: int | None = None,
    differs: Callable[[Row], None] = lambda row: None,
    told: Sequence[Worked] = (),
    progress: Callable[[int], None] = lambda entries: None,
    apart: bool = False,
) -> Figures:
    """Everything that the log holds when this is called. Ages count up to `now_us` (since 1970).

    `progress` is told of entries read. `apart`: the log as a whole is proved in a process of its own, beside the
    charges here; a script that asks for it needs the usual `if __name__ == "__main__"`. Raises `UnreadableLedger`.
    """
    last = entries_in(path) or INT64_MAX
    auditor = Auditor(PriceBooks(books_beside(path)), since_us=since_us, differs=differs, told=told, apart=apart)
    beside = ProvedApart(path, last) if apart else _ProvedHere(path, auditor)
    try:
        try:
            # Holds are for the proof of the log; beside it nobody looks at them.
            _read(path, last, auditor, progress, without="hold" if apart else None)
        except LedgerCorrupt as error:
            raise UnreadableLedger(_how_far(path, beside.result(), error.reason)) from error
        proved = beside.result()
    finally:
        beside.stop()
    if proved.broken:
        raise UnreadableLedger(_how_far(path, proved, proved.broken))
    figures = auditor.result(proved, now_us=now_us)
    for what in proved.pages:
        figures.violate(path.name, "file", f"SQLite finds the file damaged: {what}")
    return figures


def entries_in(path: Path) -> int:
    """The number of the last entry; 0 where there is none, or damage hides it. Raises `UnreadableLedger`."""
    _check_head(path)
    try:
        with closing(connect_to_read(path)) as made, translated(path):
            return int(made.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()[0])
    except LedgerCorrupt:
        return 0  # how far it can be read, reading it will tell


def _read(path: Path, last: int, auditor: Auditor, progress: Callable[[int], None], *, without: Kind | None) -> None:
    texts: Iterator[tuple[int, tuple[bytes, ...]]] | None = None
    place, own = 0, tuple[bytes, ...]()
    told = 0
    for entry in read_entries(path, without=without):
        if entry.seq > last:  # written since
            break
        if texts is None:  # opened behind the log, so that it is not older than that
            texts = read_evidence(path)
            place, own = next(texts, (0, ()))
        while place and place < entry.seq:
            auditor.figures.violate(f"entry {place}", "usage", "usage texts are kept for an entry that has none")
            place, own = next(texts, (0, ()))
        if place != entry.seq:
            auditor.add(entry, ())
        else:
            if entry.kind not in _WITH_TEXTS:
                what = f"usage texts are kept for a {entry.kind}, which has none"
                auditor.figures.violate(f"entry {place}", "usage", what)
            auditor.add(entry, own)
            place, own = next(texts, (0, ()))
        if entry.seq - told >= _STEP:
            progress(entry.seq - told)
            told = entry.seq
    progress(max(last - told, 0) if last < INT64_MAX else 0)


class _ProvedHere:
    """What the auditor proves itself, and SQLite's own check of the file in a thread: it does not hold Python up."""

    def __init__(self, path: Path, auditor: Auditor) -> None:
        self._path, self._auditor, self._pages = path, auditor, tuple[str, ...]()
        # A daemon, so that whoever interrupts the audit does not wait for the check.
        self._thread = Thread(target=self._check, daemon=True)
        self._thread.start()

    def result(self) -> Proved:
        self._thread.join()
        return structs.replace(self._auditor.proved(), pages=self._pages)

    def stop(self) -> None:
        """The check ends by itself."""

    def _check(self) -> None:
        self._pages = checked(self._path)


def _check_head(path: Path) -> None:
    """Whether the file is SQLite's at all; what it holds its reader finds out."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
    except OSError as error:
        raise UnreadableLedger(f"{path} cannot be read: {error}") from None
    if head != _HEAD:
        raise UnreadableLedger(f"{path} is no ledger, or its head is damaged: it does not begin as an SQLite file does")


def _how_far(path: Path, proved: Proved, reason: str) -> str:
    proof = proved.proof
    found = proof.findings[0] if proof.findings else None
    sound = "are sound" if found is None else f"are not sound either: at entry {found.seq}: {found.what}"
    others = [what for what in proved.pages if what not in reason]
    return (
        f"{path}: {reason}. The first {proof.entries:,} entries were read and {sound}."
        + (f" SQLite says: {'; '.join(others[:3])}." if others else "")
        + " Restore the file from a copy; a damaged one is never written to."
    )
