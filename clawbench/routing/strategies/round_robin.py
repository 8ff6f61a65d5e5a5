"""Round robin: the eligible offer that was used longest ago. A baseline, not a tag.

Least recently used rather than a counter: an offer that comes back after an absence takes its turn, it is not
flooded until its count has caught up.
"""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class RoundRobin:
    """Order number of the offer's latest attempt (no unit)."""

    name = "round_robin"
    unscorable = ""
    plain = True
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return float(state.last_dispatch)

    def error(self, state: OfferState) -> float:
        return 0.0
