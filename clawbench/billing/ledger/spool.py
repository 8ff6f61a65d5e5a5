"""Where the endings of holds wait while the ledger's file cannot be written: lines in a file beside it.

A line is the first 16 digits of the SHA-256 of its JSON, a space, and the JSON. What was added is on disk when `add`
returns. A line that is torn, or damaged, was never acknowledged or is as good as lost; it is counted and passed over.
Booking a line a second time changes nothing, so the file goes only once all of it is in the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.protocol import AttemptCost, Charge, Entry, Risk

_HASH: Final = 16  # digits


class SpooledEnding(Struct, frozen=True, kw_only=True):
    """A call of the ledger that ends a hold, or keeps it open for judgement, with all its arguments."""

    call: Literal["settle", "release", "quarantine"]
    hold: str
    charge: Charge | None = None  # of a settle
    reason: str = ""  # of a release
    evidence: Mapping[str, Any] = {}  # of a quarantine
    costs: tuple[AttemptCost, ...] = ()
    risks: tuple[Risk, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(SpooledEnding).decode


class Spool:
    """The file. Every method but the first may raise `OSError`; `failpoint` is told each step of `add` by name."""

    def __init__(self, path: Path, failpoint: Callable[[str], None] = lambda point: None) -> None:
        self.path, self._failpoint = path, failpoint

    def add(self, lines: bytes) -> None:
        """All of them, or none: what a failure has left of them is cut off, or is a torn line."""
        is_new = not self.path.exists()
        self._failpoint("spool")
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before = os.fstat(file).st_size
            try:
                # Whatever a torn line may have left, ours begin on one of their own.
                _write(file, lines if not before else b"\n" + lines)
                self._failpoint("spool sync")
                os.fsync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
        if is_new:
            _sync_folder(self.path.parent)

    def read(self) -> tuple[list[SpooledEnding], int]:
        """The endings in order, and how many lines are torn or damaged."""
        endings, torn = [], 0
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n"):
                stated, _, text = line.partition(b" ")
                if not line:
                    continue
                try:
                    if sha256(text).hexdigest()[:_HASH].encode() != stated:
                        raise ValueError("damaged")
                    endings.append(_decode(text))
                except (ValueError, msgspec.DecodeError):
                    torn += 1
        return endings, torn

    def remove(self) -> None:
        """Everything in it has been booked."""
        if self.path.exists():
            self.path.unlink()
            _sync_folder(self.path.parent)


def booked(books: Books, ending: SpooledEnding) -> Entry:
    """Books what a line says; raises what the books raise."""
    if ending.charge is not None:
        return books.settle(ending.hold, ending.charge, ending.costs, ending.risks)
    if ending.call == "release":
        return books.release(ending.hold, ending.reason, ending.costs, ending.risks)
    return books.quarantine(ending.hold, ending.evidence, ending.costs, ending.risks)


def line_of(ending: SpooledEnding) -> bytes:
    """Raises `TypeError`, `ValueError` or `OverflowError` for what no JSON can state."""
    text = _encode(ending)
    return b"%b %b\n" % (sha256(text).hexdigest()[:_HASH].encode(), text)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    """So that the file's name, too, is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
