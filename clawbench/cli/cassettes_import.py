"""`clawbench cassettes import|scrub|scan`: recordings brought in, and kept free of secrets.

Secrets are never given on the command line, where other processes could read them: they come from a file and from the
environment. What is found is told by place and kind, and never shown.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from clawbench.cassettes.cleaning import FileScan, scan_each, scrub_each
from clawbench.cassettes.importing import ImportReport, import_each
from clawbench.cassettes.scrub import Finding
from clawbench.cassettes.secret_shapes import secrets_of
from clawbench.cassettes.store import cassette_files
from clawbench.errors import UsageError
from clawbench.progress import Bar

SHOWN = 20

T = TypeVar("T")

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
SECRETS = click.option(
    "--secrets",
    "secrets_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Secrets to look for in any encoding, one a line. Values of environment variables whose names end in KEY, "
    "TOKEN, SECRET or PASSWORD are always looked for.",
)


@click.command("import")
@click.argument("src", type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@SECRETS
@AS_JSON
def import_(src: Path, into: Path, secrets_file: Path | None, as_json: bool) -> int:
    """Turn the recordings at or below SRC, of any format, into scrubbed cassettes.

    One file is written for each source file. An interaction in which a credential is found after scrubbing is left out.
    Exits with 1 if anything was left out or could not be read. Files that are imported already are not done again.
    """
    report = ImportReport()
    results = import_each(src, into, secrets=_secrets(secrets_file))
    for result in _with_bar(results, src):
        report.add(result)
    content = report.to_json()
    if as_json:
        click.echo(msgspec.json.encode(content))
        return 0 if report.ok else 1
    click.echo(
        f"{content['taken']:,} of {content['interactions']:,} interactions imported: {content['written']:,} files "
        f"written, {content['unchanged']:,} there already, {content['left_out']:,} left out, "
        f"{content['not_read']:,} not read"
    )
    _print_findings("Refused, since a credential is left", [f for result in report.files for f in result.refused])
    unreadable = [f"{item.file}#{item.index}: {item.reason}" for r in report.files for item in r.unreadable]
    _print_list("Left out, since they make no sense", unreadable)
    _print_list("Cannot be read", [str(result.problem) for result in report.files if result.problem is not None])
    return 0 if report.ok else 1


@click.command("scan")
@click.argument("path", type=click.Path(path_type=Path))
@SECRETS
@AS_JSON
def scan(path: Path, secrets_file: Path | None, as_json: bool) -> int:
    """Look for secrets in the recordings at or below PATH, of any format.

    Exits with 1 for a credential, or for a file or interaction that cannot be read. Identifiers (request,
    organisation and account ids, e-mail addresses) are counted as warnings.
    """
    results = list(_with_bar(scan_each(path, secrets=_secrets(secrets_file)), path))
    if as_json:
        click.echo(msgspec.json.encode([result.to_json() for result in results]))
    else:
        click.echo(
            f"{sum(result.interactions for result in results):,} interactions in {len(results):,} files searched"
        )
        _print_scan(results)
    return 0 if all(result.ok for result in results) else 1


@click.command("scrub")
@click.argument("path", type=click.Path(path_type=Path))
@SECRETS
@AS_JSON
def scrub(path: Path, secrets_file: Path | None, as_json: bool) -> int:
    """Remove secrets from the cassettes at or below PATH, in place.

    Only YAML in vcrpy's layout is rewritten; recordings of other formats are for `import`. Exits with 1 if a
    credential is left or a file could not be scrubbed.
    """
    results = list(_with_bar(scrub_each(path, secrets=_secrets(secrets_file)), path))
    after = [result.after for result in results]
    if as_json:
        click.echo(msgspec.json.encode([{"status": r.status, **r.after.to_json()} for r in results]))
    else:
        count = Counter(result.status for result in results)
        click.echo(
            f"{count['scrubbed']:,} files scrubbed, {count['clean']:,} clean, {count['not read']:,} not scrubbed"
        )
        _print_scan(after)
    return 0 if all(result.ok for result in after) else 1


def _secrets(file: Path | None) -> list[str]:
    found = secrets_of(os.environ)
    if file is None:
        return found
    try:
        return found + [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{file} cannot be read as text, one secret a line") from None


def _with_bar(results: Iterable[T], path: Path) -> Iterator[T]:
    bar = Bar(unit="file")
    bar.start(len(cassette_files(path)[1]))
    try:
        for result in results:
            yield result
            bar.advance(1)
    finally:
        bar.close()


def _print_scan(results: list[FileScan]) -> None:
    findings = [finding for result in results for finding in result.findings]
    _print_findings("Credentials", [finding for finding in findings if finding.severity == "credential"])
    identifiers = sum(finding.severity == "identifier" for finding in findings)
    if identifiers:
        click.echo(f"\n{identifiers:,} identifiers, which scrubbing replaces by pseudonyms; --json lists them")
    unreadable = [f"{item.file}#{item.index}: {item.reason}" for result in results for item in result.unreadable]
    _print_list("Make no sense", unreadable)
    _print_list("Cannot be read", [str(result.problem) for result in results if result.problem is not None])


def _print_findings(title: str, findings: list[Finding]) -> None:
    lines = []
    for found in findings:
        field = f" {found.field}" if found.field else ""
        lines.append(f"{found.file}#{found.interaction} {found.where}{field}: {found.rule}, {found.length} characters")
    _print_list(title, lines)


def _print_list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    click.echo(f"\n{title} ({len(lines)})")
    for line in lines[:SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > SHOWN:
        click.echo(f"  and {len(lines) - SHOWN} more; --json lists all")
