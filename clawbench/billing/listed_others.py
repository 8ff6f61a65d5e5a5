"""genai-prices, OpenRouter's model list and catwalk's provider files as rows of a price book.

genai-prices has dated rows, times of day and thresholds; OpenRouter's list has fees and thresholds; catwalk's files
have four figures, of which "in cached" is what a cache write costs and "out cached" what a read does, a zero there
being none at all.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.billing.listed_figures import PER_MILLION, Figures
from clawbench.billing.price_book import Tariff
from clawbench.billing.price_tables import LongContext, Window
from clawbench.billing.published import fees_of
from clawbench.catalog.genai_prices import GenaiPrices
from clawbench.catalog.openrouter_prices import OpenRouterPrices
from clawbench.catalog.tiers import INCLUSIVE_THRESHOLDS

_GENAI: Final = {
    "input_mtok": "uncached_input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "input_audio_mtok": "audio_in",
    "cache_audio_read_mtok": "audio_cache_read",
    "output_mtok": "output_text",
    "output_audio_mtok": "audio_out",
}
_OPENROUTER: Final = {
    "prompt": "uncached_input",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_5m",
    "completion": "output_text",
    "internal_reasoning": "reasoning",
}
_CATWALK: Final = {
    "cost_per_1m_in": "uncached_input",
    "cost_per_1m_out": "output_text",
    "cost_per_1m_in_cached": "cache_write_5m",
    "cost_per_1m_out_cached": "cache_read",
}
_CATWALK_NAMES: Final = {
    "vercel-gw": ("vercel",), "api.avian.io": ("avian",), "alibaba": ("alibaba-singapore",), "vertex": ("vertexai",),
    "azure-openai": ("azure",), "bedrock": ("bedrock-united-states",),
}  # fmt: skip
_EVERY_DAY: Final = (1, 2, 3, 4, 5, 6, 7)


class GenaiRows:
    """genai-prices' entries as tariffs, one for each span of dates."""

    def __init__(self, prices: GenaiPrices) -> None:
        self.name, self._prices = prices.name, prices

    def tariffs(self, provider: str, model: str, figures: Figures) -> list[Tariff]:
        """See `PublishedRows`."""
        for key, entry in self._prices.entries(provider, model):
            found = self._dated(provider, model, key, entry, figures)
            if found:
                return found
        return []

    def _dated(self, provider: str, model: str, key: str, entry: dict[str, Any], figures: Figures) -> list[Tariff]:
        stated = entry.get("prices")
        undated: dict[str, Any] = stated if type(stated) is dict else {}
        dated: list[tuple[str, dict[str, Any]]] = []
        windows: list[Window] = []
        for each in stated if type(stated) is list else ():
            when, prices = each.get("constraint"), each.get("prices", {})
            if not when:
                undated = prices
            elif set(when) == {"start_date"}:
                dated.append((f"{when['start_date']}T00:00:00Z", prices))
            elif set(when) == {"start_time", "end_time"}:
                windows += _span(when["start_time"], when["end_time"], _genai_tables(key, prices, figures)[0])
            else:
                figures.unread[key] = f"a price on the condition {sorted(when)}"
                return []
        dated.sort(key=lambda pair: pair[0])
        starts = [None, *(start for start, _ in dated)]
        ends = [*(start for start, _ in dated), None]
        rows: list[Tariff] = []
        for start, end, prices in zip(starts, ends, (undated, *(prices for _, prices in dated)), strict=True):
            rates, long = _genai_tables(key, prices, figures)
            if "uncached_input" in rates and "output_text" in rates:
                rows.append(
                    Tariff(
                        provider=provider,
                        models=(model,),
                        valid_from=start,
                        valid_to=end,
                        rates=rates,
                        source=f"{self.name}: {key}",
                        tiers=tuple(
                            LongContext(threshold=at, inclusive=provider in INCLUSIVE_THRESHOLDS, rates=rates | of)
                            for at, of in sorted(long.items())
                        ),
                        windows=tuple(windows) if start is None else (),
                        fees=fees_of(provider),
                        context_tokens=_size(entry.get("context_window")),
                    )
                )
        return rows


def _genai_tables(
    key: str, prices: dict[str, Any], figures: Figures
) -> tuple[dict[str, int], dict[int, dict[str, int]]]:
    """Rates by bucket, and by threshold those that change there: the file has a tier's changes, not its whole table."""
    rates: dict[str, int] = {}
    long: dict[int, dict[str, int]] = {}
    for name, bucket in _GENAI.items():
        stated = prices.get(name)
        tiers = stated.get("tiers", ()) if type(stated) is dict else ()
        base = figures.pico(f"{key}.{name}", stated.get("base") if type(stated) is dict else stated, per=PER_MILLION)
        if base is not None:
            rates[bucket] = base
        for tier in tiers:
            rate = figures.pico(f"{key}.{name}[{tier.get('start')}]", tier.get("price"), per=PER_MILLION)
            if rate is not None:
                long.setdefault(int(tier["start"]), {})[bucket] = rate
    for slot in (rates, *long.values()):
        if "output_text" in slot:
            slot.setdefault("reasoning", slot["output_text"])
    return rates, long


