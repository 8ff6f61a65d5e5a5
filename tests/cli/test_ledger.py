"""`clawbench ledger`: accounts of a file, credited once, listed, refused with a reason."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clawbench.billing.ledger.proof import prove
from clawbench.billing.ledger.protocol import Charge
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.cli import run
from clawbench.money import PICO, exact_text
from tests.billing.ledger.ledgers import NOON_US


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


def with_holds(path: Path) -> str:
    """A ledger with a hold of 1 UAT in quarantine, one of a request that a crash cut, and one that was settled."""

    async def write() -> None:
        ledger = SqliteLedger(path, now_us=lambda: NOON_US)
        await ledger.top_up("local", "first", 10 * PICO)
        for name in ("bad", "cut", "done"):
            hold = await ledger.hold("local", "", name, "", PICO, NOON_US * 2)
            if name == "bad":
                await ledger.quarantine(hold.id, {"provider": "p", "model_requested": "m"})
            elif name == "done":
                await ledger.settle(hold.id, Charge(amount=1))
        await ledger.close()

    asyncio.run(write())
    return str(path)


def test_what_is_held_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = with_holds(tmp_path / "ledger.db")
    assert run(["ledger", "holds", file, "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["id"], each["amount"], each["quarantined"]) for each in listed] == [
        ("local/bad/1", str(PICO), True),
        ("local/cut/1", str(PICO), False),
    ]
    assert run(["ledger", "holds", file]) == 0
    assert "quarantined" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "available"),
    [
        (["settle", "local/bad/1", "0.25", "--reason", "as invoiced"], "8.749999999999"),
        (["settle", "local/bad/1", "1", "--reason", "as invoiced"], "7.999999999999"),
        (["release", "local/bad/1", "--reason", "not billed"], "8.999999999999"),
    ],
)
def test_an_operator_judges_what_is_in_quarantine_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], available: str
) -> None:
    file = with_holds(tmp_path / "ledger.db")
    verb, *rest = arguments
    assert run(["ledger", verb, file, *rest]) == 0
    proof = prove(read_entries(Path(file)))
    assert proof.sound
    assert exact_text(proof.balances["client:local:available"]) == available
    assert [(risk.provider, risk.amount) for risk in proof.open_risks] == [("p", PICO)]
    assert [hold.id for hold in proof.open_holds] == ["local/cut/1"]
    capsys.readouterr()
    assert run(["ledger", verb, file, *rest]) == 2
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["settle", "local/bad/1", "1.5", "--reason", "x"], "at most the 1 that local/bad/1 holds"),
        (["settle", "local/bad/1", "-1", "--reason", "x"], "No such option"),
        (["settle", "local/bad/1", "0", "--reason", "x"], "must be more than 0"),
        (["settle", "local/bad/1", "1"], "--reason"),
        (["settle", "local/cut/1", "1", "--reason", "x"], "not in quarantine"),
        (["release", "local/done/1", "--reason", "x"], "settled already"),
        (["release", "local/none/1", "--reason", "x"], "has no hold"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_nothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    file = with_holds(tmp_path / "ledger.db")
    before = list(read_entries(Path(file)))
    verb, *rest = arguments
    assert run(["ledger", verb, file, *rest]) == 2
    assert told in capsys.readouterr().err
    assert list(read_entries(Path(file))) == before


@pytest.mark.parametrize("verb", ["settle", "release"])
def test_a_file_that_is_not_there_is_not_made_for_a_judgement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    file = tmp_path / "absent.db"
    assert run(["ledger", verb, str(file), "local/r/1", *(["1"] if verb == "settle" else []), "--reason", "x"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize("verb", ["balance", "ls", "holds"])
def test_what_is_no_ledger_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    (tmp_path / "text").write_text("no ledger")
    for name in ("text", "absent"):
        assert run(["ledger", verb, str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
