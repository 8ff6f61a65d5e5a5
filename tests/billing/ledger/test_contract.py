"""Every ledger as its callers see it: holds, charges, refusals, and corrections that are entries of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Balance,
    Charge,
    DuplicateRequest,
    HoldResolved,
    InsufficientCredits,
    KeyLimit,
    KeyLimitReached,
    Ledger,
    LedgerOverflow,
    LedgerRefusal,
    Progress,
    Risk,
    UnknownEntry,
    Unwritable,
)
from clawbench.money import INT64_MAX
from tests.billing.ledger.ledgers import KINDS, NOON_US, Kept, kept

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


@pytest.fixture(params=KINDS)
async def a(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    """A ledger of each kind, in which account "a" has 1,000; what was done to it proves itself afterwards."""
    async with kept(request.param, tmp_path) as made:
        yield made
        proof = prove(made.log())
        assert proof.sound, proof.findings


async def test_a_charge_below_its_hold_gives_the_rest_back(a: Kept) -> None:
    hold = await a.hold()
    assert await a.balance() == Balance(available=900, held=100, shortfall=0)
    costs = [AttemptCost(attempt_id="r/0", provider="p", amount=25)]
    entry = await a.ledger.settle(hold.id, Charge(amount=30), costs)
    assert await a.balance() == Balance(available=970, held=0, shortfall=0)
    assert a.balances()["platform:revenue:2025-11"] == 30
    assert a.balances()["platform:cost:2025-11:p"] == -25
    assert await a.ledger.settle(hold.id, Charge(amount=30), costs) == entry
    with pytest.raises(HoldResolved):
        await a.ledger.settle(hold.id, Charge(amount=31))


async def test_a_charge_above_its_hold_takes_what_is_there_and_the_rest_is_owed_before_anything_else(a: Kept) -> None:
    await a.ledger.settle((await a.hold(880, "most")).id, Charge(amount=880))
    await a.ledger.settle((await a.hold()).id, Charge(amount=150))
    assert await a.balance() == Balance(available=0, held=0, shortfall=-30)
    with pytest.raises(InsufficientCredits):
        await a.hold(amount=0, request="next")
    await a.ledger.top_up("a", "second", 50)
    assert await a.balance() == Balance(available=20, held=0, shortfall=0)


async def test_less_than_is_needed_is_refused_with_both_figures_and_nothing_changes(a: Kept) -> None:
    with pytest.raises(InsufficientCredits) as refused:
        await a.hold(1001)
    assert (refused.value.required, refused.value.available) == (1001, 1000)
    assert len(a.log()) == 1


async def test_a_request_runs_once_and_a_released_one_may_be_tried_again(a: Kept) -> None:
    first = await a.hold()
    for body, reason in (("b", "running"), ("other", "other_body")):
        with pytest.raises(DuplicateRequest) as refused:
            await a.hold(body=body)
        assert refused.value.reason == reason
    entry = await a.ledger.release(first.id, "failed", risks=[Risk(attempt_id="r/0", provider="p", amount=5)])
    assert await a.ledger.release(first.id, "failed") == entry
    with pytest.raises(DuplicateRequest):
        await a.hold(body="other")
    second = await a.hold()
    assert second.attempt == 2
    await a.ledger.settle(second.id, Charge(amount=1))
    with pytest.raises(DuplicateRequest) as refused:
        await a.hold()
    assert refused.value.reason == "settled"
    with pytest.raises(HoldResolved):
        await a.ledger.settle(first.id, Charge(amount=1))


async def test_the_same_request_id_in_two_accounts_is_two_requests_even_with_slashes(a: Kept) -> None:
    await a.ledger.top_up("a/b", "second", 100)
    ids = {
        (await a.ledger.hold(account, "key", request, "b", 10, NOON_US * 2)).id
        for account, request in (("a", "b/c"), ("a/b", "c"), ("a", "b%2Fc"), ("a", "b/c/1"), ("a", "c"))
    }
    assert len(ids) == 5


async def test_a_quarantined_hold_that_nobody_judges_for_72_hours_comes_back_as_the_platforms_risk(a: Kept) -> None:
    hold = await a.hold()
    a.clock.now_us += MINUTE_US
    await a.ledger.quarantine(hold.id, {"provider": "p", "usage": "NaN"})
    a.clock.now_us += 3 * DAY_US - 1
    assert await a.ledger.expire() == []
    assert (await a.balance()).held == 100
    a.clock.now_us += 1
    (entry,) = await a.ledger.expire()
    assert (entry.kind, entry.detail["reason"]) == ("release", "nobody judged it within 72 hours")
    assert await a.balance() == Balance(available=1000, held=0, shortfall=0)
    (risk,) = prove(a.log()).open_risks
    assert (risk.attempt_id, risk.provider, risk.amount) == (f"{hold.id}/quarantine", "p", 100)
    assert await a.ledger.expire() == []


async def test_holds_expire_at_their_time_and_quarantined_ones_do_not(a: Kept) -> None:
    keeps, gone = await a.hold(request="kept"), await a.hold(request="gone")
    evidence = await a.ledger.quarantine(keeps.id, {"usage": "NaN"})
    assert await a.ledger.quarantine(keeps.id, {"usage": "NaN"}) == evidence
    a.clock.now_us += MINUTE_US - 1
    assert list(await a.ledger.expire()) == []
    a.clock.now_us += 1
    assert [entry.ref for entry in await a.ledger.expire()] == [gone.id]
    assert await a.balance() == Balance(available=900, held=100, shortfall=0)
    late = await a.ledger.settle(gone.id, Charge(amount=40))
    assert late.kind == "late_settle"
    assert await a.ledger.settle(gone.id, Charge(amount=40)) == late
    assert await a.balance() == Balance(available=860, held=100, shortfall=0)
    await a.ledger.release(keeps.id, "written off")
    assert (await a.balance()).held == 0


async def test_an_expired_request_that_was_tried_again_is_not_charged_twice(a: Kept) -> None:
    first = await a.hold()
    a.clock.now_us += MINUTE_US
    await a.ledger.expire()
    await a.ledger.settle((await a.hold()).id, Charge(amount=5))
    with pytest.raises(HoldResolved):
        await a.ledger.settle(first.id, Charge(amount=5))


async def test_a_top_up_counts_once_for_its_external_id(a: Kept) -> None:
    assert (await a.ledger.top_up("a", "first", 1000)).seq == 1
    assert (await a.balance()).available == 1000
    with pytest.raises(DuplicateRequest):
        await a.ledger.top_up("a", "first", 1001)
    with pytest.raises(DuplicateRequest):
        await a.ledger.top_up("b", "first", 1000)


async def test_a_correction_is_an_entry_and_never_gives_back_more_than_was_charged(a: Kept) -> None:
    charge = await a.ledger.settle((await a.hold()).id, Charge(amount=30))
    await a.ledger.adjust(charge.seq, 20, "the provider billed less")
    assert (await a.balance()).available == 990
    with pytest.raises(LedgerOverflow):
        await a.ledger.adjust(charge.seq, 11, "too much")
    await a.ledger.adjust(charge.seq, -5, "found later")
    await a.ledger.adjust(charge.seq, 15, "the rest")
    assert (await a.balance()).available == 1000
    for seq in (0, 1, 99):
        with pytest.raises(UnknownEntry):
            await a.ledger.adjust(seq, 1, "no charge")


async def test_a_risk_ends_by_its_reversal_and_becomes_a_cost_if_it_was_billed(a: Kept) -> None:
    await a.ledger.release((await a.hold()).id, "timeout", risks=[Risk(attempt_id="r/0", provider="p", amount=5)])
    assert a.balances()["platform:accrued:2025-11:p"] == 5
    a.clock.now_us += 40 * DAY_US  # the next month reverses what this one opened
    assert [entry.kind for entry in await a.ledger.resolve_risk("r/0", 4)] == ["risk_resolved", "cost"]
    assert a.balances()["platform:accrued:2025-11:p"] == 0
    assert a.balances()["platform:payable:2025-12:p"] == 4
    with pytest.raises(UnknownEntry):
        await a.ledger.resolve_risk("r/0", None)


async def test_an_attempt_is_booked_once_as_cost_and_once_as_risk(a: Kept) -> None:
    cost = AttemptCost(attempt_id="x", provider="p", amount=1)
    await a.ledger.settle((await a.hold()).id, Charge(amount=1), [cost])
    other = await a.hold(request="other")
    with pytest.raises(DuplicateRequest):
        await a.ledger.settle(other.id, Charge(amount=1), [cost])
    twice = [Risk(attempt_id="y", provider="p", amount=1)] * 2
    with pytest.raises(DuplicateRequest):
        await a.ledger.release(other.id, "failed", risks=twice)
    assert (await a.balance()).held == 100


async def test_ids_of_different_things_may_be_equal_even_in_one_batch(a: Kept) -> None:
    hold = await a.hold()
    _, again, other = await asyncio.gather(
        a.ledger.settle(hold.id, Charge(amount=1), [AttemptCost(attempt_id="first", provider="p", amount=1)]),
        a.ledger.top_up("a", "first", 1000),
        a.hold(request="first"),
    )
    assert again.seq == 1
    assert other.attempt == 1
    risk = Risk(attempt_id="first", provider="p", amount=1)
    assert (await a.ledger.release(other.id, "failed", risks=[risk])).kind == "release"


async def test_amounts_that_no_entry_can_hold_change_nothing(a: Kept) -> None:
    await a.ledger.top_up("a", "all", INT64_MAX - 1000)
    for account in ("a", "b"):
        with pytest.raises(LedgerOverflow):
            await a.ledger.top_up(account, "more", 1)  # the month's account is full as well
    hold = await a.hold()
    for charge in (INT64_MAX + 1, -1):
        with pytest.raises(LedgerOverflow):
            await a.ledger.settle(hold.id, Charge(amount=charge))
    for amount in (INT64_MAX + 1, -1):
        cost = AttemptCost(attempt_id="r/0", provider="p", amount=amount)
        with pytest.raises(LedgerOverflow):
            await a.ledger.settle(hold.id, Charge(amount=1), [cost])
    assert (await a.balance()).held == 100
    assert (await a.ledger.settle(hold.id, Charge(amount=1))).kind == "settle"


async def test_what_cannot_be_written_is_refused_by_itself(a: Kept) -> None:
    half = "\ud800"
    hold = await a.hold()
    refused = await asyncio.gather(
        a.hold(request=half),
        a.hold(request="x", body=half),
        a.ledger.top_up("a", half, 1),
        a.ledger.settle(hold.id, Charge(amount=1, derivation={"n": object()})),
        a.ledger.settle(hold.id, Charge(amount=1), [AttemptCost(attempt_id=half, provider="p", amount=1)]),
        a.hold(request="fine ü\0"),
        return_exceptions=True,
    )
    assert [type(each) for each in refused[:-1]] == [Unwritable] * 5
    assert (await a.balance()).held == 200


async def test_the_time_of_entries_never_decreases(a: Kept) -> None:
    a.clock.now_us -= 10**12
    await a.hold()
    assert [entry.at_us for entry in a.log()] == [NOON_US, NOON_US]


async def test_a_charge_keeps_its_derivation_and_cites_its_usage_texts(a: Kept) -> None:
    derivation: dict[str, Any] = {
        "rates_pico_usd": {"output_text": 15_000_000},
        "margin": "0.055",
        "flags": [],
        "rounding": None,
    }
    charge = Charge(amount=30, derivation=derivation, evidence=(b'{"output_tokens":2}', b"\xff"))
    entry = await a.ledger.settle((await a.hold()).id, charge)
    read = a.log()[-1]
    assert read == entry
    assert read.detail["derivation"] == derivation
    assert [len(each) for each in read.detail["evidence"]] == [64, 64]


async def test_checkpoints_of_an_ended_hold_are_dropped(a: Kept) -> None:
    hold = await a.hold()
    a.ledger.checkpoint(hold.id, Progress(charge=Charge(amount=3)))
    await a.balance()
    await a.ledger.release(hold.id, "failed")
    a.ledger.checkpoint(hold.id, Progress(charge=Charge(amount=4)))
    a.ledger.checkpoint("no/such/1", Progress())
    await a.balance()
    assert [entry.kind for entry in a.log()] == ["topup", "hold", "checkpoint", "release"]


async def test_entries_come_in_pages_of_one_account_or_of_all(a: Kept) -> None:
    await a.ledger.top_up("b", "second", 5)
    await a.ledger.settle((await a.hold()).id, Charge(amount=1), [AttemptCost(attempt_id="x", provider="p", amount=1)])
    assert [entry.seq for entry in a.ledger.entries("a")] == [1, 3, 4]
    assert [entry.seq for entry in a.ledger.entries("a", after=1, limit=1)] == [3]
    assert [entry.seq for entry in a.ledger.entries(after=2)] == [3, 4, 5]
    assert list(a.ledger.entries("nobody")) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_holds_and_spends_no_more_than_its_limits(kind: str, tmp_path: Path) -> None:
    limits = {"k": KeyLimit(hold_max=60, day_max=100, total_max=150)}
    async with kept(kind, tmp_path, key_limits=limits.get) as a:

        async def charge(request: str, amount: int, spent: int) -> None:
            hold = await a.ledger.hold("a", "k", request, "b", amount, NOON_US * 2)
            await a.ledger.settle(hold.id, Charge(amount=spent))

        async def refused(request: str, amount: int) -> tuple[str, int]:
            with pytest.raises(KeyLimitReached) as caught:
                await a.ledger.hold("a", "k", request, "b", amount, NOON_US * 2)
            return caught.value.which, caught.value.left

        assert await refused("1", 61) == ("hold", 60)
        running = await a.ledger.hold("a", "k", "1", "b", 60, NOON_US * 2)
        assert await refused("2", 41) == ("day", 40)
        await a.ledger.settle(running.id, Charge(amount=50))
        await charge("3", 50, 50)
        assert await refused("4", 1) == ("day", 0)
        a.clock.now_us += DAY_US
        await charge("5", 50, 40)
        assert await refused("6", 11) == ("total", 10)
        charged = next(entry for entry in a.log() if entry.kind == "settle")
        await a.ledger.adjust(charged.seq, 5, "less")
        await charge("7", 15, 15)
        await a.ledger.hold("a", "another key", "8", "b", 500, NOON_US * 2)
        assert (await a.balance()).held == 500


@pytest.mark.parametrize("kind", KINDS)
async def test_64_clients_on_credit_for_100_calls_make_exactly_100(kind: str, tmp_path: Path) -> None:
    async with kept(kind, tmp_path, credit=100 * 7) as a:
        ledger: Ledger = a.ledger
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
        assert len(a.log()) == 201
        assert prove(a.log()).sound


def test_every_refusal_is_one() -> None:
    kinds = (
        InsufficientCredits,
        DuplicateRequest,
        HoldResolved,
        UnknownEntry,
        LedgerOverflow,
        KeyLimitReached,
        Unwritable,
    )
    assert all(issubclass(kind, LedgerRefusal) for kind in kinds)
