"""What failed attempts cost, in an invoice: each in the row of its own provider, model, tier and day."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from clawbench.billing.amounts import usd
from clawbench.billing.audit import Auditor
from clawbench.billing.audit_books import PriceBooks
from clawbench.billing.audit_costs import WHOLE, CostSums, Meter
from clawbench.billing.audit_figures import Figures
from clawbench.billing.audit_invoice import Reconciled, reconciled
from clawbench.billing.invoice import read_invoice
from clawbench.billing.ledger.protocol import Entry
from clawbench.clock import run_virtual
from clawbench.errors import UpstreamError
from clawbench.experiments.kept_ledger import keep_price_book
from clawbench.money import PICO
from tests.billing import made_ledger
from tests.billing.made_ledger import ANTHROPIC, OPENAI, anthropic, chat_usage, written
from tests.lab import SSE, Lab, Played, chat, offer, streamed

DAY, NEXT = "2023-11-14", "2023-11-15"  # of the lab's epoch
HEAD = "provider,period_start,period_end,model,service_tier,meter,quantity,cost_usd\n"


def broke_off(cost: float, tier: str | None = None) -> Played:
    """A stream of OpenRouter's that ends in an error before any output, and states what it cost."""
    frame = {
        "id": "up-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "vendor/large",
        "error": {"code": 502, "message": "upstream"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10, "cost": cost},
    }
    if tier is not None:
        frame["service_tier"] = tier
    return Played([(0.2, b"data: " + msgspec.json.encode(frame) + b"\n\n")], headers=SSE)


def with_fallbacks(folder: Path) -> tuple[list[Entry], PriceBooks]:
    """Nine requests at three providers in turn: one answers, one breaks off and bills, one times out and may bill."""
    offers = [
        offer("openrouter", price=(1, 3), upstream="vendor/large"),
        offer("answers", price=(2, 8)),
        offer("hangs", price=(1, 1), upstream="slow-1"),
    ]
    costs = iter([(0.0005, None), (0.0025, "flex"), (0.0015, None)] * 9)

    async def main() -> list[Entry]:
        scripts = {
            "openrouter/m": lambda call: broke_off(*next(costs)),
            "answers/m": streamed("Hello", " there"),
            "hangs/m": UpstreamError("nothing came", outcome="timeout_first"),
        }
        lab = Lab(offers, scripts)
        for _ in range(9):
            assert (await lab.ask(chat(stream=True))).status == 200
        # The provider billed one of the two that it may bill, and not the other.
        first, second, *_ = [entry.ref for entry in lab.ledger.entries() if entry.kind == "risk"]
        await lab.ledger.resolve_risk(first, 12_000_000)
        await lab.ledger.resolve_risk(second, None)
        keep_price_book(folder / "ledger.db", lab.holds.biller.prices.book)
        return list(lab.ledger.entries())

    return run_virtual(main), PriceBooks(folder / "ledger.db.price-books")


def audited(entries: list[Entry], books: PriceBooks) -> tuple[CostSums, Figures]:
    sums = CostSums()
    auditor = Auditor(books, told=[sums])
    for entry in entries:
        auditor.add(entry)
    return sums, auditor.result()


def invoiced(folder: Path, sums: CostSums, rows: list[dict[str, Any]], *more: str) -> Reconciled:
    """Compared with an invoice that has one line for each provider, model, tier and day that the ledger knows."""
    lines: dict[Meter, Fraction] = {}
    for meter, amount in sums.costs.items():
        key = meter._replace(meter="")
        lines[key] = lines.get(key, Fraction(0)) + amount.usd
    text = "".join(
        f"{provider},{day},{NEXT},{model},{tier},,,{usd(cost * PICO)}\n"
        for (provider, model, tier, day, _), cost in lines.items()
    )
    path = folder / "invoice.csv"
    path.write_text(HEAD + text + "".join(more))
    return reconciled(read_invoice(path), sums.costs, sums.risks, rows.append)


def test_losers_of_a_run_with_fallbacks_are_in_the_rows_of_their_models(tmp_path: Path) -> None:
    entries, books = with_fallbacks(tmp_path)
    sums, figures = audited(entries, books)
    assert figures.clean, figures.violations
    assert figures.charges == 9
    found: dict[tuple[str, str, str], Fraction] = {}
    for meter, amount in sums.costs.items():
        key = (meter.provider, meter.model, meter.tier)
        found[key] = found.get(key, Fraction(0)) + amount.usd
    lost = [Fraction(entry.detail["usd"]) for entry in entries if entry.detail.get("model") == "vendor/large"]
    assert len(lost) >= 3
    assert set(found) == {
        ("openrouter", "vendor/large", "standard"),
        ("openrouter", "vendor/large", "flex"),
        ("answers", "m", "standard"),
        ("hangs", "slow-1", "standard"),
    }
    assert found["answers", "m", "standard"] == Fraction(9 * (10 * 2 + 2 * 8), 10**6)
    assert found["hangs", "slow-1", "standard"] == Fraction(12, 10**6)
    assert sum(found[key] for key in found if key[0] == "openrouter") == sum(lost)
    assert {(meter.provider, meter.model) for meter in sums.risks} == {("hangs", "slow-1")}

    rows: list[dict[str, Any]] = []
    compared = invoiced(tmp_path, sums, rows)
    assert compared.explained_percent == "100.00"
    assert set(compared.classes) == {"equal"}
    assert compared.clean
    assert not rows


