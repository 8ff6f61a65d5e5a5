"""Starting warm: a run's estimates handed to the next one, to explain and to a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cli import run

QUICKSTART = str(Path(__file__).parents[2] / "configs" / "quickstart.toml")
SMALL = ["--set", "workload.requests=120", "--seed", "1", "--strategy", "latency"]


def test_a_run_leaves_estimates_that_the_next_one_and_explain_start_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", QUICKSTART, "--out", str(tmp_path), "--json", *SMALL]) == 0
    cold = json.loads(capsys.readouterr().out)
    estimates = Path(cold["path"]) / "cells" / "latency-s1" / "estimates.json"
    assert run(["run", QUICKSTART, "--out", str(tmp_path), "--json", *SMALL, "--warm-from", str(estimates)]) == 0
    warm = json.loads(capsys.readouterr().out)
    assert warm["manifest"]["run_id"] != cold["manifest"]["run_id"]
    assert warm["manifest"]["digest"] != cold["manifest"]["digest"]
    assert run(["explain", "@latency", "--plan", QUICKSTART, "--json", "--warm-from", str(estimates)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert any(each["prediction"]["samples"] > 1 for each in told["candidates"])


def test_what_holds_no_estimates_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    for content, said in (("{", "wrong.json holds no estimates"), ("{}", "wrong.json: estimates of version None")):
        wrong.write_text(content)
        assert run(["explain", "@price", "--plan", QUICKSTART, "--warm-from", str(wrong)]) == 2
        assert said in capsys.readouterr().err.replace("\n", " ")
    assert run(["run", QUICKSTART, "--warm-from", str(tmp_path / "none.json")]) == 2
    assert "none.json does not exist" in capsys.readouterr().err.replace("\n", " ")
