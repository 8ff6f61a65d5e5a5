"""Product: several tags at once, as the weighted geometric mean of their scores.

Free of units and of which other offers exist: rescaling a metric or adding an offer changes no order among the
others, properties that sums of normalised scores lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, sqrt

from clawbench.routing.state import OfferState
from clawbench.routing.strategies.protocol import Strategy
from clawbench.types import RequestShape

# A price of zero would make every product zero; 0.01 USD per million tokens keeps the other metrics alive.
# A constant, so that no other offer can change it.
ZERO_PRICE_PICO_USD_PER_TOKEN = 10_000


class Product:
    """Π score^(weight / Σ weights), in the product of the parts' units to those powers. Weights are 1 if not given."""

    plain = False

    def __init__(self, parts: tuple[Strategy, ...], weights: Mapping[str, float] | None = None) -> None:
        self.parts = parts
        given = [float((weights or {}).get(part.name, 1.0)) for part in parts]
        self._powers = tuple(weight / sum(given) for weight in given)
        self.name = "@".join(part.name for part in parts)
        self.unscorable = "; ".join(part.unscorable for part in parts if part.unscorable)

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        total = 0.0
        for part, power in zip(self.parts, self._powers, strict=True):
            score = part.score(request, state)
            if score is None:
                return None
            total += power * log(score if score > 0 else zero_price(request, state))
        return exp(total)

    def error(self, state: OfferState) -> float:
        squares = [(power * part.error(state)) ** 2 for part, power in zip(self.parts, self._powers, strict=True)]
        return sqrt(sum(squares))


def zero_price(request: RequestShape, state: OfferState) -> float:
    """What a free request counts as inside a product, in pico-USD; never zero."""
    return ZERO_PRICE_PICO_USD_PER_TOKEN * max(1.0, request.prompt_tokens + state.output_tokens)
