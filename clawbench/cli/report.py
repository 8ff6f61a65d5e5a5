"""`clawbench report RUN`: print a run's figures again and write its report."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from clawbench.analysis.frames import RunFolder
from clawbench.analysis.tables import summary
from clawbench.analysis.terminal import print_summary
from clawbench.cli.console import console
from clawbench.errors import UsageError
from clawbench.experiments.run_folder import report_of


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the page [RUN/report.html]."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON and write no page.")
def command(run: Path, html: Path | None, as_json: bool) -> None:
    """Report on RUN, a run's folder."""
    if not (run / "manifest.json").exists():
        raise UsageError(f"{run} is no run folder: it has no manifest.json. `clawbench runs` lists the runs.")
    folder = RunFolder(run)
    if as_json:
        figures = {"manifest": folder.manifest, "summary": summary(folder).to_dicts(), "path": str(folder.path)}
        click.echo(msgspec.json.encode(figures))
        return
    print_summary(folder, console())
    click.echo(f"Report: {report_of(folder, html or run / 'report.html')}")
