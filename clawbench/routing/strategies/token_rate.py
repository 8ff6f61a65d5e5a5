"""Token rate: how quickly tokens follow each other once the first has come."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class TokenRate:
    """Predicted seconds per output token after the first: 1 / token rate."""

    name = "token_rate"
    unscorable = ""
    plain = False
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return 1.0 / state.token_rate

    def error(self, state: OfferState) -> float:
        return state.log_rate_error
