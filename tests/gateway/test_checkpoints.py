"""How far a request has come, as a durable ledger knows it: what a start after a crash books from that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.ledger.lines import progress_of
from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import Entry, Progress
from clawbench.billing.ledger.recovery import recover
from clawbench.billing.tokens import RunningCount, estimated_tokens
from clawbench.billing.working_again import worked_again
from clawbench.clock import run_virtual
from clawbench.types import Offer
from tests.lab import CREDIT_PICO_UAT, EPOCH_S, Lab, chat, completion, error, in_lab, offer, streamed

PRICED = offer("a", price=(2, 3), max_output_tokens=100)
WORDS = ("one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten")


def checkpoints(entries: Sequence[Entry]) -> list[tuple[float, Progress]]:
    """(seconds after the start, what was noted)."""
    return [
        (entry.at_us / 1e6 - EPOCH_S, progress_of(entry.detail["progress"]))
        for entry in entries
        if entry.kind == "checkpoint"
    ]


def crashed(at_s: float, offers: list[Offer], scripts: dict[str, Any], body: dict[str, Any], **how: Any) -> Lab:
    """A gateway that is gone at `at_s`, and whose ledger has then been recovered."""

    async def main() -> Lab:
        lab = Lab(offers, scripts, durable=True, **how)
        asked = asyncio.ensure_future(lab.ask(body))
        await asyncio.sleep(at_s)
        assert not asked.done()
        log = list(lab.ledger.entries())

        def last(hold: str) -> tuple[int, Progress] | None:
            return max(
                ((e.seq, progress_of(e.detail["progress"])) for e in log if e.kind == "checkpoint" and e.ref == hold),
                key=lambda found: found[0],
                default=None,
            )

        recovery = recover(lab.ledger.books, last)
        assert len(recovery.settled) + len(recovery.released) == 1
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return lab

    lab = run_virtual(main)
    proof = prove(lab.ledger.entries())
    assert proof.sound, proof.findings
    assert not proof.open_holds
    return lab


def test_a_stream_is_noted_at_its_first_output_and_every_two_seconds() -> None:
    script = streamed(*WORDS, first_s=1.0, every_s=0.5)
    (answer,), lab = in_lab([PRICED], {PRICED.id: script}, chat(stream=True), durable=True)
    assert answer.status == 200
    noted = checkpoints(list(lab.ledger.entries()))
    assert [at_s for at_s, _ in noted] == pytest.approx([0, 1, 3, 5])
    sent, *delivering = [progress for _, progress in noted]
    assert sent.charge is None
    assert [(risk.attempt_id[-2:], risk.provider, risk.amount > 0) for risk in sent.risks] == [("/0", "a", True)]
    charges = [progress.charge for progress in delivering]
    assert [charge and charge.derivation["delivered_tokens"] for charge in charges] == [1, 5, 9]
    book = lab.holds.biller.prices.book
    for charge in charges:
        assert charge is not None
        again = worked_again(charge.derivation, book)
        assert not again.differences
        assert again.bill.charge_pico_uat == charge.amount


def test_a_run_in_memory_notes_nothing() -> None:
    _, lab = in_lab([PRICED], {PRICED.id: streamed(*WORDS, every_s=0.5)}, chat(stream=True))
    assert not checkpoints(list(lab.ledger.entries()))


def test_what_was_delivered_until_the_last_note_is_charged_after_a_crash_and_no_more() -> None:
    lab = crashed(4.3, [PRICED], {PRICED.id: streamed(*WORDS, every_s=0.5)}, chat(stream=True))
    entries = list(lab.ledger.entries())
    settle = next(entry for entry in entries if entry.kind == "settle")
    derivation = msgspec.json.decode(msgspec.json.encode(settle.detail["derivation"]))
    assert derivation["delivered_tokens"] == 5, "seven were sent, and five of them had been noted at 3 s"
    assert derivation["flags"][-1] == "recovered"
    assert (derivation["model_requested"], derivation["strategy"], derivation["surface"]) == (
        "m",
        "round_robin",
        "chat",
    )
    again = worked_again(derivation, lab.holds.biller.prices.book)
    assert not again.differences
    assert str(again.bill.charge_pico_uat) == settle.detail["amount"]
    assert [entry.kind for entry in entries if entry.kind in ("cost", "risk")] == ["cost"]
    assert lab.ledger.books.balance("local").available == CREDIT_PICO_UAT - int(settle.detail["amount"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_was_out_at_a_crash_is_the_platforms_risk_and_costs_nothing(stream: bool) -> None:
    script = streamed(*WORDS) if stream else completion()
    lab = crashed(0.5, [PRICED], {PRICED.id: script}, chat(stream=stream))
    entries = list(lab.ledger.entries())
    assert [entry.kind for entry in entries] == ["topup", "hold", "checkpoint", "release", "risk"]
    risk = entries[-1].detail
    assert 0 < int(risk["amount"]) // 2_000_000 < 50, "tokens of a short prompt"
    assert risk["provider"] == "a"
    assert lab.ledger.books.balance("local").available == CREDIT_PICO_UAT


def test_what_earlier_attempts_may_have_cost_is_booked_with_what_a_crash_cut() -> None:
    first, second = offer("a", price=(1, 1), max_output_tokens=100), offer("b", price=(2, 3), max_output_tokens=100)
    slow = streamed(*WORDS, every_s=0.5)
    lab = crashed(
        3.0,
        [first, second],
        {first.id: streamed("", dies="reset_mid", finish=False, done=False, first_s=0.1), second.id: slow},
        chat(stream=True),
        strategy="cheapest_unit_price",
    )
    owed = [(entry.kind, entry.detail["provider"]) for entry in lab.ledger.entries() if entry.kind in ("cost", "risk")]
    assert owed == [("cost", "b"), ("risk", "a")]


def test_a_failure_that_nobody_billed_is_no_risk_after_a_crash_either() -> None:
    first, second = offer("a", price=(1, 1), max_output_tokens=100), offer("b", price=(2, 3), max_output_tokens=100)
    lab = crashed(
        0.9,
        [first, second],
        {first.id: error(429, "rate_limited"), second.id: streamed(*WORDS)},
        chat(stream=True),
        strategy="cheapest_unit_price",
    )
    owed = [(entry.kind, entry.detail["provider"]) for entry in lab.ledger.entries() if entry.kind in ("cost", "risk")]
    assert owed == [("risk", "b")]


@given(st.lists(st.text(st.sampled_from(list(" \n\tab.,'1é日😀\u00a0")), max_size=8), max_size=12))
def test_a_text_that_grows_is_counted_as_if_it_had_come_at_once(pieces: list[str]) -> None:
    count = RunningCount()
    for number, piece in enumerate(pieces, 1):
        assert count.add([piece]) == estimated_tokens(pieces[:number])
