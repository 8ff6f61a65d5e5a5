"""`clawbench profiles fit|ls`: how fast offers answer, learnt from what was observed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from clawbench.analysis.frames import NotARun, RunFolder
from clawbench.cassettes.store import open_store
from clawbench.cli.console import console
from clawbench.config.emulator import shipped_profiles
from clawbench.emulator.fitting import PROBABILITIES, Fitted, fit_all
from clawbench.emulator.observations import Grouping, Observation, is_latencies, of_attempts, of_cassettes, of_file
from clawbench.emulator.profiles import Profile
from clawbench.errors import UsageError
from clawbench.experiments.prepare import cache_folder
from clawbench.wires import WIRES

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("profiles")
def command() -> None:
    """Profiles of offers: time to first token, token rate, failures."""


@command.command("fit")
@click.argument("sources", metavar="SRC…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--by",
    type=click.Choice(["offer", "provider"]),
    default="offer",
    show_default=True,
    help="One profile for each provider and model, or for each provider.",
)
@AS_JSON
@click.option("--toml", "as_toml", is_flag=True, help="Print `[profiles.<name>]` tables, ready to be pasted.")
@click.option("--prefix", default="", help="Put this before the names of the tables.")
@click.option("--source", default="", help="What the profiles say they are from. [names of SRC]")
@click.option("--failures/--no-failures", default=True, show_default=True, help="Fit how often calls failed, too?")
def fit(
    sources: tuple[Path, ...], by: Grouping, as_json: bool, as_toml: bool, prefix: str, source: str, failures: bool
) -> int:
    """Fit profiles to SRC: cassettes, a run's folder, or files of measured latencies.

    Prints quantiles as observed and as fitted side by side, and the Kolmogorov-Smirnov distance (0: the same
    distribution, 1: nothing in common); "held out" is the distance to observations that were not fitted. Exits with 1
    if nothing could be fitted.
    """
    found = [observation for each in sources for observation in _observed(each, by)]
    if not found:
        click.echo("No chat calls were observed: there is nothing to fit.", err=True)
    fits = fit_all(found, source=source or ", ".join(each.name for each in sources))
    if not failures:
        fits = [_without_failures(each) for each in fits]
    if as_json:
        click.echo(msgspec.json.encode(fits))
    elif as_toml:
        click.echo("\n".join(_toml(prefix, each.group, each.profile) for each in fits if each.profile is not None))
    else:
        _print(fits, console())
    return 0 if any(each.profile is not None for each in fits) else 1


@command.command("ls")
@AS_JSON
def ls(as_json: bool) -> None:
    """List the profiles that ship, with what they were fitted on."""
    profiles = shipped_profiles()
    if as_json:
        click.echo(msgspec.json.encode(profiles))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "TTFT s", "σ", "+ s/1k tokens", "tokens/s", "σ", "source"):
        table.add_column(column, justify="left" if column in ("name", "source") else "right", overflow="fold")
    for name, each in profiles.items():
        figures = each.ttft_s_median, each.ttft_s_sigma, each.ttft_s_per_1k_prompt_tokens
        rates = each.token_rate_median, each.token_rate_sigma
        table.add_row(name, *(f"{figure:.3g}" for figure in (*figures, *rates)), each.source)
    console().print(table)


def _observed(source: Path, by: Grouping) -> Iterator[Observation]:
    """What a file or folder holds, whichever of the kinds it is. Raises `UsageError` or `CassetteError`."""
    if source.is_file():
        if is_latencies(source):
            return of_file(source, by=by)
    elif (source / "manifest.json").exists():
        return _of_run(source, by)
    elif latencies := sorted(path for path in source.rglob("*") if path.is_file() and is_latencies(path)):
        return (observation for path in latencies for observation in of_file(path, by=by))
    store = open_store([source], WIRES, cache_dir=cache_folder())
    for problem in store.problems:
        click.echo(f"not read: {problem}", err=True)
    return of_cassettes(store, by=by)


def _of_run(folder: Path, by: Grouping) -> Iterator[Observation]:
    try:
        attempts = RunFolder(folder).attempts()
    except NotARun as error:
        raise UsageError(str(error)) from error
    return of_attempts(attempts.iter_rows(named=True), by=by)


def _without_failures(fitted: Fitted) -> Fitted:
    if fitted.profile is None:
        return fitted
    return msgspec.structs.replace(fitted, profile=msgspec.structs.replace(fitted.profile, failures=()))


def _print(fits: Sequence[Fitted], out: Console) -> None:
    out.print("Quantiles: observed | fitted", highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("offer", overflow="fold", min_width=24)
    quantiles = [f"p{probability * 100:g}" for probability in PROBABILITIES]
    for column in ("figure", "n", "shape", *quantiles, "KS", "held out"):
        table.add_column(column, justify="left" if column in ("figure", "shape") else "right", no_wrap=True)
    for each in fits:
        for place, good in enumerate(each.goodness):
            figure = "TTFT, s" if good.figure == "ttft_s" else "tokens/s"
            pairs = [f"{seen:.3g} | {made:.3g}" for seen, made in zip(good.observed, good.fitted, strict=True)]
            name = each.group if place == 0 else ""
            distances = f"{good.ks:.3f}", f"{good.ks_held_out:.3f}"
            table.add_row(name, figure, f"{good.observations:,}", good.shape, *pairs, *distances)
    out.print(table)
    for each in fits:
        for reason in each.left_out:
            out.print(f"{each.group}: not fitted: {reason}", highlight=False, markup=False)


def _toml(prefix: str, group: str, profile: Profile) -> str:
    """A profile as a TOML table, what equals the default left out."""
    name = prefix + re.sub(r"[^A-Za-z0-9_-]+", "-", group).strip("-")
    lines = [f"[profiles.{name}]"]
    needed = ("ttft_s_median", "ttft_s_sigma", "token_rate_median", "token_rate_sigma", "network_s", "source")
    defaults = dict(
        zip(Profile.__struct_fields__[-len(Profile.__struct_defaults__) :], Profile.__struct_defaults__, strict=True)
    )
    for key in Profile.__struct_fields__:
        value = getattr(profile, key)
        if key in needed or value != defaults.get(key):
            lines.append(f"{key} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, msgspec.Struct):
        pairs = ((key, getattr(value, key)) for key in value.__struct_fields__)
        return "{ " + ", ".join(f"{key} = {_toml_value(each)}" for key, each in pairs if each is not None) + " }"
    return repr(value)
