"""The wall clock: the one place where it is read, to be handed to whoever needs it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

stopwatch = perf_counter
"""Seconds from an arbitrary zero, for measuring how long something took."""


def now() -> datetime:
    """The present instant, UTC."""
    return datetime.now(UTC)  # noqa: TID251
