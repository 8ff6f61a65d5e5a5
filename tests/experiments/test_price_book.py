"""A plan's price book is what requests are billed by, so it is what `@price` weighs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.billing.hold_sizing import HoldSizing
from clawbench.config.plan import load_plan
from clawbench.experiments.prepare import prepare
from clawbench.experiments.runner import run_plan
from clawbench.types import ChatRequest, Rates, Tier
from tests.billing.tampering import AT
from tests.experiments.made_plan import made_plan

QUICK: dict[str, Any] = {"provider": "quick", "models": ["m"], "rates": {"uncached_input": 1_000, "output_text": 2_000}}
CHEAP: dict[str, Any] = {
    "provider": "cheap",
    "models": ["m"],
    "rates": {"uncached_input": 9_000_000, "output_text": 9_000_000},
}


def plan_with(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "book.json").write_text(json.dumps(rows))
    return made_plan(folder, '\n[billing]\nprice_book = "book.json"\n')


def rates(plan: Path, **when: float) -> dict[str, Rates | None]:
    return {offer.id: offer.rates for offer in prepare(load_plan(plan), **when).catalog.offers_of()}


def served_by(plan: Path, folder: Path) -> pl.DataFrame:
    loaded = load_plan(plan, overrides=["workload.requests=40", 'strategies=["price"]'])
    run = run_plan(loaded, out=folder, created_at=AT, stopwatch=lambda: 0.0, report=False)
    requests = pl.concat([pl.read_parquet(part) for part in RunFolder(run.path).parts("requests")])
    return requests.group_by("offer_id").agg(pl.len(), pl.col("cost_pico_usd").max()).sort("len")


def test_price_chooses_by_the_book_and_not_by_what_the_offer_states(tmp_path: Path) -> None:
    without = served_by(made_plan(tmp_path), tmp_path / "without")
    assert without["offer_id"][-1] == "cheap/m"
    with_book = served_by(plan_with(tmp_path, QUICK, CHEAP), tmp_path / "with")
    assert with_book["offer_id"][-1] == "quick/m"
    assert with_book["cost_pico_usd"][-1] < without["cost_pico_usd"][-1]


def test_an_offer_without_a_row_keeps_its_own_rates(tmp_path: Path) -> None:
    own, booked = rates(made_plan(tmp_path)), rates(plan_with(tmp_path, QUICK))
    assert booked["quick/m"] == Rates(input=1_000, output=2_000)
    assert {**booked, "quick/m": own["quick/m"]} == own


def test_caches_reasoning_and_prompt_sizes_are_weighed_as_the_row_has_them(tmp_path: Path) -> None:
    long = {"threshold": 1_000, "inclusive": True, "rates": {"uncached_input": 3_000, "output_text": 4_000}}
    more = {"cache_read": 100, "cache_write_5m": 1_250, "cache_write_1h": 2_000, "reasoning": 5_000}
    row = {**QUICK, "rates": {**QUICK["rates"], **more}, "tiers": [long]}
    assert rates(plan_with(tmp_path, row))["quick/m"] == Rates(
        input=1_000, output=2_000, cached_input=100, cache_write=1_250, reasoning=5_000,
        tiers=(Tier(above=999, rates=Rates(input=3_000, output=4_000)),),
    )  # fmt: skip


def test_a_row_that_prices_no_answers_leaves_the_offer_without_a_price(tmp_path: Path) -> None:
    assert rates(plan_with(tmp_path, {**QUICK, "rates": {"uncached_input": 1}}))["quick/m"] is None


@pytest.mark.parametrize(("at_s", "expected"), [(0.0, 1_000), (2e9, 7)])
def test_the_row_in_force_is_weighed(tmp_path: Path, at_s: float, expected: int) -> None:
    day = "2030-01-01T00:00:00Z"
    later = {**QUICK, "rates": {"uncached_input": 7, "output_text": 7}, "valid_from": day}
    found = rates(plan_with(tmp_path, {**QUICK, "valid_to": day}, later), priced_at_s=at_s)["quick/m"]
    assert found is not None
    assert found.input == expected


def test_an_answer_is_billed_by_the_row_in_force_though_an_earlier_one_had_none(tmp_path: Path) -> None:
    later = {**QUICK, "valid_from": "2030-01-01T00:00:00Z", "valid_to": "2031-01-01T00:00:00Z"}
    prepared = prepare(load_plan(plan_with(tmp_path, later)))
    prices, offer = prepared.biller.prices, prepared.catalog.offers["quick/m"]
    providers = [prices.served(offer, "m", at_s=at_s).provider for at_s in (0.0, 1_893_456_000.0, 2e9, 0.0)]
    assert providers == ["quick/m", "quick", "quick/m", "quick/m"]


def test_what_is_held_follows_the_row_in_force(tmp_path: Path) -> None:
    day, day_s = "2030-01-01T00:00:00Z", 1_893_456_000.0
    dearer = {**CHEAP, "provider": "quick", "valid_from": day}
    prepared = prepare(load_plan(plan_with(tmp_path, {**QUICK, "valid_to": day}, dearer)))
    sizing = HoldSizing(prepared.biller.prices, prepared.biller.agreed)
    request, offers = ChatRequest(model="m", messages=[], max_output_tokens=10), [prepared.catalog.offers["quick/m"]]
    assert [sizing.amount(request, offers, at_s=at_s) for at_s in (day_s - 1, day_s)] == [10 * 2_000, 10 * 9_000_000]
