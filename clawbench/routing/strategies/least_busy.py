"""Least busy: the offer with the fewest attempts under way. A baseline, not a tag."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class LeastBusy:
    """Attempts under way at the offer, whatever it is able to carry; ties are drawn."""

    name = "least_busy"
    unscorable = ""
    plain = True
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return float(state.in_flight)

    def error(self, state: OfferState) -> float:
        return 0.0
