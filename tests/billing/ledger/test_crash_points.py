"""Every step of every commit: the process ends there, or the disk fails there once, or for as long as it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    Entry,
    LedgerUnavailable,
    Risk,
)
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.sqlite import SqliteLedger
from tests.billing.ledger.ledgers import NOON_US, Clock, Failpoints

COMMIT = ["begin", "entries", "postings", "evidence", "commit", "committed"]
FULL = OSError(28, "No space left on device")


def opened(folder: Path, failpoints: Failpoints, retry_s: float = 0.0) -> SqliteLedger:
    return SqliteLedger(folder / "ledger.db", now_us=Clock(), failpoint=failpoints, retry_s=retry_s)


async def day(ledger: SqliteLedger) -> list[Entry]:
    """One of each: what was acknowledged, in order. Five commits."""
    done = [await ledger.top_up("a", "first", 1000)]
    try:
        first = await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
        second = await ledger.hold("a", "k", "r2", "b", 200, NOON_US * 2)
        cost = AttemptCost(attempt_id="r1/0", provider="p", amount=40)
        done.append(await ledger.settle(first.id, Charge(amount=50, evidence=(b"{}",)), [cost]))
        risk = Risk(attempt_id="r2/0", provider="p", amount=7)
        done.append(await ledger.release(second.id, "failed", risks=[risk]))
    except LedgerUnavailable:
        pass
    return done


async def test_the_day_takes_the_steps_that_are_enumerated_here(tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    await day(ledger)
    await ledger.close()
    assert failpoints.steps == ["open", *COMMIT * 5, "snapshot"]


@pytest.mark.parametrize("step", range(1, 31))
async def test_a_process_that_ends_at_any_step_loses_nothing_and_does_nothing_twice(step: int, tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    failpoints.arm(step - 1)
    done: list[Entry] = []
    try:
        done = await day(ledger)
    except LedgerUnavailable:
        assert step <= len(COMMIT)
    await ledger.close()
    committed = failpoints.steps.count("committed")

    again = opened(tmp_path, Failpoints())
    log = list(read_entries(again.path))
    assert [entry for entry in log if entry in done] == done
    assert len([entry for entry in log if entry.kind in ("topup", "hold", "settle", "release")]) == committed
    recovery = await again.recover()
    assert len(recovery.released) == sum(e.kind == "hold" for e in log) - sum(
        e.kind in ("settle", "release") for e in log
    )
    assert (await again.balance("a")).held == 0
    await again.close()
    proof = prove(read_entries(again.path))
    assert proof.sound, proof.findings
    assert not proof.open_holds


@pytest.mark.parametrize("times", [1, 2, 3, 7])
@pytest.mark.parametrize("step", range(len(COMMIT)))
async def test_a_settle_survives_a_disk_that_fails_for_a_while(step: int, times: int, tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
    failpoints.arm(step, FULL, times)
    entry = await ledger.settle(hold.id, Charge(amount=50))
    assert not ledger.broken
    assert ledger.counts.failures >= 1
    assert await ledger.balance("a") == Balance(available=950, held=0, shortfall=0)
    await ledger.close()
    log = list(read_entries(ledger.path))
    assert log[-1] == entry
    assert prove(log).sound
    assert prove(log).charges == 1


@pytest.mark.parametrize("step", range(len(COMMIT)))
async def test_a_hold_whose_commit_failed_is_there_once(step: int, tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    await ledger.top_up("a", "first", 1000)
    failpoints.arm(step, FULL)
    hold = await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
    assert await ledger.balance("a") == Balance(available=900, held=100, shortfall=0)
    await ledger.close()
    assert [entry.ref for entry in read_entries(ledger.path)] == ["first", hold.id]


async def test_while_the_disk_fails_holds_are_refused_and_a_settle_waits_until_it_does_not(tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints, retry_s=0.001)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
    failpoints.arm(0, FULL, times=1_000_000)
    settling = asyncio.ensure_future(ledger.settle(hold.id, Charge(amount=50)))
    while not ledger.broken:
        await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable):
        await ledger.hold("a", "k", "r2", "b", 100, NOON_US * 2)
    with pytest.raises(LedgerUnavailable):
        await ledger.top_up("a", "second", 1)
    assert not settling.done()
    failpoints.fail_at("spool", FULL)
    failpoints.disarm(but="spool")
    assert (await settling).kind == "settle"
    assert (await ledger.hold("a", "k", "r2", "b", 100, NOON_US * 2)).attempt == 1
    await ledger.close()
    assert prove(read_entries(ledger.path)).sound


async def test_a_disk_that_works_again_is_noticed_though_nothing_waits_to_be_written(tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints, retry_s=0.001)
    await ledger.top_up("a", "first", 1000)
    for step in ("begin", "snapshot"):
        failpoints.fail_at(step, FULL)
        with pytest.raises(LedgerUnavailable):
            await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
        assert ledger.broken
    failpoints.disarm()
    while ledger.broken:
        await asyncio.sleep(0)
    assert (await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)).attempt == 1
    await ledger.close()
    assert prove(read_entries(ledger.path)).sound


async def test_a_ledger_that_is_closed_while_the_disk_fails_leaves_its_settles_to_the_next_start(
    tmp_path: Path,
) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints, retry_s=60)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2)
    failpoints.arm(0, FULL, times=1_000_000)
    settling = asyncio.ensure_future(ledger.settle(hold.id, Charge(amount=50)))
    while not ledger.broken:
        await asyncio.sleep(0)
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await settling
    with pytest.raises(LedgerUnavailable):
        await ledger.settle(hold.id, Charge(amount=50))
    again = opened(tmp_path, Failpoints())
    assert [entry.ref for entry in (await again.recover()).released] == [hold.id]
    await again.close()


async def test_a_hold_that_nobody_waits_for_any_more_is_given_back(tmp_path: Path) -> None:
    ledger = opened(tmp_path, Failpoints())
    await ledger.top_up("a", "first", 1000)
    asking = asyncio.ensure_future(ledger.hold("a", "k", "r1", "b", 100, NOON_US * 2))
    await asyncio.sleep(0)  # it is queued
    asking.cancel()
    while (await ledger.balance("a")).held or "release" not in [entry.kind for entry in ledger.entries()]:
        await asyncio.sleep(0)
    await ledger.close()
    assert [entry.kind for entry in read_entries(ledger.path)] == ["topup", "hold", "release"]
