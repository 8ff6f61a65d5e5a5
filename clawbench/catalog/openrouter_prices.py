"""OpenRouter's model list (`GET /api/v1/models`) as a price list: USD per token as decimal text, by model id.

Prices are OpenRouter's own, so they hold for offers of `openrouter` only. A price of -1 stands for "it depends" (its
own router); such a model has no price here. Prices of longer prompts are `overrides` from `min_prompt_tokens` up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clawbench.catalog.listed import Listed
from clawbench.catalog.tiers import Figures, tiered
from clawbench.money import NotMoney, decimal, pico_per_token_from_usd_per_token

PROVIDER = "openrouter"
DEPENDS = -1

_FIELDS = {
    "input": "prompt",
    "output": "completion",
    "cached_input": "input_cache_read",
    "cache_write": "input_cache_write",
    "reasoning": "internal_reasoning",
}


def recognises(content: Any) -> bool:
    """Whether parsed JSON is such a list."""
    if not isinstance(content, dict) or not isinstance(content.get("data"), list) or not content["data"]:
        return False
    return all(
        isinstance(each, dict) and isinstance(each.get("pricing"), dict) and "prompt" in each["pricing"]
        for each in content["data"]
    )


class OpenRouterPrices:
    """The list as a price list; `content` is its parsed JSON with numbers left as text."""

    def __init__(self, name: str, content: Any) -> None:
        self.name = name
        self._entries: dict[str, dict[str, Any]] = {}
        for name in ("id", "canonical_slug"):
            for entry in content["data"]:
                key = entry.get(name)
                # A free variant shares the dated name of the one that is paid for, and is never served under it.
                if isinstance(key, str) and (name == "id" or ":" not in str(entry.get("id"))):
                    self._entries.setdefault(key.casefold(), entry)
        self.rounded: set[str] = set()
        self.refused: set[str] = set()

    def find(self, provider: str, model: str) -> Listed | None:
        """The price of a model at OpenRouter, by its id or its dated name; None for other providers."""
        return next((self._listed(key, entry) for key, entry in self.entries(provider, model)), None)

    def entries(self, provider: str, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(id, the list's own entry) of a model at OpenRouter; nothing for other providers."""
        entry = self._entries.get(model.casefold()) if provider == PROVIDER else None
        if entry is not None:
            yield str(entry.get("id")), entry

    def models(self, provider: str) -> list[str]:
        """Ids of all models, which are OpenRouter's."""
        return (
            list(dict.fromkeys(str(each.get("id")) for each in self._entries.values())) if provider == PROVIDER else []
        )

    def count(self) -> int:
        """Models listed."""
        return len({str(each.get("id")) for each in self._entries.values()})

    def _listed(self, key: str, entry: dict[str, Any]) -> Listed | None:
        base = self._figures(key, entry["pricing"])
        tiers: dict[int, Figures] = {}
        overrides = entry["pricing"].get("overrides")
        for each in overrides if isinstance(overrides, list) else ():
            least = _count(each.get("min_prompt_tokens")) if isinstance(each, dict) else None
            figures = None if least is None else self._figures(key, each)
            if least is None or figures is None or base is None:
                return None
            tiers[least - 1] = base | figures
        rates = None if base is None else tiered(base, tiers)
        if rates is None:
            return None
        top = entry.get("top_provider")
        limits = top if isinstance(top, dict) else {}
        return Listed(
            key,
            rates,
            _count(entry.get("context_length")),
            _count(limits.get("max_completion_tokens")),
        )

    def _figures(self, key: str, pricing: dict[str, Any]) -> Figures | None:
        """What is stated; None where one of them is no price."""
        rates: Figures = {}
        for field, source in _FIELDS.items():
            value = pricing.get(source)
            if value is None:
                continue
            try:
                amount = decimal(str(value))
            except NotMoney:
                self.refused.add(key)
                return None
            if amount < 0:
                if amount != DEPENDS:
                    self.refused.add(key)
                return None
            rates[field], exact = pico_per_token_from_usd_per_token(amount)
            if not exact:
                self.rounded.add(key)
        if not rates.get("reasoning"):
            # "0" stands where reasoning has no price of its own: it is billed as completion.
            rates.pop("reasoning", None)
        return rates


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
