"""A price map as a plan: an offer for every model that it prices at a provider whose address is known.

What the maps hold beyond that (images, embeddings, other companies, prices that are none) is counted by reason.
"""

from __future__ import annotations

from typing import Any

from clawbench.catalog.listed import Listed, PriceList
from clawbench.catalog.litellm_config import PROVIDERS
from clawbench.errors import PlanError


def offers_of(prices: PriceList, wanted: str | None) -> tuple[list[tuple[dict[str, Any], Listed]], dict[str, int]]:
    """(offers without their price, each with its listing; how many entries were left out, by reason).

    `wanted` is a provider by our name or LiteLLM's; None: all with an address. Raises `PlanError` where none is left.
    """
    addresses = {provider: (base, dialect) for provider, base, dialect in PROVIDERS.values() if base}
    names = {
        **{provider: provider for provider in addresses},
        **{key: row[0] for key, row in PROVIDERS.items() if row[1]},
    }
    if wanted is not None and wanted not in names:
        raise PlanError(f'provider "{wanted}" is not known here. Known: {", ".join(sorted(addresses))}')
    chosen = sorted(addresses) if wanted is None else [names[wanted]]
    offers: dict[str, tuple[dict[str, Any], Listed]] = {}
    unpriced = 0
    for provider in chosen:
        base_url, dialect = addresses[provider]
        for model in prices.models(provider):
            listed = prices.find(provider, model)
            if listed is None:
                unpriced += 1
                continue
            offer = {
                "id": f"{provider}/{model}",
                "provider": provider,
                "model": model,
                "base_url": base_url,
                "dialect": dialect,
                "context_window": listed.context_window,
                "max_output_tokens": listed.max_output_tokens,
            }
            known = {key: value for key, value in offer.items() if value is not None}
            if f"{provider}/{model}".isascii():
                offers.setdefault(f"{provider}/{model}", (known, listed))
    if not offers:
        raise PlanError(f"{prices.name} prices no model of {wanted or 'any provider that is known here'}")
    others = prices.count() - len(offers) - unpriced
    return list(offers.values()), {
        "no usable price, or none for both directions": unpriced,
        "of other providers, no chat model, or the same again": max(others, 0),
    }
