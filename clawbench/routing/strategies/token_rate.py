"""Token rate: how quickly tokens follow each other once the first has come."""

from __future__ import annotations

from clawbench.types import OfferState, RequestShape


class TokenRate:
    """Predicted seconds per output token after the first: 1 / token rate."""

    name = "token_rate"
    unscorable = ""

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        return 1.0 / state.token_rate
