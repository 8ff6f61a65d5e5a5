"""Snapshots: what was learned of offers, as plain JSON values, to start another gateway with.

A snapshot holds weighted sums with weights as of its instant. Given back to a gateway that starts later, they have
faded like anything learned; what is left of an offer is worth a handful of samples at least, because yesterday's speed
is a better guess than none. What is under way, and who rests, is not kept: it would not be true any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from clawbench.errors import UsageError

if TYPE_CHECKING:
    from clawbench.routing.estimates import Series, Track

VERSION = 1
SAMPLES_LEFT = 5.0  # what an old snapshot is worth at least, if it held as many
_NAMES = ("ttft", "rate", "in_flight", "failed", "output", "cached", "failed_cost")


def kept(track: Track, unit: float) -> dict[str, Any]:
    """One offer's part of a snapshot; `unit` is the weight of a sample now."""
    found: dict[str, Any] = {name: _sums(getattr(track, name), unit) for name in _NAMES}
    found["usual_log_ttft"] = track.usual_log_ttft
    found["sketch"] = {str(bucket): weight / unit for bucket, weight in track.sketch.counts().items()}
    found["kinds"] = [
        {"stream": stream, "size": size, "ttft": _sums(memory.ttft, unit), "rate": _sums(memory.rate, unit)}
        for (stream, size), memory in track.kinds.items()
        if memory.ttft.weight or memory.rate.weight
    ]
    return found


def warm(track: Track, part: Mapping[str, Any], *, unit: float, fade: float) -> None:
    """Takes over an offer's part of a snapshot; `fade` is what its age has left of a sample's weight.

    Raises `UsageError` for what is no such part.
    """
    try:
        for name in _NAMES:
            if name in part:
                _fill(getattr(track, name), part[name], unit, fade)
        for kind in part.get("kinds", ()):
            memory = track.kind((bool(kind["stream"]), int(kind["size"])))
            _fill(memory.ttft, kind["ttft"], unit, fade)
            _fill(memory.rate, kind["rate"], unit, fade)
        usual = part.get("usual_log_ttft")
        if usual is not None:
            track.usual_log_ttft = _finite(usual)
        for bucket, weight in part.get("sketch", {}).items():
            track.sketch.add_bucket(int(bucket), _finite(weight) * unit * fade)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the snapshot of estimates cannot be read: {error!r}") from error
    track.version += 1
    track.live.answers = 1 if track.failed.weight > 0 else 0


def _sums(series: Series, unit: float) -> list[float]:
    return [series.weight / unit, series.total / unit, series.square / unit]


def _fill(series: Series, sums: Sequence[float], unit: float, fade: float) -> None:
    weight, total, square = (_finite(each) for each in sums)
    if weight < 0 or square < 0:
        raise ValueError("a weight below 0")
    left = max(weight * fade, min(weight, SAMPLES_LEFT)) / weight if weight else 0.0
    series.weight, series.total, series.square = weight * left * unit, total * left * unit, square * left * unit


def _finite(value: float) -> float:
    if isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)
