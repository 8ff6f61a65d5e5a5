"""What holds after every operation on a ledger, under any interleaving, crashes among it, against a small model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from clawbench.billing.ledger.memory import MemoryLedger
from clawbench.billing.ledger.proof import Prover
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Charge,
    Entry,
    Hold,
    Ledger,
    LedgerRefusal,
    LedgerUnavailable,
    Progress,
    Risk,
)
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.ledger.state import fold
from tests.billing.ledger.ledgers import Clock, Failpoints

T = TypeVar("T")
NAMES = ("a", "b/c", "ü")
ACCOUNTS = st.sampled_from(NAMES)
AMOUNTS = st.integers(0, 500)
PICKS = st.integers(0, 10**6)
STEPS = 200  # of one example
RAM = Path("/dev/shm")


class Model:
    """What the log should have come to, told by its entries alone."""

    def __init__(self) -> None:
        self.worth = dict.fromkeys(NAMES, 0)  # top-ups less charges
        self.open: dict[str, Entry] = {}
        self.quarantined: set[str] = set()
        self.requests: dict[tuple[str, str], str] = {}  # the last thing that happened to it
        self.charged: dict[tuple[str, str], int] = {}

    def add(self, entry: Entry) -> None:
        amount = int(entry.detail.get("amount", 0))
        request = (entry.account, entry.detail.get("request_id", ""))
        if entry.kind in ("topup", "adjust"):
            self.worth[entry.account] += amount
        elif entry.kind in ("settle", "late_settle"):
            assert request not in self.charged
            self.charged[request] = amount
            self.worth[entry.account] -= amount
        if entry.kind == "hold":
            self.open[entry.ref] = entry
        elif entry.kind in ("settle", "release", "expire"):
            del self.open[entry.ref]
        elif entry.kind == "quarantine":
            self.quarantined.add(entry.ref)
        if entry.kind in ("hold", "settle", "late_settle", "release", "expire"):
            self.requests[request] = entry.kind

    def held(self, account: str) -> int:
        return sum(int(hold.detail["amount"]) for hold in self.open.values() if hold.account == account)


class Machine(RuleBasedStateMachine):
    """Random operations, refused ones among them, on a ledger in memory."""

    steps = 0  # of all examples

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.model, self.prover = Clock(), Model(), Prover()
        self.issued: list[Hold] = []
        self.acknowledged: list[Entry] = []
        self.seen: list[str] = []  # hashes
        self.count = 0
        self.ledger: Ledger = self.opened()

    def opened(self) -> Ledger:
        return MemoryLedger(self.clock)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def number(self) -> int:
        self.count += 1
        return self.count

    def attempt(self, call: Coroutine[Any, Any, Any]) -> Any:
        """What came of it; None if it was refused, which must leave the log as it was."""
        type(self).steps += 1
        try:
            done = self.run(call)
        except LedgerUnavailable:
            raise
        except LedgerRefusal:
            assert not self.absorbed()
            return None
        entries = [done] if isinstance(done, Entry) else done if isinstance(done, list) else []
        self.acknowledged += entries
        self.absorbed()
        return done

    def absorbed(self) -> list[Entry]:
        """What the log has more than the model; the model has it now."""
        added = list(self.ledger.entries(after=len(self.seen), limit=10_000))
        for entry in added:
            self.seen.append(entry.hash)
            self.model.add(entry)
            self.prover.add(entry)
        return added

    def settling(self, hold: Hold, amount: int) -> Coroutine[Any, Any, Entry]:
        cost = AttemptCost(attempt_id=f"x{self.number()}", provider="p", amount=amount)
        return self.ledger.settle(hold.id, Charge(amount=amount, evidence=(b"{}",)), [cost])

    @rule(account=ACCOUNTS, amount=AMOUNTS, again=st.booleans())
    def top_up(self, account: str, amount: int, again: bool) -> None:
        external_id = f"t{self.number()}"
        first = self.attempt(self.ledger.top_up(account, external_id, amount))
        assert (first is not None) == (amount > 0)
        if again and first is not None:
            assert self.attempt(self.ledger.top_up(account, external_id, amount)) == first

    @rule(account=ACCOUNTS, amount=AMOUNTS, request=st.integers(0, 8), lifetime=st.integers(0, 50))
    def hold(self, account: str, amount: int, request: int, lifetime: int) -> None:
        balance = self.run(self.ledger.balance(account))
        was = self.model.requests.get((account, f"r/{request}"))
        free = was in (None, "release", "expire")
        expires_us = self.clock.now_us + lifetime
        made = self.attempt(self.ledger.hold(account, "k", f"r/{request}", "b", amount, expires_us))
        assert (made is not None) == (free and balance.available >= amount and not balance.shortfall)
        if made is not None:
            self.issued.append(made)

    @precondition(lambda self: self.issued)
    @rule(pick=PICKS, amount=AMOUNTS, again=st.booleans())
    def settle(self, pick: int, amount: int, again: bool) -> None:
        hold = self.issued[pick % len(self.issued)]
        is_open = hold.id in self.model.open
        done = self.attempt(self.settling(hold, amount))
        if is_open:
            assert done is not None
        if done is not None and again:
            assert self.attempt(self.settling(hold, amount)) == done
            assert self.attempt(self.settling(hold, amount + 1)) is None

    @precondition(lambda self: self.issued)
    @rule(pick=PICKS, amount=AMOUNTS, again=st.booleans())
    def release(self, pick: int, amount: int, again: bool) -> None:
        hold = self.issued[pick % len(self.issued)]
        is_open = hold.id in self.model.open
        risk = Risk(attempt_id=f"x{self.number()}", provider="p", amount=amount)
        done = self.attempt(self.ledger.release(hold.id, "failed", risks=[risk]))
        if is_open:
            assert done is not None
        if done is not None and again:
            assert self.attempt(self.ledger.release(hold.id, "failed", risks=[risk])) == done

    @precondition(lambda self: self.issued)
    @rule(pick=PICKS)
    def quarantine(self, pick: int) -> None:
        hold = self.issued[pick % len(self.issued)]
        is_open = hold.id in self.model.open
        assert (self.attempt(self.ledger.quarantine(hold.id, {})) is not None) == is_open

    @precondition(lambda self: self.issued)
    @rule(pick=PICKS, amount=AMOUNTS)
    def checkpoint(self, pick: int, amount: int) -> None:
        hold = self.issued[pick % len(self.issued)].id
        risk = Risk(attempt_id=f"{hold}/0", provider="p", amount=amount)  # an attempt is of one hold
        self.ledger.checkpoint(hold, Progress(charge=Charge(amount=amount), risks=(risk,)))
        self.attempt(self.ledger.balance("a"))  # which is answered behind it

    @rule(us=st.integers(-30, 60))
    def time_passes(self, us: int) -> None:
        self.clock.now_us += us
        self.attempt(self.ledger.expire())

    @precondition(lambda self: self.seen)
    @rule(pick=PICKS, amount=st.integers(-200, 200))
    def adjust(self, pick: int, amount: int) -> None:
        self.attempt(self.ledger.adjust(pick % len(self.seen) + 1, amount, "correction"))

    @rule(pick=PICKS, billed=st.one_of(st.none(), AMOUNTS))
    def resolve_risk(self, pick: int, billed: int | None) -> None:
        self.attempt(self.ledger.resolve_risk(f"x{pick % (self.count + 1)}", billed))

    @invariant()
    def the_log_proves_itself_and_has_what_was_acknowledged_and_every_balance_is_right(self) -> None:
        self.absorbed()
        proof = self.prover.proof()
        assert proof.sound, proof.findings
        assert proof.charges == len(self.model.charged)
        for entry in self.acknowledged:
            assert self.seen[entry.seq - 1] == entry.hash
        self.acknowledged.clear()
        for account in NAMES:
            balance = self.run(self.ledger.balance(account))
            assert balance.available >= 0
            assert balance.shortfall <= 0
            assert balance.available + balance.held + balance.shortfall == self.model.worth[account]
            assert balance.held == self.model.held(account)

    def teardown(self) -> None:
        if isinstance(self.ledger, MemoryLedger):
            assert fold(self.ledger.archive.log) == self.ledger.books.state
        self.loop.close()


class OnDisk(Machine):
    """The same on a file, with processes that end in order, or at any step of a commit."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))  # nobody pulls a plug here
        self.failpoints = Failpoints()
        super().__init__()

    def opened(self) -> SqliteLedger:
        self.file = SqliteLedger(self.folder / "ledger.db", now_us=self.clock, failpoint=self.failpoints, retry_s=0)
        return self.file

    @rule()
    def reopen(self) -> None:
        type(self).steps += 1
        self.run(self.file.close())
        self.ledger = self.opened()

    @precondition(lambda self: self.issued)
    @rule(pick=PICKS, amount=AMOUNTS, after=st.integers(0, 7), recovers=st.booleans())
    def crash_while_settling(self, pick: int, amount: int, after: int, recovers: bool) -> None:
        type(self).steps += 1
        hold = self.issued[pick % len(self.issued)]
        was_open = hold.id in self.model.open
        before = len(self.failpoints.steps)
        self.failpoints.arm(after)
        unknown = False
        try:
            self.run(self.settling(hold, amount))
        except LedgerUnavailable:
            unknown = True
        except LedgerRefusal:
            pass
        self.run(self.file.close())
        self.failpoints.disarm()
        self.ledger = self.opened()
        added = self.absorbed()
        committed = "committed" in self.failpoints.steps[before:]
        assert bool(added) == committed
        assert committed or unknown or not was_open
        if recovers:
            recovery = self.run(self.file.recover())
            assert {hold for hold, _ in recovery.left} <= self.model.quarantined

    @rule(after=st.integers(0, 5), times=st.integers(1, 4), account=ACCOUNTS)
    def a_commit_fails(self, after: int, times: int, account: str) -> None:
        """Before or after it reached the disk; the file can or cannot be opened at once."""
        self.failpoints.arm(after, OSError("the disk is full"), times)
        try:
            self.attempt(self.ledger.top_up(account, f"t{self.number()}", 7))
        except LedgerUnavailable:
            self.failpoints.disarm()
            self.run(self.file.close())
            self.ledger = self.opened()
        self.failpoints.disarm()

    def teardown(self) -> None:
        self.run(self.file.close())
        shutil.rmtree(self.folder)
        super().teardown()


@pytest.mark.parametrize("machine", [Machine, OnDisk])
def test_any_interleaving(machine: type[Machine]) -> None:
    assert steps_of(machine, examples=45) >= 5_000


@pytest.mark.soak
@pytest.mark.parametrize("machine", [Machine, OnDisk])
def test_many_interleavings(machine: type[Machine]) -> None:
    assert steps_of(machine, examples=400) >= 50_000


def steps_of(machine: type[Machine], examples: int) -> int:
    """How many operations were tried."""
    machine.steps = 0
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=STEPS, max_examples=examples))
    return machine.steps
