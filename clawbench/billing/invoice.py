"""A provider's invoice as CSV, and a small TOML file that says how its columns and names are ours.

| column | value |
|---|---|
| `provider` | our name of it; may stand in the mapping instead |
| `period_start`, `period_end` | UTC days or instants at midnight, half-open; see `period_end` of the mapping |
| `model`, `service_tier`, `meter` | what the line is for; empty or absent: all. A meter is a bucket or a kind of fee |
| `quantity` | tokens or uses, a whole number; empty or absent: not stated |
| `cost_usd` | decimal text; how it is rounded is read from its digits |
| `currency` | `USD`, nothing else |

    provider = "anthropic"          # where the file has no such column
    period_end = "inclusive"        # the last day belongs to the period; "exclusive" is how it is read without this
    quantity_unit = 1000            # one of `quantity` is so many tokens
    ignore = ["Invoice", "Region"]  # columns that say nothing here
    [columns]
    cost_usd = "Amount"             # our name = theirs
    [models]
    "Claude Sonnet 4.5" = "claude-sonnet-4-5"    # theirs = ours; so too [meters], [tiers] and [providers]
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from clawbench.errors import UsageError, did_you_mean
from clawbench.money import NotMoney, decimal

COLUMNS: Final = (
    "provider", "period_start", "period_end", "model", "service_tier", "meter", "quantity", "cost_usd", "currency",
)  # fmt: skip
_NEEDED: Final = ("provider", "period_start", "period_end", "cost_usd")
_RENAMED: Final = {"provider": "providers", "model": "models", "service_tier": "tiers", "meter": "meters"}
_LINES_MAX: Final = 1_000_000


class BadInvoice(UsageError):
    """An invoice or its mapping that cannot be read; the message names file, line and column."""


class Mapped(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mapping file; see above."""

    provider: str = ""
    period_end: Literal["exclusive", "inclusive"] = "exclusive"
    quantity_unit: int = 1
    ignore: tuple[str, ...] = ()
    columns: dict[str, str] = {}
    providers: dict[str, str] = {}
    models: dict[str, str] = {}
    meters: dict[str, str] = {}
    tiers: dict[str, str] = {}


class InvoiceLine(Struct, frozen=True, kw_only=True):
    """One line. `within_usd` is half of its last digit; `quantity` None: not stated. Days are half-open."""

    line: int
    provider: str
    first: date
    end: date
    model: str = ""
    service_tier: str = ""
    meter: str = ""
    quantity: int | None = None
    usd: Fraction
    within_usd: Fraction


