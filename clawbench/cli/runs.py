"""`clawbench runs`: what has been run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table

from clawbench.cli.console import console
from clawbench.experiments.run_folder import list_runs


@click.command("runs")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder that keeps runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifests as JSON.")
def command(out: Path, as_json: bool) -> None:
    """List the runs, newest first."""
    found = list_runs(out)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    if not found:
        click.echo(f"There are no runs in {out}. `clawbench run PLAN` makes one.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("folder", "created", "clock", "cells", "requests", "digest"):
        table.add_column(column, overflow="fold", justify="right" if column in ("cells", "requests") else "left")
    for run in found:
        cells = run.get("cells", [])
        planned = len(run.get("strategies", [])) * len(run.get("seeds", []))
        table.add_row(
            run["path"],
            str(run.get("created_at", "")),
            str(run.get("clock", "")),
            f"{len(cells)} of {planned}",
            f"{sum(cell.get('requests', 0) for cell in cells):,}",
            (run.get("digest") or "unfinished")[:12],
        )
    console().print(table)
