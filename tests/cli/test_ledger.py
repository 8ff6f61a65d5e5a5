"""`clawbench ledger`: accounts of a file, credited once, listed, refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cli import run


def test_a_payment_is_credited_once_and_shows_in_balance_and_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "ledger.db")
    for _ in range(2):
        assert run(["ledger", "topup", file, "local", "1.5", "--id", "first"]) == 0
    assert capsys.readouterr().out == "local has 1.5 UAT available.\n" * 2
    assert run(["ledger", "balance", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["local"] == {
        "available": "1500000000000", "held": "0", "shortfall": "0",
    }  # fmt: skip
    assert run(["ledger", "ls", file, "--json"]) == 0
    (entry,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (entry["kind"], entry["ref"]) == ("topup", "first")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["local", "0", "--id", "x"], "must be more than 0"),
        (["local", "1e-13", "--id", "x"], "no finer than 1e-12"),
        (["local", "9999999999", "--id", "x"], "at most 9,223,372"),
        (["local", "NaN", "--id", "x"], "AMOUNT_UAT"),
        (["a:b", "1", "--id", "x"], "no account's name"),
        (["local", "2", "--id", "first"], "another amount or account"),
    ],
)
def test_what_cannot_be_credited_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    file = str(tmp_path / "ledger.db")
    assert run(["ledger", "topup", file, "local", "1", "--id", "first"]) == 0
    assert run(["ledger", "topup", file, *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["balance", "ls"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    (tmp_path / "text").write_text("no ledger")
    for name in ("text", "absent"):
        assert run(["ledger", verb, str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
