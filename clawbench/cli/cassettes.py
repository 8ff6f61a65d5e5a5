"""`clawbench cassettes check|ls|show PATH`: what is in recordings."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from clawbench.cassettes.check import CheckReport, check_each, listed, shown, shown_json
from clawbench.cassettes.store import cassette_files, open_store
from clawbench.cli.cassettes_accuracy import accuracy
from clawbench.cli.cassettes_import import import_, scan, scrub
from clawbench.cli.console import console
from clawbench.experiments.prepare import cache_folder
from clawbench.progress import Bar
from clawbench.wires import WIRES

NOT_UNDERSTOOD_SHOWN = 20

PATH = click.argument("path", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("cassettes")
def command() -> None:
    """Recordings: what they hold and whether they can be replayed."""


for verb in (accuracy, import_, scan, scrub):
    command.add_command(verb)


@command.command("check")
@PATH
@AS_JSON
@click.option("--strict", is_flag=True, help="Exit with 1 also for interactions that are not understood.")
def check(path: Path, as_json: bool, strict: bool) -> int:
    """Read and decode every recording below PATH.

    Exits with 1 if a file cannot be read. Interactions that are no chat or not understood are counted, and the latter
    listed.
    """
    report = CheckReport()
    bar = Bar(unit="file")
    bar.start(len(cassette_files(path)[1]))
    try:
        for result in check_each(path, WIRES):
            report.add(result)
            bar.advance(1)
    finally:
        bar.close()
    if as_json:
        click.echo(msgspec.json.encode(report.to_json()))
    else:
        _print_check(report, console())
    failed = bool(report.problems) or (strict and bool(report.not_understood))
    return 1 if failed else 0


@command.command("ls")
@PATH
@AS_JSON
def ls(path: Path, as_json: bool) -> None:
    """List the chat calls recorded below PATH."""
    store = open_store([path], WIRES, cache_dir=cache_folder())
    rows = list(listed(store))
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("interaction", "provider", "model", "dialect", "stream", "status", "outcome", "in", "out", "times"):
        table.add_column(name, justify="right" if name in ("status", "in", "out") else "left", overflow="fold")
    for row in rows:
        table.add_row(
            row.id,
            row.provider,
            row.model,
            row.dialect,
            "yes" if row.stream else "no",
            str(row.status),
            row.outcome,
            _count(row.input_tokens),
            _count(row.output_tokens),
            row.timing or "–",
        )
    console().print(table)
    for problem in store.problems:
        click.echo(f"not read: {problem}", err=True)


@command.command("show")
@PATH
@click.argument("interaction")
def show(path: Path, interaction: str) -> None:
    """Print one INTERACTION (file.yaml#3, as `ls` names it) below PATH as JSON: request, answer, times."""
    store = open_store([path], WIRES, cache_dir=cache_folder())
    found = shown(store, interaction, WIRES)
    click.echo(msgspec.json.format(msgspec.json.encode(shown_json(found))))


def _count(tokens: int | None) -> str:
    return "–" if tokens is None else f"{tokens:,}"


def _print_check(report: CheckReport, out: Console) -> None:
    content = report.to_json()
    out.print("[bold]Totals[/bold]")
    totals = Table(box=None, pad_edge=False, show_header=False)
    for name, value in content["totals"].items():
        totals.add_row(name.replace("_", " "), f"{value:,}")
    out.print(totals)
    for title, key in (("By format", "by_format"), ("By provider", "by_provider")):
        rows = content[key]
        if not rows:
            continue
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for name, row in rows.items():
            table.add_row(name, *(f"{row.get(column, 0):,}" for column in columns))
        out.print(f"\n[bold]{title}[/bold]")
        out.print(table)
    _print_reasons("Cannot be read", content["problems"], out)
    _print_reasons("Not understood", content["not_understood"], out)


def _print_reasons(title: str, rows: list[dict[str, object]], out: Console) -> None:
    if not rows:
        return
    out.print(f"\n[bold]{title}[/bold] ({len(rows)})")
    for row in rows[:NOT_UNDERSTOOD_SHOWN]:
        place = f"#{row['interaction']}" if "interaction" in row else ""
        at = f" ({row['place']})" if row["place"] else ""
        out.print(f"  {row['file']}{place}{at}: {row['reason']}", markup=False, highlight=False)
    if len(rows) > NOT_UNDERSTOOD_SHOWN:
        out.print(f"  and {len(rows) - NOT_UNDERSTOOD_SHOWN} more; --json lists all", highlight=False)
