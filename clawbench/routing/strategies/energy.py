"""Energy: joules for each output token, as the offer's profile states it. An extension of ours."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape

UNKNOWN_J_PER_TOKEN = 1e6  # last among all, and finite, so that a product still tells such offers apart


class Energy:
    """Joules per output token; an offer that states none ranks last."""

    name = "energy"
    unscorable = ""
    plain = False
    patient = True

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        joules = state.offer.energy_j_per_token
        return UNKNOWN_J_PER_TOKEN if joules is None else joules

    def error(self, state: OfferState) -> float:
        return 0.0
