"""Runs of a plan: what is kept, what an interruption costs, what is the same twice."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clawbench.analysis.frames import RunFolder
from clawbench.config.plan import Plan, load_plan
from clawbench.errors import CassetteError, PlanError, RunInterrupted, UsageError, WriteFailed
from clawbench.experiments.garbage import uncollected
from clawbench.experiments.run_folder import list_runs, report_of
from clawbench.experiments.runner import Silence, run_plan

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.toml"
SMALL = ("workload.requests=120", "seeds=[1, 2]", "strategies=['random', 'price']")


def small(*overrides: str, **more: Any) -> Plan:
    return load_plan(QUICKSTART, overrides=(*SMALL, *overrides), **more)


def run(plan: Plan, out: Path, **more: Any) -> RunFolder:
    more.setdefault("report", False)
    return run_plan(plan, out=out, created_at=datetime(2026, 1, 1, tzinfo=UTC), stopwatch=lambda: 0.0, **more)


def test_a_run_keeps_its_cells_its_manifest_and_its_report(tmp_path: Path) -> None:
    folder = run(small(), tmp_path, report=True)
    assert folder.path.name == f"quickstart-{small().run_id[:12]}"
    assert sorted(path.name for path in (folder.path / "cells").iterdir()) == [
        "price-s1",
        "price-s2",
        "random-s1",
        "random-s2",
    ]
    assert (folder.path / "report.html").stat().st_size > 10_000
    assert folder.requests().height == 480
    assert folder.manifest["cassettes"][0]["interactions"] == 3408
    assert len(folder.manifest["digest"]) == 64
    assert folder.requests().to_pandas().shape[0] == 480


def test_the_same_plan_gives_the_same_digest_another_seed_another_one(tmp_path: Path) -> None:
    first, again = run(small(), tmp_path), run(small(), tmp_path)
    assert first.path != again.path, "a run is never overwritten"
    assert first.manifest["digest"] == again.manifest["digest"]
    assert run(small(seeds=[7]), tmp_path).manifest["digest"] != first.manifest["digest"]


def test_another_process_prints_the_same_digest(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from clawbench.cli import main; main()",
        "run",
        str(QUICKSTART),
        "--digest",
        "--out",
        str(tmp_path),
    ]
    command += [part for override in SMALL for part in ("--set", override)]
    # Another order of sets and of what was built from them must not show either.
    others = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    ran = [subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, env=env) for env in others]
    assert {each.stdout.decode().strip() for each in ran} == {run(small(), tmp_path).manifest["digest"]}


class Stops(Silence):
    """A user who presses Ctrl-C when the given cell begins."""

    def __init__(self, cell: str) -> None:
        self._cell = cell
        self.begun: list[str] = []

    def cell(self, name: str) -> None:
        self.begun.append(name)
        if name == self._cell:
            raise KeyboardInterrupt


class StopsInside(Silence):
    """A user who presses Ctrl-C in the middle of a cell."""

    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, requests: int) -> None:
        self._left -= requests
        if self._left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stops", [lambda: Stops("price-s1"), lambda: StopsInside(600)])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on_with_the_rest(
    tmp_path: Path, stops: Callable[[], Silence]
) -> None:
    plan = small("workload.requests=250")
    with pytest.raises(RunInterrupted, match=r"2 of 4 cells are finished and kept .*--resume") as raised:
        run(plan, tmp_path, progress=stops())
    assert raised.value.exit_code == 130
    (left,) = tmp_path.iterdir()
    assert sorted(path.name for path in (left / "cells").iterdir()) == ["random-s1", "random-s2"]
    goes_on = Stops("none")
    resumed = run(plan, tmp_path, resume=True, progress=goes_on)
    assert resumed.path == left
    assert goes_on.begun == ["price-s1", "price-s2"]
    assert resumed.manifest["digest"] == run(plan, tmp_path).manifest["digest"]


def test_what_was_begun_under_another_clock_or_with_other_recordings_does_not_go_on(tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    shutil.copytree(ROOT / "cassettes" / "pool", tapes, ignore=shutil.ignore_patterns("*.index*", "*-gpt-*", "*-qwen*"))
    plan = small(f"replay.cassettes=['{tapes}']")
    with pytest.raises(RunInterrupted):
        run(plan, tmp_path / "runs", progress=Stops("price-s1"))
    with pytest.raises(UsageError, match="another value of clock: virtual then, wall now"):
        run(plan, tmp_path / "runs", resume=True, clock="wall")
    (tapes / "evenkeel-llama-3.3-70b.yaml").unlink()
    with pytest.raises(UsageError, match="another value of cassettes"):
        run(plan, tmp_path / "runs", resume=True)
    (manifest,) = (tmp_path / "runs").glob("*/manifest.json")
    manifest.write_text("{")
    with pytest.raises(UsageError, match=r"manifest.json cannot be read"):
        run(plan, tmp_path / "runs", resume=True)


def test_a_report_that_cannot_be_written_is_an_error_that_says_where_the_records_are(tmp_path: Path) -> None:
    folder = run(small(), tmp_path)
    with pytest.raises(WriteFailed, match=r"none/report.html.*records are whole in .*clawbench report") as raised:
        report_of(folder, tmp_path / "none" / "report.html")
    assert raised.value.exit_code == 1


def test_a_model_that_nobody_offers_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r'workload.model: .*llama-4-scot.*Did you mean "llama-4-scout"'):
        run(small("workload.model=llama-4-scot"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    chained = small("workload.model=llama-4-scot", "gateway.fallback_models=['llama-4-scout']")
    served = run(chained, tmp_path).requests()
    assert served.filter(served["status"] == "ok").height > 0.9 * served.height


def test_resuming_what_was_never_begun_begins_it(tmp_path: Path) -> None:
    assert run(small(), tmp_path, resume=True).requests().height == 480


def test_runs_are_listed_newest_first_and_other_folders_are_none(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    folder = run(small(), tmp_path)
    assert [found["path"] for found in list_runs(tmp_path)] == [str(folder.path)]


def test_a_plan_whose_requests_match_nothing_says_which_matcher_failed_on_the_nearest_recording(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json.dumps({"id": "p", "kind": "k", "request": {"messages": [{"role": "user", "content": "Never recorded."}]}})
    )
    plan = small("replay.matching=strict", f"workload.prompts={prompts}")
    with pytest.raises(UsageError, match=r"strict replay takes no other; nearest is .*yaml#\d+ \(.*messages") as raised:
        run(plan, tmp_path / "runs")
    assert raised.value.exit_code == 2


def test_offers_that_no_recording_belongs_to_are_an_error_that_says_where_it_looked(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        QUICKSTART.read_text().replace("127.0.0.1:1430", "127.0.0.1:9").replace("../cassettes", str(ROOT / "cassettes"))
    )
    with pytest.raises(PlanError, match="no successful call in the cassettes belongs to any of the plan's offers"):
        run(load_plan(plan), tmp_path / "runs")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("truncated.yaml", 'interactions:\n- request:\n    body: "abc', "truncated.yaml"),
        ("hostile.yaml", "interactions:\n- !!python/object/apply:os.system ['true']\nversion: 1\n", "os.system"),
        ("noise.yaml", "just: some\nother: yaml\n", "noise.yaml"),
    ],
)
def test_a_cassette_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    (tapes / name).write_text(content)
    plan = small(f"replay.cassettes=['{tapes}']")
    with pytest.raises(CassetteError, match=reason) as raised:
        run(plan, tmp_path / "runs")
    assert raised.value.exit_code == 2
    assert not (tmp_path / "runs").exists(), "nothing half-written is left"


@pytest.mark.parametrize("kind", ["constant", "bursty", "closed_loop"])
def test_every_kind_of_workload_runs_to_its_end(tmp_path: Path, kind: str) -> None:
    folder = run(small(f"workload.kind={kind}", "seeds=[1]"), tmp_path)
    requests = folder.requests()
    assert requests.height == 240
    assert (requests["t_arrival_s"] >= requests["t_scheduled_s"]).all()


def test_a_closed_loop_never_has_more_under_way_than_clients(tmp_path: Path) -> None:
    requests = run(small("workload.kind=closed_loop", "workload.concurrency=3", "seeds=[1]"), tmp_path).requests()
    price = requests.filter(requests["strategy"] == "price").sort("t_arrival_s")
    for row in price.iter_rows(named=True):
        under_way = price.filter((price["t_arrival_s"] <= row["t_arrival_s"]) & (price["t_end_s"] > row["t_arrival_s"]))
        assert under_way.height <= 3


def test_recorded_calls_become_workload_and_offers(shared: Path, tmp_path: Path) -> None:
    plan = load_plan(
        ROOT / "configs" / "real-calls.toml",
        overrides=["workload.requests=200"],
        seeds=[1],
        strategies=["random", "price"],
    )
    folder = run(plan, tmp_path)
    requests = folder.requests()
    assert requests.filter(requests["status"] == "ok").height / requests.height > 0.95
    assert requests["offer_id"].n_unique() > 20
    price = requests.filter(requests["strategy"] == "price")
    counted = price.filter(
        (price["status"] == "ok") & price["input_tokens"].is_not_null() & price["output_tokens"].is_not_null()
    )
    assert counted.height > 0
    unknown = counted.filter(counted["cost_pico_usd"].is_null())["request_id"].to_list()
    attempts = folder.attempts().filter(pl.col("request_id").is_in(unknown))
    told = attempts.filter(pl.col("outcome") == "ok")["notes"].to_list()
    assert all(any("quarantined" in note for note in notes) for notes in told), (
        "priced offers only, and what is unpriced"
    )
    assert len(unknown) < counted.height / 20
    assert any("no known price" in warning for warning in folder.manifest["warnings"])


def test_what_is_loaded_holds_up_no_run_by_the_wall_clock_and_is_collected_afterwards() -> None:
    loaded, usual = len(gc.get_objects()), gc.get_threshold()
    with uncollected():
        walked_through = len(gc.get_objects())
    assert walked_through < loaded / 10
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == usual
