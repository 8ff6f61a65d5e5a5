"""`clawbench audit RUN|LEDGER`: work every charge again and prove that no money is lost."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from clawbench.analysis.frames import RunFolder
from clawbench.billing import audited_ledger
from clawbench.billing.audit import Worked
from clawbench.billing.audit_costs import CostSums
from clawbench.billing.audit_figures import Figures, plain
from clawbench.billing.audit_invoice import reconciled
from clawbench.billing.audit_opinions import Opinions
from clawbench.billing.audit_rows import RowFile
from clawbench.billing.invoice import read_invoice, read_mapping
from clawbench.billing.second_opinions import GenaiPricesOpinion, LiteLLMOpinion
from clawbench.cli.audit_text import print_audit, print_invoice
from clawbench.cli.console import console
from clawbench.errors import UsageError
from clawbench.experiments import audited_run
from clawbench.progress import Bar
from clawbench.walltime import now

_US = 1_000_000
_LONG = 100_000  # entries from which a second process pays: it takes half a second to start


@click.command("audit")
@click.argument("source", metavar="RUN|LEDGER", type=click.Path(path_type=Path))
@click.option("--since", help="Work only charges from this instant on again (2026-11-27 or 2026-11-27T08:00:00Z, UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rows that differ are written, JSON lines or .csv [RUN/audit-differences.jsonl, or beside LEDGER].",
)
@click.option(
    "--invoice",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A provider's invoice as CSV, to be compared with the costs of attempts, losers included.",
)
@click.option(
    "--map",
    "mapping",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML that says what the invoice's columns and names are ours of.",
)
@click.option(
    "--second-opinion",
    "opinion",
    type=click.Choice(["litellm", "genai-prices"]),
    help="Ask another library what each charge's usage costs; counted, and no proof of anything.",
)
def command(
    source: Path,
    since: str | None,
    as_json: bool,
    out: Path | None,
    invoice: Path | None,
    mapping: Path | None,
    opinion: str | None,
) -> int:
    """Audit RUN, a run's folder, or LEDGER, the file of a serving gateway, which may be running. Nothing is changed.

    Every charge is worked again, from the provider's raw usage and the price book that it cites, to the last digit; the
    chain of entries, the balances and the sums are proved from the first entry on. Exits with 1 if anything is not as
    it must be, with 2 if it cannot be read.
    """
    if mapping is not None and invoice is None:
        raise UsageError("--map says how to read an invoice: give --invoice too")
    if invoice is not None and since is not None:
        raise UsageError("--since leaves charges out, and an invoice needs them all: give one of the two")
    since_us = None if since is None else _instant_us(since)
    lines = None if invoice is None else read_invoice(invoice, None if mapping is None else read_mapping(mapping))
    sums, told = CostSums(), list[Worked]()
    if lines is not None:
        told.append(sums)
    if opinion is not None:
        told.append(Opinions(LiteLLMOpinion() if opinion == "litellm" else GenaiPricesOpinion()))
    compared = None
    with RowFile(out or _beside(source)) as rows:
        figures, unfinished = _audited(source, since_us, rows, told, quiet=as_json)
        if lines is not None:
            compared = reconciled(lines, sums.costs, sums.risks, rows)
    is_clean = figures.clean and (compared is None or compared.clean)
    if as_json:
        found = {
            "path": str(source),
            "unfinished": unfinished,
            "rows": rows.rows,
            "invoice": compared,
            **plain(figures),
        }
        click.echo(msgspec.json.encode({**found, "clean": is_clean}))
        return 0 if is_clean else 1
    if unfinished:
        click.echo(f"! not finished, and not audited: {', '.join(unfinished)}")
    print_audit(figures, console())
    if compared is not None:
        print_invoice(compared, console())
    if rows.rows:
        click.echo(f"Rows that differ: {rows.path}")
    click.echo(figures.line())
    return 0 if is_clean else 1


def _audited(
    source: Path, since_us: int | None, rows: RowFile, told: list[Worked], *, quiet: bool
) -> tuple[Figures, list[str]]:
    """The figures, and the cells of a run that are not in them."""
    bar = Bar(unit="entry")
    try:
        if source.is_dir():
            run = RunFolder(source)
            if not quiet:
                bar.start(audited_run.entries_in(run))
            figures = audited_run.audit_run(run, since_us=since_us, differs=rows, told=told, progress=bar.advance)
            return figures, list(run.unfinished)
        entries = audited_ledger.entries_in(source)
        if not quiet:
            bar.start(entries)
        figures = audited_ledger.audit_ledger(
            source,
            now_us=int(now().timestamp() * _US),
            since_us=since_us,
            differs=rows,
            told=told,
            progress=bar.advance,
            apart=entries >= _LONG and (os.cpu_count() or 1) > 1,
        )
        return figures, []
    finally:
        bar.close()


def _beside(source: Path) -> Path:
    if source.is_dir():
        return source / "audit-differences.jsonl"
    return source.with_name(f"{source.name}.audit-differences.jsonl")


def _instant_us(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * _US)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text!r} is no instant ({error}); write 2026-11-27 or 2026-11-27T08:00:00Z"
        ) from None
