"""Offers made of recordings: every (host, path prefix, model) that was recorded answering becomes one.

Prices come from price maps; what no map knows stays unknown. Profiles come from the plan, by provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from clawbench.cassettes.entry import Entry
from clawbench.catalog.price_maps import PriceMap
from clawbench.catalog.providers import base_url_of, provider_of
from clawbench.types import LatencyProfile, Offer
from clawbench.wires import READ_ONLY

DEFAULT_PROFILE = "default"

# Where an address ends that a dialect's wire completes by itself.
_ENDS = {
    "anthropic": re.compile(r"/messages/?$"),
    "bedrock_anthropic": re.compile(r"/model/[^/]+/invoke[a-z-]*$"),
    "bedrock_converse": re.compile(r"/model/[^/]+/converse[a-z-]*$"),
    "cohere": re.compile(r"/v2/chat/?$"),
    "gemini": re.compile(r"/(?:publishers/google/)?models/[^/]+:[A-Za-z]+$"),
    "ollama": re.compile(r"/api/chat/?$"),
    "openai_responses": re.compile(r"/responses/?$"),
}


def offers_of_recordings(
    entries: Iterable[Entry],
    prices: PriceMap,
    profiles: Mapping[str, LatencyProfile],
    *,
    taken: Iterable[Offer] = (),
) -> list[Offer]:
    """Offers in order of provider, model and address, those that `taken` serves already left out.

    `profiles` by provider, with "default" for the others. Names of models that differ in case only are one model.
    """
    served = {(offer.base_url, offer.upstream_model) for offer in taken}
    found: dict[tuple[str, str], str] = {}
    for entry in entries:
        if entry.is_success and entry.dialect not in READ_ONLY:
            address = (base_of(entry), entry.upstream_model)
            if address not in served:
                found.setdefault(address, entry.dialect)
    ids = {offer.id for offer in taken}
    names = {offer.model.casefold(): offer.model for offer in taken}
    offers = []
    for provider, upstream_model, base_url in sorted((provider_of(url), model, url) for url, model in found):
        model = names.setdefault(upstream_model.casefold(), upstream_model)
        listed = prices.find(provider, upstream_model)
        offers.append(
            Offer(
                id=_fresh(_printable(f"{provider}/{upstream_model}"), ids),
                provider=provider,
                model=model,
                upstream_model=upstream_model,
                base_url=base_url,
                dialect=found[base_url, upstream_model],
                rates=listed[0].rates if listed else None,
                price_source=listed[1] if listed else None,
                profile=profiles.get(provider, profiles.get(DEFAULT_PROFILE)),
            )
        )
    return offers


def base_of(entry: Entry) -> str:
    """The offer's base URL: the recorded address without what the dialect's wire puts behind it."""
    end = _ENDS.get(entry.dialect)
    return base_url_of(entry.url) if end is None else end.sub("", entry.url)


def _fresh(wanted: str, ids: set[str]) -> str:
    """`wanted`, or with `:2`, `:3`, … where one provider has the model at several addresses."""
    number, offer_id = 1, wanted
    while offer_id in ids:
        number += 1
        offer_id = f"{wanted}:{number}"
    ids.add(offer_id)
    return offer_id


def _printable(text: str) -> str:
    """Ids go into response headers: whatever a foreign file names its model."""
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in text)
