"""Whether the disk has what was acknowledged: each commit is synced once, and nobody is answered before.

A killed process leaves the operating system's memory behind, so kills do not show this; a power cut would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import AttemptCost, Charge
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.sqlite import SqliteLedger
from tests.billing.ledger.ledgers import NOON_US
from tests.billing.ledger.traced_files import Unreachable, traced

CLIENTS, CALLS = 8, 6


class Disk:
    """What has happened, in order; and what a power cut would have left of the files after each sync."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.images: list[dict[str, bytes]] = [{}]
        self.acknowledged: list[list[str]] = [[]]  # by the image that was the last one then

    def seen(self, what: str, path: str) -> None:
        kind = path.rpartition("-")[2] if path.endswith(("-wal", "-shm")) else "db"
        self.events.append(f"{what} {kind}")
        if what == "sync":
            file = Path(path)
            there = {name: data for name, data in self.images[-1].items() if file.with_name(name).exists()}
            self.images.append({**there, file.name: file.read_bytes()})
            self.acknowledged.append([])

    def step(self, point: str) -> None:
        self.events.append(point)

    def told(self, ref: str) -> None:
        self.acknowledged[-1].append(ref)


async def load(path: Path, disk: Disk) -> None:
    """Clients that say what they were told; the process then ends without a close."""
    ledger = SqliteLedger(path, now_us=lambda: NOON_US, failpoint=disk.step)
    disk.told((await ledger.top_up("a", "first", 10**9)).ref)

    async def client(number: int) -> None:
        for call in range(CALLS):
            hold = await ledger.hold("a", "k", f"{number}-{call}", "b", 100, NOON_US * 2)
            disk.told(f"hold {hold.id}")
            cost = AttemptCost(attempt_id=f"{hold.id}/0", provider="p", amount=3)
            entry = await ledger.settle(hold.id, Charge(amount=7, evidence=(b"{}",)), [cost])
            disk.told(f"settle {entry.ref}")

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    disk.events.append("over")
    await ledger.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk()
    try:
        with traced(made.seen):
            asyncio.run(load(tmp_path / "ledger.db", made))
            yield made
    except Unreachable as why:
        pytest.skip(f"nobody can look below this Python's SQLite: {why}")


def test_each_commit_is_synced_once_behind_its_last_write(disk: Disk) -> None:
    events = disk.events[: disk.events.index("over")]
    commits = [number for number, event in enumerate(events) if event == "commit"]
    assert len(commits) >= 1 + 2 * CALLS
    for start in commits:
        done = events[start + 1 : events.index("committed", start)]
        assert done.count("sync wal") == 1
        assert done[-1] == "sync wal"
        assert "write wal" in done
        assert "sync db" not in done, "no checkpoint falls into so short a load"


def test_what_was_acknowledged_is_on_disk_at_every_power_cut(disk: Disk, tmp_path: Path) -> None:
    told = set[str]()
    cuts = 0
    for number, (image, acknowledged) in enumerate(zip(disk.images, disk.acknowledged, strict=True)):
        told.update(acknowledged)
        if not acknowledged:
            continue
        cuts += 1
        folder = tmp_path / f"cut-{number}"
        folder.mkdir()
        for name, content in image.items():
            (folder / name).write_bytes(content)
        log = list(read_entries(folder / "ledger.db"))
        assert prove(log).sound
        assert told <= {entry.ref if entry.kind == "topup" else f"{entry.kind} {entry.ref}" for entry in log}
    assert cuts > CALLS
    assert len(told) == 1 + 2 * CLIENTS * CALLS
