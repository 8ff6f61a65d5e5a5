"""`clawbench bill --vectors FILE.jsonl`: worked bills, run as the gateway bills, against what they must come to."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from clawbench.billing.vectors import PriceSheet, read_vectors
from clawbench.billing.worked_bills import WorkedBill, work
from clawbench.cli.console import console


@click.command("bill")
@click.option("--vectors", required=True, type=click.Path(path_type=Path), help="Worked bills, one JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(vectors: Path, as_json: bool) -> int:
    """Bill every row of worked bills and compare outcome, buckets and exact cost with what the row expects.

    Exits with 1 if any differs.
    """
    rows = read_vectors(vectors)
    sheet = PriceSheet(rows)
    bills = [work(row, sheet) for row in rows]
    exact = sum(not bill.differences for bill in bills)
    if as_json:
        click.echo(msgspec.json.encode({"rows": len(bills), "exact": exact, "bills": bills}))
    else:
        _print(bills, console())
        click.echo(f"billing: {exact} of {len(bills)} exact")
    return 0 if exact == len(bills) else 1


def _print(bills: list[WorkedBill], out: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("row", "outcome", "cost USD", "expected USD", ""):
        table.add_column(name, justify="right" if "USD" in name else "left", overflow="fold")
    for bill in bills:
        verdict = "[red]" + "; ".join(bill.differences) if bill.differences else "exact"
        cost, expected = (amount or "–" for amount in (bill.cost_usd, bill.expected_cost_usd))
        table.add_row(bill.id, bill.outcome, cost, expected, verdict)
    out.print(table)
