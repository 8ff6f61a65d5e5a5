"""`clawbench profiles`: fits of cassettes, runs and measured files, as a table, as JSON, as TOML that a plan takes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clawbench.cli import run
from clawbench.config.emulator import read_profiles
from clawbench.config.plan import load_plan
from clawbench.experiments.runner import run_plan

ROOT = Path(__file__).parents[2]
POOL = ROOT / "cassettes" / "pool"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["profiles", *arguments]) == code
    return capsys.readouterr().out


def test_cassettes_are_fitted_and_the_fit_is_shown_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "fit", str(POOL / "nearwire-llama-4-scout.yaml"))
    ttft = next(line for line in out.splitlines() if line.startswith("nearwire/llama-4-scout-edge"))
    assert "TTFT, s" in ttft
    assert ttft.count("|") == 4, "p50, p90, p95 and p99, each observed and fitted"
    assert "KS" in out
    assert "held out" in out


def test_providers_are_fitted_together_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    fits = json.loads(said(capsys, "fit", str(POOL), "--by", "provider", "--json"))
    assert {fit["group"] for fit in fits} >= {"nearwire", "swiftsilicon", "thriftcloud"}
    nearwire = next(fit for fit in fits if fit["group"] == "nearwire")
    assert nearwire["clock"] == "caller"
    assert [good["figure"] for good in nearwire["goodness"]] == ["ttft_s", "token_rate"]
    assert all(0 <= good["ks"] <= 1 and good["observations"] > 200 for good in nearwire["goodness"])


def test_tables_can_be_pasted_into_a_file_of_profiles(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sources = [str(POOL / f"{name}-llama-4-scout.yaml") for name in ("swiftsilicon", "gustline")]
    pasted = tmp_path / "mine.toml"
    pasted.write_text(said(capsys, "fit", *sources, "--toml", "--prefix", "my-", "--source", 'the "pool"'))
    profiles = read_profiles(pasted)
    assert set(profiles) == {"my-gustline-llama-4-scout-maas", "my-swiftsilicon-llama-4-scout-17b-16e"}
    swift = profiles["my-swiftsilicon-llama-4-scout-17b-16e"]
    assert swift.ttft_s_median == pytest.approx(0.42, rel=0.1)
    assert swift.token_rate_median == pytest.approx(620, rel=0.1)
    assert swift.source.startswith('the "pool": ')
    assert swift.failures[0].kind == "rate_limited"


def test_failures_are_left_out_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "fit", str(POOL / "swiftsilicon-llama-4-scout.yaml"), "--toml", "--no-failures")
    assert "failures" not in out


def test_a_runs_records_are_fitted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "fitted"\nstrategies = ["round_robin"]\n'
        f"replay = {{ cassettes = ['{POOL / 'paperline-llama-4-scout.yaml'}'] }}\n"
        'workload = { requests = 300, model = "m", rate_rps = 50 }\n'
        '[[offers]]\nprovider = "paperline"\nmodel = "m"\nupstream_model = "llama-4-scout"\n'
        'base_url = "http://127.0.0.1:1430/paperline/v1"\ndialect = "openai_responses"\n'
    )
    made = datetime(2026, 1, 1, tzinfo=UTC)
    done = run_plan(load_plan(plan), out=tmp_path / "runs", created_at=made, stopwatch=lambda: 0.0, report=False)
    folder = done.path
    (fit,) = json.loads(said(capsys, "fit", str(folder), "--json"))
    assert fit["group"] == "paperline/m"
    assert fit["profile"]["ttft_s_median"] == pytest.approx(0.3, rel=0.15)


def test_a_source_without_enough_says_so_and_ends_with_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [{"error_code": None, "ttft_s": 0.2, "end_to_end_latency_s": 1.2, "number_output_tokens": 99}]
    path = tmp_path / "acme_7b.json"
    path.write_text(json.dumps([row | {"number_input_tokens": 5} for row in rows]))
    assert "acme/7b: not fitted: 1 times to first token; 20 are needed" in said(capsys, "fit", str(path), code=1)


def test_a_source_that_is_nothing_of_the_kind_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    assert run(["profiles", "fit", str(tmp_path)]) == 2
    assert "no cassette" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    assert run(["profiles", "fit", str(broken)]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_the_profiles_that_ship_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "llmperf-groq-70b" in said(capsys, "ls")
    assert json.loads(said(capsys, "ls", "--json"))["groq"]["token_rate_median"] > 100


def test_real_latencies_are_fitted_from_a_whole_folder(
    capsys: pytest.CaptureFixture[str], shared: Path, tmp_path: Path
) -> None:
    fits = json.loads(said(capsys, "fit", str(shared / "traces" / "llmperf-leaderboard"), "--json"))
    assert {fit["group"] for fit in fits} >= {"groq/70b", "together/7b"}
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_read_is_told_and_nothing_to_fit_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("interactions: [")
    assert run(["profiles", "fit", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "not read: a.yaml" in told
    assert "nothing to fit" in told
    assert run(["cassettes", "accuracy", str(tmp_path)]) == 0
    assert "not read: a.yaml" in capsys.readouterr().err
