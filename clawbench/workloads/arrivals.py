"""Arrival processes: when requests come, without a word about what they ask.

Open loops (`Poisson`, `Constant`, `Bursty`) know their instants in advance, whatever becomes of the answers: a
slow offer meets the same load as a fast one. A closed loop does not, which is why it is a marker here and the
runner's business. Rates are requests per second, instants seconds since the start of the run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, repeat
from math import isfinite
from typing import Protocol

from msgspec import Struct

from clawbench.errors import PlanError


class ArrivalProcess(Protocol):
    """Gives the instants of a workload, without end; the workload decides where to stop."""

    def instants(self, rng: random.Random) -> Iterator[float]:
        """Non-decreasing, from 0 on, in seconds. `rng` is this process's own: nobody else draws from it."""
        ...


class Poisson(Struct, frozen=True):
    """Independent clients: gaps are exponential with mean 1 / rate_rps."""

    rate_rps: float

    def __post_init__(self) -> None:
        _positive("rate_rps", self.rate_rps)

    def instants(self, rng: random.Random) -> Iterator[float]:
        t_s = 0.0
        while True:
            t_s += rng.expovariate(self.rate_rps)
            yield t_s


class Constant(Struct, frozen=True):
    """A metronome: request i at i / rate_rps, the first at 0. Draws nothing."""

    rate_rps: float

    def __post_init__(self) -> None:
        _positive("rate_rps", self.rate_rps)

    def instants(self, rng: random.Random) -> Iterator[float]:
        # Divided, not summed up: a million added gaps of 0.1 s are off by more than a microsecond.
        return (index / self.rate_rps for index in count())


class Bursty(Struct, frozen=True):
    """Clusters and lulls: gaps are gamma-distributed with mean 1 / rate_rps.

    `cv` is the gaps' coefficient of variation (standard deviation / mean): 1 is Poisson, above 1 clusters, below
    1 is calmer than Poisson. Shape 1 / cv², scale cv² / rate_rps. Between 0.01 (hardly told from `Constant`) and
    100, because shapes beyond those are no longer drawn accurately.
    """

    rate_rps: float
    cv: float

    def __post_init__(self) -> None:
        _positive("rate_rps", self.rate_rps)
        if not 0.01 <= self.cv <= 100:
            raise PlanError(f"workload: cv must be from 0.01 to 100, got {self.cv!r}.")

    def instants(self, rng: random.Random) -> Iterator[float]:
        shape, scale = self.cv**-2, self.cv**2 / self.rate_rps
        t_s = 0.0
        while True:
            t_s += rng.gammavariate(shape, scale)
            yield t_s


class ClosedLoop(Struct, frozen=True):
    """A fixed number of clients, each sending its next request when its last one has ended.

    No process with times known in advance: when a request comes depends on how fast the answer before it was.
    So every instant is 0, meaning "as soon as a client is free", and the runner keeps `concurrency` requests under
    way, taking the next arrival whenever one ends; the scheduled instant is then the moment of that. The order of
    the requests is still the same under every strategy.
    """

    concurrency: int

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise PlanError(f"workload: concurrency must be at least 1 request, got {self.concurrency!r}.")

    def instants(self, rng: random.Random) -> Iterator[float]:
        return repeat(0.0)


def _positive(key: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise PlanError(f"workload: {key} must be a finite number above 0, got {value!r}.")
