"""Reading single counts out of a provider's usage object, and noting what is wrong with them.

A count is a whole number from 0 to 19 digits; anything else is None, never a guess, with a note. Notes that start with
"bad_usage" mean that the figures must not be charged unseen, those that start with "usage" only that something does
not add up. Knows no provider, no price and no model.
"""

from __future__ import annotations

from typing import Any, Final

COUNT_MAX: Final = 10**19 - 1


class Counts:
    """Reads counts of one usage object and gathers the notes."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def read(self, source: dict[str, Any], key: str) -> int | None:
        """The count under `key`; None where it is absent, null or no count."""
        value = source.get(key)
        if value is None:
            return None
        # `type`, not isinstance: a bool is no count.
        if type(value) is int and 0 <= value <= COUNT_MAX:
            return value
        self.notes.append(f"bad_usage: {key} is no whole number of 0 to 19 digits")
        return None

    def part(self, name: str, part: int | None, whole: int | None) -> int | None:
        """A sub-count, or None where it exceeds the count that it is part of."""
        if part is None or whole is None or part <= whole:
            return part
        self.notes.append(f"bad_usage: {name} {part} exceeds {whole}, which it is part of")
        return None


def added(*counts: int | None) -> int | None:
    """Sum of what was stated; None where nothing was."""
    stated = [count for count in counts if count is not None]
    return sum(stated) if stated else None
