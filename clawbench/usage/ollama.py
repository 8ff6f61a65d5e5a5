"""Token counts as Ollama's native API states them, beside its timings. Normaliser `ollama.chat/1`.

The counts have no object of their own: they stand at the top of the last object of an answer. `prompt_eval_count` is
the whole prompt; it is absent where the prompt came from the cache, and then the input is unknown, not zero. Knows no
prices and no models.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import Usage
from clawbench.usage.counts import Counts

VERSION: Final = "ollama.chat/1"

FIELDS: Final = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
"""What is kept as raw usage; durations are nanoseconds."""


def stated_usage(value: dict[str, Any]) -> dict[str, Any] | None:
    """The counts and timings of an answer's object as an object of their own; None if it states neither count."""
    if "eval_count" not in value and "prompt_eval_count" not in value:
        return None
    return {key: value[key] for key in FIELDS if key in value}


def normalise(raw: dict[str, Any]) -> Usage:
    """Totals; `raw` stays as it came. Never raises. See `normalise_noted` for what was odd."""
    return normalise_noted(raw)[0]


def normalise_noted(raw: object) -> tuple[Usage, tuple[str, ...]]:
    """`normalise` with its notes; anything but an object gives a usage without counts and a note."""
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usage is no object",)
    counts = Counts()
    return (
        Usage(
            input_tokens=counts.read(raw, "prompt_eval_count"),
            output_tokens=counts.read(raw, "eval_count"),
            raw=raw,
        ),
        tuple(counts.notes),
    )
