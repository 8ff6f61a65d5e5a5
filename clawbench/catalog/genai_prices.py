"""genai-prices' data file: a list of providers, each with models found by a match rule, USD per million tokens.

Where a price depends on the prompt's length, all tiers are taken; where it is dated, the one that is in force without a
date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clawbench.catalog.listed import Listed
from clawbench.catalog.tiers import Figures, above, tiered
from clawbench.money import NotMoney, decimal, pico_per_token_from_usd_per_million

# Our names of providers, where this list has others.
NAMES: dict[str, tuple[str, ...]] = {
    "gemini": ("google",),
    "vertex": ("google",),
    "bedrock": ("aws",),
    "xai": ("x-ai",),
    "zai": ("zhipuai",),
    "azure-openai": ("azure",),
    "azure-ai": ("azure",),
    "api.avian.io": ("avian",),
}

_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}


def recognises(content: Any) -> bool:
    """Whether parsed JSON is such a file."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(each, dict) and "models" in each and "id" in each for each in content)
    )


class GenaiPrices:
    """The file as a price list; `content` is its parsed JSON with numbers left as text."""

    def __init__(self, name: str, content: Any) -> None:
        self.name = name
        self._providers: dict[str, list[dict[str, Any]]] = {each["id"]: each["models"] for each in content}
        self.rounded: set[str] = set()
        self.refused: set[str] = set()

    def find(self, provider: str, model: str) -> Listed | None:
        """The price of a provider's model; an exact id goes before a rule that matches."""
        for _, entry in self.entries(provider, model):
            listed = self._listed(provider, entry)
            if listed is not None:
                return listed
        return None

    def entries(self, provider: str, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, the file's own entry) of a provider's model, the best first."""
        candidates = [entry for name in self._names(provider) for entry in self._providers.get(name, [])]
        exact = [entry for entry in candidates if entry.get("id") == model]
        ruled = (entry for entry in candidates if _matches(entry.get("match"), model.lower()))
        for entry in (*exact, *ruled):
            yield f"{provider}/{entry.get('id')}", entry

    def models(self, provider: str) -> list[str]:
        """Ids of a provider's entries."""
        return [str(each.get("id")) for name in self._names(provider) for each in self._providers.get(name, [])]

    def count(self) -> int:
        """Entries of all providers."""
        return sum(len(entries) for entries in self._providers.values())

    def _names(self, provider: str) -> Iterator[str]:
        yield from NAMES.get(provider, (provider,))
        # One router, many companies behind it: the list keeps a provider for each.
        yield from (name for name in self._providers if name.startswith(f"{provider}_"))

    def _listed(self, provider: str, entry: dict[str, Any]) -> Listed | None:
        prices = _in_force(entry.get("prices"))
        key = f"{provider}/{entry.get('id')}"
        stated: dict[int, Figures] = {0: {}}
        for field, source in _FIELDS.items():
            for start, value in _by_length(prices.get(source)):
                try:
                    amount = decimal(str(value))
                except NotMoney:
                    amount = decimal("-1")
                if amount < 0 or isinstance(value, bool) or start is None:
                    self.refused.add(key)
                    return None
                rate, exact = pico_per_token_from_usd_per_million(amount)
                stated.setdefault(above(start, provider) if start else 0, {})[field] = rate
                if not exact:
                    self.rounded.add(key)
        base = stated.pop(0)
        # The file has what changes with the length, not each length's whole table.
        below, changed = base, {}
        for longest in sorted(stated):
            below = changed[longest] = below | stated[longest]
        rates = tiered(base, changed)
        if rates is None:
            return None
        window = entry.get("context_window")
        return Listed(
            str(entry.get("id")),
            rates,
            window if isinstance(window, int) and window > 0 else None,
            None,
        )


def _by_length(stated: Any) -> Iterator[tuple[int | None, Any]]:
    """(length of prompt from which it holds, price) of all tiers of one rate; None: a length that cannot be read."""
    tiers = stated.get("tiers") if isinstance(stated, dict) else None
    base = stated.get("base") if isinstance(stated, dict) else stated
    if base is not None:
        yield 0, base
    for tier in tiers if isinstance(tiers, list) else ():
        start = str(tier.get("start")) if isinstance(tier, dict) else ""
        yield (int(start) if start.isascii() and start.isdigit() and int(start) else None), tier.get("price")


def _in_force(prices: Any) -> dict[str, Any]:
    """One set of prices: the undated one of several."""
    if isinstance(prices, list):
        undated = [each for each in prices if isinstance(each, dict) and not each.get("constraint")]
        prices = (undated or prices)[-1]
        prices = prices.get("prices", prices) if isinstance(prices, dict) else {}
    return prices if isinstance(prices, dict) else {}


def _matches(rule: Any, model: str) -> bool:
    """Whether a match rule holds; an unknown rule holds for nothing."""
    if not isinstance(rule, dict) or len(rule) != 1:
        return False
    kind, value = next(iter(rule.items()))
    if kind in ("or", "and"):
        quantifier = any if kind == "or" else all
        return isinstance(value, list) and quantifier(_matches(each, model) for each in value)
    if not isinstance(value, str):
        return False
    value = value if kind == "regex" else value.lower()
    return (
        (kind == "equals" and model == value)
        or (kind == "starts_with" and model.startswith(value))
        or (kind == "ends_with" and model.endswith(value))
        or (kind == "contains" and value in model)
        or (kind == "regex" and re.search(value, model) is not None)
    )
