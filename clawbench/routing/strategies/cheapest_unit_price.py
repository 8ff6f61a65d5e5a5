"""Cheapest unit price: the sum of an offer's unit prices, whatever the request. A baseline, not a tag."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class CheapestUnitPrice:
    """Pico-USD for one token in and one out, as price lists are compared by hand; `price.py` tells what that misses."""

    name = "cheapest_unit_price"
    unscorable = "price unknown"
    plain = True
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        rates = state.offer.rates
        return None if rates is None else float(rates.input + rates.output)

    def error(self, state: OfferState) -> float:
        return 0.0