def test_an_open_risk_explains_a_line_of_its_model_and_of_no_other(tmp_path: Path) -> None:
    sums, _ = audited(*with_fallbacks(tmp_path))
    (risk,) = sums.risks.values()
    more = usd(risk * PICO)
    rows: list[dict[str, Any]] = []
    compared = invoiced(tmp_path, sums, rows, f"hangs,{DAY},{NEXT},slow-2,,,,{more}\n")
    assert [(row["model"], row["cause"]) for row in rows] == [("slow-2", "not_in_ledger")]
    compared = invoiced(tmp_path, sums, rows, f"hangs,{DAY},{NEXT},slow-1,,,,{more}\n")
    assert compared.classes["risk"].lines == 1
    assert compared.clean


def test_strategy_and_surface_are_in_the_ledgers_own_summary(tmp_path: Path) -> None:
    _, figures = audited(*with_fallbacks(tmp_path))
    assert {(each.strategy, each.provider, each.surface) for each in figures.groups} == {
        ("round_robin", "answers", "chat")
    }


def test_a_loser_of_our_own_reckoning_has_its_meters(tmp_path: Path) -> None:
    """Also where it cost at the same provider what the winner did."""

    async def same(made: made_ledger.Writing) -> None:
        await made.request("r1", OPENAI, chat_usage(8, 2), lost=[(OPENAI, chat_usage(0, 4))])
        await made.request("r2", OPENAI, chat_usage(8, 2), lost=[(ANTHROPIC, anthropic(9, 9))])

    path = written(tmp_path / "ledger.db", same)
    sums = CostSums()
    assert made_ledger.audited(path, sums).clean
    found = {(meter.provider, meter.model, meter.meter): amount.quantity for meter, amount in sums.costs.items()}
    assert found == {
        ("openai", "m", "uncached_input"): 16,
        ("openai", "m", "output_text"): 8,
        ("anthropic", "m", "uncached_input"): 9,
        ("anthropic", "m", "output_text"): 9,
    }


def test_entries_of_an_earlier_version_name_no_model_and_are_audited_all_the_same(tmp_path: Path) -> None:
    new = ("model", "service_tier", "usd_per_uat", "meters", "strategy", "surface")

    def older(detail: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in detail.items() if name not in new}
        if "derivation" in kept:
            terms = {name: detail["derivation"][name] for name in ("usd_per_uat", "service_tier")}
            kept["derivation"] = older(detail["derivation"]) | terms
        return kept

    path = written(tmp_path / "ledger.db", made_ledger.plain)
    made_ledger.rewritten(path, older)
    sums = CostSums()
    figures = made_ledger.audited(path, sums)
    assert figures.clean, figures.violations
    assert {group.strategy for group in figures.groups} == {""}
    # The four attempts that lost billed too; nothing in such a log says of which model they were.
    lost = {meter: amount.usd for meter, amount in sums.costs.items() if not meter.model}
    assert lost == {Meter("anthropic", "", "", "2025-11-21", WHOLE): Fraction(4 * 9 * (2 + 8), 10**6)}


def test_a_cost_entry_that_contradicts_itself_is_found(tmp_path: Path) -> None:
    def other(**changes: Any) -> set[str]:
        path = written(tmp_path / f"{len(list(tmp_path.iterdir()))}.db", made_ledger.plain)
        made_ledger.rewritten(path, lambda detail: {**detail, **changes} if detail.get("meters") else detail)
        return {each.what for each in made_ledger.audited(path).violations if each.cause == "cost_entry"}

    assert other(meters={"output_text": [9, "0.000072"]}) == {"its meters do not come to 0.00009 USD"}
    assert "and what it is booked behind says 1" in other(usd_per_uat="2").pop()
    unread = {"meters": {"output_text": [9, "much"]}}
    path = written(tmp_path / "unread.db", made_ledger.plain)
    made_ledger.rewritten(path, lambda detail: {**detail, **unread} if detail.get("meters") else detail)
    assert {each.cause for each in made_ledger.audited(path).violations} == {"unreadable"}
