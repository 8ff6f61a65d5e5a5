"""`clawbench bill` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clawbench.cli import run

ROW: dict[str, Any] = {
    "id": "worked",
    "provider": "anthropic",
    "api": "messages",
    "model": "claude",
    "price_key": "claude",
    "price_per_mtok": {"uncached_input": "3", "cache_write_5m": "3.75", "output_text": "15"},
    "usage_raw": {"input_tokens": 3, "cache_creation_input_tokens": 12304, "output_tokens": 550},
    "expected_outcome": "charge",
    "expected_cost_usd": "0.054399",
}


def file(folder: Path, **changes: Any) -> str:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(ROW | changes) + "\n")
    return str(path)


def test_bills_that_come_out_are_listed_and_end_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bill", "--vectors", file(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "0.054399" in printed
    assert "billing: 1 of 1 exact" in printed


def test_a_bill_that_differs_is_shown_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bill", "--vectors", file(tmp_path, expected_cost_usd="0.0543990001"), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["rows"], printed["exact"]) == (1, 0)
    assert printed["bills"][0]["cost_usd"] == "0.054399"
    assert printed["bills"][0]["differences"] == ["cost 0.054399 USD, expected 0.0543990001"]


def test_the_shared_bills_are_all_exact(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared / "billing" / "vectors.jsonl"
    if not path.exists():
        pytest.skip("no worked bills beside the repository")
    assert run(["bill", "--vectors", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["exact"] == printed["rows"] >= 95


@pytest.mark.parametrize("change", [{"api": "nobody's"}, {"price_per_mtok": {"prompt": "1"}}])
def test_a_row_that_cannot_be_run_is_one_that_differs(
    tmp_path: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bill", "--vectors", file(tmp_path, **change)]) == 1
    assert "billing: 0 of 1 exact" in capsys.readouterr().out


def test_a_file_of_something_else_ends_with_2_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bill", "--vectors", file(tmp_path, id=1)]) == 2
    assert capsys.readouterr().err.startswith("clawbench: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bill", "--vectors", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_bad_lines_are_named_and_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(ROW), "{", *['{"id": 1}'] * 6]))
    assert run(["bill", "--vectors", str(path)]) == 2
    said = capsys.readouterr().err
    assert "line 2: " in said
    assert "line 3: " in said
    assert said.strip().endswith("and 2 more")
    assert "Traceback" not in said


def test_a_row_that_cannot_be_run_says_on_which_line_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n".join([json.dumps(ROW), json.dumps(ROW | {"api": "message"})]))
    assert run(["bill", "--vectors", str(path), "--json"]) == 1
    good, bad = json.loads(capsys.readouterr().out)["bills"]
    assert good["differences"] == []
    assert bad["outcome"] == "not run"
    assert bad["differences"][0].startswith("line 3: ")
