"""A price book out of published price lists: every table that they state, dated by when each list was read.

A list says what held on the day it was read. Where lists of several days know a model, each holds from its day until
the next one's; the first also before, since nobody read an earlier price. Lists of one day are asked in order, and the
first that has a price for a model states all of it: no row mixes two sources. What was odd comes back beside the book.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from clawbench.billing.listed_figures import Figures, PublishedRows, Rounding
from clawbench.billing.listed_litellm import LiteLLMRows
from clawbench.billing.listed_others import CatwalkRows, GenaiRows, OpenRouterRows
from clawbench.billing.price_book import BadPriceBook, PriceBook, Tariff
from clawbench.catalog.genai_prices import GenaiPrices
from clawbench.catalog.listed import PriceList
from clawbench.catalog.litellm_prices import LiteLLMPrices
from clawbench.catalog.openrouter_prices import OpenRouterPrices

_DATE: Final = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d|[01]\d[0-3]\d)$")
"""The day behind a served model's name."""


class Listing(Struct, frozen=True):
    """A list and the day (YYYY-MM-DD, UTC) from which it is taken to hold; null: from the beginning."""

    rows: PublishedRows
    since: str | None = None


class ListedBook(Struct, frozen=True, kw_only=True):
    """The book, and by the name of each figure what of the lists is not in it, or not as it was written.

    `dust`: amounts that are no whole pico-USD a token, left out or rounded as was asked; `refused`: no prices;
    `unread`: conditions that no row can hold; `unknown`: the models that no list has a price for.
    """

    book: PriceBook
    dust: dict[str, str]
    refused: dict[str, str]
    unread: dict[str, str]
    unknown: tuple[tuple[str, str], ...]


def rows_of(prices: PriceList) -> PublishedRows:
    """A list that was read for its base rates, read for all of its tables. Raises `BadPriceBook` for another kind."""
    if isinstance(prices, LiteLLMPrices):
        return LiteLLMRows(prices)
    if isinstance(prices, GenaiPrices):
        return GenaiRows(prices)
    if isinstance(prices, OpenRouterPrices):
        return OpenRouterRows(prices)
    raise BadPriceBook(
        f"{prices.name}: no list of a known kind; LiteLLM's, genai-prices' and OpenRouter's are read in full"
    )


def read_catwalk(folder: Path) -> CatwalkRows:
    """catwalk's provider files in a folder. Raises `BadPriceBook`."""
    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_bytes(), parse_float=str, parse_constant=str)
            files[content["id"]] = content
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise BadPriceBook(f"{path}: no provider file of catwalk's: {error}") from None
    return CatwalkRows(folder.name, files)


def listed_book(
    listings: Sequence[Listing], served: Iterable[tuple[str, str]], *, rounding: Rounding = "refuse"
) -> ListedBook:
    """The book of these (provider, served model) pairs. Raises `BadPriceBook` for rows that cannot stand together."""
    figures = Figures(rounding)
    tariffs: list[Tariff] = []
    unknown: list[tuple[str, str]] = []
    for provider, model in dict.fromkeys(served):
        rows = _timeline(listings, provider, model, figures)
        tariffs += rows
        if not rows:
            unknown.append((provider, model))
    return ListedBook(
        book=PriceBook(tariffs),
        dust=figures.dust,
        refused=figures.refused,
        unread=figures.unread,
        unknown=tuple(unknown),
    )


def _timeline(listings: Sequence[Listing], provider: str, model: str, figures: Figures) -> list[Tariff]:
    known: dict[str | None, list[Tariff]] = {}
    for since in dict.fromkeys(each.since for each in listings):
        for listing in listings:
            if listing.since == since and (rows := _tariffs(listing.rows, provider, model, figures)):
                known[since] = [structs.replace(row, read_on=row.read_on or since or "") for row in rows]
                break
    days = sorted(known, key=lambda since: since or "")
    same: set[str | None] = set()
    for earlier, later in reversed(list(pairwise(days))):
        if _agree(known[earlier], known[later]):  # nothing changed in between: the later list may know more
            known[earlier] = [structs.replace(row, read_on=known[earlier][0].read_on) for row in known[later]]
            same.add(later)
    days = [since for since in days if since not in same]
    found: list[Tariff] = []
    for place, since in enumerate(days):
        start = None if place == 0 or since is None else f"{since}T00:00:00Z"
        end = f"{days[place + 1]}T00:00:00Z" if place + 1 < len(days) else None
        found += [clipped for row in known[since] if (clipped := _clipped(row, start, end)) is not None]
    return found


def _tariffs(rows: PublishedRows, provider: str, model: str, figures: Figures) -> list[Tariff]:
    """By the served name, else by the name that a date was put behind."""
    for name in dict.fromkeys((model, _DATE.sub("", model))):
        found = rows.tariffs(provider, name, figures)
        if found:
            return [structs.replace(row, models=(model,)) for row in found]
    return []


def _agree(earlier: list[Tariff], later: list[Tariff]) -> bool:
    """Whether a later reading states what an earlier one did, as far as that went."""
    return len(earlier) == len(later) == 1 and all(
        later[0].rates.get(bucket) == rate for bucket, rate in earlier[0].rates.items()
    )


def _clipped(row: Tariff, start: str | None, end: str | None) -> Tariff | None:
    """The part of a row that lies within a span; instants are written alike, so their texts compare."""
    begins = max(filter(None, (row.valid_from, start)), default=None)
    stops = min(filter(None, (row.valid_to, end)), default=None)
    if begins is not None and stops is not None and begins >= stops:
        return None
    return structs.replace(row, valid_from=begins, valid_to=stops)