def _span(start: str, end: str, rates: dict[str, int]) -> list[Window]:
    """A daily span of UTC times as windows within a day."""
    first, last = start[:5], end[:5]
    spans = [(first, last)] if first < last else [(first, "24:00"), ("00:00", last)]
    return [Window(days=_EVERY_DAY, start=begin, end=stop, rates=rates) for begin, stop in spans if begin != stop]


class OpenRouterRows:
    """OpenRouter's list as tariffs, in force from the day on which it was read; null: for ever."""

    def __init__(self, prices: OpenRouterPrices, *, read_on: str = "") -> None:
        self.name, self._prices, self._read_on = prices.name, prices, read_on

    def tariffs(self, provider: str, model: str, figures: Figures) -> list[Tariff]:
        """See `PublishedRows`."""
        for key, entry in self._prices.entries(provider, model):
            pricing = entry["pricing"]
            rates = _openrouter_rates(key, pricing, figures)
            if "uncached_input" not in rates or "output_text" not in rates:
                continue
            tiers = _openrouter_tiers(key, pricing, rates, figures)
            if tiers is None:
                return []
            rates.setdefault("reasoning", rates["output_text"])
            if not rates["uncached_input"] and not rates["output_text"]:
                rates |= {"cache_read": 0, "cache_write_5m": 0}
            fee = figures.pico(f"{key}.web_search", pricing.get("web_search"))
            return [
                Tariff(
                    provider=provider,
                    models=(model,),
                    rates=rates,
                    source=f"{self.name}: {key}",
                    read_on=self._read_on,
                    tiers=tiers,
                    fees=fees_of(provider) | ({"web_search": fee} if fee else {}),
                    context_tokens=_size(entry.get("context_length")),
                )
            ]
        return []


def _openrouter_rates(key: str, pricing: dict[str, Any], figures: Figures) -> dict[str, int]:
    rates: dict[str, int] = {}
    for name, bucket in _OPENROUTER.items():
        rate = figures.pico(f"{key}.{name}", pricing.get(name))
        # "0" stands for reasoning and caches without a price of their own, unless all of it is free.
        if rate is not None and (rate or name in ("prompt", "completion")):
            rates[bucket] = rate
    return rates


def _openrouter_tiers(
    key: str, pricing: dict[str, Any], base: dict[str, int], figures: Figures
) -> tuple[LongContext, ...] | None:
    """Prices from `min_prompt_tokens` on; what one does not say is as in `base`. None: a length that cannot be read."""
    found: dict[int, dict[str, int]] = {}
    overrides = pricing.get("overrides")
    for place, each in enumerate(overrides if type(overrides) is list else ()):
        least = _size(each.get("min_prompt_tokens")) if type(each) is dict else None
        if least is None:
            figures.unread[key] = "prices of longer prompts that do not say of which"
            return None
        rates = base | _openrouter_rates(f"{key}.overrides[{place}]", each, figures)
        rates.setdefault("reasoning", rates["output_text"])
        found[least] = rates
    return tuple(LongContext(threshold=at, inclusive=True, rates=rates) for at, rates in sorted(found.items()))


class CatwalkRows:
    """catwalk's files, one a provider, as tariffs."""

    def __init__(self, name: str, files: dict[str, Any]) -> None:
        """`files` are parsed, by the provider's id in them."""
        self.name = name
        self._models = {
            provider: {str(model.get("id")): model for model in content.get("models", ())}
            for provider, content in files.items()
        }

    def tariffs(self, provider: str, model: str, figures: Figures) -> list[Tariff]:
        """See `PublishedRows`."""
        for name in _CATWALK_NAMES.get(provider, (provider,)):
            entry = self._models.get(name, {}).get(model)
            if entry is None:
                continue
            rates: dict[str, int] = {}
            for key, bucket in _CATWALK.items():
                rate = figures.pico(f"{name}/{model}.{key}", entry.get(key), per=PER_MILLION)
                if rate is not None and (rate or bucket in ("uncached_input", "output_text")):
                    rates[bucket] = rate
            if "uncached_input" in rates and "output_text" in rates:
                rates["reasoning"] = rates["output_text"]
                source = f"{self.name}: {name}/{model}"
                return [Tariff(provider=provider, models=(model,), rates=rates, source=source, fees=fees_of(provider))]
        return []


def _size(stated: Any) -> int | None:
    return stated if type(stated) is int and stated > 0 else None
