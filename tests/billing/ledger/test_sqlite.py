"""The file of a ledger: one owner, append-only, damage named, a start that checks and recovers, readers beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Charge,
    Hold,
    LedgerCorrupt,
    LedgerFileError,
    LedgerInUse,
    Progress,
    Risk,
)
from clawbench.billing.ledger.reader import damage, evidence_of, read_entries, read_evidence
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.ledger.state import State, fold
from tests.billing.ledger.ledgers import NOON_US, Clock, kept

USAGE = b'{"prompt_tokens":3}'


async def written(folder: Path, charges: int = 3) -> Path:
    """A closed ledger: a top-up, then hold, settle and cost for each charge."""
    async with kept("sqlite", folder) as a:
        for number in range(charges):
            hold = await a.hold(request=f"r{number}")
            cost = AttemptCost(attempt_id=f"{hold.id}/0", provider="p", amount=4)
            await a.ledger.settle(hold.id, Charge(amount=5, evidence=(USAGE, b"\xff")), [cost])
    return folder / "ledger.db"


def opened(path: Path) -> SqliteLedger:
    return SqliteLedger(path, now_us=Clock())


def tamper(path: Path, *statements: str) -> None:
    """What somebody with the sqlite3 shell can do."""
    with closing(sqlite3.connect(path)) as made:
        triggers = [name for (name,) in made.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        for statement in (*(f"DROP TRIGGER {name}" for name in triggers), *statements):
            made.execute(statement)
        made.commit()


async def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    async with kept("sqlite", tmp_path):
        script = (
            "import sys\nfrom clawbench.billing.ledger.sqlite import SqliteLedger\n"
            "from clawbench.billing.ledger.protocol import LedgerInUse\n"
            "try:\n    SqliteLedger(sys.argv[1], now_us=lambda: 0)\n"
            "except LedgerInUse as error:\n    print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "ledger.db")], capture_output=True, text=True, check=True
        )
        assert f"in use by process {os.getpid()}" in said.stdout
        with pytest.raises(LedgerInUse):
            opened(tmp_path / "ledger.db")
    await opened(tmp_path / "ledger.db").close()


@pytest.mark.parametrize("table", ["entry", "posting", "evidence"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET seq = seq + 100", "DELETE FROM {}"])
async def test_nothing_that_was_written_can_be_changed(table: str, verb: str, tmp_path: Path) -> None:
    path = await written(tmp_path)
    with closing(sqlite3.connect(path)) as made, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        made.execute(verb.format(table))


@pytest.mark.parametrize(
    ("kind", "ref", "request_id"),
    [
        ("hold", "a/r0/1", "r0"),
        ("topup", "first", None),
        ("cost", "a/r0/1/0", "r0"),
        ("release", "a/r0/1", "r0"),
        ("settle", "a/r0/2", "r0"),
        ("late_settle", "a/r0/2", "r0"),
    ],
)
async def test_the_tables_themselves_refuse_what_happens_once(
    kind: str, ref: str, request_id: str | None, tmp_path: Path
) -> None:
    path = await written(tmp_path)
    row = (99, kind, NOON_US, "a", ref, request_id, "{}", bytes(32))
    with closing(sqlite3.connect(path)) as made:
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            made.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
            made.execute("INSERT INTO posting VALUES (1, 9, 'client:a:available', 1.5)")


async def test_readers_see_the_log_and_the_usage_texts_while_it_is_written(tmp_path: Path) -> None:
    async with kept("sqlite", tmp_path) as a:
        path = tmp_path / "ledger.db"
        hold = await a.hold()
        reading = read_entries(path)
        assert next(reading).kind == "topup"
        entry = await a.ledger.settle(hold.id, Charge(amount=5, evidence=(USAGE,)))
        assert [each.kind for each in reading] == ["hold"]  # as it stood when reading began
        assert [each.kind for each in read_entries(path, after=2)] == ["settle"]
        assert list(read_evidence(path)) == [(3, (USAGE,))]
        assert entry.detail["evidence"] == [sha256(USAGE).hexdigest()]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True).execute("DELETE FROM snapshot")


async def test_the_texts_of_one_entry_and_of_all_in_order(tmp_path: Path) -> None:
    path = await written(tmp_path)
    assert evidence_of(path, 3) == (USAGE, b"\xff")
    assert evidence_of(path, 2) == ()
    assert [seq for seq, _ in read_evidence(path)] == [3, 6, 9]
    assert [seq for seq, _ in read_evidence(path, after=3)] == [6, 9]


async def test_a_copy_in_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    path = await written(tmp_path)
    folder = tmp_path / "read only"
    folder.mkdir()
    shutil.copy(path, folder)
    folder.chmod(0o555)
    assert prove(read_entries(folder / "ledger.db")).charges == 3
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no database, but long enough to be taken for one if nobody looks" * 100, "damaged"),
        (None, "no such file"),
    ],
)
def test_what_is_no_ledger_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    if content is not None:
        path.write_bytes(content)
        with pytest.raises(LedgerFileError, match=words):
            opened(path)
        assert words in damage(path)[0]
    with pytest.raises(LedgerFileError, match=words):
        next(read_entries(path))


async def test_another_database_and_another_version_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as made:
        made.execute("CREATE TABLE entry (seq)")
    with pytest.raises(LedgerFileError, match="no ledger"):
        opened(other)
    with pytest.raises(LedgerFileError, match="no ledger"):
        next(read_entries(other))
    path = await written(tmp_path)
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerFileError, match="schema version 99"):
        opened(path)
    with pytest.raises(LedgerFileError, match="lock file cannot be made"):
        opened(tmp_path / "no folder" / "ledger.db")


async def test_a_damaged_page_is_found_and_what_comes_before_it_is_read(tmp_path: Path) -> None:
    path = await written(tmp_path, charges=60)
    assert damage(path) == []
    with closing(sqlite3.connect(path)) as made:
        roots = dict(made.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'").fetchall())
        size = made.execute("PRAGMA page_size").fetchone()[0]
    raw = bytearray(path.read_bytes())
    raw[(roots["posting"] - 1) * size : roots["posting"] * size] = b"\x55" * size
    path.write_bytes(raw)
    assert damage(path)
    with pytest.raises(LedgerCorrupt, match=str(path)):
        list(read_entries(path))


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("UPDATE entry SET detail = replace(detail, '\"5\"', '\"4\"') WHERE seq = 6", 6),
        ("UPDATE entry SET at_us = at_us + 1 WHERE seq = 2", 2),
        ("UPDATE posting SET amount = amount + 1 WHERE seq = 3 AND place = 0", 3),
        ("DELETE FROM posting WHERE seq = 4", 4),
        ("DELETE FROM entry WHERE seq = 5", 6),
        ("UPDATE entry SET hash = zeroblob(32) WHERE seq = 7", 7),
    ],
)
async def test_the_first_bad_row_of_a_broken_chain_is_named(statement: str, first: int, tmp_path: Path) -> None:
    path = await written(tmp_path)
    tamper(path, statement, "DELETE FROM posting WHERE seq NOT IN (SELECT seq FROM entry)", "DELETE FROM snapshot")
    proof = prove(read_entries(path))
    assert not proof.sound
    assert proof.findings[0].seq == first
    with pytest.raises(LedgerCorrupt, match=f"chain of hashes breaks at entry {first}:"):
        opened(path)


async def test_postings_of_no_entry_and_a_lost_end_are_damage(tmp_path: Path) -> None:
    path = await written(tmp_path)
    kept_whole = path.read_bytes()
    tamper(path, "INSERT INTO posting VALUES (99, 0, 'client:a:available', 5)")
    with pytest.raises(LedgerCorrupt, match="entry 99"):
        list(read_entries(path))
    path.write_bytes(kept_whole)
    tamper(path, "DELETE FROM entry WHERE seq >= 9", "DELETE FROM posting WHERE seq >= 9")
    with pytest.raises(LedgerCorrupt, match="entry 10"):
        opened(path)


async def test_a_start_from_a_snapshot_is_a_start_from_the_beginning(tmp_path: Path) -> None:
    path = await written(tmp_path)
    with closing(sqlite3.connect(path)) as made:
        seq, text = made.execute("SELECT seq, state FROM snapshot").fetchone()
    assert msgspec.json.decode(text, type=State) == fold(read_entries(path))
    balances = []
    for forget in (False, True):
        if forget:
            tamper(path, "DELETE FROM snapshot")
        ledger = opened(path)
        balances.append(await ledger.balance("a"))
        await ledger.close()
    assert balances[0] == balances[1]
    assert seq == 10


async def test_a_ledger_remembers_across_its_processes(tmp_path: Path) -> None:
    async with kept("sqlite", tmp_path) as a:
        await a.hold(request="open")
        quarantined = await a.hold(request="quarantined")
        await a.ledger.quarantine(quarantined.id, {"usage": "NaN"})
        charge = await a.ledger.settle((await a.hold(request="done")).id, Charge(amount=5))
        await a.ledger.adjust(charge.seq, 2, "less")
    async with kept("sqlite", tmp_path) as a:
        assert (await a.balance()).held == 200
        assert await a.ledger.settle("a/done/1", Charge(amount=5)) == charge
        assert (await a.ledger.adjust(charge.seq, 3, "the rest")).kind == "adjust"
        a.clock.now_us += 10**9
        assert [entry.ref for entry in await a.ledger.expire()] == ["a/open/1"]


RISK = Risk(attempt_id="a/risk/1/0", provider="p", amount=9)


@pytest.mark.parametrize(
    ("request_id", "progress", "kind", "amount"),
    [
        ("bare", None, "release", 100),
        ("risk", Progress(risks=(RISK,)), "release", 9),
        ("part", Progress(charge=Charge(amount=30, derivation={"flags": ["cut"]})), "settle", 30),
        ("much", Progress(charge=Charge(amount=300)), "settle", 100),
    ],
)
async def test_a_start_ends_what_was_left_open_by_what_the_journal_tells(
    request_id: str, progress: Progress | None, kind: str, amount: int, tmp_path: Path
) -> None:
    async with kept("sqlite", tmp_path) as a:
        hold = await a.hold(request=request_id)
        if progress is not None:
            a.ledger.checkpoint(hold.id, Progress(charge=Charge(amount=1)))
            a.ledger.checkpoint(hold.id, progress)
            await a.balance()
    ledger = opened(tmp_path / "ledger.db")
    recovery = await ledger.recover()
    assert (await ledger.recover()) == type(recovery)()
    await ledger.close()
    (entry,) = recovery.settled or recovery.released
    assert (entry.kind, entry.ref) == (kind, hold.id)
    proof = prove(read_entries(ledger.path))
    assert proof.sound
    if kind == "release":
        assert [risk.amount for risk in proof.open_risks] == [amount]
        assert proof.open_risks[0].provider == ("unknown" if progress is None else "p")
    else:
        assert entry.detail["amount"] == str(amount)
        assert entry.detail["derivation"]["estimated"] is True
        assert entry.detail["derivation"]["checkpoint"] == 4
        assert entry.detail["derivation"]["flags"][-1] == "recovered"


async def test_recovery_asks_what_a_provider_may_bill_and_leaves_quarantined_holds_alone(tmp_path: Path) -> None:
    async with kept("sqlite", tmp_path) as a:
        await a.hold(request="open")
        quarantined = await a.hold(request="quarantined")
        await a.ledger.quarantine(quarantined.id, {})
    ledger = opened(tmp_path / "ledger.db")

    def risks_of(hold: Hold) -> list[Risk]:
        return [Risk(attempt_id=f"{hold.id}/0", provider="q", amount=hold.amount // 4)]

    recovery = await ledger.recover(risks_of)
    assert recovery.left == ((quarantined.id, "quarantined"),)
    await ledger.close()
    proof = prove(read_entries(ledger.path))
    assert [(risk.provider, risk.amount) for risk in proof.open_risks] == [("q", 25)]
    assert [hold.quarantined for hold in proof.open_holds] == [True]


async def test_a_start_releases_what_nobody_has_judged_for_72_hours(tmp_path: Path) -> None:
    async with kept("sqlite", tmp_path) as a:
        for name in ("old", "new"):
            hold = await a.hold(request=name)
            await a.ledger.quarantine(hold.id, {"provider": "p"})
            a.clock.now_us += 3_600_000_000
    ledger = SqliteLedger(tmp_path / "ledger.db", now_us=lambda: NOON_US + 72 * 3_600_000_000)
    recovery = await ledger.recover()
    await ledger.close()
    assert [entry.ref for entry in recovery.released] == ["a/old/1"]
    assert recovery.left == (("a/new/1", "quarantined"),)
    proof = prove(read_entries(ledger.path))
    assert proof.sound
    assert [(risk.attempt_id, risk.provider, risk.amount) for risk in proof.open_risks] == [
        ("a/old/1/quarantine", "p", 100)
    ]


async def test_settles_go_before_the_holds_that_wait_with_them_and_all_share_a_commit(tmp_path: Path) -> None:
    gate, waits, stands = threading.Event(), threading.Event(), threading.Event()

    def failpoint(step: str) -> None:
        if step == "commit" and waits.is_set():
            stands.set()
            gate.wait()

    ledger = SqliteLedger(tmp_path / "ledger.db", now_us=Clock(), failpoint=failpoint)
    await ledger.top_up("a", "first", 100)
    held = await ledger.hold("a", "k", "1", "b", 100, NOON_US * 2)
    waits.set()
    before = asyncio.ensure_future(ledger.top_up("b", "second", 1))
    while not stands.is_set():  # from here on nothing joins its batch
        await asyncio.sleep(0)
    asked = asyncio.gather(ledger.hold("a", "k", "2", "b", 90, NOON_US * 2), ledger.settle(held.id, Charge(amount=10)))
    await asyncio.sleep(0)
    assert ledger.queued == len(("hold", "settle"))
    commits = int(ledger.counts.commits)
    gate.set()
    assert (await asked)[0].amount == 90
    await before
    assert ledger.counts.commits == commits + 2
    await ledger.close()
