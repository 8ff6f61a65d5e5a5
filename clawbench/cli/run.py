"""`clawbench run PLAN`: run a plan, print its figures, write its report."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from clawbench.analysis import bench_sheets
from clawbench.analysis.head import strategies_in_order
from clawbench.analysis.tables import summary
from clawbench.analysis.terminal import print_sheet, print_summary
from clawbench.cli.console import console
from clawbench.config.plan import load_plan
from clawbench.experiments.fault_figures import fault_figures
from clawbench.experiments.oracle import regret
from clawbench.experiments.runner import ClockName, Silence, run_plan
from clawbench.progress import Bar
from clawbench.walltime import now, stopwatch


@click.command("run")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder that keeps runs.",
)
@click.option("--seed", "seeds", type=int, multiple=True, help="Instead of the plan's seeds; may be repeated.")
@click.option("--strategy", "strategies", multiple=True, help="Instead of the plan's strategies; may be repeated.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the plan; may be repeated."
)
@click.option(
    "--warm-from",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Start with these estimates (CELL/estimates.json of a run, or serve's) instead of cold.",
)
@click.option(
    "--clock",
    type=click.Choice(["virtual", "wall"]),
    default="virtual",
    show_default=True,
    help="virtual: as fast as the machine can; wall: in real time.",
)
@click.option("--resume", is_flag=True, help="Go on with the latest unfinished run of this plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--digest", "only_digest", is_flag=True, help="Print only the digest of the run's records.")
def command(
    plan: Path,
    out: Path,
    seeds: tuple[int, ...],
    strategies: tuple[str, ...],
    overrides: tuple[str, ...],
    warm_from: Path | None,
    clock: ClockName,
    resume: bool,
    as_json: bool,
    only_digest: bool,
) -> None:
    """Run PLAN (a TOML file, see configs/README.md) and report."""
    if warm_from is not None:
        overrides = (*overrides, f"routing.warm_from={warm_from.absolute()}")
    loaded = load_plan(plan, overrides=overrides, seeds=seeds, strategies=strategies)
    quiet = as_json or only_digest
    folder = run_plan(
        loaded,
        out=out,
        created_at=now(),
        stopwatch=stopwatch,
        clock=clock,
        resume=resume,
        progress=Silence() if quiet else Bar(),
    )
    if only_digest:
        click.echo(folder.manifest["digest"])
        return
    regrets = regret(folder, loaded) if loaded.table.oracle else None
    faults = fault_figures(folder, loaded) if loaded.faults is not None else None
    if as_json:
        figures = {"manifest": folder.manifest, "summary": summary(folder).to_dicts(), "path": str(folder.path)}
        found = {"regret": regrets, "faults": faults}
        figures |= {name: table.to_dicts() for name, table in found.items() if table is not None}
        click.echo(msgspec.json.encode(figures))
    else:
        print_summary(folder, console())
        order = strategies_in_order(folder, loaded.table.strategies)
        if regrets is not None:
            print_sheet(bench_sheets.regret(regrets, order), console())
        for sheet in bench_sheets.faults(faults, order) if faults is not None else ():
            print_sheet(sheet, console())
        click.echo(f"Report: {folder.path / 'report.html'}")
