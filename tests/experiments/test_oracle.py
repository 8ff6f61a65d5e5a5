"""The oracle: no strategy beats it, and what it says of an offer is what a run records of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.config.plan import Plan, load_plan
from clawbench.errors import UsageError
from clawbench.experiments.oracle import FIGURES, best_of, hindsight, regret, regret_by_seed
from clawbench.experiments.prepare import prepare
from clawbench.experiments.runner import run_plan
from tests.experiments.made_plan import made_plan

STRATEGIES = ["random", "price", "latency", "p2c_peak_ewma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return load_plan(made_plan(folder), seeds=[1, 2], strategies=STRATEGIES)


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs")
    return run_plan(plan, out=out, created_at=datetime(2026, 1, 1, tzinfo=UTC), stopwatch=lambda: 0.0, report=False)


def test_what_an_attempt_took_in_the_run_is_what_hindsight_says_of_its_offer(plan: Plan, run: RunFolder) -> None:
    seen = hindsight(prepare(plan), 1)
    attempts = run.attempts(with_cell=True).filter((pl.col("seed") == 1) & (pl.col("outcome") == "ok"))
    happened = attempts.select(
        pl.col("request_id").str.extract(r"-(\d+)$", 1).cast(pl.Int64).alias("index"),
        "offer_id",
        (pl.col("t_end_s") - pl.col("t_dispatch_s")).alias("took_s"),
        (pl.col("cost_pico_usd") / 1e12).alias("paid_usd"),
    )
    both = happened.join(seen, on=["index", "offer_id"], how="inner")
    assert both.height == attempts.height > 200
    assert both["took_s"].to_list() == pytest.approx(both["e2e_s"].to_list())
    assert both["paid_usd"].to_list() == pytest.approx(both["cost_usd"].to_list())


def test_no_request_of_any_strategy_is_better_than_its_best(plan: Plan, run: RunFolder) -> None:
    best = best_of(hindsight(prepare(plan), 2))
    served = run.requests().filter((pl.col("seed") == 2) & (pl.col("status") == "ok"))
    both = served.with_columns(
        pl.col("request_id").str.extract(r"-(\d+)$", 1).cast(pl.Int64).alias("index"),
        (pl.col("t_end_s") - pl.col("t_scheduled_s")).alias("e2e_s"),
        (pl.col("cost_pico_usd") / 1e12).alias("cost_usd"),
    ).join(best, on="index", how="inner")
    assert both.height == served.height
    for figure in ("e2e_s", "cost_usd"):
        assert both.filter(pl.col(figure) < pl.col(f"best_{figure}") * (1 - 1e-9)).is_empty()


def test_regret_is_told_for_every_strategy_and_figure_with_its_interval(plan: Plan, run: RunFolder) -> None:
    told = regret(run, plan)
    assert set(told["strategy"]) == set(STRATEGIES)
    assert set(told["figure"]) == set(FIGURES)
    assert (told["regret"] >= 0).all()
    assert (told["low"] <= told["regret"]).all()
    assert (told["regret"] <= told["high"]).all()
    by_cost = told.filter(pl.col("figure") == "cost_usd")["strategy"].to_list()
    assert by_cost.index("price") < by_cost.index("random")


def test_figures_of_a_seed_add_up_to_the_mean_over_seeds(plan: Plan, run: RunFolder) -> None:
    by_seed, told = regret_by_seed(run, plan), regret(run, plan)
    of_random = by_seed.filter(pl.col("strategy") == "random")
    means = told.filter((pl.col("strategy") == "random") & (pl.col("figure") == "e2e_s")).row(0, named=True)
    assert means["value"] == pytest.approx(of_random["e2e_s"].mean())
    assert means["regret"] == pytest.approx((of_random["e2e_s"] - of_random["best_e2e_s"]).mean())


def test_a_run_of_another_plan_is_refused(run: RunFolder, folder: Path) -> None:
    other = load_plan(made_plan(folder), overrides=["workload.requests=81"], seeds=[1, 2], strategies=STRATEGIES)
    with pytest.raises(UsageError, match="is no run of"):
        regret(run, other)
