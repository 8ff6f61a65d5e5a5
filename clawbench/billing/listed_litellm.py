"""LiteLLM's price map as rows of a price book: all of an entry's tables, not its base rates alone.

A key says bucket, threshold and tier in its name: `cache_read_input_token_cost_above_200k_tokens_priority`. A table of
a higher threshold or another tier is complete: what the map does not state there has no price there. Reasoning is
output unless the map prices it apart. Sizes, seconds and pixels are no buckets of ours and stay out.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import structs

from clawbench.billing.listed_figures import Figures
from clawbench.billing.price_book import Tariff
from clawbench.billing.price_tables import LongContext, ServiceTable, Window
from clawbench.billing.published import fees_of
from clawbench.catalog.litellm_prices import LiteLLMPrices
from clawbench.catalog.tiers import INCLUSIVE_THRESHOLDS

_BUCKETS: Final = {
    "input_cost_per_token": "uncached_input",
    "input_cost_per_token_cache_hit": "cache_read",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_in",
    "cache_read_input_audio_token_cost": "audio_cache_read",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_token": "output_text",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "audio_out",
    "output_cost_per_image_token": "image_out",
    "citation_cost_per_token": "citation",
}
_KEY: Final = re.compile(
    r"(?P<what>[a-z0-9_]+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<tier>flex|priority|batches|ultrafast|balanced))?"
)
_TIERS: Final = {None: "", "batches": "batch"}
_SIZES: Final = ("low", "medium", "high")

Slots = dict[tuple[str, int], dict[str, int]]
"""Rates by bucket of each (service tier, threshold in tokens); "" and 0 are the base."""


class LiteLLMRows:
    """The map's entries as tariffs."""

    def __init__(self, prices: LiteLLMPrices) -> None:
        self.name, self._prices = prices.name, prices

    def tariffs(self, provider: str, model: str, figures: Figures) -> list[Tariff]:
        """See `PublishedRows`."""
        for key, entry in self._prices.entries(provider, model):
            slots = _slots(key, entry, figures)
            base = slots.get(("", 0), {})
            if "uncached_input" not in base or "output_text" not in base:
                continue
            windows = _windows(key, entry, figures)
            if windows is None:
                continue
            tiers = sorted({tier for tier, _ in slots if tier})
            return [
                Tariff(
                    provider=provider,
                    models=(model,),
                    rates=base,
                    source=f"{self.name}: {key}",
                    tiers=_long(slots, "", provider),
                    windows=windows,
                    service_tiers={
                        tier: ServiceTable(rates=slots.get((tier, 0), {}), tiers=_long(slots, tier, provider))
                        for tier in tiers
                    },
                    multipliers=_multipliers(entry),
                    fees=fees_of(provider) | _fees(key, entry, provider, figures),
                    context_tokens=_size(entry.get("max_input_tokens")),
                    output_tokens_max=_size(entry.get("max_output_tokens")),
                )
            ]
        return []


def _slots(key: str, entry: dict[str, Any], figures: Figures) -> Slots:
    slots: Slots = {}
    for name, stated in entry.items():
        found = _KEY.fullmatch(name)
        bucket = _BUCKETS.get(name) or (_BUCKETS.get(found["what"]) if found else None)
        if bucket is None or found is None:
            continue
        rate = figures.pico(f"{key}.{name}", stated)
        if rate is not None:
            threshold = int(found["thousands"] or 0) * 1000
            tier = found["tier"]
            slots.setdefault((_TIERS.get(tier, tier or ""), threshold), {}).setdefault(bucket, rate)
    ranges = entry.get("tiered_pricing")
    for each in ranges if type(ranges) is list else ():
        limits = each.get("range") if type(each) is dict else None
        if type(limits) is not list or not limits:
            continue
        slot = slots.setdefault(("", int(float(limits[0]))), {})
        for name, bucket in _BUCKETS.items():
            rate = figures.pico(f"{key}.tiered_pricing[{limits[0]}].{name}", each.get(name))
            if rate is not None:
                slot.setdefault(bucket, rate)
    base = slots.get(("", 0), {})
    apart = base.get("reasoning", base.get("output_text")) != base.get("output_text")
    for place, slot in slots.items():
        if "output_text" in slot and not (apart and place != ("", 0)):
            slot.setdefault("reasoning", slot["output_text"])
    return slots


def _long(slots: Slots, tier: str, provider: str) -> tuple[LongContext, ...]:
    return tuple(
        LongContext(threshold=threshold, inclusive=provider in INCLUSIVE_THRESHOLDS, rates=rates)
        for (of_tier, threshold), rates in sorted(slots.items())
        if of_tier == tier and threshold
    )


def _windows(key: str, entry: dict[str, Any], figures: Figures) -> tuple[Window, ...] | None:
    """Off-peak tables; None where the map states them in a way that cannot be kept, which leaves no price at all."""
    off = entry.get("off_peak_pricing")
    if off is None:
        return ()
    if type(off) is not dict or "weekday_timezone" in off:
        figures.unread[f"{key}.off_peak_pricing"] = "times of day in another zone than UTC"
        return None
    rates = _slots(f"{key}.off_peak_pricing", off, figures).get(("", 0), {})
    found: list[Window] = []
    for each in off.get("windows", ()):
        hours = each.get("hours_utc")
        for span in [hours] if type(hours) is str else hours:
            start, _, end = span.partition("-")
            window = Window(days=tuple(each["weekdays"]), start=start, end=end, rates=rates)
            found.append(structs.replace(window, end="24:00") if end == "00:00" else window)
    return tuple(found)


def _multipliers(entry: dict[str, Any]) -> dict[str, str]:
    """The map writes the region and the speed by their bare words."""
    stated = entry.get("provider_specific_entry")
    named = {"us": "inference_geo_us", "eu": "inference_geo_eu", "fast": "fast"}
    if type(stated) is not dict:
        return {}
    return {ours: str(stated[theirs]) for theirs, ours in named.items() if theirs in stated}


def _fees(key: str, entry: dict[str, Any], provider: str, figures: Figures) -> dict[str, int]:
    """What the map calls a search's cost: by the request at Perplexity, by the prompt or the query at Google."""
    stated = entry.get("search_context_cost_per_query")
    if type(stated) is not dict:
        return {}
    by_size: dict[str, int] = {}
    for size in _SIZES:
        fee = figures.pico(
            f"{key}.search_context_cost_per_query.{size}", stated.get(f"search_context_size_{size}"), per=1
        )
        if fee is not None:
            by_size[size] = fee
    same = next(iter(by_size.values())) if len(set(by_size.values())) == 1 else None
    if provider == "perplexity":
        if same is not None:
            return {"search_query": same}
        return {f"request_{size}": fee for size, fee in by_size.items()}
    if same is None:
        return {}
    if provider in ("gemini", "vertex"):
        by_query = entry.get("web_search_billing_unit") == "per_query"
        return {"google_search_query" if by_query else "google_search_prompt": same}
    return {"web_search": same}


def _size(stated: Any) -> int | None:
    return stated if type(stated) is int and stated > 0 else None
