"""`clawbench explain`: decisions to come and decisions of the past, as a user asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cli import run
from tests.experiments.made_plan import made_plan


@pytest.fixture
def plan(tmp_path: Path) -> str:
    return str(made_plan(tmp_path))


def test_a_decision_to_come_is_told_as_json_and_as_a_table(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "m@price@latency", "--plan", plan]
    assert run([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tags"] == ["latency", "price"]
    assert told["by_tag"]["price"]["offers"] == ["cheap/m"]
    assert told["by_tag"]["latency"]["offers"] == ["quick/m"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "@token_rate alone: quick/m" in printed
    assert "middle/m" in printed


def test_tags_in_the_other_order_are_explained_alike(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for text in ("m@price@latency", "M@Latency@price"):
        assert run(["explain", text, "--plan", plan, "--json"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]


def test_a_request_from_a_file_is_measured_and_its_preferences_count(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = tmp_path / "request.json"
    message = {"role": "user", "content": "word " * 8_000}
    body.write_text(json.dumps({"model": "x", "messages": [message], "provider": {"only": ["middle"]}}))
    assert run(["explain", "m", "--plan", plan, "--request", str(body), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["prompt_tokens"] > 8_000
    assert [each["offer_id"] for each in told["candidates"]] == ["middle/m"]
    assert {each["reason"] for each in told["excluded"]} == {"not among provider.only"}


def test_a_decision_of_a_past_run_is_told_with_what_came_of_it(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--seed", "1", "--strategy", "latency", "--set", "workload.requests=20"]
    assert run(["run", plan, "--out", str(tmp_path / "runs"), "--digest", *small]) == 0
    capsys.readouterr()
    (folder,) = map(str, (tmp_path / "runs").iterdir())
    assert run(["explain", folder, "latency-s1-0000007", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (step,) = told["steps"]
    assert step["decision"]["chosen"] == step["attempt"]["offer_id"] == told["request"]["offer_id"]
    assert len(step["decision"]["candidates"]) == len(step["decision"]["scores"])
    assert len(step["decision"]["candidates"]) + len(step["decision"]["excluded"]) == 3
    assert run(["explain", folder, "latency-s1-0000007"]) == 0
    printed = capsys.readouterr().out
    assert f"chose {step['decision']['chosen']}" in printed
    assert "What came of it: ok after" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m@fast", "--plan", "PLAN"], "Known tags: @balanced"),
        (["llama-9", "--plan", "PLAN"], 'The model "llama-9" is not known'),
        (["m"], "give either a model reference and --plan"),
        ([".", "some-id"], "is no run folder"),
        (["m", "--plan", "PLAN", "--set", "gateway.default_strategy=p2c_peak_ewma"], "picks for itself"),
        (["m", "--plan", "PLAN", "--request", "none.json"], "none.json cannot be read"),
    ],
)
def test_what_cannot_be_explained_is_said_plainly(
    arguments: list[str], said: str, plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", *(plan if each == "PLAN" else each for each in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_an_id_that_a_run_does_not_hold_is_answered_with_some_that_it_does(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--seed", "1", "--strategy", "price", "--set", "workload.requests=5"]
    assert run(["run", plan, "--out", str(tmp_path / "runs"), "--digest", *small]) == 0
    (folder,) = map(str, (tmp_path / "runs").iterdir())
    assert run(["explain", folder, "nobody"]) == 2
    assert "price-s1-0000000" in capsys.readouterr().err
