"""The end of the write-ahead log lost, as by a power cut: what is left is a beginning of the log, batch by batch."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import Charge
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.ledger.tables import connect
from tests.billing.ledger.ledgers import Clock, kept

_HEADER: Final = 32
_FRAME: Final = 24 + 4096


async def test_a_cut_at_or_inside_any_frame_leaves_every_batch_before_it(tmp_path: Path) -> None:
    ends = []  # of the file after each commit, with the number of entries then
    async with kept("sqlite", tmp_path) as a:
        path, wal = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"
        for number in range(6):
            hold = await a.hold(request=f"r{number}")
            ends.append((wal.stat().st_size, 2 + 2 * number))
            await a.ledger.settle(hold.id, Charge(amount=5, evidence=(b"{}",)))
            ends.append((wal.stat().st_size, 3 + 2 * number))
        size = wal.stat().st_size
        assert (size - _HEADER) % _FRAME == 0
        for cut in sorted({0, *range(_HEADER, size + 1, _FRAME), *range(_HEADER + _FRAME // 2, size, _FRAME)}):
            copy = tmp_path / "copy" / "ledger.db"
            copy.parent.mkdir()
            shutil.copy(path, copy)
            copy.with_name("ledger.db-wal").write_bytes(wal.read_bytes()[:cut])
            if cut < _HEADER + _FRAME and not copy.stat().st_size:
                shutil.rmtree(copy.parent)
                continue
            ledger = SqliteLedger(copy, now_us=Clock())
            await ledger.recover()
            await ledger.close()
            log = list(read_entries(copy))
            assert prove(log).sound
            present = [entries for end, entries in ends if end <= cut]
            assert len([entry for entry in log if "recovered" not in str(entry.detail) and entry.kind != "risk"]) == (
                present[-1] if present else min(len(log), 1)
            )
            shutil.rmtree(copy.parent)


def test_commits_are_synced_before_they_count(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "ledger.db")) as made:
        assert made.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert made.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the WAL is synced at each commit
