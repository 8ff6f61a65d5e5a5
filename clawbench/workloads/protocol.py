"""What a workload is: requests with the instants at which they are meant to arrive.

Knows nothing of strategies, offers or answers, and never may: every strategy of a comparison has to meet the
same arrivals, so nothing that depends on how fast an answer came can flow back into a workload.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from clawbench.types import ChatRequest


class Arrival(Struct, frozen=True):
    """One request and when the workload means it to arrive.

    `index` counts from 0; `t_s` is in seconds since the start of the run and is what latencies count from,
    even where the client gets round to it later. Under a closed loop `t_s` is always 0: see `arrivals.ClosedLoop`.
    """

    index: int
    t_s: float
    request: ChatRequest


class Workload(Protocol):
    """A stream of arrivals; the runner walks it once a cell, and takes the next only when it is due."""

    @property
    def name(self) -> str:
        """As the plan names it; goes into the records."""
        ...

    @property
    def concurrency(self) -> int | None:
        """How many requests a closed loop keeps under way; None where arrivals have instants of their own."""
        ...

    def arrivals(self, rng: random.Random) -> Iterator[Arrival]:
        """Arrivals with `t_s` non-decreasing, made as they are asked for: a million are never held at once.

        A pure function of the workload and of `rng`, which comes from `clawbench.rng.stream(seed, …)` with a key
        that does not name the strategy.
        """
        ...
