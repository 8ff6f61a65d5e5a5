"""The proof of a log: sound where nothing is wrong, and each thing that can be wrong is found where it stands."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import structs

from clawbench.billing.ledger.archive import MemoryArchive
from clawbench.billing.ledger.books import Books
from clawbench.billing.ledger.chain import broken_link, hash_of
from clawbench.billing.ledger.proof import OpenHold, OpenRisk, Totals, prove
from clawbench.billing.ledger.protocol import AttemptCost, Charge, Entry, Posting, Risk
from clawbench.money import INT64_MAX
from tests.billing.ledger.ledgers import NOON_US, Clock

EXPIRES_US = NOON_US + 50


def day() -> list[Entry]:
    """1 topup, 2 hold, 3 settle, 4 cost, 5 hold, 6 release, 7 risk, 8 hold, 9 expire, 10 hold, 11 quarantine."""
    archive, clock = MemoryArchive(), Clock()
    books = Books(clock, archive)
    books.top_up("a", "first", 1000)
    settled = books.hold("a", "k", "r1", "b", 100, EXPIRES_US)
    books.settle(settled.id, Charge(amount=60), [AttemptCost(attempt_id="x1", provider="p", amount=40)])
    released = books.hold("a", "k", "r2", "b", 100, EXPIRES_US)
    books.release(released.id, "failed", risks=[Risk(attempt_id="x2", provider="p", amount=7)])
    books.hold("a", "k", "r3", "b", 100, EXPIRES_US)
    clock.now_us = EXPIRES_US
    books.expire()
    open_hold = books.hold("a", "k", "r4", "b", 200, EXPIRES_US)
    books.quarantine(open_hold.id, {"usage": "NaN"})
    return list(archive.log)


def chained(log: list[Entry]) -> list[Entry]:
    """Numbered and hashed anew, as by somebody who forges a whole log."""
    made: list[Entry] = []
    for seq, entry in enumerate(log, 1):
        prev = made[-1].hash if made else ""
        placed = structs.replace(entry, seq=seq, prev_hash=prev)
        made.append(structs.replace(placed, hash=hash_of(placed)))
    return made


def test_a_sound_log_comes_to_its_sums_and_names_what_is_open() -> None:
    proof = prove(day())
    assert proof.sound
    assert (proof.entries, proof.charges, proof.first_us, proof.last_us) == (11, 1, NOON_US, EXPIRES_US)
    assert proof.totals == Totals(
        issued=-1000, available=740, held=200, revenue=60, cost=-40, payable=40, risk=-7, accrued=7
    )
    opened = OpenHold(id="a/r4/1", account="a", amount=200, seq=10, opened_us=EXPIRES_US, quarantined=True)
    assert proof.open_holds == (opened,)
    assert proof.open_risks == (OpenRisk(attempt_id="x2", provider="p", amount=7, seq=7, opened_us=NOON_US),)
    assert proof.balances["client:a:available"] == 740
    assert proof.hash == day()[-1].hash
    assert prove([]).sound


def changed(place: int, **fields: Any) -> Callable[[list[Entry]], list[Entry]]:
    return lambda log: [structs.replace(each, **fields) if each.seq == place else each for each in log]


def repeated(place: int, **fields: Any) -> Callable[[list[Entry]], list[Entry]]:
    return lambda log: [*log, structs.replace(log[place - 1], at_us=EXPIRES_US, **fields)]


def detail(place: int, **members: Any) -> Callable[[list[Entry]], list[Entry]]:
    return lambda log: changed(place, detail={**log[place - 1].detail, **members})(log)


def moves(*pairs: tuple[str, int]) -> tuple[Posting, ...]:
    return tuple(Posting(*pair) for pair in pairs)


MINE, HELD = "client:a:available", "client:a:held"
FORGERIES: dict[str, tuple[Callable[[list[Entry]], list[Entry]], int, str]] = {
    "money from nothing": (changed(6, postings=moves((HELD, -100), (MINE, 101))), 6, "sum to 1"),
    "money of somebody else": (
        changed(6, postings=moves((HELD, -100), ("client:b:available", 100))), 6, "moves client:b:available"),
    "more held than there is": (
        lambda log: changed(2, postings=moves((MINE, -1100), (HELD, 1100)))(detail(2, amount="1100")(log)),
        2, "available = -100"),
    "another amount held than said": (detail(2, amount="99"), 2, "says 99 and moves 100"),
    "another amount charged than said": (detail(3, amount="61"), 3, "says 61 and moves 60"),
    "another cost than said": (detail(4, amount="41"), 4, "says -41 and moves -40"),
    "a hold opened twice": (repeated(10), 12, "which is open"),
    "a hold ended twice": (repeated(6), 12, "has ended before"),
    "a hold ended that never was": (changed(6, ref="a/r9/1"), 6, "is not open"),
    "a late charge of what did not expire": (changed(3, kind="late_settle"), 3, "has not expired"),
    "a top-up twice": (repeated(1), 12, "second topup"),
    "a cost twice": (repeated(4), 12, "second cost"),
    "a risk twice": (repeated(7), 12, "second risk"),
    "a request charged twice": (
        lambda log: [
            *log,
            structs.replace(log[1], ref="a/r1/2", at_us=EXPIRES_US),
            structs.replace(log[2], ref="a/r1/2", at_us=EXPIRES_US),
        ], 13, "second charge"),
    "a risk resolved that is not open": (changed(4, kind="risk_resolved"), 4, "not open"),
    "a note that moves money": (changed(11, postings=moves((HELD, -1), (MINE, 1))), 11, "moves money"),
    "time that goes back": (changed(6, at_us=NOON_US - 1), 6, "earlier"),
    "an unknown kind": (changed(11, kind="gift"), 11, "unknown kind"),
    "a detail without its amount": (changed(2, detail={}), 2, "cannot be read"),
    "a number over 64 bits": (
        lambda log: changed(1, postings=moves(("platform:issued:2025-11", -INT64_MAX - 1), (MINE, INT64_MAX + 1)))(
            detail(1, amount=str(INT64_MAX + 1))(log)
        ), 1, "64-bit"),
    "an account of no kind": (changed(6, postings=moves((HELD, -100), ("purse", 100))), 0, "unknown kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_log_with_a_whole_chain_is_found_out_at_its_first_bad_entry(name: str) -> None:
    forge, seq, words = FORGERIES[name]
    log = chained(forge(day()))
    assert broken_link(log) is None
    proof = prove(log)
    assert not proof.sound
    assert any(finding.seq == seq and words in finding.what for finding in proof.findings), proof.findings
    assert seq == 0 or proof.findings[0].seq == seq


@pytest.mark.parametrize("place", range(11))
def test_a_changed_a_missing_and_an_added_entry_break_the_chain_where_they_stand(place: int) -> None:
    log = day()
    later = structs.replace(log[place], at_us=log[place].at_us + 1)
    for broken, seq in (
        ([*log[:place], later, *log[place + 1 :]], place + 1),
        (log[:place] + log[place + 1 :], place + 2),
        ([*log[:place], log[place], *log[place:]], place + 1),
    ):
        if broken == log[:-1]:
            continue  # a lost end leaves no trace in a log itself
        assert prove(broken).findings[0].seq == seq


def test_findings_are_counted_beyond_those_that_are_kept() -> None:
    log = day()
    many = [structs.replace(log[5], seq=seq) for seq in range(12, 512)]
    proof = prove([*log, *many])
    assert len(proof.findings) == 100
    assert proof.found >= 500


def test_a_long_virtual_run_and_its_proof_take_no_more_memory_than_a_short_one() -> None:
    def run(requests: int) -> Iterator[Entry]:
        """Entries as they are written; the ledger keeps 200 of them."""
        written: list[Entry] = []
        books = Books(Clock(), MemoryArchive(window=200, sink=lambda entry, _: written.append(entry)))
        books.top_up("a", "credit", 10**15)
        for number in range(requests):
            hold = books.hold("a", "k", f"r{number}", "b", 100, EXPIRES_US)
            books.settle(hold.id, Charge(amount=60), [AttemptCost(attempt_id=f"{hold.id}/0", provider="p", amount=4)])
            yield from written
            written.clear()

    peaks = []
    for requests in (1_000, 10_000):
        tracemalloc.start()
        proof = prove(run(requests))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert proof.charges == requests
        assert proof.sound
    grown = peaks[1] - peaks[0]
    assert grown < 9_000 * 32 * 1.5 + 50_000  # 16 bytes a charge and 16 a cost, in arrays that grow by parts
