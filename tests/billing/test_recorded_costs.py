"""Recorded replies against the bills that their providers stated, and every reply with usage against having a bill."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.charge import Cost
from clawbench.billing.stated_comparison import Compared, compared
from tests.billing.recorded_bills import Recorded, pairs, published_prices, recorded_calls

CALLS_KNOWN = 1_271
"""How many chat calls the recordings hold for which the exact counts below were taken; others are held to the rules."""

STATED = {"equal": 121, "rounded": 5, "unpriced": 28, "refused": 5}
CAUSES = {
    "charge": 637,
    "charge_provider_reported": 133,
    "unpriced_model": 176,
    "unpriced_bucket": 25,
    "unpriced_tier": 7,
    "unpriced_use": 2,
    "bad_usage": 13,
    "usage_missing": 4,
    "sums_differ": 1,
    "broke_off": 1,
}


@pytest.fixture(scope="module")
def calls(shared: Path) -> tuple[Recorded, ...]:
    if not (shared / "real-cassettes").is_dir():
        pytest.skip("no recordings beside the repository")
    return recorded_calls(shared / "real-cassettes")


@pytest.fixture(scope="module")
def rows(shared: Path, calls: tuple[Recorded, ...]) -> list[Compared]:
    return compared(pairs(shared))


def test_every_stated_cost_is_in_a_class_with_a_reason_and_none_is_unexplained(
    rows: list[Compared], calls: tuple[Recorded, ...]
) -> None:
    for each in rows:
        print(each.verdict, each.pair.name.rpartition("/")[2], each.reason)
    assert not [(each.pair.name, each.reason) for each in rows if each.verdict == "unexplained"]
    assert all(each.reason for each in rows)
    counts = Counter(each.verdict for each in rows)
    if len(calls) == CALLS_KNOWN:
        assert counts == STATED


def test_most_stated_costs_are_met_and_few_are_excused_by_the_day_of_reading(rows: list[Compared]) -> None:
    counts = Counter(each.verdict for each in rows)
    assert counts["equal"] + counts["rounded"] >= 0.75 * len(rows)
    assert sum("read later" in each.reason for each in rows) <= 0.05 * len(rows)
    assert counts["refused"] <= 0.05 * len(rows)


def test_every_provider_that_states_costs_has_some_that_are_met_or_no_list_prices_it(
    rows: list[Compared], calls: tuple[Recorded, ...]
) -> None:
    provider = {each.name: each.provider for each in calls}
    met = {provider[each.pair.name] for each in rows if each.verdict in ("equal", "rounded")}
    unpriced = {provider[each.pair.name] for each in rows if not isinstance(each.pair.cost, Cost)}
    assert {provider[each.pair.name] for each in rows} <= met | unpriced
    if len(calls) == CALLS_KNOWN:
        assert {"openrouter", "vercel-gw", "xai", "perplexity"} <= met


def test_what_a_row_calls_equal_is_charged_to_the_last_digit(shared: Path, rows: list[Compared]) -> None:
    """Where the stated cost is the basis of the bill, the bill is that cost and the recomputed one stands beside it."""
    book = published_prices(shared).listed.book
    by_name = {each.name: each for each in recorded_calls(shared / "real-cassettes")}
    checked = 0
    for each in rows:
        call = by_name[each.pair.name]
        if each.verdict == "equal" and call.counted.reported_usd is not None:
            bill = call.bill(book)
            assert bill.outcome == "charge_provider_reported"
            assert bill.cost_pico_usd == each.pair.stated.usd * 10**12
            assert bill.difference == "equal"
            checked += 1
    assert checked >= 50


def test_every_reply_with_usage_is_billed_or_has_a_typed_reason(shared: Path, calls: tuple[Recorded, ...]) -> None:
    book = published_prices(shared).listed.book
    causes: Counter[str] = Counter()
    for call in calls:
        bill = call.bill(book)
        if call.reply.evidence.usage:
            if bill.outcome in ("charge", "charge_provider_reported"):
                assert bill.charge_pico_uat is not None
                causes[bill.outcome] += 1
            else:
                assert bill.cause is not None, call.name
                assert bill.reasons, call.name
                causes[bill.cause] += 1
        elif bill.outcome.startswith("charge"):
            pytest.fail(f"{call.name} is charged without usage")
    print(dict(causes))
    billed = causes["charge"] + causes["charge_provider_reported"]
    assert billed >= 0.75 * causes.total()
    if len(calls) == CALLS_KNOWN:
        assert causes == CAUSES


def test_no_usage_that_the_catalogue_knows_is_overlooked(shared: Path, calls: tuple[Recorded, ...]) -> None:
    by_id = {call.name: call for call in calls}
    seen = 0
    with (shared / "real-cassettes" / "CATALOGUE.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            stated: dict[str, Any] = json.loads(row["usage_json"]) if row["usage_json"] else {}
            call = by_id.get(f"{row['repo'].replace('/', '__')}/{row['path']}#{row['interaction']}")
            if call is None or not stated or call.interaction.status >= 400:
                continue
            seen += 1
            assert call.reply.evidence.usage, call.name
    assert seen >= 900
