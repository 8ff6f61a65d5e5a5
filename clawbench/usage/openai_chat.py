"""Token counts in OpenAI's chat shape, read as each imitator means them. Normaliser `openai.chat/1`.

One table of variants says where reasoning stands against the completion count; where cached tokens stand is looked up
in all the places that were seen. Knows no prices and no models. A count that is no whole number from 0 to 19 digits
is None, never a guess, and a note says so: notes that start with "bad_usage" mean that the figures must not be
charged unseen, those that start with "usage" only that something does not add up.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

from clawbench.types import Usage

VERSION: Final = "openai.chat/1"
COUNT_MAX: Final = 10**19 - 1

Reasoning = Literal["inside", "by_total", "hidden", "beside"]
"""Where reasoning tokens stand against `completion_tokens` (C), `prompt_tokens` (P) and `total_tokens` (T).

inside: part of C. by_total: T = P + C + R says beside, otherwise inside. hidden: not shown, R = T − P − C.
beside: `usage.reasoning_tokens` is generated on top of C and outside T.
"""


class Variant(Struct, frozen=True, kw_only=True):
    """How one provider API means its counts."""

    reasoning: Reasoning = "inside"
    flat_reasoning: bool = False  # `usage.reasoning_tokens` counts too; it has been seen above C, so it proves nothing
    hit_miss: bool = False  # prompt_cache_hit_tokens + prompt_cache_miss_tokens must be P


VARIANTS: Final[dict[str, Variant]] = {
    "openai": Variant(),
    "compatible": Variant(reasoning="by_total"),
    "deepseek": Variant(hit_miss=True),
    "xai": Variant(reasoning="by_total"),
    "mistral": Variant(),
    "groq": Variant(),
    "together": Variant(flat_reasoning=True),
    "perplexity": Variant(reasoning="beside"),
    "gemini": Variant(reasoning="hidden"),
}
"""By the name that `Quirks.usage` carries; an unknown name reads as "compatible"."""

_ABSENT: Final[dict[str, Any]] = {}
_CACHED: Final = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens")


class _Counts:
    """Reads counts of one usage object and gathers the notes."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def read(self, source: dict[str, Any], key: str) -> int | None:
        value = source.get(key)
        if value is None:
            return None
        # `type`, not isinstance: a bool is no count.
        if type(value) is int and 0 <= value <= COUNT_MAX:
            return value
        self.notes.append(f"bad_usage: {key} is no whole number of 0 to 19 digits")
        return None

    def part(self, name: str, part: int | None, whole: int | None, *, bad: bool = True) -> int | None:
        """A sub-count, or None where it exceeds the count that it is part of."""
        if part is None or whole is None or part <= whole:
            return part
        self.notes.append(f"{'bad_usage' if bad else 'usage'}: {name} {part} exceeds {whole}, which it is part of")
        return None


def normalise(raw: dict[str, Any], variant: str = "openai") -> Usage:
    """Totals of a usage object; `raw` stays as it came. Never raises. See `normalise_noted` for what was odd."""
    return normalise_noted(raw, variant)[0]


def normalise_noted(raw: object, variant: str = "openai") -> tuple[Usage, tuple[str, ...]]:
    """`normalise` with its notes; anything but an object gives a usage without counts and a note.

    `raw` may also be llama.cpp's `timings` object (prompt_n, cache_n, predicted_n), or one that holds the counts
    under `x_groq.usage`.
    """
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usage is no object",)
    counts = _Counts()
    hidden = raw.get("x_groq")
    stated = hidden["usage"] if type(hidden) is dict and type(hidden.get("usage")) is dict else raw
    if "prompt_n" in stated and "prompt_tokens" not in stated:
        return _from_timings(stated, counts), tuple(counts.notes)
    usage = _from_openai(stated, raw, VARIANTS.get(variant, VARIANTS["compatible"]), counts)
    return usage, tuple(counts.notes)


def _from_openai(stated: dict[str, Any], raw: dict[str, Any], variant: Variant, counts: _Counts) -> Usage:
    read, part = counts.read, counts.part
    prompt, completion = read(stated, "prompt_tokens"), read(stated, "completion_tokens")
    total = read(stated, "total_tokens")
    prompt_parts = _object(stated, "prompt_tokens_details")
    completion_parts = _object(stated, "completion_tokens_details")

    cached = read(prompt_parts, "cached_tokens") if prompt_parts else None
    if cached is None:
        cached = next((read(stated, key) for key in _CACHED if key in stated), None)
    written = read(prompt_parts, "cache_write_tokens") if prompt_parts else None
    if written is None and "cache_creation_input_tokens" in stated:
        written = read(stated, "cache_creation_input_tokens")
    cached = part("cached tokens", cached, prompt)
    written = part("cache write tokens", written, None if prompt is None else prompt - (cached or 0))
    if variant.hit_miss and cached is not None and prompt is not None:
        miss = read(stated, "prompt_cache_miss_tokens")
        if miss is not None and cached + miss != prompt:
            counts.notes.append(f"bad_usage: cache hit {cached} + miss {miss} is not prompt_tokens {prompt}")
            cached = None

    reasoning = read(completion_parts, "reasoning_tokens") if completion_parts else None
    flat = variant.flat_reasoning or variant.reasoning == "beside"
    if reasoning is None and flat and "reasoning_tokens" in stated:
        reasoning = read(stated, "reasoning_tokens")
    output, reasoning = _output(variant, prompt, completion, total, reasoning, counts)
    return Usage(
        input_tokens=prompt,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=reasoning,
        raw=raw,
    )


def _output(
    variant: Variant,
    prompt: int | None,
    completion: int | None,
    total: int | None,
    reasoning: int | None,
    counts: _Counts,
) -> tuple[int | None, int | None]:
    """(everything generated, reasoning within it)."""
    if completion is None:
        return None, reasoning
    beyond = None if prompt is None or total is None else total - prompt - completion
    if variant.reasoning == "hidden" and beyond is not None and beyond >= 0:
        return completion + beyond, reasoning if reasoning is not None else beyond
    if variant.reasoning == "beside":
        return completion + (reasoning or 0), reasoning
    if variant.reasoning == "by_total" and reasoning and beyond == reasoning:
        return completion + reasoning, reasoning
    if beyond:
        counts.notes.append(f"usage: total_tokens {total} is not {prompt} + {completion}")
    return completion, counts.part("reasoning tokens", reasoning, completion, bad=not variant.flat_reasoning)


def _from_timings(timings: dict[str, Any], counts: _Counts) -> Usage:
    """llama.cpp: `prompt_n` was computed now, `cache_n` came from the cache; together they are the prompt."""
    computed, cached = counts.read(timings, "prompt_n"), counts.read(timings, "cache_n")
    return Usage(
        input_tokens=None if computed is None else computed + (cached or 0),
        cached_input_tokens=cached,
        output_tokens=counts.read(timings, "predicted_n"),
        raw=timings,
    )


def _object(source: dict[str, Any], key: str) -> dict[str, Any]:
    value = source.get(key)
    return value if type(value) is dict else _ABSENT
