"""What a strategy is."""

from __future__ import annotations

from typing import Protocol

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Strategy(Protocol):
    """Scores one offer for one request; the router calls it once per eligible offer.

    Pure: no clock, no I/O, no chance; what has been observed comes in `state`. Lower is better; each strategy's
    docstring gives the unit. None: this offer cannot be scored, and `unscorable` says why in the decision's record.
    `error` is the standard error of the logarithm of the score: 0 where nothing is estimated. A `plain` strategy
    is a baseline: the best score is taken as it is, without band, exploration or learned limits. A `patient` one asks
    for no speed: it lets requests queue at the best offer for a while, rather than send them to a worse one.
    """

    name: str
    unscorable: str
    plain: bool
    patient: bool

    def score(self, request: RequestShape, state: OfferState) -> float | None: ...

    def error(self, state: OfferState) -> float: ...
