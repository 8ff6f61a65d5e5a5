"""`clawbench plan check PLAN`: whether a plan is right, without running it."""

from __future__ import annotations

from pathlib import Path

import click

from clawbench.config.plan import load_plan


@click.group("plan")
def command() -> None:
    """Plans: what to run."""


@command.command("check")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value first; may be repeated.")
def check(plan: Path, overrides: tuple[str, ...]) -> None:
    """Check PLAN and say what it would run."""
    loaded = load_plan(plan, overrides=overrides)
    table = loaded.table
    cells = len(table.strategies) * len(table.seeds)
    click.echo(
        f"{plan} is right: {cells} cells ({', '.join(table.strategies)}; seeds {', '.join(map(str, table.seeds))}) "
        f"of {table.workload.requests:,} requests each. Run id {loaded.run_id[:12]}."
    )
