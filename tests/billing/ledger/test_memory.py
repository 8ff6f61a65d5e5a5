"""The ledger as its callers see it: holds, charges, refusals, and corrections that are entries of their own."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from clawbench.billing.ledger.archive import MemoryArchive
from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.chain import broken_link
from clawbench.billing.ledger.memory import MemoryLedger
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    DuplicateRequest,
    Entry,
    Hold,
    HoldResolved,
    InsufficientCredits,
    Ledger,
    LedgerOverflow,
    Risk,
    UnknownEntry,
)
from clawbench.billing.ledger.state import fold
from clawbench.money import INT64_MAX

NOON_US = 1_763_726_400_000_000


class Clock:
    """Microseconds that a test sets."""

    def __init__(self) -> None:
        self.now_us = NOON_US

    def __call__(self) -> int:
        return self.now_us


class Kept(Books):
    """Books whose archive can be looked at."""

    def __init__(self, clock: Clock) -> None:
        self.archive = MemoryArchive()
        super().__init__(clock, self.archive)

    @property
    def log(self) -> list[Entry]:
        return list(self.archive.log)

    @property
    def balances(self) -> dict[str, int]:
        return self.state.balances


def books(credit: int = 1000) -> tuple[Kept, Clock]:
    clock = Clock()
    made = Kept(clock)
    if credit:
        made.top_up("a", "first", credit)
    return made, clock


def held(ledger: Books, amount: int = 100, request: str = "r", body: str = "b") -> Hold:
    return ledger.hold("a", "key", request, body, amount, NOON_US + 60_000_000)


def test_a_charge_below_its_hold_gives_the_rest_back() -> None:
    ledger, _ = books()
    hold = held(ledger)
    assert ledger.balance("a") == Balance(available=900, held=100, shortfall=0)
    entry = ledger.settle(hold.id, Charge(amount=30), [AttemptCost(attempt_id="r/0", provider="p", amount=25)])
    assert ledger.balance("a") == Balance(available=970, held=0, shortfall=0)
    assert ledger.balances["platform:revenue:2025-11"] == 30
    assert ledger.balances["platform:cost:2025-11:p"] == -25
    assert ledger.settle(hold.id, Charge(amount=30)) == entry
    with pytest.raises(HoldResolved):
        ledger.settle(hold.id, Charge(amount=31))


def test_a_charge_above_its_hold_takes_what_is_there_and_the_rest_is_owed_before_anything_else() -> None:
    ledger, _ = books(credit=120)
    ledger.settle(held(ledger).id, Charge(amount=150))
    assert ledger.balance("a") == Balance(available=0, held=0, shortfall=-30)
    with pytest.raises(InsufficientCredits):
        held(ledger, amount=0, request="next")
    ledger.top_up("a", "second", 50)
    assert ledger.balance("a") == Balance(available=20, held=0, shortfall=0)


def test_less_than_is_needed_is_refused_with_both_figures_and_nothing_changes() -> None:
    ledger, _ = books(credit=99)
    with pytest.raises(InsufficientCredits) as refused:
        held(ledger)
    assert (refused.value.required, refused.value.available) == (100, 99)
    assert len(ledger.log) == 1


def test_a_request_runs_once_and_a_released_one_may_be_tried_again() -> None:
    ledger, _ = books()
    first = held(ledger)
    for body, reason in (("b", "running"), ("other", "other_body")):
        with pytest.raises(DuplicateRequest) as refused:
            held(ledger, body=body)
        assert refused.value.reason == reason
    entry = ledger.release(first.id, "failed", risks=[Risk(attempt_id="r/0", provider="p", amount=5)])
    assert ledger.release(first.id, "failed") == entry
    second = held(ledger)
    assert second.attempt == 2
    ledger.settle(second.id, Charge(amount=1))
    with pytest.raises(DuplicateRequest) as refused:
        held(ledger)
    assert refused.value.reason == "settled"
    with pytest.raises(HoldResolved):
        ledger.settle(first.id, Charge(amount=1))


def test_holds_expire_at_their_time_and_quarantined_ones_do_not() -> None:
    ledger, clock = books()
    kept, gone = held(ledger, request="kept"), held(ledger, request="gone")
    evidence = ledger.quarantine(kept.id, {"usage": "NaN"})
    assert ledger.quarantine(kept.id, {"usage": "NaN"}) == evidence
    clock.now_us += 59_999_999
    assert ledger.expire() == []
    clock.now_us += 1
    assert [entry.ref for entry in ledger.expire()] == [gone.id]
    assert ledger.balance("a") == Balance(available=900, held=100, shortfall=0)
    late = ledger.settle(gone.id, Charge(amount=40))
    assert late.kind == "late_settle"
    assert ledger.balance("a") == Balance(available=860, held=100, shortfall=0)
    ledger.release(kept.id, "written off")
    assert ledger.balance("a").held == 0


def test_an_expired_request_that_was_tried_again_is_not_charged_twice() -> None:
    ledger, clock = books()
    first = held(ledger)
    clock.now_us += 60_000_000
    ledger.expire()
    ledger.settle(held(ledger).id, Charge(amount=5))
    with pytest.raises(HoldResolved):
        ledger.settle(first.id, Charge(amount=5))


def test_a_top_up_counts_once_for_its_external_id() -> None:
    ledger, _ = books()
    assert ledger.top_up("a", "first", 1000).seq == 1
    assert ledger.balance("a").available == 1000
    with pytest.raises(DuplicateRequest):
        ledger.top_up("a", "first", 1001)
    with pytest.raises(DuplicateRequest):
        ledger.top_up("b", "first", 1000)


def test_a_correction_is_an_entry_and_never_gives_back_more_than_was_charged() -> None:
    ledger, _ = books()
    charge = ledger.settle(held(ledger).id, Charge(amount=30))
    ledger.adjust(charge.seq, 20, "the provider billed less")
    assert ledger.balance("a").available == 990
    with pytest.raises(LedgerOverflow):
        ledger.adjust(charge.seq, 11, "too much")
    ledger.adjust(charge.seq, -5, "found later")
    ledger.adjust(charge.seq, 15, "the rest")
    assert ledger.balance("a").available == 1000
    for seq in (0, 1, 99):
        with pytest.raises(UnknownEntry):
            ledger.adjust(seq, 1, "no charge")


def test_a_risk_ends_by_its_reversal_and_becomes_a_cost_if_it_was_billed() -> None:
    ledger, clock = books()
    ledger.release(held(ledger).id, "timeout", risks=[Risk(attempt_id="r/0", provider="p", amount=5)])
    assert ledger.balances["platform:accrued:2025-11:p"] == 5
    clock.now_us += 40 * 86_400 * 1_000_000  # the next month reverses what this one opened
    assert [entry.kind for entry in ledger.resolve_risk("r/0", 4)] == ["risk_resolved", "cost"]
    assert ledger.balances["platform:accrued:2025-11:p"] == 0
    assert ledger.balances["platform:payable:2025-12:p"] == 4
    with pytest.raises(UnknownEntry):
        ledger.resolve_risk("r/0", None)


def test_amounts_that_no_entry_can_hold_change_nothing() -> None:
    ledger, _ = books(credit=0)
    ledger.top_up("a", "all", INT64_MAX)
    for account in ("a", "b"):
        with pytest.raises(LedgerOverflow):
            ledger.top_up(account, "more", 1)  # the month's account is full as well
    hold = held(ledger)
    with pytest.raises(LedgerOverflow):
        ledger.settle(hold.id, Charge(amount=INT64_MAX + 1))
    with pytest.raises(LedgerOverflow):
        ledger.settle(hold.id, Charge(amount=-1))
    cost = AttemptCost(attempt_id="r/0", provider="p", amount=INT64_MAX + 1)
    with pytest.raises(LedgerOverflow):
        ledger.settle(hold.id, Charge(amount=1), [cost])
    assert ledger.find_hold(hold.id).state == "open"
    assert ledger.balance("a").held == 100


def test_the_time_of_entries_never_decreases() -> None:
    ledger, clock = books()
    clock.now_us -= 10**12
    held(ledger)
    assert [entry.at_us for entry in ledger.log] == [NOON_US, NOON_US]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_changed_entry_breaks_the_chain_where_it_stands(place: int) -> None:
    ledger, _ = books()
    ledger.settle(held(ledger).id, Charge(amount=30, derivation={"book_id": "sha256:1"}))
    log = list(ledger.log)
    assert broken_link(log) is None
    assert fold(log) == ledger.state
    assert broken_link([*log[:place], structs.replace(log[place], at_us=1), *log[place + 1 :]]) == place + 1
    assert broken_link(log[:place] + log[place + 1 :]) == (place + 1 if place < 2 else None)


async def test_64_clients_on_credit_for_100_calls_make_exactly_100() -> None:
    ledger: Ledger = MemoryLedger(Clock())
    await ledger.top_up("a", "first", 100 * 7)
    made = refused = 0

    async def client(number: int) -> None:
        nonlocal made, refused
        for call in range(5):
            try:
                hold = await ledger.hold("a", "key", f"{number}/{call}", "b", 7, NOON_US * 2)
            except InsufficientCredits:
                refused += 1
                continue
            await asyncio.sleep(0)
            await ledger.settle(hold.id, Charge(amount=7))
            made += 1

    await asyncio.gather(*(client(number) for number in range(64)))
    assert (made, refused) == (100, 220)
    assert await ledger.balance("a") == Balance(available=0, held=0, shortfall=0)
    assert len(list(ledger.entries("a", limit=1000))) == 201
    assert [entry.seq for entry in ledger.entries(None, after=199)] == [200, 201]
