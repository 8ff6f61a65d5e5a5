"""Random: every eligible offer with the same probability. A baseline, not a tag."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Random:
    """The same score for all (no unit), so that the router's even draw among equals decides."""

    name = "random"
    unscorable = ""
    plain = True
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return 0.0

    def error(self, state: OfferState) -> float:
        return 0.0
