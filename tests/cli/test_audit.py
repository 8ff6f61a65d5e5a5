"""`clawbench audit` as a user meets it: what it prints, what it writes, what it ends with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from clawbench.billing.audit_rows import RowFile
from clawbench.billing.audited_ledger import audit_ledger
from clawbench.cli import run
from tests.billing import made_ledger
from tests.billing.made_ledger import tampered, written
from tests.billing.tampering import CELL, copied, first, made_run, rewritten, with_detail
from tests.experiments.made_plan import made_plan


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def a_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("ledger") / "ledger.db", made_ledger.plain)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_clean_run_ends_with_its_line_and_leaves_nothing_behind(
    a_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(a_run)
    assert run(["audit", str(a_run)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "billing: 30 of 30 exact"
    assert "random" in printed
    assert "topped up 1000000 = available" in printed
    assert names(a_run) == before


def test_a_clean_ledger_ends_with_its_line(a_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name for name in names(a_ledger.parent) if not name.endswith(("-wal", "-shm"))}
    assert run(["audit", str(a_ledger)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "billing: 12 of 12 exact"
    assert {name for name in names(a_ledger.parent) if not name.endswith(("-wal", "-shm"))} == before


def test_json_is_json_and_nothing_else(a_ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(a_ledger), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["line"] == "billing: 12 of 12 exact"
    assert found["clean"] is True
    assert found["conservation"]["charged"] == found["charged_pico_uat"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_rows_that_differ_are_written_where_one_is_told(
    a_run: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copied(a_run, tmp_path)
    rewritten(
        changed,
        lambda rows: with_detail(first(rows, "settle"), lambda detail: detail["derivation"].update(margin="1")),
        rehash=True,
    )
    out = tmp_path / f"rows.{suffix}"
    assert run(["audit", str(changed), "--out", str(out)]) == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "billing: 29 of 30 exact, 1 violation"
    assert f"! {CELL} entry " in printed
    text = out.read_text()
    (row,) = list(csv.DictReader(text.splitlines())) if suffix == "csv" else map(json.loads, text.splitlines())
    assert row["cause"] == "amount"
    assert row["request_id"].startswith(CELL)
    assert run(["audit", str(changed)]) == 1
    assert "audit-differences.jsonl" in names(changed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "cannot be read"),
        (["."], "is no run folder"),
        (["README.md"], "is no ledger"),
        (["README.md", "--map", "x.toml"], "give --invoice too"),
        (["README.md", "--invoice", "x.csv"], "x.csv cannot be read"),
        (["README.md", "--invoice", "x.csv", "--since", "2026-01-01"], "give one of the two"),
        (["README.md", "--since", "yesterday"], "--since 'yesterday' is no instant"),
        (["README.md", "--second-opinion", "nobody"], "--second-opinion"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_read_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", *arguments]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


def test_a_corrupted_file_ends_with_2_and_an_unfinished_run_says_what_is_left_out(
    a_run: Path, a_ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "ledger.db"
    damaged.write_bytes(a_ledger.read_bytes()[:5000])
    assert run(["audit", str(damaged)]) == 2
    assert "damaged" in capsys.readouterr().err
    unfinished = copied(a_run, tmp_path)
    (unfinished / "cells" / "price-s1").mkdir()
    assert run(["audit", str(unfinished)]) == 0
    assert "! not finished, and not audited: price-s1" in capsys.readouterr().out
    (unfinished / "cells" / CELL / "done.json").unlink()
    assert run(["audit", str(unfinished)]) == 2
    assert "no finished cell" in capsys.readouterr().err


HEAD = "provider,period_start,period_end,cost_usd\n"


def test_an_invoice_is_compared_and_what_is_not_explained_ends_with_1(
    a_ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text(HEAD + "openai,2025-11-21,2025-11-22,0.001452\n")
    assert run(["audit", str(a_ledger), "--invoice", str(invoice)]) == 0
    assert "explained: 100.00 % of 0.001452 USD invoiced" in capsys.readouterr().out
    invoice.write_text(HEAD + "openai,2025-11-21,2025-11-22,0.001552\n")
    out = tmp_path / "rows.jsonl"
    assert run(["audit", str(a_ledger), "--invoice", str(invoice), "--json", "--out", str(out)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["clean"] is False
    assert found["invoice"]["classes"]["unexplained"]["residue_usd"] == "0.0001"
    assert json.loads(out.read_text())["where"] == "invoice line 2"
    mapping = tmp_path / "openai.toml"
    mapping.write_text('provider = "openai"\n[columns]\ncost_usd = "Amount"\n')
    invoice.write_text("period_start,period_end,Amount\n2025-11-21,2025-11-22,0.001452\n")
    assert run(["audit", str(a_ledger), "--invoice", str(invoice), "--map", str(mapping)]) == 0
    invoice.write_text("period_start,period_end,Amount\n2025-11-21,2025-11-22,1 EUR\n")
    assert run(["audit", str(a_ledger), "--invoice", str(invoice), "--map", str(mapping)]) == 2
    assert "line 2, column 'Amount': '1 EUR'" in capsys.readouterr().err


def test_a_tampered_ledger_ends_with_1(a_ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def plain(made: made_ledger.Writing) -> None:
        await made_ledger.plain(made)

    path = written(tmp_path / "ledger.db", plain)
    tampered(path, lambda made: made.execute("UPDATE posting SET amount = 5 WHERE seq = 3 AND place = 0"))
    assert run(["audit", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "! entry 3: its postings sum to" in printed
    assert "≠" in printed


def test_an_interrupted_audit_leaves_no_half_written_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "ledger.db", lambda made: made_ledger.many(made, 100))
    tampered(
        path, lambda made: made.execute("UPDATE entry SET detail = replace(detail, '0.055', '0.066')"), rehash=True
    )
    told: list[int] = []

    def interrupt(entries: int) -> None:
        told.append(rows.rows)
        assert [name for name in names(tmp_path) if name.endswith(".tmp")]
        raise KeyboardInterrupt

    rows = RowFile(tmp_path / "rows.jsonl")
    with pytest.raises(KeyboardInterrupt), rows:
        audit_ledger(path, now_us=0, differs=rows, progress=interrupt)
    assert told == [100]
    assert not [name for name in names(tmp_path) if name.startswith((".", "rows"))]


def test_a_run_ends_with_the_line_before_its_report_and_the_page_has_it_by_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = made_plan(tmp_path)
    arguments = ["run", str(plan), "--out", str(tmp_path / "runs"), "--set", "workload.requests=30", "--seed", "1"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    place = printed.index("billing: 30 of 30 exact")
    assert printed[place + 1].startswith("Report: ")
    assert "Billing accuracy" in printed
    (folder,) = (tmp_path / "runs").iterdir()
    page = (folder / "report.html").read_text()
    assert "<h2>Billing accuracy</h2>" in page
    assert "billing: 30 of 30 exact</strong></p>\n</body>" in page
    assert "Not every bill" not in page


def test_a_report_of_a_run_with_unproved_bills_says_so_first(
    a_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copied(a_run, tmp_path)
    manifest = json.loads((changed / "manifest.json").read_text())
    wrong = {"where": "random-s1 entry 3", "cause": "amount", "what": "5 were charged"}
    manifest["billing"] |= {"clean": False, "line": "billing: 29 of 30 exact, 1 violation", "violations": [wrong]}
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert run(["report", str(changed)]) == 0
    printed = capsys.readouterr().out
    assert "! Not every bill is proved: 29 of 30 exact, 1 violation. The first: random-s1 entry 3" in printed
    del manifest["billing"]  # of a run that was made before there were audits
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert run(["report", str(changed)]) == 0
    assert "illing" not in capsys.readouterr().out
