"""Quality: the offer's measured score. An extension of ours, known only where scores are configured."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Quality:
    """1 / score, the score being in (0, 1], higher is better; an offer without one cannot be chosen by it."""

    name = "quality"
    unscorable = "quality not measured"
    plain = False
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        quality = state.offer.quality
        return None if quality is None else 1.0 / quality

    def error(self, state: OfferState) -> float:
        return 0.0
