"""Power of two choices on a peak-sensitive moving average of latency, times what is under way.

Source: Finagle, `loadbalancer/PeakEwma.scala` and `P2C.scala`: the average jumps to a slower answer at once, follows
quicker ones over `TAU_S`, and fades to zero where nothing comes back, so that an offer left alone is tried again.
What Finagle takes for a round trip is the time to the first token here (to the end where nothing is streamed), failures
included, as there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from clawbench.rng import Draws
from clawbench.routing.pick import drawn, power_of_two
from clawbench.routing.state import OfferState
from clawbench.types import RequestShape

TAU_S = 10.0  # Finagle's default decay time
PENALTY_S = 140_737.0  # of an offer that is being tried for the first time: Long.MaxValue >> 16 nanoseconds


@dataclass(slots=True)
class PeakEwma:
    """The moving average of one offer, in seconds, and the attempts under way."""

    cost_s: float = 0.0
    stamp_s: float = 0.0
    pending: int = 0

    def observe(self, rtt_s: float, at_s: float) -> None:
        faded = exp(-max(at_s - self.stamp_s, 0.0) / TAU_S)
        self.cost_s = rtt_s if rtt_s > self.cost_s else rtt_s * (1 - faded) + self.cost_s * faded
        self.stamp_s = at_s

    def load(self, at_s: float) -> float:
        cost_s = self.cost_s * exp(-max(at_s - self.stamp_s, 0.0) / TAU_S)
        if cost_s == 0 and self.pending:
            return PENALTY_S + self.pending
        return cost_s * (self.pending + 1)


class P2CPeakEwma:
    """Seconds of the average × (attempts under way + 1), at the latest instant that it was told."""

    name = "p2c_peak_ewma"
    unscorable = ""
    plain = True
    patient = False

    def __init__(self) -> None:
        self._averages: defaultdict[str, PeakEwma] = defaultdict(PeakEwma)
        self._now_s = 0.0

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return self._averages[state.offer.id].load(self._now_s)

    def error(self, state: OfferState) -> float:
        return 0.0

    def pick(
        self,
        request: RequestShape,
        states: Sequence[OfferState],
        scores: Sequence[float],
        *,
        at_s: float,
        draw: Callable[[], Draws],
    ) -> tuple[int, float]:
        """The less loaded of two distinct ones drawn evenly; all averages fade alike, so their order is that of now."""
        ranks = {score: rank for rank, score in enumerate(sorted(set(scores)))}
        chances = power_of_two([ranks[score] for score in scores])
        place = drawn(chances, draw())
        return place, chances[place]

    def dispatched(self, offer_id: str, *, at_s: float) -> None:
        """One more under way."""
        self._now_s = at_s
        self._averages[offer_id].pending += 1

    def finished(self, offer_id: str, *, at_s: float, outcome: str, seen: Mapping[str, Any]) -> None:
        """One less under way; how long it took enters the average, unless the client left."""
        self._now_s = at_s
        average = self._averages[offer_id]
        average.pending -= 1
        if outcome == "client_abort":
            return
        rtt_s = seen.get("ttft_s") or seen.get("elapsed_s")
        if rtt_s is not None:
            average.observe(rtt_s, at_s)
