"""What lists of prices say of a plan's offers: what recorded ones are billed by, and at which rates all are weighed.

Recorded offers are billed by every table of the lists that the plan names, not by base rates alone: their rows stand
under the offer's own id, for its own model and for each name by which the recordings say that it answered. What no
list knows stays without a price, and is quarantined when it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from clawbench.billing.listed_book import Listing, listed_book, rows_of
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.price_book import Tariff
from clawbench.cassettes import formats
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.store import CassetteStore
from clawbench.catalog.price_maps import PriceMap
from clawbench.catalog.tiers import Figures, tiered
from clawbench.errors import CassetteError
from clawbench.experiments.recorded_offers import base_of
from clawbench.types import Offer, Rates

_MODEL = re.compile(rb'"(?:model|modelVersion)"\s*:\s*"([^"\\*?\x00-\x1f]{1,200})"')
"""How replies name the model that answered. A name that none answered by adds a row that nothing selects."""

_BUCKETS = {
    "input": "uncached_input",
    "output": "output_text",
    "cached_input": "cache_read",
    "cache_write": "cache_write_5m",
    "reasoning": "reasoning",
}
"""Rates of an offer and the buckets of a price book that they stand for."""


class ListedPrices(Struct, frozen=True, kw_only=True):
    """Rows by offer id, and by the name of each figure what of the lists is in none; see `billing/listed_book.py`."""

    rows: dict[str, tuple[Tariff, ...]] = {}
    rounded: dict[str, str] = {}
    left_out: dict[str, str] = {}


def listed_prices(
    offers: Sequence[Offer], names: Mapping[str, Iterable[str]], prices: PriceMap, read_on: Sequence[str | None]
) -> ListedPrices:
    """The lists' rows of these offers; `names` by offer id are those that it may be served under beside its own.

    `read_on` runs parallel to the lists: the day of each (YYYY-MM-DD), None: its prices have always held. Rates that
    are no whole pico-USD a token are taken at the nearest one, as everywhere in a plan. Raises `BadPriceBook` for a
    list that states two prices for one thing.
    """
    wanted = {offer.id: tuple(dict.fromkeys((offer.upstream_model, *names.get(offer.id, ())))) for offer in offers}
    served = [(offer.provider, name) for offer in offers for name in wanted[offer.id]]
    listings = [Listing(rows_of(each), day) for each, day in zip(prices.lists, read_on, strict=True)]
    listed = listed_book(listings, served, rounding="nearest")
    known: dict[tuple[str, str], list[Tariff]] = {}
    for row in listed.book.rows:
        known.setdefault((row.provider, row.models[0]), []).append(row)
    found = {
        offer.id: tuple(
            structs.replace(row, provider=offer.id)
            for name in wanted[offer.id]
            for row in known.get((offer.provider, name), ())
        )
        for offer in offers
    }
    return ListedPrices(
        rows={offer_id: rows for offer_id, rows in found.items() if rows},
        rounded=listed.dust,
        left_out={**listed.refused, **listed.unread},
    )


def weighed(offers: Iterable[Offer], prices: OfferPrices, *, at_s: float) -> list[Offer]:
    """The offers as strategies weigh them: where the plan's price book has a row, at its rates, as they are billed.

    Those in force at `at_s` (Unix seconds) for the usual tier of service, outside windows; without both rates, None.
    """

    def at_its_row(offer: Offer) -> Offer:
        row = prices.row(offer, at_s=at_s)
        if row is None or row.tariff.provider == offer.id:  # without a price, or with its own
            return offer
        return structs.replace(offer, rates=_rates_of(row.tariff))

    return [at_its_row(offer) for offer in offers]


def _rates_of(row: Tariff) -> Rates | None:
    tiers = {tier.threshold - tier.inclusive: _figures(tier.rates) for tier in row.tiers}
    return tiered(_figures(row.rates), tiers)


def _figures(rates: Mapping[str, int]) -> Figures:
    return {name: rates.get(bucket) for name, bucket in _BUCKETS.items()}


def recorded_list(path: Path, raw: bytes) -> bytes:
    """The body of the first recorded answer that is JSON, of a file that is a cassette; else the bytes themselves.

    OpenRouter's prices are what `GET /api/v1/models` answers: a recording of that call is a list with its day.
    """
    if raw.lstrip()[:1] in (b"{", b"["):
        return raw
    try:
        for each in formats.opened(raw, path.name).read():
            if isinstance(each, Interaction) and each.status < 400 and each.body.lstrip()[:1] == b"{":
                return each.body
    except CassetteError:
        pass
    return raw


def served_names(opened: CassetteStore, offers: Iterable[Offer]) -> dict[str, list[str]]:
    """By offer id: the names by which its recorded answers say what answered, in the order of the recordings."""
    of_address = {(offer.base_url, offer.upstream_model): offer.id for offer in offers}
    found: dict[str, dict[str, None]] = {}
    for entry in opened.entries:
        if entry.is_success and (offer_id := of_address.get((base_of(entry), entry.upstream_model))) is not None:
            for name in _MODEL.findall(opened.body(entry)):
                found.setdefault(offer_id, {})[name.decode("utf-8", "replace")] = None
    return {offer_id: list(names) for offer_id, names in found.items()}
