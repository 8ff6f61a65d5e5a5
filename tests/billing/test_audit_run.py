"""Runs audited: a clean one is proved to the last charge; whatever somebody changes afterwards is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clawbench.billing.audit_figures import Figures
from clawbench.experiments.audited_run import UnreadableRun, audit_run, entries_in
from tests.billing.tampering import (
    CELL,
    Rows,
    copied,
    first,
    ledger_part,
    made_run,
    opened,
    rewritten,
    with_detail,
)

Change = Callable[[Rows], Rows | None]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("audited"))


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    return copied(clean, tmp_path)


def audited(run: Path) -> Figures:
    return audit_run(opened(run))


def causes(figures: Figures) -> set[str]:
    return {each.cause for each in figures.violations}


def test_a_clean_run_is_proved_and_says_so_in_its_manifest(clean: Path) -> None:
    told: list[int] = []
    figures = audit_run(opened(clean), progress=told.append)
    assert figures.clean
    assert figures.charges == figures.exact == 30
    assert figures.line() == "billing: 30 of 30 exact"
    assert sum(told) == figures.entries == entries_in(opened(clean)) == 91
    sums = figures.conservation
    assert sums.topped_up == sums.available + sums.held + sums.shortfall + sums.charged
    assert sums.charged == figures.charged_pico_uat > 0
    assert {(group.strategy, group.surface) for group in figures.groups} == {("random", "chat")}
    assert {group.provider for group in figures.groups} == {"cheap", "quick", "middle"}
    manifest = opened(clean).manifest["billing"]
    assert manifest["line"] == "billing: 30 of 30 exact"
    assert manifest["charged_pico_uat"] == str(figures.charged_pico_uat)


def test_two_audits_of_one_run_come_to_the_same(clean: Path) -> None:
    assert audited(clean) == audited(clean)


def dearer(rows: Rows) -> None:
    """One pico-UAT more was charged than the derivation comes to: the entry is consistent in itself."""
    row = first(rows, "settle")
    with_detail(row, lambda detail: detail.update(amount=str(int(detail["amount"]) + 1)))
    moves = json.loads(row["postings"])
    for move in moves:
        move[1] += 1 if "revenue" in move[0] else -1 if "available" in move[0] else 0
    row["postings"] = json.dumps(moves, separators=(",", ":"))
    row["amount_pico_uat"] -= 1
    for later in rows[rows.index(row) :]:
        if later["account"] == row["account"]:
            later["balance_pico_uat"] -= 1


def settled(alter: Callable[[dict[str, Any]], object]) -> Change:
    """Another detail of the first charge."""
    return lambda rows: with_detail(first(rows, "settle"), alter)


def derivation(**changes: Any) -> Change:
    return settled(lambda detail: detail["derivation"].update(changes))


def usage(*, consistent: bool) -> Change:
    """Other counts in the raw usage; `consistent`: with hashes that fit it."""

    def alter(detail: dict[str, Any]) -> None:
        raw = [text.replace(":", ":1", 1) for text in detail["derivation"]["usage_raw"]]
        detail["derivation"]["usage_raw"] = raw
        if consistent:
            detail["derivation"]["usage_sha256"] = sha256("\n".join(raw).encode()).hexdigest()
            detail["evidence"] = [sha256(text.encode()).hexdigest() for text in raw]

    return settled(alter)


def cheaper_cost(rows: Rows) -> None:
    row = first(rows, "cost")
    with_detail(row, lambda detail: detail.update(usd="0.1"))


def elsewhere(rows: Rows) -> None:
    row = first(rows, "cost")
    with_detail(row, lambda detail: detail.update(provider="nobody"))


def no_cost(rows: Rows) -> Rows:
    row = first(rows, "cost")
    return [each for each in rows if each is not row]


@pytest.mark.parametrize(
    ("change", "cause", "said"),
    [
        (dearer, "amount", "pico-UAT were charged, and it comes to"),
        (usage(consistent=False), "usage", "is not the hash of usage_raw"),
        (usage(consistent=True), "buckets", "buckets is stated as"),
        (derivation(cost_usd="0"), "cost", "cost_usd is stated as 0"),
        (derivation(rates_pico_usd={}), "price", "rates_pico_usd is stated as {}"),
        (derivation(row_id="another"), "price", "row_id is stated as another"),
        (derivation(margin="0.5"), "amount", "it comes to"),
        (derivation(outcome="charge_and_flag"), "outcome", "outcome is stated as charge_and_flag"),
        (derivation(estimated=True), "outcome", "estimated is stated as True"),
        (derivation(provider_reported_cost_usd="1"), "cost", "provider_reported_cost_usd is stated as 1"),
        (derivation(book_id="sha256:" + "0" * 64), "book_missing", "0000 is missing"),
        (derivation(book_id=7), "book_missing", "no price book is cited, but 7"),
        (derivation(normaliser="nobody/1"), "unreadable", "normaliser 'nobody/1' is not known"),
        (derivation(hold_pico_uat="many"), "unreadable", "the derivation cannot be worked"),
        (settled(lambda detail: detail.update(derivation={})), "underived", "nothing says what this settle"),
        (settled(lambda detail: detail.pop("derivation")), "underived", "nothing says what this settle"),
        (settled(lambda detail: detail.pop("request_id")), "unreadable", "'request_id'"),
        (derivation(settle_cap="4"), "unreadable", "settle_cap is a whole number"),
        (derivation(hold_pico_uat="999999999999"), "amount", "were held"),
        (derivation(rounding="floor"), "cost", "rounding is stated as floor"),
        (settled(lambda detail: detail.pop("evidence")), "usage", "do not hash to"),
        (elsewhere, "cost_entry", "it says nobody, and is booked on another provider"),
        (cheaper_cost, "cost_entry", "pico-UAT are booked, and 0.1 USD come to"),
        (no_cost, "cost_entry", "is booked behind this charge"),
    ],
)  # fmt: skip
def test_a_change_is_found_though_the_chain_was_made_to_fit(run: Path, change: Change, cause: str, said: str) -> None:
    rewritten(run, change, rehash=True)
    figures = audited(run)
    assert not figures.clean
    found = [each for each in figures.violations if each.cause == cause and said in each.what]
    assert len(found) == 1, figures.violations
    assert found[0].where.startswith(f"{CELL} entry ")
    assert "log" not in causes(figures)


def posted(rows: Rows) -> None:
    row = first(rows, "settle")
    row["postings"] = row["postings"].replace(":revenue", ":other")


def dropped(rows: Rows) -> Rows:
    return rows[:10] + rows[11:]


def swapped(rows: Rows) -> Rows:
    return [*rows[:10], rows[11], rows[10], *rows[12:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dearer, "its hash is not that of what it says"),
        (derivation(margin="0.5"), "its hash is not that of what it says"),
        (posted, "its hash is not that of what it says"),
        (dropped, "the log has a gap"),
        (swapped, "the log has a gap or a repetition"),
    ],
)
def test_a_change_breaks_the_chain_at_the_entry_that_is_named(run: Path, change: Change, said: str) -> None:
    rewritten(run, change)
    figures = audited(run)
    assert not figures.clean
    assert [each for each in figures.violations if each.cause == "log" and said in each.what], figures.violations
    assert "violation" in figures.line()


def test_columns_that_reports_read_have_to_be_what_the_entries_say(run: Path) -> None:
    def change(rows: Rows) -> None:
        first(rows, "settle")["amount_pico_uat"] -= 1

    rewritten(run, change)
    figures = audited(run)
    assert causes(figures) == {"records"}
    assert "its columns say" in figures.violations[0].what


def test_what_requests_say_was_charged_has_to_be_in_the_ledger(run: Path) -> None:
    part = run / "cells" / CELL / "requests-00000.parquet"
    rows = pl.read_parquet(part).with_columns(
        charge_pico_uat=pl.col("charge_pico_uat") + pl.lit([1] + [0] * 29).explode()
    )
    rows.write_parquet(part)
    figures = audited(run)
    assert [each.cause for each in figures.violations] == ["records"]
    assert "the ledger" in figures.violations[0].what


def test_the_end_of_a_log_cannot_be_cut_off_unseen(run: Path) -> None:
    rewritten(run, lambda rows: rows[:-3])
    assert "records" in causes(audited(run))


def test_a_price_book_with_other_bytes_is_named_by_its_hash(run: Path) -> None:
    (book,) = (run / "price-books").iterdir()
    book.write_bytes(book.read_bytes().replace(b"100000", b"100001"))
    figures = audited(run)
    assert figures.differing == {"book_changed": 30}
    assert book.stem in figures.violations[0].what
    assert "hash to" in figures.violations[0].what
    book.unlink()
    assert audited(run).differing == {"book_missing": 30}


def test_an_unfinished_cell_is_left_out_and_an_empty_run_is_no_run(run: Path) -> None:
    (run / "cells" / CELL / "done.json").unlink()
    with pytest.raises(UnreadableRun, match="no finished cell"):
        audited(run)


@pytest.mark.parametrize("text", [b"", b"PAR1 is no Parquet file PAR1"])
def test_a_damaged_part_is_named(run: Path, text: bytes) -> None:
    ledger_part(run).write_bytes(text)
    with pytest.raises(UnreadableRun, match=r"ledger-00000\.parquet cannot be read"):
        audited(run)
    ledger_part(run).unlink()
    with pytest.raises(UnreadableRun, match="has no ledger"):
        audited(run)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("detail", "{", "row 'random-s1-000000001' is no entry"),
        ("detail", "[]", "its detail is no JSON object"),
        ("postings", '[["a"]]', "is no entry"),
        ("entry_id", "price-s9-000000001", "it is of another cell"),
        ("entry_id", "random-s1-x", "is no entry"),
    ],
)
def test_a_row_that_is_no_entry_is_named(run: Path, column: str, value: str, said: str) -> None:
    rewritten(run, lambda rows: rows[0].update({column: value}))
    with pytest.raises(UnreadableRun, match=said):
        audited(run)


def test_rows_are_given_for_what_differs_and_only_for_that(run: Path) -> None:
    rewritten(run, derivation(row_id="another"), rehash=True)
    rows: list[dict[str, Any]] = []
    audit_run(opened(run), differs=rows.append)
    (row,) = rows
    assert row["cause"] == "price"
    assert row["request_id"].startswith(CELL)
    assert row["strategy"] == "random"


def test_charges_before_an_instant_are_counted_and_not_worked_again(run: Path) -> None:
    rewritten(run, derivation(row_id="another"), rehash=True)
    latest = pl.read_parquet(ledger_part(run))["at_us"].max()
    assert isinstance(latest, int)
    figures = audit_run(opened(run), since_us=latest)
    assert figures.clean
    assert (figures.charges, figures.skipped) == (1, 29)
