"""What the generations of Gemini take, as a rule by version; and how a reasoning effort is told to each.

A field that a model refuses costs a 400, so the wire asks here first. Sources: Google's pages on thinking and on
OpenAI compatibility (which fixes the budgets), and recorded calls. Knows no request and no HTTP.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct

BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
"""Thinking budgets in tokens for generation 2.5. `minimal` is ours: Google reads it as low."""


class Traits(Struct, frozen=True, kw_only=True):
    """What one model can be asked for."""

    thinking: Literal["none", "budget", "level"] = "budget"
    budget_min: int = 0  # 0: thinking can be switched off
    levels: tuple[str, ...] = ("minimal", "low", "medium", "high")
    signatures: bool = False  # refuses tool calls of a history that lack their thought signature


_VERSION: Final = re.compile(r"gemini-(\d+)(?:[.-](\d{1,2}))?(?!\d)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def traits_of(model: str) -> Traits:
    """What the model of this name takes; paths before it, dates and suffixes after it do not matter."""
    name = model.lower()
    found = _VERSION.search(name)
    version = (int(found[1]), int(found[2] or 0)) if found else None
    if "gemini" not in name or "tts" in name or (version is not None and version < (2, 5)):
        return Traits(thinking="none")
    if version is not None and version >= (3, 0):
        if "image" in name:
            return Traits(thinking="none", signatures=True)
        if "pro" in name:
            levels = ("low", "high") if version < (3, 1) else ("low", "medium", "high")
            return Traits(thinking="level", levels=levels, signatures=True)
        return Traits(thinking="level", signatures=True)
    if "image" in name:
        return Traits(thinking="none")
    return Traits(budget_min=512 if "lite" in name else 0 if "flash" in name else 128)


def thinking_of(effort: str, traits: Traits) -> tuple[dict[str, Any] | None, str | None]:
    """(thinkingConfig, note) for an effort; thoughts are asked for unless it is none."""
    word = {"xhigh": "high", "max": "high"}.get(effort, effort)
    if word not in BUDGETS:
        return None, f"reasoning_effort {effort[:20]!r} left out: not known"
    if traits.thinking == "none":
        return None, None if word == "none" else "reasoning_effort left out: this model does not think"
    if traits.thinking == "level":
        level = word if word in traits.levels else "high" if word == "medium" else traits.levels[0]
        config = {"thinkingLevel": level}
        if word != "none":
            config = {"includeThoughts": True, **config}  # type: ignore[dict-item]
        return config, None if level == effort else f"reasoning_effort {effort} sent as {level}"
    budget = BUDGETS[word]
    least = traits.budget_min
    if word == "none":
        # Flash-Lite takes 0 or at least 512, Pro nothing below 128.
        budget = least if least == 128 else 0
        return {"thinkingBudget": budget}, None if budget == 0 else "reasoning_effort none: this model always thinks"
    said = {"includeThoughts": True, "thinkingBudget": max(budget, least)}
    return said, None if word == effort else f"reasoning_effort {effort} sent as {word}"


def effort_of(config: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """(reasoning effort, rest in OpenRouter's `reasoning` words): the other way, where it is exact."""
    level, budget, shown = config.get("thinkingLevel"), config.get("thinkingBudget"), config.get("includeThoughts")
    rest: dict[str, Any] = {}
    effort: str | None = None
    if type(level) is str and level.lower() in BUDGETS:
        effort = level.lower()
    elif type(budget) is int and budget in BUDGETS.values():
        effort = next(word for word, tokens in BUDGETS.items() if tokens == budget)
    elif type(budget) is int and budget > 0:
        rest["max_tokens"] = budget
    if effort is None and not rest and shown is True:
        rest["enabled"] = True
    elif effort != "none" and shown is not True and (effort or rest):
        rest["exclude"] = True
    return effort, rest
