"""Token counts in the shape of OpenAI's Responses API. Normaliser `openai.responses/1`.

OpenAI, Azure, OpenRouter, xAI and DeepSeek mean the same by it: reasoning is inside the output, cache reads and writes
are inside the input. Knows no prices and no models; tools run by the provider are not in `usage` but in the output
items. A count that is no whole number from 0 to 19 digits is None, never a guess, and a note says so: notes that start
with "bad_usage" mean that the figures must not be charged unseen, those that start with "usage" only that something
does not add up.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import Usage

VERSION: Final = "openai.responses/1"
COUNT_MAX: Final = 10**19 - 1


def normalise(raw: object) -> tuple[Usage, tuple[str, ...]]:
    """Totals of a usage object, and what was odd about it; `raw` stays as it came. Never raises.

    Anything but an object gives a usage without counts and a note. Imitators that kept the chat names
    (`prompt_tokens`, `completion_tokens`) are read too.
    """
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usage is no object",)
    notes: list[str] = []
    chat = "input_tokens" not in raw and "output_tokens" not in raw
    prompt, completion = ("prompt", "completion") if chat else ("input", "output")
    input_tokens, output_tokens = (_count(raw, f"{side}_tokens", notes) for side in (prompt, completion))
    total = _count(raw, "total_tokens", notes)
    of_input, of_output = raw.get(f"{prompt}_tokens_details"), raw.get(f"{completion}_tokens_details")
    cached = written = reasoning = None
    if type(of_input) is dict:
        cached = _part("cached tokens", _count(of_input, "cached_tokens", notes), input_tokens, notes)
        left = None if input_tokens is None else input_tokens - (cached or 0)
        written = _part("cache write tokens", _count(of_input, "cache_write_tokens", notes), left, notes)
    if type(of_output) is dict:
        reasoning = _part("reasoning tokens", _count(of_output, "reasoning_tokens", notes), output_tokens, notes)
    if total is not None and input_tokens is not None and output_tokens is not None:  # noqa: SIM102
        if total != input_tokens + output_tokens:
            notes.append(f"usage: total_tokens {total} is not {input_tokens} + {output_tokens}")
    usage = Usage(
        input_tokens=input_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        raw=raw,
    )
    return usage, tuple(notes)


def usage_body(usage: Usage | None) -> dict[str, Any] | None:
    """The usage object of a Responses body; None (JSON null) where a primary count is missing."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    of_input = {"cached_tokens": usage.cached_input_tokens or 0}
    if usage.cache_write_tokens is not None:
        of_input["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": of_input,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _count(source: dict[str, Any], key: str, notes: list[str]) -> int | None:
    value = source.get(key)
    # `type`, not isinstance: a bool is no count.
    if value is None or (type(value) is int and 0 <= value <= COUNT_MAX):
        return value
    notes.append(f"bad_usage: {key} is no whole number of 0 to 19 digits")
    return None


def _part(name: str, part: int | None, whole: int | None, notes: list[str]) -> int | None:
    """A sub-count, or None where it exceeds the count that it is part of."""
    if part is None or whole is None or part <= whole:
        return part
    notes.append(f"bad_usage: {name} {part} exceeds {whole}, which it is part of")
    return None
