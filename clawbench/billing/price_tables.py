"""Tables of rates within a row of the price book: by time of day, and by the size of the prompt.

`compile_table` checks them and gives the form in which they are looked up. Instants are Unix seconds, times of day
UTC; both windows and validity are half-open. Knows no models.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clawbench.usage.buckets import BUCKETS

_DAY_S: Final = 86_400
_EPOCH_WEEKDAY: Final = 3  # 1 January 1970 was a Thursday; Monday is 0
_KNOWN: Final = frozenset(BUCKETS)

RatesByBucket = tuple[int | None, ...]
"""pico-USD a token, parallel to `BUCKETS`; None: no price."""


class LongContext(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of the whole request once its prompt, caches included, is above `threshold` tokens (or at it)."""

    threshold: int
    inclusive: bool
    rates: dict[str, int]


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates between two times of day ("HH:MM", UTC; the end may be "24:00") on some days (1 is Monday, 7 Sunday)."""

    days: tuple[int, ...]
    start: str
    end: str
    rates: dict[str, int]
    tiers: tuple[LongContext, ...] = ()


class ServiceTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service tier's rates, complete: what is not in it has no price in this tier."""

    rates: dict[str, int]
    tiers: tuple[LongContext, ...] = ()
    windows: tuple[Window, ...] = ()


class CompiledTable:
    """A table in the form in which it is looked up."""

    __slots__ = ("_name", "_rates", "_tiers", "_windows")

    def __init__(
        self,
        name: str,
        rates: RatesByBucket,
        tiers: tuple[tuple[int, RatesByBucket, str], ...],
        windows: tuple[tuple[frozenset[int], int, int, CompiledTable], ...],
    ) -> None:
        self._name, self._rates, self._tiers, self._windows = name, rates, tiers, windows

    def select(self, at_s: float, input_tokens: int) -> tuple[RatesByBucket, str]:
        """The rates in force at an instant for a prompt of a size, and the name of that table."""
        if self._windows:
            day, second = divmod(int(at_s), _DAY_S)
            weekday = (day + _EPOCH_WEEKDAY) % 7
            for days, start, end, table in self._windows:
                if weekday in days and start <= second < end:
                    return table.select(at_s, input_tokens)
        for least, rates, name in self._tiers:  # the highest first
            if input_tokens >= least:
                return rates, name
        return self._rates, self._name

    def reachable(self) -> list[tuple[int, RatesByBucket]]:
        """Every table of rates that can come into force, with the prompt's least size (tokens) for it."""
        found = [(0, self._rates), *((least, rates) for least, rates, _ in self._tiers)]
        return found + [each for *_, table in self._windows for each in table.reachable()]


def compile_table(
    name: str, rates: dict[str, int], tiers: tuple[LongContext, ...], windows: tuple[Window, ...]
) -> CompiledTable:
    """Raises `ValueError` for unknown buckets, negative rates, tiers that coincide, windows that overlap."""
    steps: dict[int, tuple[int, RatesByBucket, str]] = {}
    for tier in tiers:
        if tier.threshold < 1:
            raise ValueError(f"{name}: a tier begins at {tier.threshold} tokens")
        least = tier.threshold if tier.inclusive else tier.threshold + 1
        if least in steps:
            raise ValueError(f"{name}: two tiers begin at {least} tokens")
        word = "from" if tier.inclusive else "above"
        steps[least] = (least, _rates(name, tier.rates), f"{name}, {word} {tier.threshold}")
    timed: list[tuple[frozenset[int], int, int, CompiledTable]] = []
    for window in windows:
        start, end = _second(window.start), _second(window.end)
        days = frozenset(day - 1 for day in window.days)
        if start >= end or not days or not days <= frozenset(range(7)):
            raise ValueError(f"{name}: the window {window.start}-{window.end} on {list(window.days)} is none")
        if any(days & other and start < stop and begin < end for other, begin, stop, _ in timed):
            raise ValueError(f"{name}: the window {window.start}-{window.end} overlaps another")
        inner = compile_table(f"{name}, {window.start}-{window.end}", window.rates, window.tiers, ())
        timed.append((days, start, end, inner))
    ordered = tuple(steps[least] for least in sorted(steps, reverse=True))
    return CompiledTable(name, _rates(name, rates), ordered, tuple(timed))


def _rates(name: str, rates: dict[str, int]) -> RatesByBucket:
    unknown = rates.keys() - _KNOWN
    if unknown:
        raise ValueError(f"{name}: {', '.join(sorted(unknown))} is no bucket")
    for bucket, rate in rates.items():
        # A bool is an int to Python; a fraction of a pico-USD never gets here as an int.
        if type(rate) is not int or rate < 0:
            raise ValueError(f"{name}: the rate of {bucket} is no whole number from 0 up")
    return tuple(rates.get(bucket) for bucket in BUCKETS)


def _second(text: str) -> int:
    hours, _, minutes = text.partition(":")
    if not (len(text) == 5 and hours.isdigit() and minutes.isdigit() and int(minutes) < 60):
        raise ValueError(f"{text!r} is no time of day")
    second = int(hours) * 3600 + int(minutes) * 60
    if second > _DAY_S:
        raise ValueError(f"{text!r} is no time of day")
    return second
