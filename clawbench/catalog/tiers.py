"""Prices by the length of the prompt: which of an offer's rates are in force, and rates of what lists state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from clawbench.types import Rates, Tier

INCLUSIVE_THRESHOLDS: Final = frozenset({"xai"})
"""Providers whose long-context prices begin *at* the threshold; everybody else's begin above it."""

Figures = dict[str, int | None]
"""Rates by their name in `Rates`, in pico-USD a token; None or absent: not stated."""


def rates_at(rates: Rates, prompt_tokens: int) -> Rates:
    """The rates of a request with a prompt of so many tokens, caches included."""
    for tier in rates.tiers:
        if prompt_tokens > tier.above:
            return tier.rates
    return rates


def above(threshold: int, provider: str) -> int:
    """The longest prompt that is still below a threshold which a list states for a provider."""
    return threshold - 1 if provider in INCLUSIVE_THRESHOLDS else threshold


def tiered(base: Figures, tiers: Mapping[int, Figures]) -> Rates | None:
    """Rates of a list's figures; `tiers` by the longest prompt that is still below them. None without input and output.

    What a tier does not say of input and output stays as it is below.
    """
    rates = _rates(base)
    if rates is None:
        return None
    found = []
    for longest in sorted(tiers, reverse=True):
        below: Figures = {"input": rates.input, "output": rates.output}
        of = _rates(below | {name: rate for name, rate in tiers[longest].items() if rate is not None})
        if of is not None and longest > 0:
            found.append(Tier(above=longest, rates=of))
    return structs.replace(rates, tiers=tuple(found)) if found else rates


def _rates(figures: Figures) -> Rates | None:
    rate_in, rate_out = figures.get("input"), figures.get("output")
    if rate_in is None or rate_out is None:
        return None
    return Rates(
        input=rate_in,
        output=rate_out,
        cached_input=figures.get("cached_input"),
        cache_write=figures.get("cache_write"),
        reasoning=figures.get("reasoning"),
    )