def read_mapping(path: Path) -> Mapped:
    """Raises `BadInvoice`."""
    try:
        mapped = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Mapped)
    except OSError as error:
        raise BadInvoice(f"{path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:  # TOML, text and structure alike
        raise BadInvoice(f"{path} is no mapping of an invoice: {error}") from None
    for name in mapped.columns:
        if name not in COLUMNS:
            raise BadInvoice(
                f"{path}: [columns] names {name!r}.{did_you_mean(name, COLUMNS)} Known: {', '.join(COLUMNS)}"
            )
    if mapped.quantity_unit < 1:
        raise BadInvoice(f"{path}: quantity_unit is {mapped.quantity_unit}; it is at least 1")
    return mapped


def read_invoice(path: Path, mapped: Mapped | None = None) -> list[InvoiceLine]:
    """Every line, in order. Raises `BadInvoice`, which names the first line and column that cannot be read."""
    mapped = mapped or Mapped()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_lines(path, csv.reader(file, strict=True), mapped))
    except OSError as error:
        raise BadInvoice(f"{path} cannot be read: {error}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInvoice(f"{path} is no CSV file in UTF-8: {error}") from None


def _lines(path: Path, rows: Any, mapped: Mapped) -> Iterator[InvoiceLine]:
    header = next(rows, None)
    if not header:
        raise BadInvoice(f"{path} is empty; its first line names the columns: {', '.join(COLUMNS)}")
    places = _places(path, [name.strip() for name in header], mapped)
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise BadInvoice(f"{path} line {rows.line_num}: {len(row)} cells, and there are {len(header)} columns")
        if rows.line_num > _LINES_MAX:
            raise BadInvoice(f"{path} line {rows.line_num}: an invoice has at most {_LINES_MAX:,} lines")
        yield _line(path, rows.line_num, {name: row[place].strip() for name, place in places.items()}, mapped)


def _places(path: Path, header: list[str], mapped: Mapped) -> dict[str, int]:
    """Our columns' places in the file."""
    theirs = {name: ours for ours, name in mapped.columns.items()}
    places: dict[str, int] = {}
    for place, name in enumerate(header):
        if name in mapped.ignore:
            continue
        ours = theirs.get(name, name)
        if ours not in COLUMNS or (ours == name and name in mapped.columns and mapped.columns[name] != name):
            raise BadInvoice(
                f"{path} line 1: column {name!r} is not known.{did_you_mean(name, COLUMNS)} "
                f"Known: {', '.join(COLUMNS)}. Name it in --map under [columns], or under ignore."
            )
        if ours in places:
            raise BadInvoice(f"{path} line 1: column {ours!r} is there twice")
        places[ours] = place
    for name in _NEEDED:
        if name not in places and not (name == "provider" and mapped.provider):
            raise BadInvoice(f"{path} line 1: column {mapped.columns.get(name, name)!r} is missing")
    return places


def _line(path: Path, number: int, cells: Mapping[str, str], mapped: Mapped) -> InvoiceLine:
    def bad(column: str, why: str) -> BadInvoice:
        return BadInvoice(f"{path} line {number}, column {mapped.columns.get(column, column)!r}: {why}")

    if cells.get("currency", "USD").upper() not in ("USD", ""):
        raise bad("currency", f"{cells['currency']!r}: only amounts in USD can be compared; convert the invoice first")
    names = {
        ours: getattr(mapped, table).get(cells.get(ours, ""), cells.get(ours, "")) for ours, table in _RENAMED.items()
    }
    provider = names["provider"] or mapped.provider
    if not provider:
        raise bad("provider", "it is empty")
    days: dict[str, date] = {}
    for column in ("period_start", "period_end"):
        try:
            days[column] = _day(cells[column])
        except ValueError as error:
            raise bad(column, f"{cells[column]!r} is no day: {error}") from None
    first, end = days["period_start"], days["period_end"]
    if mapped.period_end == "inclusive":
        end += timedelta(days=1)
    if end <= first:
        why = f"the period from {first} to {end} is empty; where the last day belongs to it, --map says period_end"
        raise bad("period_end", f'{why} = "inclusive"')
    try:
        usd = decimal(cells["cost_usd"])
    except NotMoney as error:
        raise bad("cost_usd", str(error)) from None
    quantity = None
    if cells.get("quantity"):
        quantity = _quantity(cells["quantity"], mapped.quantity_unit)
        if quantity is None:
            raise bad("quantity", f"{cells['quantity']!r} is no whole number of tokens or uses from 0 up")
    return InvoiceLine(
        line=number,
        provider=provider,
        first=first,
        end=end,
        model=names["model"],
        service_tier=names["service_tier"],
        meter=names["meter"],
        quantity=quantity,
        usd=Fraction(usd),
        within_usd=_half_digit(usd),
    )


def _day(text: str) -> date:
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    if found != datetime(found.year, found.month, found.day):  # noqa: DTZ001  (a day of UTC by now)
        raise ValueError("it is not midnight, UTC")
    return found.date()


def _quantity(text: str, unit: int) -> int | None:
    try:
        whole = Fraction(decimal(text)) * unit
    except NotMoney:
        return None
    return int(whole) if whole.denominator == 1 and whole >= 0 else None


def _half_digit(usd: Decimal) -> Fraction:
    exponent = usd.as_tuple().exponent
    return Fraction(10) ** min(int(exponent), 0) / 2
