"""A small quantile sketch: counts in buckets that are each 5 % wide, in about a kilobyte.

Idea of DDSketch (Masson, Rim, Lee: VLDB 2019): logarithmic buckets give quantiles of bounded relative error.
Counts are weights, so that old observations fade.
"""

from __future__ import annotations

from math import ceil, log

_WIDTH = log(1.05)
_BUCKETS_MAX = 160


class Sketch:
    """Quantiles of positive values, to 5 %."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}

    def add(self, value: float, weight: float) -> None:
        bucket = ceil(log(value) / _WIDTH)
        self._counts[bucket] = self._counts.get(bucket, 0.0) + weight
        if len(self._counts) > _BUCKETS_MAX:
            # The lightest bucket has nearly faded away.
            del self._counts[min(self._counts, key=self._counts.__getitem__)]

    def counts(self) -> dict[int, float]:
        """Weight by bucket."""
        return dict(self._counts)

    def add_bucket(self, bucket: int, weight: float) -> None:
        """Weight into a bucket of another sketch's `counts`."""
        self._counts[bucket] = self._counts.get(bucket, 0.0) + weight

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the weight lies; None when empty."""
        total = sum(self._counts.values())
        if total <= 0:
            return None
        seen = 0.0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= share * total:
                return float(1.05 ** (bucket - 0.5))
        return float(1.05 ** (max(self._counts) - 0.5))

    def scale(self, factor: float) -> None:
        self._counts = {bucket: count * factor for bucket, count in self._counts.items() if count * factor > 0}

    def clear(self) -> None:
        self._counts.clear()
