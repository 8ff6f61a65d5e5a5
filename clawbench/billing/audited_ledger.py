"""The audit of a ledger's file: read only, beside the process that writes it or without one, in one pass.

Its price books are read from `<ledger file>.price-books/<hash>.json`, its raw usage texts from the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Final

from clawbench.billing.audit import Auditor, Row, Worked
from clawbench.billing.audit_books import PriceBooks
from clawbench.billing.audit_figures import Figures
from clawbench.billing.ledger.protocol import LedgerCorrupt, LedgerFileError
from clawbench.billing.ledger.reader import damage, read_entries, read_evidence
from clawbench.billing.ledger.tables import connect_to_read, translated
from clawbench.errors import UsageError

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
) -> Figures:
    """Everything that the log holds when its first entry is read. Ages count up to `now_us` (since 1970).

    `progress` is told of entries read. Raises `UnreadableLedger`.
    """
    _check_head(path)
    auditor = Auditor(PriceBooks(books_beside(path)), since_us=since_us, differs=differs, told=told)
    pages = _Damage(path)
    try:
        _read(path, auditor, progress)
    except LedgerCorrupt as error:
        raise UnreadableLedger(_how_far(auditor, error, pages.found())) from error
    figures = auditor.result(now_us=now_us)
    for what in pages.found():
        figures.violate(path.name, "file", f"SQLite finds the file damaged: {what}")
    return figures


def entries_in(path: Path) -> int:
    """The number of the last entry. Raises `UnreadableLedger`."""
    _check_head(path)
    try:
        with closing(connect_to_read(path)) as made, translated(path):
            return int(made.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()[0])
    except LedgerCorrupt as error:
        raise UnreadableLedger(str(error)) from error


def _read(path: Path, auditor: Auditor, progress: Callable[[int], None]) -> None:
    texts: Iterator[tuple[int, tuple[bytes, ...]]] | None = None
    place, own = 0, tuple[bytes, ...]()
    number = 0
    for number, entry in enumerate(read_entries(path), 1):
        if texts is None:  # opened behind the log, so that it is not older than that
            texts = read_evidence(path)
            place, own = next(texts, (0, ()))
        if place != entry.seq:
            auditor.add(entry, ())
        else:
            if entry.kind not in _WITH_TEXTS:
                what = f"usage texts are kept for a {entry.kind}, which has none"
                auditor.figures.violate(f"entry {place}", "usage", what)
            auditor.add(entry, own)
        while place and place <= entry.seq:
            place, own = next(texts, (0, ()))
        if number % _STEP == 0:
            progress(_STEP)
    progress(number % _STEP)


class _Damage:
    """SQLite's own check of the file, in a thread beside the audit: SQLite works without holding Python up."""

    def __init__(self, path: Path) -> None:
        self._path, self._found = path, list[str]()
        # A daemon, so that whoever interrupts the audit does not wait for the check.
        self._thread = Thread(target=self._check, daemon=True)
        self._thread.start()

    def found(self) -> list[str]:
        self._thread.join()
        return self._found

    def _check(self) -> None:
        try:
            self._found = damage(self._path)
        except LedgerFileError as error:
            self._found = [error.reason]


def _check_head(path: Path) -> None:
    """Whether the file is SQLite's at all; what it holds its reader finds out."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
    except OSError as error:
        raise UnreadableLedger(f"{path} cannot be read: {error}") from None
    if head != _HEAD:
        raise UnreadableLedger(f"{path} is no ledger, or its head is damaged: it does not begin as an SQLite file does")


def _how_far(auditor: Auditor, error: LedgerCorrupt, pages: Sequence[str]) -> str:
    proof = auditor.prover.proof()
    found = proof.findings[0] if proof.findings else None
    sound = "are sound" if found is None else f"are not sound either: at entry {found.seq}: {found.what}"
    others = [what for what in pages if what not in error.reason]
    return (
        f"{error}. The first {proof.entries:,} entries were read and {sound}."
        + (f" SQLite says: {'; '.join(others[:3])}." if others else "")
        + " Restore the file from a copy; a damaged one is never written to."
    )
