"""Kills a loaded process with SIGKILL, again and again, and proves after each death that nothing is lost or double.

    python -m tests.billing.ledger.kill_loop FOLDER [--kills 1000] [--seed 1]

What runs and is killed is handed in (`kill_loop(start, …)`): here a process that drives a ledger; a whole gateway fits
as well, if it says what its clients were told. The instant of a kill is chosen by a number of acknowledgements, not by
a time, so that it falls anywhere between two steps of whatever the process then does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from clawbench.billing.ledger.proof import Proof, Prover, prove
from clawbench.billing.ledger.protocol import AttemptCost, Charge, LedgerRefusal, Progress, Risk
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.sqlite import SqliteLedger
from tests.billing.ledger.ledgers import NOON_US

CLIENTS = 16
ACKS_MAX = 400  # before a kill


class Ack(NamedTuple):
    """What somebody was told: an entry of that kind for that ref, with that amount ("" where it has none)."""

    kind: str
    ref: str
    amount: str


class Started(NamedTuple):
    """A process, and what it acknowledges, in order; the iterator ends when the process is dead and all was read."""

    process: subprocess.Popen[bytes]
    acks: Iterator[Ack]


class Outcome(NamedTuple):
    """What a loop has seen: how many died with holds open, how many acknowledgements there were, the last proof."""

    kills: int
    died_with_open_holds: int
    acks: int
    proof: Proof


def kill_loop(
    start: Callable[[int], Started], ledger: Path, kills: int, seed: int, acks_max: int = ACKS_MAX
) -> Outcome:
    """`start(run)` starts the process for the run-th time; it lives for up to `acks_max` acknowledgements.

    Raises AssertionError at what is lost or double.
    """
    chance = random.Random(seed)
    prover, read = Prover(), 0
    written: set[Ack] = set()
    acks = with_open = 0
    for run in range(kills):
        started = start(run)
        # Now and then at once: during the start, the recovery, or the making of the file.
        wanted = chance.choice([0, 1, 2, *[chance.randrange(3, acks_max)] * 7])
        told = [ack for _, ack in zip(range(wanted), started.acks, strict=False)]
        started.process.kill()
        told += started.acks
        started.process.wait()
        acks += len(told)
        if not ledger.exists() or not ledger.stat().st_size:
            assert not told, "acknowledged before there was a file"
            continue
        for entry in read_entries(ledger, after=read):
            prover.add(entry)
            read = entry.seq
            written.add(Ack(entry.kind, entry.ref, str(entry.detail.get("amount", ""))))
        proof = prover.proof()
        assert proof.sound, (run, proof.findings)
        lost = [ack for ack in told if ack.kind != "start" and ack not in written]
        assert not lost, f"run {run}: acknowledged and not in the log: {lost[:3]}"
        with_open += bool(proof.open_holds)
        written.clear()
    return Outcome(kills, with_open, acks, prove(read_entries(ledger)))


def start_ledger(folder: Path) -> Callable[[int], Started]:
    """Starts `drive` in a process of its own."""

    def start(run: int) -> Started:
        command = [sys.executable, "-m", "tests.billing.ledger.kill_loop", str(folder), "--run", str(run)]
        root = Path(__file__).parents[3]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=environment)
        assert process.stdout is not None
        return Started(process, (Ack(*json.loads(line)) for line in process.stdout))

    return start


async def drive(path: Path, run: int, told: Callable[[str, str, str], None]) -> None:
    """Clients without end on a ledger that has just been started; `told` is called with each acknowledgement."""
    ticks = count(NOON_US)
    ledger = SqliteLedger(path, now_us=lambda: next(ticks))
    told("start", "opened", "")
    await ledger.recover()
    told("start", "recovered", "")
    for account in range(4):
        entry = await ledger.top_up(f"a{account}", f"{run}/{account}", 10**6)
        told("topup", entry.ref, entry.detail["amount"])

    async def client(number: int) -> None:
        chance = random.Random(run * CLIENTS + number)
        for call in count():
            # Whoever got no answer from the last process asks again first.
            request = f"{run - 1}/{number}/{call}" if call < 3 else f"{run}/{number}/{call}"
            try:
                await one(ledger, told, f"a{number % 4}", request, chance)
            except LedgerRefusal:
                continue

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


async def one(
    ledger: SqliteLedger, told: Callable[[str, str, str], None], account: str, request: str, chance: random.Random
) -> None:
    """A request: hold, perhaps a checkpoint, then what ends it."""
    hold = await ledger.hold(account, "key", request, "body", 100, NOON_US * 2)
    told("hold", hold.id, "100")
    attempt = f"{hold.id}/0"
    spent = chance.randrange(130)
    cost = AttemptCost(attempt_id=attempt, provider="p", amount=spent)
    if chance.random() < 0.2:
        ledger.checkpoint(hold.id, Progress(charge=Charge(amount=spent // 2)))
    if chance.random() < 0.1:
        await ledger.release(hold.id, "failed", risks=[Risk(attempt_id=attempt, provider="p", amount=9)])
        told("release", hold.id, "")
    else:
        charge = Charge(amount=spent, derivation={"run": request}, evidence=(b'{"tokens":%d}' % spent,))
        await ledger.settle(hold.id, charge, [cost])
        told("settle", hold.id, str(spent))


def main() -> None:
    """The loop, or with --run the process that it kills."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    path = given.folder / "ledger.db"
    if given.run is not None:

        def told(*ack: Any) -> None:
            os.write(sys.stdout.fileno(), json.dumps(ack).encode() + b"\n")

        asyncio.run(drive(path, given.run, told))
        return
    outcome = kill_loop(start_ledger(given.folder), path, given.kills, given.seed)
    proof = outcome.proof
    print(
        f"{outcome.kills} kills, {outcome.died_with_open_holds} of them with holds open; "
        f"{outcome.acks} acknowledgements, {proof.entries} entries, {proof.charges} charges; sound: {proof.sound}"
    )


if __name__ == "__main__":
    main()
