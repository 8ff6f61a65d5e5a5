"""What a strategy is."""

from __future__ import annotations

from typing import Protocol

from clawbench.types import OfferState, RequestShape


class Strategy(Protocol):
    """Scores one offer for one request; the router calls it once per eligible offer.

    Pure: no clock, no I/O, no chance; what has been observed comes in `state`. Lower is better; each strategy's
    docstring gives the unit. None: this offer cannot be scored, and `unscorable` says why in the decision's record.
    """

    name: str
    unscorable: str

    def score(self, request: RequestShape, state: OfferState) -> float | None: ...
