"""What the generations of Claude take and refuse, as a table by version: adding a generation is adding a row.

A field that a model refuses costs a 400, so the wires ask here before they write one. Sources: Anthropic's pages on
thinking, effort, structured outputs and mid-conversation system messages, and the capability fields of litellm's
price map. A name without a version (another company's model behind the same API) is given everything that the API
had from the beginning. Knows no request and no HTTP.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct

EFFORT_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}
"""Thinking budgets in tokens for models that are told one. The amounts are ours; 1,024 is the least that is taken."""

BUDGET_MIN: Final = 1024

_TOP_P_WITH_THINKING_MIN: Final = 0.95


class Traits(Struct, frozen=True, kw_only=True):
    """What one model can be asked for."""

    thinking: Literal["none", "budget", "adaptive"] = "budget"
    always_thinks: bool = False  # refuses thinking {"type": "disabled"}
    efforts: frozenset[str] = frozenset({"low", "medium", "high"})  # words of output_config.effort
    samplers: Literal["both", "one", "none"] = "both"  # of temperature and top_p
    json_schema: bool = False  # output_config.format, strict tools
    inner_system: bool = False  # role "system" after the first user turn
    forced_tools: bool = True  # tool_choice "any" and "tool"


_XHIGH: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_MAX: Final = frozenset({"low", "medium", "high", "max"})

_SINCE: Final[tuple[tuple[tuple[int, int], Traits], ...]] = (
    ((5, 1), Traits(
        thinking="adaptive", efforts=_XHIGH, samplers="none", json_schema=True, inner_system=True, forced_tools=False,
        always_thinks=True,
    )),
    ((4, 8), Traits(thinking="adaptive", efforts=_XHIGH, samplers="none", json_schema=True, inner_system=True)),
    ((4, 7), Traits(thinking="adaptive", efforts=_XHIGH, samplers="none", json_schema=True)),
    ((4, 6), Traits(thinking="adaptive", efforts=_MAX, samplers="one", json_schema=True)),
    ((4, 5), Traits(samplers="one", json_schema=True)),
    ((4, 1), Traits(samplers="one")),
    ((3, 7), Traits()),
    ((0, 0), Traits(thinking="none")),
)  # fmt: skip

_UNVERSIONED: Final = Traits(json_schema=True)
_VERSION: Final = re.compile(
    r"claude-(?:(instant|opus|sonnet|haiku|fable|mythos)-)?v?(\d{1,2}|preview)(?:[-.](\d{1,2}))?(?!\d)", re.IGNORECASE
)


@lru_cache(maxsize=1024)
def traits_of(model: str) -> Traits:
    """What the model of this name takes; provider prefixes, dates and revision suffixes do not matter."""
    found = _VERSION.search(model)
    if found is None:
        return _UNVERSIONED
    family, major, minor = found[1] and found[1].lower(), found[2].lower(), found[3]
    version = (4, 7) if major == "preview" else (int(major), int(minor or 0))
    traits = next(traits for since, traits in _SINCE if version >= since)
    if family in ("fable", "mythos") and not traits.always_thinks:
        return _with(traits, always_thinks=True)
    if family == "haiku" and traits.always_thinks:
        return _with(traits, always_thinks=False, forced_tools=True)
    return traits


def _with(traits: Traits, **changed: Any) -> Traits:
    fields = {name: getattr(traits, name) for name in Traits.__struct_fields__}
    return Traits(**{**fields, **changed})


class Thinking(Struct, frozen=True):
    """How a reasoning effort is written: the `thinking` object, `output_config.effort`, and what was changed."""

    config: dict[str, Any] | None = None
    effort: str | None = None
    note: str | None = None


def thinking_of(effort: str, traits: Traits, room: int | None) -> Thinking:
    """What asks a model of these traits for this effort. `room` is the output limit in tokens, None if it is free."""
    if effort == "none":
        if traits.always_thinks:
            return Thinking(effort="low", note="reasoning_effort none: this model always thinks, low asked for")
        return Thinking({"type": "disabled"}) if traits.thinking != "none" else Thinking()
    if traits.thinking == "none":
        return Thinking(note="reasoning_effort left out: this model does not think")
    if effort not in EFFORT_BUDGETS:
        return Thinking(note=f"reasoning_effort {effort[:20]!r} left out: not known")
    if traits.thinking == "adaptive":
        word = "low" if effort == "minimal" else effort if effort in traits.efforts else "high"
        note = None if word == effort else f"reasoning_effort {effort} sent as {word}"
        # Without a display newer models return signatures only, and no text.
        return Thinking({"type": "adaptive", "display": "summarized"}, word, note)
    budget = EFFORT_BUDGETS[effort]
    if room is not None and budget >= room:
        if room <= BUDGET_MIN:
            return Thinking(note=f"reasoning_effort left out: no room for it in {room} tokens")
        budget = max(BUDGET_MIN, room // 2)
        return Thinking({"type": "enabled", "budget_tokens": budget}, None, f"thinking budget lowered to {budget}")
    return Thinking({"type": "enabled", "budget_tokens": budget})


def effort_of(thinking: Any, effort: Any) -> tuple[str | None, Any, Any]:
    """(reasoning effort, rest of `thinking`, rest of `output_config.effort`): the other way, where it is exact."""
    if type(thinking) is not dict:
        return None, thinking, effort
    if thinking == {"type": "disabled"}:
        return "none", None, effort
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind == "adaptive" and effort in EFFORT_BUDGETS and thinking.get("display", "summarized") == "summarized":
        return effort, None, None
    if kind == "enabled" and set(thinking) == {"type", "budget_tokens"}:
        word = next((word for word, tokens in EFFORT_BUDGETS.items() if tokens == budget), None)
        if word is not None:
            return word, None, effort
    return None, thinking, effort


def sampling_of(
    temperature: float | None, top_p: float | None, traits: Traits, thinks: bool, notes: list[str]
) -> tuple[float | None, float | None]:
    """(temperature, top_p) as a model of these traits takes them; `thinks` says that thinking is asked for."""
    if traits.samplers == "none":
        notes.append("temperature and top_p left out: this model takes neither")
        return None, None
    if thinks and temperature is not None and temperature != 1:
        notes.append("temperature left out: it does not go with thinking")
        temperature = None
    if thinks and top_p is not None and top_p < _TOP_P_WITH_THINKING_MIN:
        notes.append("top_p left out: it does not go with thinking")
        top_p = None
    if temperature is not None and top_p is not None and traits.samplers == "one":
        notes.append("top_p left out: this model takes one of temperature and top_p")
        top_p = None
    if temperature is not None and temperature > 1:
        notes.append("temperature lowered to 1")
        temperature = 1.0
    return temperature, top_p


def closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` on every object that does not say: without it, it is refused."""
    if type(schema) is list:
        return [closed(each) for each in schema]
    if type(schema) is not dict:
        return schema
    changed = {key: closed(item) if type(item) in (dict, list) else item for key, item in schema.items()}
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        changed["additionalProperties"] = False
    return changed
