"""Invoices against a ledger's costs: what is read, what is refused and where, and which class each difference is in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.audit_costs import WHOLE, Amount, CostSums, Meter
from clawbench.billing.audit_invoice import Reconciled, reconciled
from clawbench.billing.audited_ledger import audit_ledger
from clawbench.billing.invoice import BadInvoice, read_invoice, read_mapping
from tests.billing import made_ledger
from tests.billing.made_ledger import NOON_S, written

DAY, NEXT = "2025-11-21", "2025-11-22"
HEAD = "provider,period_start,period_end,model,service_tier,meter,quantity,cost_usd\n"


def invoice(folder: Path, *lines: str, head: str = HEAD) -> Path:
    path = folder / "invoice.csv"
    path.write_text(head + "".join(f"{line}\n" for line in lines))
    return path


def mapping(folder: Path, text: str) -> Path:
    path = folder / "provider.toml"
    path.write_text(text)
    return path


def costs(**usd: str) -> dict[Meter, Amount]:
    """Costs of provider p on one day, by meter ("output_text") or, for names of models, of unknown meters."""
    found: dict[Meter, Amount] = {}
    for name, text in usd.items():
        meter = Meter("p", "" if name == "unknown" else "m", "standard", DAY, WHOLE if name == "unknown" else name)
        found[meter] = Amount()
        found[meter].usd, found[meter].quantity = Fraction(text), 100
    return found


def compared(
    folder: Path, known: dict[Meter, Amount], *lines: str, risk: str = "0", rows: list[dict[str, Any]] | None = None
) -> Reconciled:
    risks = {Meter("p", "", "", DAY, WHOLE): Fraction(risk)}
    kept: list[dict[str, Any]] = [] if rows is None else rows
    return reconciled(read_invoice(invoice(folder, *lines)), known, risks, kept.append)


def line(cost: str, *, meter: str = "", quantity: str = "", model: str = "m", tier: str = "") -> str:
    return f"p,{DAY},{NEXT},{model},{tier},{meter},{quantity},{cost}"


BOTH = {"uncached_input": "0.25", "output_text": "1"}


@pytest.mark.parametrize(
    ("known", "lines", "classes", "percent"),
    [
        (BOTH, [line("1.25")], {"equal": 1}, "100.00"),
        (BOTH, [line("1.25", model="")], {"equal": 1}, "100.00"),
        (BOTH, [line("1.2"), line("0.1")], {"rounded": 1}, "100.00"),  # lines for the same thing are one
        (BOTH, [line("1.0", meter="output_text"), line("0.25", meter="uncached_input")], {"equal": 2}, "100.00"),
        (BOTH, [line("1.00", meter="output_text"), line("0.3", model="")], {"equal": 1, "rounded": 1}, "100.00"),
        (BOTH, [line("1.3")], {"rounded": 1}, "100.00"),
        (BOTH, [line("1.5000")], {"unexplained": 1}, "0.00"),
        (BOTH, [line("1.000", meter="output_text")], {"equal": 1, "not_invoiced": 1}, "100.00"),
        (BOTH, [line("1.000", meter="output_text"), line("1.00", model="x")],
         {"equal": 1, "not_invoiced": 1, "not_in_ledger": 1}, "50.00"),
        ({"output_text": "1"}, [line("2.00", meter="output_text", quantity="200")], {"quantity": 1}, "0.00"),
        ({"output_text": "1"}, [line("2.00", meter="output_text", quantity="100")], {"price": 1}, "0.00"),
        (BOTH, [line("0.9", meter="output_text", quantity="100"),
                line("0.225", meter="uncached_input", quantity="100")], {"promotion": 2}, "100.00"),
        (BOTH, [line("0.9", meter="output_text", quantity="100"),
                line("0.250", meter="uncached_input", quantity="100")], {"price": 1, "equal": 1}, "21.73"),
        (BOTH | {"unknown": "0.5"}, [line("1.750")], {"unattributed": 1}, "100.00"),
        (BOTH | {"unknown": "0.5"}, [line("1.250")], {"equal": 1, "not_invoiced": 1}, "100.00"),
        (BOTH | {"unknown": "0.5"}, [line("1.750", model="")], {"equal": 1}, "100.00"),
        (BOTH, [line("1.25", tier="flex")], {"not_in_ledger": 1, "not_invoiced": 2}, "0.00"),
        (BOTH, [f"q,{DAY},{NEXT},,,,,1"], {"not_in_ledger": 1}, "0.00"),
    ],
)  # fmt: skip
def test_each_difference_is_in_a_class(
    known: dict[str, str], lines: list[str], classes: dict[str, int], percent: str, tmp_path: Path
) -> None:
    found = compared(tmp_path, costs(**known), *lines)
    assert {name: each.lines for name, each in found.classes.items()} == classes
    assert found.explained_percent == percent
    assert found.clean == (not {"price", "quantity", "unexplained", "not_in_ledger", "not_invoiced"} & set(classes))


def test_open_risks_explain_what_is_billed_beyond_the_costs_and_only_once(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    found = compared(tmp_path, costs(**BOTH), line("1.3000"), risk="0.06", rows=rows)
    assert found.classes["risk"].residue_usd == "0.05"
    assert [row["cause"] for row in rows] == ["risk"]
    two = compared(
        tmp_path,
        costs(**BOTH),
        line("1.0500", meter="output_text"),
        line("0.3000", meter="uncached_input"),
        risk="0.06",
    )
    assert {name: each.lines for name, each in two.classes.items()} == {"risk": 1, "unexplained": 1}


def test_residue_is_what_is_invoiced_without_the_ledgers(tmp_path: Path) -> None:
    found = compared(tmp_path, costs(**BOTH), line("1.0000"))
    assert (found.invoiced_usd, found.ledger_usd) == ("1", "1.25")
    assert found.classes["unexplained"].residue_usd == "-0.25"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEAD.replace("model", "modle"), "line 1: column 'modle' is not known. Did you mean \"model\"?"),
        (HEAD.replace("cost_usd", "cost_eur"), "line 1: column 'cost_eur' is not known"),
        (HEAD.replace(",cost_usd", ""), "line 1: column 'cost_usd' is missing"),
        (HEAD.replace("model", "meter"), "line 1: column 'meter' is there twice"),
        (HEAD + f"p,{DAY},{NEXT},m,,,1\n", "line 2: 7 cells, and there are 8 columns"),
        (HEAD + line("1") + "\n" + line("1,000"), "line 3: 9 cells"),
        (HEAD + line("much"), "line 2, column 'cost_usd': 'much' is not a decimal number"),
        (HEAD + line("NaN"), "line 2, column 'cost_usd': 'NaN' is not a finite amount"),
        (HEAD + line("$5"), "line 2, column 'cost_usd'"),
        (HEAD + line("1e99"), "line 2, column 'cost_usd'"),
        (HEAD + line("1", quantity="1.5"), "line 2, column 'quantity': '1.5' is no whole number"),
        (HEAD + line("1", quantity="-1"), "line 2, column 'quantity'"),
        (HEAD + line("1").replace(DAY, "21/11/2025"), "line 2, column 'period_start': '21/11/2025' is no day"),
        (HEAD + line("1").replace(DAY, f"{DAY}T05:00:00Z"), "it is not midnight, UTC"),
        (HEAD + line("1").replace(NEXT, DAY), "is empty; where the last day belongs to it"),
        (HEAD + line("1")[1:], "line 2, column 'provider': it is empty"),
        (HEAD.strip() + ",currency\n" + line("1") + ",EUR", "line 2, column 'currency': 'EUR': only amounts in USD"),
        (HEAD + '"', "is no CSV file in UTF-8"),
        ("\x00", "is no"),
    ],
)  # fmt: skip
def test_a_bad_invoice_is_refused_at_the_line_and_column(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "invoice.csv"
    path.write_text(text)
    with pytest.raises(BadInvoice) as refused:
        read_invoice(path)
    assert said in str(refused.value) or said == "is no"
    assert str(path) in str(refused.value)


def test_an_invoice_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "invoice.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "invoice.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadInvoice, match=r"cannot be read|no CSV"):
            read_invoice(path)


MAPPING = """
provider = "p"
period_end = "inclusive"
quantity_unit = 1000
ignore = ["Invoice"]
[columns]
period_start = "From"
period_end = "To"
cost_usd = "Amount"
model = "Product"
meter = "Unit"
quantity = "Thousands"
[models]
"Model M" = "m"
[meters]
"Output" = "output_text"
"""


def test_a_mapping_says_what_columns_and_names_are_ours_of(tmp_path: Path) -> None:
    head = "Invoice,From,To,Product,Unit,Thousands,Amount\n"
    path = invoice(tmp_path, f"17,{DAY},{DAY},Model M,Output,0.1,1.00", "", head=head)
    (found,) = read_invoice(path, read_mapping(mapping(tmp_path, MAPPING)))
    assert (found.provider, found.model, found.meter, found.quantity) == ("p", "m", "output_text", 100)
    assert (found.first.isoformat(), found.end.isoformat()) == (DAY, NEXT)
    assert (found.usd, found.within_usd) == (Fraction(1), Fraction(1, 200))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provider = ", "is no mapping"),
        ("provder = 'p'", "unknown field `provder`"),
        ("period_end = 'open'", "period_end"),
        ("[columns]\ncosts = 'x'", "[columns] names 'costs'"),
        ("quantity_unit = 0", "quantity_unit is 0"),
        ("[models]\nm = 1", "is no mapping"),
    ],
)
def test_a_bad_mapping_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInvoice) as refused:
        read_mapping(mapping(tmp_path, text))
    assert said in str(refused.value)


def test_the_costs_of_a_ledger_are_told_apart_by_model_tier_day_and_meter(tmp_path: Path) -> None:
    path = written(tmp_path / "ledger.db", made_ledger.plain)
    sums = CostSums()
    assert audit_ledger(path, now_us=NOON_S * 1_000_000, told=[sums]).clean
    found = {meter: (amount.quantity, amount.usd) for meter, amount in sums.costs.items()}
    openai = {meter.meter: amount for meter, amount in found.items() if meter.provider == "openai"}
    assert openai == {
        "uncached_input": (406, Fraction(406 * 2, 10**6)),
        "output_text": (80, Fraction(80 * 8, 10**6)),
    }
    # The four attempts that lost billed too.
    winners = sum(30 + number for number in range(4))
    assert found[Meter("anthropic", "m", "standard", DAY, "output_text")][0] == 4 * 9 + winners
    openrouter = {meter.meter: quantity for meter, (quantity, _) in found.items() if meter.provider == "openrouter"}
    assert openrouter == {"uncached_input": 50 + 60 + 70 + 80, "output_text": 100 + 95 + 90 + 85}
    assert {meter.day for meter in found} == {DAY}
