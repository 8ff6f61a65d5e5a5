"""A loaded gateway, killed at random instants: who got a whole answer was charged exactly that, and once.

Whoever was within an answer is charged for what had been noted of it, and for the rest the platform bears the risk.
CLAWBENCH_KILLS sets another number of kills for the long one, 200.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawbench.billing.ledger.proof import Proof, prove
from clawbench.billing.ledger.protocol import Entry
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.recovery import UNKNOWN_PROVIDER
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.tokens import estimated_tokens
from tests.billing.ledger.kill_loop import Ack, Started, kill_loop
from tests.billing.ledger.ledgers import NOON_US
from tests.gateway.killed_gateway import STOPS, start_gateway


def survive(folder: Path, kills: int, seed: int) -> None:
    delivered: dict[str, str] = {}

    def start(run: int) -> Started:
        process, acks = start_gateway(folder)(run)
        return Started(process, noting(acks))

    def noting(acks: Iterator[Ack]) -> Iterator[Ack]:
        for ack in acks:
            if ack.kind == "delivered":
                delivered[ack.ref] = ack.amount
            else:
                yield ack

    ledger = folder / "ledger.db"
    outcome = kill_loop(start, ledger, kills, seed, acks_max=60)
    assert outcome.kills == kills
    assert outcome.proof.sound, outcome.proof.findings
    assert outcome.died_with_open_holds > 0
    assert outcome.proof.charges > kills
    proof = asyncio.run(started_again(ledger))
    assert proof.sound, proof.findings
    assert not proof.open_holds
    estimates, risks = cut_short(list(read_entries(ledger)), delivered)
    assert estimates > kills // 2
    assert risks > kills // 2


async def started_again(path: Path) -> Proof:
    ledger = SqliteLedger(path, now_us=lambda: NOON_US)
    await ledger.recover()
    await ledger.close()
    return prove(read_entries(path))


def cut_short(log: list[Entry], delivered: dict[str, str]) -> tuple[int, int]:
    """How many holds were settled by what was noted last, and how many released with a risk; each is checked."""
    noted = {entry.ref: entry for entry in log if entry.kind == "checkpoint"}
    at_risk = {entry.ref.rpartition("/")[0]: entry for entry in log if entry.kind == "risk"}
    estimates = risks = 0
    for entry in log:
        if entry.kind == "settle" and "recovered" in entry.detail["derivation"]["flags"]:
            progress = noted[entry.ref].detail["progress"]
            tokens = entry.detail["derivation"]["delivered_tokens"]
            assert entry.detail["amount"] == progress["charge"]["amount"]
            assert 0 < tokens <= estimated_tokens([delivered.get(entry.ref, "")])[0] or STOPS not in entry.ref
            estimates += 1
        elif entry.kind == "release" and entry.detail["reason"].startswith("recovered"):
            is_noted = entry.ref in noted
            assert (at_risk[entry.ref].detail["provider"] != UNKNOWN_PROVIDER) == is_noted
            assert not is_noted or noted[entry.ref].detail["progress"]["charge"] is None
            risks += 1
    return estimates, risks


def test_whoever_was_answered_is_charged_once_after_30_kills_of_the_gateway(tmp_path: Path) -> None:
    survive(tmp_path, 30, seed=3)


@pytest.mark.soak
def test_whoever_was_answered_is_charged_once_after_many_kills_of_the_gateway(tmp_path: Path) -> None:
    survive(tmp_path, int(os.environ.get("CLAWBENCH_KILLS", "200")), seed=4)
