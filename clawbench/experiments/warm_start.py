"""Estimates on disk: what one gateway has learned, for another one to start with.

A file is the JSON of `Estimates.snapshot`, with `saved_at` (RFC 3339, UTC) where a wall clock was there to say it; a
cell of a run has none, and what it learned counts as fresh.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from clawbench.errors import UsageError, WriteFailed
from clawbench.routing.estimates import Estimates

FILE_NAME = "estimates.json"
FILE_BYTES_MAX = 64 * 2**20


def read_estimates(path: Path) -> dict[str, Any]:
    """The file's content. Raises `UsageError` for one that cannot be read."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"{path} is larger than {FILE_BYTES_MAX} bytes; estimates are not")
        found = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path} holds no estimates: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no estimates: it is no JSON object")
    return found


def restored(estimates: Estimates, found: dict[str, Any], path: Path, *, at_s: float, now: datetime | None) -> int:
    """Starts warm from a file's content; how many offers it knows. `now` tells its age; None: it counts as fresh.

    Raises `UsageError` with the file's name for content that is none.
    """
    age_s, saved_at = 0.0, found.get("saved_at")
    try:
        if now is not None and saved_at is not None:
            age_s = (now - datetime.fromisoformat(saved_at).astimezone(UTC)).total_seconds()
        return estimates.restore(found, at_s=at_s, age_s=age_s)
    except (UsageError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error


def write_estimates(path: Path, snapshot: dict[str, Any], *, saved_at: datetime | None = None) -> None:
    """Replaces the file as a whole. Raises `WriteFailed`."""
    stamp = {} if saved_at is None else {"saved_at": saved_at.astimezone(UTC).isoformat(timespec="seconds")}
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_bytes(msgspec.json.encode({**snapshot, **stamp}))
        beside.replace(path)
    except OSError as error:
        raise WriteFailed(f"{path} could not be written: {error}") from error
