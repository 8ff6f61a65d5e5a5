"""`clawbench catalog import CONFIG`: another gateway's models and prices as a plan."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from clawbench.catalog.litellm_config import Imported, read_litellm_config
from clawbench.catalog.price_map_import import offers_of
from clawbench.catalog.price_maps import PriceMap, read_price_maps
from clawbench.errors import UsageError
from clawbench.types import Rates
from clawbench.walltime import now


@click.group("catalog")
def command() -> None:
    """Models and offers."""


@command.command("import")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--provider", help="Of a price map: only this provider's models [all whose address is known].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Plan to write [standard output].")
@click.option(
    "--prices",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Price map (LiteLLM's, genai-prices', OpenRouter's) for entries without prices; may be repeated.",
)
def import_(config: Path, provider: str | None, out: Path | None, prices: tuple[Path, ...]) -> None:
    """Turn CONFIG into a plan, and say what could not be taken over.

    CONFIG is a LiteLLM proxy's config.yaml, or a price map (JSON, gzipped or not) in LiteLLM's, genai-prices' or
    OpenRouter's model-list format.

    What answers (recordings, the emulator, a network) and what is asked is not in CONFIG: add [replay] and [workload].
    """
    today = f"{now():%Y-%m-%d}"
    if config.suffix in (".json", ".gz"):
        _import_prices(config, provider, out, today)
        return
    if provider is not None:
        raise UsageError(f"--provider chooses from a price map, and {config} is none (.json or .gz)")
    imported = read_litellm_config(config)
    maps = read_price_maps(prices)
    unpriced = _priced(imported, maps, config.name, today)
    text = plan_text(imported, name=config.stem, source=f"{config.name}, imported {today}")
    _write(text, out)
    for each in imported.left_out:
        click.echo(f"not taken over: {config}, line {each.line}: {each.what}: {each.why}", err=True)
    _tell_odd_prices(maps)
    for offer_id in unpriced:
        click.echo(f"without a price: {offer_id}: give usd_per_mtok, or a price map with --prices", err=True)
    kept = f"{len(imported.offers)} offers taken over, {len(imported.left_out)} settings not, {len(unpriced)} unpriced"
    click.echo(f"{kept}{f'; written to {out}' if out else ''}", err=True)


def _import_prices(path: Path, provider: str | None, out: Path | None, today: str) -> None:
    maps = read_price_maps([path])
    (prices,) = maps.lists
    found, left_out = offers_of(prices, provider)
    dated = {"source": prices.name, "read_on": today}
    offers = [{**offer, "usd_per_mtok": {**_usd_per_mtok(listed.rates), **dated}} for offer, listed in found]
    imported = Imported(offers, ["price"], {}, {}, {}, [])
    _write(plan_text(imported, name=path.name.split(".")[0], source=f"{path.name}, imported {today}"), out)
    _tell_odd_prices(maps)
    for reason, number in left_out.items():
        click.echo(f"not taken over: {path}: {number} entries: {reason}", err=True)
    click.echo("not taken over: prices of images, audio and tools, of service tiers, dated changes", err=True)
    click.echo(f"{len(offers)} offers taken over{f'; written to {out}' if out else ''}", err=True)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text)
    elif out.exists():
        raise UsageError(f"{out} exists; choose another file with --out")
    else:
        out.write_text(text, encoding="utf-8")


def _tell_odd_prices(maps: PriceMap) -> None:
    for prices in maps.lists:
        for key in sorted(prices.refused):
            click.echo(f"not taken over: {prices.name}: {key}: its price is negative or no number", err=True)
        for key in sorted(prices.rounded):
            click.echo(f"rounded: {prices.name}: {key}: its price is no whole millionth of a USD per million", err=True)


def plan_text(imported: Imported, *, name: str, source: str) -> str:
    """The plan as TOML; `source` says where it is from."""
    lines = [
        f"# From {_one_line(source)}.",
        "# Add what answers ([replay] or [network]) and what is asked ([workload]).",
        "",
        f"name = {_toml(_short(name))}",
        f"strategies = {_toml(imported.strategies)}",
    ]
    for table, values in (("gateway", imported.gateway), ("routing", imported.routing)):
        if values:
            lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    for offer in imported.offers:
        lines += ["", "[[offers]]", *(f"{key} = {_toml(value)}" for key, value in offer.items())]
    if imported.key_variables:
        lines += ["", "[network]"]
        for host, variable in imported.key_variables.items():
            lines += [f"[network.hosts.{_toml(host)}]", f"key_env = {_toml(variable)}"]
    return "\n".join([*lines, ""])


def _priced(imported: Imported, prices: PriceMap, config: str, today: str) -> list[str]:
    """Gives offers without a price that of a map, and prices their source and date; ids of those that stay without."""
    unpriced = []
    for offer in imported.offers:
        if "usd_per_mtok" in offer:
            offer["usd_per_mtok"] |= {"source": config, "read_on": today}
            continue
        found = prices.find(offer["provider"], offer["upstream_model"])
        if found is None:
            unpriced.append(offer["id"])
        else:
            offer["usd_per_mtok"] = {**_usd_per_mtok(found[0].rates), "source": found[1], "read_on": today}
    return unpriced


def _usd_per_mtok(rates: Rates) -> dict[str, Any]:
    names = ("input", "output", "cached_input", "cache_write", "reasoning")
    known = {name: getattr(rates, name) for name in names}
    stated: dict[str, Any] = {name: Decimal(rate) / 1_000_000 for name, rate in known.items() if rate is not None}
    if rates.tiers:
        stated["tiers"] = [{"above": tier.above, **_usd_per_mtok(tier.rates)} for tier in rates.tiers]
    return stated


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings are TOML's, but for one character.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _short(name: str) -> str:
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in name)
    return kept.strip("-")[:64] or "imported"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
