"""LiteLLM's price map: one JSON object by model name, USD per token.

Prices are read as decimal text and become whole pico-USD per token; those that are no whole number (dust of
somebody's float arithmetic) are rounded to the nearest and named. Models in other modes than chat are left out.
Prices of longer prompts are fields of their own (`…_above_200k_tokens`), or a list of ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from clawbench.catalog.listed import Listed
from clawbench.catalog.tiers import Figures, above, tiered
from clawbench.money import NotMoney, decimal, pico_per_token_from_usd_per_token

# How the map's keys begin for a provider, in order of preference; "" means the bare model name.
PREFIXES: dict[str, tuple[str, ...]] = {
    "openai": ("", "openai/"),
    "azure-openai": ("azure/", ""),
    "azure-ai": ("azure_ai/", "azure/"),
    "alibaba": ("dashscope/",),
    "together": ("together_ai/",),
    "fireworks": ("fireworks_ai/", "fireworks_ai/accounts/fireworks/models/"),
    "vercel-gw": ("vercel_ai_gateway/",),
    "nvidia": ("nvidia_nim/",),
    "huggingface": ("huggingface/",),
    "anthropic": ("", "anthropic/"),
    "gemini": ("gemini/",),
    "vertex": ("vertex_ai/", ""),
    "bedrock": ("", "bedrock/"),
    "cohere": ("", "cohere/"),
    "ollama": ("ollama/",),
    "zai": ("zai/",),
}

# Where the map's key means another company's model of the same name, unless litellm_provider agrees.
BARE_OWNERS: dict[str, tuple[str, ...]] = {
    "openai": ("openai", "text-completion-openai"),
    "azure-openai": ("azure", "openai"),
    "anthropic": ("anthropic",),
    "vertex": ("vertex_ai", "vertex_ai-language-models"),
    "bedrock": ("bedrock", "bedrock_converse"),
    "cohere": ("cohere", "cohere_chat"),
}

_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
}
_ABOVE = re.compile(rf"(?:{'|'.join(_FIELDS.values())})_above_(\d{{1,9}})k_tokens")


def recognises(content: Any) -> bool:
    """Whether parsed JSON is such a map."""
    return isinstance(content, dict) and any(
        isinstance(entry, dict) and _FIELDS["input"] in entry for entry in content.values()
    )


class LiteLLMPrices:
    """The map as a price list; `content` is its parsed JSON with numbers left as text."""

    def __init__(self, name: str, content: Any) -> None:
        self.name = name
        self._entries: dict[str, dict[str, Any]] = {
            key: entry for key, entry in content.items() if isinstance(entry, dict)
        }
        self._squashed = {_squash(key): key for key in reversed(self._entries)}
        self.rounded: set[str] = set()
        self.refused: set[str] = set()

    def find(self, provider: str, model: str) -> Listed | None:
        """The price of a provider's model; None if the map has none that can be used.

        A name that the map writes with other punctuation (llama3.3-70b, llama-3.3-70b) is found after the exact ones.
        """
        for key, entry in self.entries(provider, model):
            listed = self._listed(key, provider, entry)
            if listed is not None:
                return listed
        return None

    def entries(self, provider: str, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, the map's own entry) of a provider's chat model, the best first."""
        exact = _keys(provider, model)
        for key in (*exact, *(self._squashed.get(_squash(key), "") for key in exact)):
            entry = self._entries.get(key)
            if entry is not None and _is_chat(entry) and _is_owned(provider, key, entry):
                yield key, entry

    def _listed(self, key: str, provider: str, entry: dict[str, Any]) -> Listed | None:
        base = self._figures(key, entry)
        lengths = {int(found[1]) for name in entry if (found := _ABOVE.fullmatch(name))}
        tiers = {
            above(1000 * thousands, provider): self._figures(key, entry, f"_above_{thousands}k_tokens")
            for thousands in lengths
        }
        ranges = entry.get("tiered_pricing")
        for each in ranges if type(ranges) is list else ():
            limits = each.get("range") if type(each) is dict else None
            if type(limits) is list and limits and (start := _tokens(limits[0])) is not None:
                if start:
                    tiers[above(start, provider)] = self._figures(key, each)
                else:
                    base = self._figures(key, each) if base is not None else None
        if base is None or None in tiers.values():
            return None
        rates = tiered(base, {longest: figures for longest, figures in tiers.items() if figures is not None})
        if rates is None:
            return None
        return Listed(key, rates, _count(entry.get("max_input_tokens")), _count(entry.get("max_output_tokens")))

    def _figures(self, key: str, entry: dict[str, Any], suffix: str = "") -> Figures | None:
        """What an entry states in the fields of this suffix; None where one of them is no price."""
        rates: Figures = {}
        for field, source in _FIELDS.items():
            value = entry.get(source + suffix)
            if value is None:
                continue
            try:
                amount = decimal(str(value))
            except NotMoney:
                amount = Decimal(-1)
            if amount < 0 or isinstance(value, bool):
                self.refused.add(key)
                return None
            rates[field], exact = pico_per_token_from_usd_per_token(amount)
            if not exact:
                self.rounded.add(key)
        return rates

    def models(self, provider: str) -> list[str]:
        """Names of a provider's chat models, without the map's prefix."""
        found = []
        for prefix in PREFIXES.get(provider, (f"{provider}/",)):
            for key, entry in self._entries.items():
                is_bare = (
                    not prefix and "/" not in key and entry.get("litellm_provider") in BARE_OWNERS.get(provider, ())
                )
                if (is_bare or (prefix and key.startswith(prefix))) and _is_chat(entry):
                    found.append(key.removeprefix(prefix))
        return list(dict.fromkeys(found))

    def count(self) -> int:
        """Entries of the map."""
        return len(self._entries)


def _squash(key: str) -> str:
    """A key's provider and the letters and digits of its model."""
    provider, slash, model = key.rpartition("/")
    return provider + slash + "".join(character for character in model.lower() if character.isalnum())


def _keys(provider: str, model: str) -> list[str]:
    """The map's possible names of a provider's model, most specific first."""
    prefixes = PREFIXES.get(provider, (f"{provider}/",))
    return [prefix + name for prefix in prefixes for name in dict.fromkeys((model, model.lower()))]


def _is_chat(entry: dict[str, Any]) -> bool:
    return entry.get("mode", "chat") in ("chat", "responses", "completion")


def _is_owned(provider: str, key: str, entry: dict[str, Any]) -> bool:
    owners = BARE_OWNERS.get(provider)
    return "/" in key or owners is None or entry.get("litellm_provider") in owners


def _tokens(value: Any) -> int | None:
    """A limit of a range, which the map writes as 256000.0 too."""
    try:
        return int(decimal(str(value)))
    except NotMoney:
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
