"""What holds after every operation on a ledger, under any interleaving, against a model of a few lines."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clawbench.billing.ledger.archive import MemoryArchive
from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import AttemptCost, Charge, Hold, LedgerRefusal, Risk
from clawbench.billing.ledger.state import fold

ACCOUNTS = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.integers(0, 500)
PICKS = st.integers(0, 10**6)


class Machine(RuleBasedStateMachine):
    """Random operations, refused ones among them; the model keeps what each account is worth."""

    @initialize()
    def begin(self) -> None:
        self.now_us = 1_763_726_400_000_000
        self.archive = MemoryArchive()
        self.books = Books(lambda: self.now_us, self.archive)
        self.worth: dict[str, int] = {}  # top-ups less charges
        self.charged: dict[tuple[str, str], int] = {}
        self.issued: list[Hold] = []
        self.count = 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def attempted(self, operation: Callable[[], object]) -> bool:
        """Whether it was done; a refusal must leave log and balances as they were."""
        before = len(self.archive.log), dict(self.books.state.balances), dict(self.books.state.open)
        try:
            operation()
        except LedgerRefusal:
            assert (len(self.archive.log), self.books.state.balances, self.books.state.open) == before
            return False
        return True

    @rule(account=ACCOUNTS, amount=AMOUNTS)
    def top_up(self, account: str, amount: int) -> None:
        if self.attempted(lambda: self.books.top_up(account, f"t{self.number()}", amount)):
            self.worth[account] = self.worth.get(account, 0) + amount

    @rule(account=ACCOUNTS, amount=AMOUNTS, request=st.integers(0, 8), lifetime=st.integers(0, 50))
    def hold(self, account: str, amount: int, request: int, lifetime: int) -> None:
        def take() -> None:
            self.issued.append(self.books.hold(account, "k", f"r{request}", "b", amount, self.now_us + lifetime))

        self.attempted(take)

    @rule(pick=PICKS, amount=AMOUNTS, again=st.booleans())
    def settle(self, pick: int, amount: int, again: bool) -> None:
        if not self.issued:
            return
        hold = self.issued[pick % len(self.issued)]
        was = self.books.find_hold(hold.id).state
        costs = [AttemptCost(attempt_id=f"x{self.number()}", provider="p", amount=amount)]
        for _ in range(2 if again else 1):
            done = self.attempted(lambda: self.books.settle(hold.id, Charge(amount=amount), costs))
            if done and was != "settled":
                assert (hold.account, hold.request_id) not in self.charged
                self.charged[hold.account, hold.request_id] = amount
                self.worth[hold.account] = self.worth.get(hold.account, 0) - amount
                was = "settled"

    @rule(pick=PICKS, amount=AMOUNTS)
    def release(self, pick: int, amount: int) -> None:
        if self.issued:
            hold = self.issued[pick % len(self.issued)]
            risk = Risk(attempt_id=f"x{self.number()}", provider="p", amount=amount)
            self.attempted(lambda: self.books.release(hold.id, "failed", risks=[risk]))

    @rule(pick=PICKS)
    def quarantine(self, pick: int) -> None:
        if self.issued:
            self.attempted(lambda: self.books.quarantine(self.issued[pick % len(self.issued)].id, {}))

    @rule(us=st.integers(-30, 60))
    def time_passes(self, us: int) -> None:
        self.now_us += us
        self.books.expire()

    @rule(pick=PICKS, amount=st.integers(-200, 200))
    def adjust(self, pick: int, amount: int) -> None:
        if self.archive.log:
            seq = pick % len(self.archive.log) + 1
            if self.attempted(lambda: self.books.adjust(seq, amount, "correction")):
                account = self.archive.log[seq - 1].account
                self.worth[account] = self.worth.get(account, 0) + amount

    @rule(pick=PICKS, billed=st.one_of(st.none(), AMOUNTS))
    def resolve_risk(self, pick: int, billed: int | None) -> None:
        self.attempted(lambda: self.books.resolve_risk(f"x{pick % (self.count + 1)}", billed))

    @invariant()
    def the_state_is_the_fold_of_the_log(self) -> None:
        assert fold(self.archive.log) == self.books.state

    @invariant()
    def the_log_proves_itself(self) -> None:
        proof = prove(self.archive.log)
        assert proof.sound, proof.findings
        assert proof.charges == len(self.charged)

    @invariant()
    def each_account_is_worth_its_top_ups_less_its_charges_and_holds_what_is_open(self) -> None:
        for account in ("a", "b", "c"):
            balance = self.books.balance(account)
            assert balance.available >= 0
            assert balance.shortfall <= 0
            assert balance.available + balance.held + balance.shortfall == self.worth.get(account, 0)
            open_holds = self.books.state.open.values()
            assert balance.held == sum(hold.amount for hold in open_holds if hold.account == account)


Machine.TestCase.settings = settings(Machine.TestCase.settings, stateful_step_count=100)
TestAnyInterleaving = Machine.TestCase
