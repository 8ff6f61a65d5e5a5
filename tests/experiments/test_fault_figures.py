"""Faults in a plan: they strike in every cell, and what they did is told for each of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.analysis.tables import summary
from clawbench.config.plan import Plan, load_plan
from clawbench.errors import PlanError, UsageError
from clawbench.experiments.fault_figures import fault_figures
from clawbench.experiments.oracle import regret
from clawbench.experiments.prepare import prepare
from clawbench.experiments.runner import run_plan
from tests.experiments.made_plan import made_plan

OUTAGE = """
[[faults]]
kind = "outage"
offers = ["cheap/m"]
from_s = 10
until_s = 20
[[faults]]
kind = "brownout"
offers = ["*"]
factor = 3
from_s = 30
until_s = 45
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = made_plan(tmp_path_factory.mktemp("plans"), OUTAGE)
    return load_plan(path, overrides=["workload.requests=300"], seeds=[1], strategies=["price", "round_robin"])


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs")
    return run_plan(plan, out=out, created_at=datetime(2026, 1, 1, tzinfo=UTC), stopwatch=lambda: 0.0, report=False)


def test_records_name_the_fault_plan_and_each_fault_within_its_window(plan: Plan, run: RunFolder) -> None:
    assert set(run.requests()["fault_plan"]) == {plan.name}
    attempts = run.attempts()
    outage = attempts.filter(pl.col("fault") == "outage")
    assert outage.height > 0
    assert set(outage["offer_id"]) == {"cheap/m"}
    assert set(outage["outcome"]) == {"connect_error"}
    assert outage["t_dispatch_s"].is_between(10, 20).all()
    inside = attempts.filter(pl.col("t_dispatch_s").is_between(30, 40, closed="left"))
    assert set(inside["fault"]) == {"brownout"}


def test_each_fault_has_its_figures_for_each_strategy(plan: Plan, run: RunFolder) -> None:
    told = fault_figures(run, plan)
    assert told.select("strategy", "fault").rows() == [
        ("price", "1 outage"), ("round_robin", "1 outage"), ("price", "2 brownout"), ("round_robin", "2 brownout"),
    ]  # fmt: skip
    outage, brownout = told.row(0, named=True), told.row(2, named=True)
    attempts = run.attempts(with_cell=True).filter(pl.col("strategy") == "price")
    assert outage["struck"] == attempts.filter(pl.col("fault") == "outage").height
    assert outage["fallbacks_per_request"] > 0
    assert outage["ok_share"] > 0.9
    assert outage["return_s"] is not None
    assert brownout["added_ttft_s_p95"] > 0.5
    assert told["unexplained"].sum() == 0, "no request is lost without an error that says why"


def test_what_a_fault_added_is_not_told_against_the_fault_before_it(plan: Plan, run: RunFolder) -> None:
    # The brownout takes 15 s; as long a time before it would reach 5 s into the outage.
    requests = run.requests().filter((pl.col("strategy") == "price") & (pl.col("status") == "ok"))
    seen = requests.select("t_scheduled_s", ttft_s=pl.col("t_first_token_s") - pl.col("t_scheduled_s"))
    quiet = seen.filter(pl.col("t_scheduled_s").is_between(20, 30, closed="left"))["ttft_s"].quantile(0.95)
    brownout = fault_figures(run, plan).row(2, named=True)
    assert brownout["ttft_s_p95"] - brownout["added_ttft_s_p95"] == pytest.approx(quiet)


def test_attempts_that_a_fault_left_without_a_reply_are_not_told_as_missing_recordings(run: RunFolder) -> None:
    table = summary(run)
    assert table["unanswered"].sum() == 0
    assert (table["answers"] > 0).all()


def test_the_oracle_knows_of_the_faults(plan: Plan, run: RunFolder) -> None:
    assert (regret(run, plan)["regret"].drop_nulls() > -1e-9).all()


def test_a_plan_without_faults_and_one_with_impossible_ones_say_so(run: RunFolder, tmp_path: Path) -> None:
    wrong = made_plan(tmp_path, OUTAGE.replace("cheap/m", "chep/m"))
    with pytest.raises(PlanError, match=r'Did you mean "cheap/m"'):
        prepare(load_plan(wrong))
    with pytest.raises(PlanError, match="factor"):
        load_plan(made_plan(tmp_path, OUTAGE.replace("factor = 3", "factor = 0.3")))
    with pytest.raises(UsageError, match="is no run of"):
        fault_figures(run, load_plan(made_plan(tmp_path)))
