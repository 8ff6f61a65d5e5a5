"""Endings of holds while the ledger's file cannot be written: durable beside it, booked exactly and once."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clawbench.billing.attempt_bills import Biller
from clawbench.billing.charge import terms
from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    Entry,
    Hold,
    LedgerUnavailable,
    Risk,
    Spooled,
)
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.recovery import Recovery
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.offer_prices import OfferPrices
from clawbench.catalog.catalog import Catalog
from clawbench.clock import LoopClock
from clawbench.experiments.client import Answer, ask
from clawbench.gateway.holds import Holds
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import Recorder, RequestContext, RunContext
from clawbench.gateway.records import NullWriter
from clawbench.money import PICO
from clawbench.routing.router import Router
from clawbench.server.app import App
from clawbench.types import HttpCall
from clawbench.wires import wire_for
from tests.billing.ledger.ledgers import NOON_US, Failpoints, Killed
from tests.lab import Played, ScriptedTransport, chat, completion, offer, streamed

FULL = OSError(errno.ENOSPC, "No space left on device")
CHARGE = Charge(amount=50, derivation={"é": "😀", "at_s": 1.25}, evidence=(b'{"tokens":50}\xff',))


def opened(folder: Path, failpoints: Failpoints) -> SqliteLedger:
    return SqliteLedger(folder / "ledger.db", now_us=lambda: NOON_US, failpoint=failpoints, retry_s=0.001)


def spool_of(folder: Path) -> Path:
    return folder / "ledger.db.spool"


async def end(ledger: SqliteLedger, hold: str, kind: str) -> Entry:
    risks = [Risk(attempt_id=f"{hold}/1", provider="q", amount=7, reason="late")]
    if kind == "settle":
        cost = AttemptCost(attempt_id=f"{hold}/0", provider="p", amount=40, usd="0.00000000004")
        return await ledger.settle(hold, CHARGE, [cost], risks)
    if kind == "release":
        return await ledger.release(hold, "failed", (), risks)
    return await ledger.quarantine(hold, {"why": "bad"}, (), risks)


async def on_a_full_disk(folder: Path, failpoints: Failpoints) -> tuple[SqliteLedger, Hold]:
    """A ledger with one hold of 100, whose file cannot be written from now on."""
    ledger = opened(folder, failpoints)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r", "b", 100, NOON_US * 2)
    failpoints.fail_at("begin", FULL)
    return ledger, hold


async def left_in_the_spool(folder: Path, *kinds: str) -> None:
    """A ledger whose file cannot be written from the first ending on, closed as it is."""
    failpoints = Failpoints()
    ledger = opened(folder, failpoints)
    await ledger.top_up("a", "first", 1000)
    holds = [await ledger.hold("a", "k", f"r{number}", "b", 100, NOON_US * 2) for number in range(len(kinds))]
    failpoints.fail_at("begin", FULL)
    for hold, kind in zip(holds, kinds, strict=True):
        with pytest.raises(Spooled):
            await end(ledger, hold.id, kind)
    await ledger.close()


async def started(folder: Path) -> tuple[Recovery, list[Entry], Balance]:
    ledger = opened(folder, Failpoints())
    recovery = await ledger.recover()
    balance = await ledger.balance("a")
    await ledger.close()
    log = list(read_entries(ledger.path))
    proof = prove(log)
    assert proof.sound, proof.findings
    return recovery, log, balance


@pytest.mark.parametrize("kind", ["settle", "release", "quarantine"])
async def test_what_the_file_did_not_take_is_booked_exactly_at_the_next_start_and_once(
    kind: str, tmp_path: Path
) -> None:
    failpoints = Failpoints()
    ledger, hold = await on_a_full_disk(tmp_path, failpoints)
    with pytest.raises(Spooled):
        await end(ledger, hold.id, kind)
    with pytest.raises(LedgerUnavailable):
        await ledger.hold("a", "k", "r2", "b", 100, NOON_US * 2)
    await ledger.close()
    kept = spool_of(tmp_path).read_bytes()

    recovery, log, balance = await started(tmp_path)
    assert [(entry.kind, entry.ref) for entry in recovery.spooled] == [(kind, hold.id)]
    assert (recovery.settled, recovery.released, recovery.torn) == ((), (), 0)
    owed = [(entry.kind, entry.detail["amount"]) for entry in log if entry.kind in ("cost", "risk")]
    assert owed == [*([("cost", "40")] if kind == "settle" else []), ("risk", "7")]
    assert (
        balance
        == {
            "settle": Balance(available=950, held=0, shortfall=0),
            "release": Balance(available=1000, held=0, shortfall=0),
            "quarantine": Balance(available=900, held=100, shortfall=0),
        }[kind]
    )
    assert not spool_of(tmp_path).exists()

    # Killed before the spool was removed: its lines are there once more.
    spool_of(tmp_path).write_bytes(kept)
    recovery, again, _ = await started(tmp_path)
    assert (recovery.spooled, again) == ((), log)
    if kind == "settle":
        assert log[-3].detail["derivation"] == CHARGE.derivation


async def test_a_file_that_can_be_written_again_takes_it_in_the_same_process(tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger, hold = await on_a_full_disk(tmp_path, failpoints)
    with pytest.raises(Spooled):
        await end(ledger, hold.id, "settle")
    failpoints.disarm()
    while (await ledger.balance("a") if not ledger.broken else None) != Balance(available=950, held=0, shortfall=0):
        await asyncio.sleep(0)
    await ledger.close()
    recovery, log, _ = await started(tmp_path)
    assert (recovery.spooled, prove(log).charges) == ((), 1)


@pytest.mark.parametrize("step", ["spool", "spool sync"])
async def test_what_the_spool_does_not_take_either_is_acknowledged_to_nobody(step: str, tmp_path: Path) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r", "b", 100, NOON_US * 2)
    failpoints.fail_at("begin", FULL)
    failpoints.fail_at(step, FULL)
    settling = asyncio.ensure_future(end(ledger, hold.id, "settle"))
    while failpoints.steps.count(step) < 3:
        await asyncio.sleep(0)
    assert not settling.done()
    failpoints.disarm(but=step)
    assert (await settling).kind == "settle"
    await ledger.close()
    recovery, log, _ = await started(tmp_path)
    assert (recovery.spooled, recovery.torn, prove(log).charges) == ((), 0, 1)


@pytest.mark.parametrize("step", ["spool", "spool sync"])
async def test_a_process_that_ends_while_it_spools_has_acknowledged_nothing_and_loses_nothing(
    step: str, tmp_path: Path
) -> None:
    class Dies(Failpoints):
        def __call__(self, point: str) -> None:
            super().__call__(point)
            if point == step:
                raise Killed

    failpoints = Dies()
    ledger = opened(tmp_path, failpoints)
    await ledger.top_up("a", "first", 1000)
    hold = await ledger.hold("a", "k", "r", "b", 100, NOON_US * 2)
    failpoints.fail_at("begin", FULL)
    with pytest.raises(LedgerUnavailable) as refused:
        await end(ledger, hold.id, "settle")
    assert not isinstance(refused.value, Spooled)
    await ledger.close()
    recovery, _, balance = await started(tmp_path)
    assert len(recovery.spooled) + len(recovery.released) == 1
    assert balance.held == 0


async def test_a_spool_that_was_cut_anywhere_is_read_up_to_the_cut(tmp_path: Path) -> None:
    await left_in_the_spool(tmp_path, "settle", "settle")
    whole = spool_of(tmp_path).read_bytes()
    first, second, ledger = whole.index(b"\n") + 1, len(whole), (tmp_path / "ledger.db").read_bytes()
    for cut in sorted(
        {0, 1, 16, 17, first - 2, first - 1, first, first + 1, first + 20, second - 2, second - 1, second}
    ):
        (tmp_path / "ledger.db").write_bytes(ledger)
        spool_of(tmp_path).write_bytes(whole[:cut])
        recovery, log, _ = await started(tmp_path)
        complete = (cut >= first - 1) + (cut >= second - 1)
        assert len(recovery.spooled) == prove(log).charges == complete, cut
        assert len(recovery.released) == 2 - complete
        assert recovery.torn == (0 < cut < first - 1) + (first + 1 < cut < second - 1)


async def test_a_line_behind_a_torn_one_is_read(tmp_path: Path) -> None:
    spool_of(tmp_path).write_bytes(b"0123456789abcdef {to")
    await left_in_the_spool(tmp_path, "settle", "release", "quarantine")
    recovery, _, _ = await started(tmp_path)
    assert ([entry.kind for entry in recovery.spooled], recovery.torn) == (["settle", "release", "quarantine"], 1)


async def test_a_line_that_the_log_contradicts_leaves_its_hold_open_and_stays_in_the_spool(tmp_path: Path) -> None:
    await left_in_the_spool(tmp_path, "settle", "release")
    risk = Risk(attempt_id="a/r0/1/1", provider="q", amount=7)
    ledger = opened(tmp_path, Failpoints())
    other = await ledger.hold("a", "k", "other", "b", 100, NOON_US * 2)
    await ledger.release(other.id, "failed", (), [risk])
    await ledger.close()
    recovery, log, _ = await started(tmp_path)
    assert [entry.ref for entry in recovery.spooled] == ["a/r1/1"]
    assert [hold for hold, _ in recovery.left] == [hold.id for hold in prove(log).open_holds] == ["a/r0/1"]
    assert spool_of(tmp_path).exists()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_gets_its_answer_though_the_ledger_can_no_longer_take_its_charge(
    stream: bool, tmp_path: Path
) -> None:
    failpoints = Failpoints()
    ledger = opened(tmp_path, failpoints)
    await ledger.top_up("local", "first", 1000 * PICO)
    priced = offer("a", price=(2, 3), max_output_tokens=100)

    def played(call: HttpCall) -> Played:
        failpoints.fail_at("begin", FULL)  # by then the hold is on disk
        return streamed(*"abcde", first_s=0.0, every_s=0.0) if call.stream else completion(at_s=0.0)

    clock = LoopClock()
    gateway = Gateway(
        router=Router(Catalog([priced]), default_strategy="round_robin"),
        wire_for=wire_for,
        transport=ScriptedTransport({priced.id: played}, clock),
        clock=clock,
        recorder=Recorder(NullWriter(), RunContext()),
        holds=Holds(ledger, Biller(OfferPrices([priced]), terms()), epoch_s=NOON_US / 1e6, waits=True),
    )
    app = App(gateway, ids=lambda: "unused", epoch_s=NOON_US // 1_000_000)

    async def asked(name: str) -> Answer:
        body: dict[str, Any] = chat(stream=stream, stream_options={"include_usage": True})
        context = RequestContext(request_id=name, draw_key=name)
        return await ask(app, msgspec.json.encode(body), context, keep=True)

    answer, refused = await asked("r1"), await asked("r2")
    assert (answer.status, answer.complete) == (200, True)
    assert b'"completion_tokens":5' in answer.body
    assert (refused.status, msgspec.json.decode(refused.body)["error"]["code"]) == (503, "unavailable")
    await ledger.close()
    recovery, _, _ = await started(tmp_path)
    (settle,) = recovery.spooled
    assert settle.detail["amount"] == str(10 * 2_000_000 + 5 * 3_000_000)
    assert settle.detail["derivation"]["outcome"] == "charge"
