"""Limits per minute and places to be served in: what an offer's load does to a call. Time comes in as an argument.

Both are computed, not waited for: a queue of known service times needs no tasks, and so costs the same in virtual and
in real time. Calls must come in order of time.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

_MINUTE_S = 60.0


class Allowance:
    """So many units a minute, refilled continuously, as rate limits of providers are; a burst may use all at once."""

    __slots__ = ("_at_s", "_left", "per_minute")

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._left, self._at_s = float(per_minute), 0.0

    def wait_s(self, units: int, at_s: float) -> float:
        """Seconds until so many units are there; 0: they are. More than a minute's worth waits for the full minute."""
        self._refill(at_s)
        missing = min(units, self.per_minute) - self._left
        return max(0.0, missing * _MINUTE_S / self.per_minute)

    def take(self, units: int, at_s: float) -> None:
        """Use them up."""
        self._refill(at_s)
        self._left = max(0.0, self._left - units)

    def left(self, at_s: float) -> int:
        """Whole units that are there."""
        self._refill(at_s)
        return int(self._left)

    def reset_s(self, at_s: float) -> float:
        """Seconds until all of them are there again."""
        self._refill(at_s)
        return (self.per_minute - self._left) * _MINUTE_S / self.per_minute

    def _refill(self, at_s: float) -> None:
        if at_s > self._at_s:
            self._left = min(self.per_minute, self._left + (at_s - self._at_s) * self.per_minute / _MINUTE_S)
            self._at_s = at_s


class Places:
    """A number of places to be served in, with a queue before them, first come, first served.

    Who leaves early is served all the same: a provider does not stop generating when its client hangs up.
    """

    __slots__ = ("_free_at_s", "_starts_s", "queue_max", "slots")

    def __init__(self, slots: int, queue_max: int | None) -> None:
        self.slots, self.queue_max = slots, queue_max
        self._free_at_s: list[float] = []  # heap of the instants at which taken places become free
        self._starts_s: list[float] = []  # heap of the instants at which waiting calls begin

    def busy(self, at_s: float) -> int:
        """Places taken at an instant."""
        self._forget(at_s)
        return len(self._free_at_s)

    def wait_s(self, at_s: float) -> float | None:
        """Seconds that a call that comes now would wait; None where the queue is full."""
        self._forget(at_s)
        if len(self._free_at_s) < self.slots:
            return 0.0
        if self.queue_max is not None and len(self._starts_s) >= self.queue_max:
            return None
        return self._free_at_s[0] - at_s

    def take(self, at_s: float, wait_s: float, service_s: float) -> None:
        """Enter with the wait that `wait_s` gave, to be served for so long."""
        start_s = at_s + wait_s
        if wait_s:
            heappush(self._starts_s, start_s)
            heapreplace(self._free_at_s, start_s + service_s)
        else:
            heappush(self._free_at_s, start_s + service_s)

    def _forget(self, at_s: float) -> None:
        while self._starts_s and self._starts_s[0] <= at_s:
            heappop(self._starts_s)
        # A place that a waiting call has been given is not free: its instant was moved on when it was given.
        while self._free_at_s and self._free_at_s[0] <= at_s:
            heappop(self._free_at_s)
