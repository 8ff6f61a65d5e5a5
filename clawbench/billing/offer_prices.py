"""Prices by offer: the price book that a gateway bills by, and which of its rows a served answer belongs to.

Built from the catalog's offers and, beside them, a price book of published rows (by provider and model), which goes
first: it knows tiers, windows and fees that an offer's few rates do not. An offer may have rows of its own in their
place. The served model decides, not the one that was asked for. A dated or prefixed name of the offer's model is that
model, unless that very name has a row; any other name has the price of the provider's offer or row of that name, and
without one it has no price. Knows no usage and no ledger.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from clawbench.billing.charge import Served
from clawbench.billing.price_book import CompiledRow, PriceBook, Tariff, instant
from clawbench.billing.price_tables import LongContext
from clawbench.types import Offer, Rates

_SUFFIX: Final = re.compile(
    r"[-@:_](?:latest|free|\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{6}|\d{4}|0\d{2}|v\d+(?::\d+)?)$"
)
"""What a name of a model says of its version: `-2024-08-06`, `-20241022`, `-0613`, `-latest`, `-v1:0`."""

_PREFIX: Final = re.compile(
    r"^(?:(?:us|eu|apac|jp|au|ca|global)\.)?(?:anthropic|amazon|openai|meta|mistral|cohere|deepseek)\."
)
"""What Bedrock puts before a name: the region and the vendor."""

_RESOLVED_MAX: Final = 4096


class OfferPrices:
    """The price book of a catalog, looked up by offer and served model. `at_s` everywhere is Unix seconds."""

    __slots__ = ("_by_stem", "_listed", "_offers", "_resolved", "_turns_s", "book")

    def __init__(
        self,
        offers: Iterable[Offer],
        listed: Iterable[Tariff] = (),
        rows_of: Mapping[str, Sequence[Tariff]] = MappingProxyType({}),
    ) -> None:
        """`rows_of` has by an offer's id the rows that stand in for its rates, with that id as their provider.

        Raises `BadPriceBook` for rows that could be read in two ways.
        """
        self._offers = {offer.id: offer for offer in offers}
        rows = tuple(listed)
        self._listed = frozenset(row.provider for row in rows)
        own: list[Tariff] = []
        for offer in self._offers.values():
            if offer.id in rows_of:
                own += rows_of[offer.id]
            elif offer.rates is not None:
                own.append(tariff_of(offer, offer.rates))
        priced = {(row.provider, name) for row in own for name in row.models}
        self.book = PriceBook([*rows, *own])
        self._by_stem: dict[tuple[str, str], Offer] = {}
        for offer in self._offers.values():
            if (offer.id, offer.upstream_model) in priced:
                for name in (offer.upstream_model, offer.model):
                    self._by_stem.setdefault((offer.provider, stem(name)), offer)
        self._resolved: dict[tuple[str, str | None, int], tuple[str, str]] = {}
        ends = [end for row in self.book.rows for end in (row.valid_from, row.valid_to) if end is not None]
        self._turns_s = sorted({instant(end) for end in ends})

    def served(self, offer: Offer, model: str | None, *, at_s: float, service_tier: str | None = None) -> Served:
        """What selects the price of an answer of this offer; `model` as the provider named it, None: it did not."""
        provider, name = self._row_of(offer, model, at_s)
        return Served(provider=provider, model=name, at_s=at_s, service_tier=service_tier)

    def row(self, offer: Offer, *, at_s: float) -> CompiledRow | None:
        """The row of an offer's own model at an instant; None: it has no price."""
        provider, name = self._row_of(offer, None, at_s)
        return self.book.row(provider, name, at_s)

    def era(self, at_s: float) -> int:
        """Which rows are in force: at instants of the same number, the same."""
        return bisect_right(self._turns_s, at_s)

    def _row_of(self, offer: Offer, model: str | None, at_s: float) -> tuple[str, str]:
        key = (offer.id, model, self.era(at_s))
        found = self._resolved.get(key)
        if found is None:
            found = self._resolve(offer, model, at_s)
            if len(self._resolved) >= _RESOLVED_MAX:  # names come from replies: they must not fill the memory
                self._resolved.clear()
            self._resolved[key] = found
        return found

    def _resolve(self, offer: Offer, model: str | None, at_s: float) -> tuple[str, str]:
        """(provider, model) under which the book has the price; (the offer's id, the name) where it has none."""
        is_own = model is None or stem(model) in (stem(offer.upstream_model), stem(offer.model))
        names = dict.fromkeys(name for name in (model, offer.upstream_model if is_own else None) if name)
        if offer.provider in self._listed:
            for name in names:
                for spelled in dict.fromkeys((name, name.rpartition("/")[2])):
                    if self.book.row(offer.provider, spelled, at_s) is not None:
                        return offer.provider, spelled
        if model is not None and self.book.row(offer.id, model, at_s) is not None:
            return offer.id, model
        if is_own:
            return offer.id, offer.upstream_model
        assert model is not None
        other = self._by_stem.get((offer.provider, stem(model)))
        return (offer.id, model) if other is None else (other.id, other.upstream_model)


def stem(model: str) -> str:
    """A model's name without case, path and version: what dated and undated names of one model have in common."""
    name = _PREFIX.sub("", model.casefold().rpartition("/")[2])
    while (shorter := _SUFFIX.sub("", name)) != name and shorter:
        name = shorter
    return name


def tariff_of(offer: Offer, rates: Rates) -> Tariff:
    """An offer's few rates as a row of the price book, under the offer's id.

    What `Rates` documents as charged at the rate of what it is part of gets that rate, in so many figures: the row is
    complete, and nothing is derived when it is applied. A cache write for an hour has a price of its own
    or none, unless writes cost what input costs; audio and images have none.
    """
    return Tariff(
        provider=offer.id,
        models=(offer.upstream_model,),
        rates=_by_bucket(rates),
        source=offer.price_source or "",
        tiers=tuple(
            LongContext(threshold=tier.above, inclusive=False, rates=_by_bucket(tier.rates)) for tier in rates.tiers
        ),
        context_tokens=offer.context_window,
        output_tokens_max=offer.max_output_tokens,
    )


def _by_bucket(rates: Rates) -> dict[str, int]:
    in_rate, out_rate, write = rates.input, rates.output, rates.cache_write
    stated = {
        "uncached_input": in_rate,
        "cache_read": in_rate if rates.cached_input is None else rates.cached_input,
        "cache_write_5m": in_rate if write is None else write,
        "output_text": out_rate,
        "reasoning": out_rate if rates.reasoning is None else rates.reasoning,
    }
    if write is None:
        stated["cache_write_1h"] = in_rate
    return stated
