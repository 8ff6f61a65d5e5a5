"""What `clawbench run` tells beside the table: regret in hindsight, and what each fault did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cli import run

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = ["--seed", "1", "--seed", "2", "--strategy", "price", "--strategy", "latency"]


def test_regret_is_printed_where_the_plan_asks_for_the_oracle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [str(CONFIGS / "strategies.toml"), "--set", "workload.requests=60", *SHORT, "--out", str(tmp_path)]
    assert run(["run", *plan]) == 0
    printed = capsys.readouterr().out
    assert "Regret" in printed
    assert "95 % t interval" in printed
    assert run(["run", *plan, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["regret"]
    assert {row["strategy"] for row in found} == {"price", "latency"}
    assert all(row["low"] <= row["regret"] <= row["high"] for row in found)
    assert run(["run", *plan, "--set", "oracle=false"]) == 0
    assert "Regret" not in capsys.readouterr().out


def test_each_fault_has_a_table_with_a_row_a_strategy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = [str(CONFIGS / "failover.toml"), "--set", "workload.requests=900", *SHORT, "--out", str(tmp_path)]
    assert run(["run", *plan]) == 0
    printed = capsys.readouterr().out
    assert "Fault 1 outage" in printed
    assert "noticed after" in printed
    assert run(["run", *plan, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["faults"]
    outage = [row for row in rows if row["fault"] == "1 outage"]
    assert {(row["strategy"], row["seed"]) for row in outage} == {(s, n) for s in ("price", "latency") for n in (1, 2)}
    assert all(row["ok_share"] == 1.0 and row["struck"] > 0 and row["notice_s"] > 0 for row in outage)
