"""Traffic: the workload made of an arrival process and a source of requests, cut off after so many or so long.

When and what are drawn from two separate streams, so changing the rate keeps the sequence of prompts, and
changing the prompts keeps the instants.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from math import isfinite

from msgspec import Struct

from clawbench.errors import PlanError
from clawbench.workloads.arrivals import ArrivalProcess, ClosedLoop
from clawbench.workloads.prompts import PromptSource
from clawbench.workloads.protocol import Arrival


class Traffic(Struct, frozen=True, kw_only=True):
    """Arrivals of `process`, each asking the next of `prompts`.

    Ends after `requests` arrivals, or before the first one at or after `duration_s`, whichever comes first; None
    means that this limit is not set. One of the two is needed, and for a closed loop it is `requests`, because its
    instants never reach a duration.
    """

    name: str
    process: ArrivalProcess
    prompts: PromptSource
    requests: int | None = None
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if self.requests is None and (self.duration_s is None or self.concurrency is not None):
            wanted = "requests or duration_s" if self.concurrency is None else "requests (it is a closed loop)"
            raise PlanError(f"workload {self.name!r} would never end: set {wanted}.")
        if self.requests is not None and self.requests < 0:
            raise PlanError(f"workload {self.name!r}: requests must not be negative, got {self.requests!r}.")
        if self.duration_s is not None and not (isfinite(self.duration_s) and self.duration_s >= 0):
            raise PlanError(
                f"workload {self.name!r}: duration_s must be finite and 0 or more, got {self.duration_s!r}."
            )

    @property
    def concurrency(self) -> int | None:
        """How many requests a closed loop keeps under way; None for an open loop."""
        return self.process.concurrency if isinstance(self.process, ClosedLoop) else None

    def arrivals(self, rng: random.Random) -> Iterator[Arrival]:
        """Arrivals as `protocol.Workload` has them; `rng` is drawn from twice, when the first one is asked for."""
        instants = self.process.instants(random.Random(rng.getrandbits(128)))
        requests = self.prompts.requests(random.Random(rng.getrandbits(128)))
        for index in count() if self.requests is None else range(self.requests):
            t_s = next(instants)
            if self.duration_s is not None and t_s >= self.duration_s:
                return
            yield Arrival(index, t_s, next(requests))
