"""`clawbench cassettes accuracy PATH`: how wrong nearest matching is on these recordings."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import structs
from rich.table import Table

from clawbench.cassettes.accuracy import MEASURES, leave_one_out, report
from clawbench.cassettes.store import open_store
from clawbench.catalog.price_maps import PriceMap
from clawbench.cli.console import console
from clawbench.emulator.specs import PORT
from clawbench.experiments.prepare import cache_folder
from clawbench.experiments.recorded_offers import offers_of_recordings
from clawbench.progress import Bar
from clawbench.types import Offer
from clawbench.wires import WIRES

OFFERS_SHOWN = 20


@click.command("accuracy")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def accuracy(path: Path, as_json: bool) -> None:
    """Leave each recording below PATH out, and compare it with the nearest other one of its offer.

    Errors are factors: 50 % means half as much again, or two thirds of it.
    """
    store = open_store([path], WIRES, cache_dir=cache_folder())
    for problem in store.problems:
        click.echo(f"not read: {problem}", err=True)
    offers = _named(offers_of_recordings(store.entries, PriceMap([], digest=""), {}))
    bar = Bar(unit="recording")
    bar.start(sum(entry.is_success for entry in store.entries))
    missed = []
    for each in leave_one_out(store.bind(offers), store, offers):
        missed.append(each)
        bar.advance(1)
    bar.close()
    figures = report(missed).to_json()
    if as_json:
        click.echo(msgspec.json.encode(figures))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("offer", "compared", "same form", *(f"{measure} {p}" for measure in MEASURES for p in ("p50", "p90"))):
        table.add_column(name.replace("_s ", " ").replace("_", " "), justify="left" if name == "offer" else "right")
    busiest = sorted(figures["by_offer"].items(), key=lambda item: (-item[1]["compared"], item[0]))[:OFFERS_SHOWN]
    for name, row in [("all", figures["all"]), *busiest]:
        cells = [_percent(row[measure][p]) for measure in MEASURES for p in ("p50", "p90")]
        table.add_row(name, f"{row['compared']:,}", _percent(row["same_form"]), *cells)
    out = console()
    out.print(table)
    if figures["alone"]:
        out.print(f"{figures['alone']:,} recordings are alone at their offer: nothing to compare.", highlight=False)
    left = len(figures["by_offer"]) - len(busiest)
    if left > 0:
        out.print(f"{left} offers with fewer recordings are not shown; --json has them.", highlight=False)


def _named(offers: list[Offer]) -> list[Offer]:
    """Those of the emulator under its providers' names, which are the first parts of their paths."""
    named = []
    for offer in offers:
        address = urlsplit(offer.base_url)
        prefix = address.path.split("/")[1:2]
        is_emulated = address.port == PORT and prefix
        named.append(structs.replace(offer, id=f"{prefix[0]}/{offer.upstream_model}") if is_emulated else offer)
    return named if len({offer.id for offer in named}) == len(offers) else offers


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
