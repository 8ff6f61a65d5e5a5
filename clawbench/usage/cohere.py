"""Token counts as Cohere bills them, API versions 1 and 2. Normaliser `cohere.chat/1`.

What is billed stands under `billed_units`; `tokens` counts the prompt with Cohere's own preamble, which nobody pays,
and `cached_tokens` belongs to that count: neither is read. Cohere's clients type counts as numbers with a fraction, so
5.0 is a count here (5.5 is not). Version 1 calls the object `meta`. Knows no prices and no models.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import Usage
from clawbench.usage.counts import COUNT_MAX, Counts

VERSION: Final = "cohere.chat/1"


def normalise(raw: dict[str, Any]) -> Usage:
    """Totals of a `usage` or `meta` object; `raw` stays as it came. Never raises. See `normalise_noted`."""
    return normalise_noted(raw)[0]


def normalise_noted(raw: object) -> tuple[Usage, tuple[str, ...]]:
    """`normalise` with what was odd; anything but an object gives a usage without counts and a note."""
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usage is no object",)
    billed = raw.get("billed_units")
    if billed is None:
        return Usage(raw=raw), ()
    if type(billed) is not dict:
        return Usage(raw=raw), ("bad_usage: billed_units is no object",)
    counts = Counts()
    usage = Usage(
        input_tokens=_read(counts, billed, "input_tokens"),
        output_tokens=_read(counts, billed, "output_tokens"),
        raw=raw,
    )
    return usage, tuple(counts.notes)


def _read(counts: Counts, billed: dict[str, Any], key: str) -> int | None:
    value = billed.get(key)
    if type(value) is float and value.is_integer() and 0 <= value <= COUNT_MAX:
        return int(value)
    return counts.read(billed, key)
