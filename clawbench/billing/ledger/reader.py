"""A ledger's file read in order, beside the process that writes it or without one: for audits and reports.

Bounded memory: one entry at a time. Nothing is judged here; `proof.prove` does that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from clawbench.billing.ledger.protocol import Entry, Kind, LedgerCorrupt, Posting
from clawbench.billing.ledger.tables import connect_to_read, translated

COLUMNS: Final = "seq, kind, at_us, account, ref, detail, hash"
_decode: Final = msgspec.json.Decoder().decode


def read_entries(path: Path | str, *, after: int = 0, without: Kind | None = None) -> Iterator[Entry]:
    """The log as it stands when the first entry is asked for, from behind the number `after`.

    Entries of the kind `without` are passed over unread; the others then come without a `prev_hash`.

    Raises `LedgerFileError` where there is no ledger, `LedgerCorrupt` where the file is damaged: what came before has
    been read. Postings that belong to no entry are damage too.
    """
    file = Path(path)
    with closing(connect_to_read(file)) as made, translated(file):
        made.execute("BEGIN")  # one view of the log, whatever is written meanwhile
        yield from entries_of(made, file, after, without)


def read_evidence(path: Path | str, *, after: int = 0) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """(number of the entry, its raw usage texts) in order of the numbers; entries without any are left out.

    An entry with texts has their SHA-256 in `detail["evidence"]`, in the same order. Raises as `read_entries`.
    """
    file = Path(path)
    with closing(connect_to_read(file)) as made, translated(file):
        rows = made.execute("SELECT seq, usage FROM evidence WHERE seq > ? ORDER BY seq, place", (after,))
        of, texts = 0, list[bytes]()
        for seq, usage in rows:
            if seq != of and texts:
                yield of, tuple(texts)
                texts.clear()
            of = seq
            texts.append(usage)
        if texts:
            yield of, tuple(texts)


def evidence_of(path: Path | str, seq: int) -> tuple[bytes, ...]:
    """The raw usage texts of one entry; () where it has none. Raises as `read_entries`."""
    file = Path(path)
    with closing(connect_to_read(file)) as made, translated(file):
        rows = made.execute("SELECT usage FROM evidence WHERE seq = ? ORDER BY place", (seq,))
        return tuple(usage for (usage,) in rows)


def read_page(path: Path | str, account: str | None, after: int, limit: int) -> list[Entry]:
    """Up to `limit` entries of one account, or of all, from behind the number `after`. Raises as `read_entries`."""
    file = Path(path)
    with closing(connect_to_read(file)) as made, translated(file):
        own, bound = ("", ()) if account is None else ("AND account = ? AND account <> '' ", (account,))
        made.execute("BEGIN")
        rows = made.execute(
            f"SELECT {COLUMNS} FROM entry WHERE seq > ? {own}ORDER BY seq LIMIT ?", (after, *bound, limit)
        ).fetchall()
        return [with_postings(made, row, file) for row in rows]


def with_postings(made: sqlite3.Connection, row: tuple[Any, ...], file: Path) -> Entry:
    """One entry from a row of `COLUMNS`, wherever in the log it stands. Raises sqlite3's errors."""
    moves = made.execute("SELECT account, amount FROM posting WHERE seq = ? ORDER BY place", (row[0],))
    before = made.execute("SELECT hash FROM entry WHERE seq = ?", (row[0] - 1,)).fetchone()
    return entry_of(row, tuple(Posting(*move) for move in moves), before[0].hex() if before else "", file)


def damage(path: Path | str) -> list[str]:
    """What SQLite itself finds wrong with the file's pages, tables and indexes; [] where nothing is. Reads it all."""
    file = Path(path)
    try:
        with closing(connect_to_read(file)) as made, translated(file):
            found = [text for (text,) in made.execute("PRAGMA integrity_check")]
    except LedgerCorrupt as error:
        return [error.reason]
    return [] if found == ["ok"] else found


def entries_of(made: sqlite3.Connection, file: Path, after: int = 0, without: Kind | None = None) -> Iterator[Entry]:
    """The same over a connection that is open. Raises sqlite3's errors."""
    every = without is None
    before = made.execute("SELECT hash FROM entry WHERE seq = ?", (after,)).fetchone()
    prev = before[0].hex() if before and every else ""
    moves = made.execute("SELECT seq, account, amount FROM posting WHERE seq > ? ORDER BY seq, place", (after,))
    move = moves.fetchone()
    for row in made.execute(
        f"SELECT {COLUMNS} FROM entry WHERE seq > ? AND kind IS NOT ? ORDER BY seq", (after, without)
    ):
        seq, own = row[0], []
        if every and move is not None and move[0] < seq:
            break
        while move is not None and move[0] < seq:
            move = moves.fetchone()
        while move is not None and move[0] == seq:
            own.append(Posting(move[1], move[2]))
            move = moves.fetchone()
        entry = entry_of(row, tuple(own), prev, file)
        prev = entry.hash if every else ""
        yield entry
    if every and move is not None:
        raise LedgerCorrupt(f"there are postings of an entry {move[0]} that is not there", file=file)


def entry_of(row: tuple[Any, ...], moves: tuple[Posting, ...], prev_hash: str, file: Path) -> Entry:
    """An entry from a row of `COLUMNS`."""
    seq, kind, at_us, account, ref, detail, hashed = row
    try:
        read = _decode(detail)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LedgerCorrupt(f"the detail of entry {seq} is no JSON: {error}", file=file) from error
    if type(read) is not dict:
        raise LedgerCorrupt(f"the detail of entry {seq} is no JSON object", file=file)
    return Entry(
        seq=seq,
        kind=kind,
        at_us=at_us,
        account=account,
        ref=ref,
        postings=moves,
        detail=read,
        prev_hash=prev_hash,
        hash=hashed.hex(),
    )
