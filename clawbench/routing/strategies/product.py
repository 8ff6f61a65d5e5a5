"""Product: several tags at once, as the weighted geometric mean of their scores.

Free of units and of which other offers exist: rescaling a metric or adding an offer changes no order among the
others, properties that sums of normalised scores lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from clawbench.routing.state import OfferState
from clawbench.routing.strategies.protocol import Strategy
from clawbench.types import RequestShape

# A price of zero would make every product zero; 0.01 USD per million tokens keeps the other metrics alive. A constant,
# so that no other offer can change it; and a floor for what costs less still, so that a lower price never ranks worse.
LEAST_PRICE_PICO_USD_PER_TOKEN = 10_000


class Product:
    """Π score^(weight / Σ weights), in the product of the parts' units to those powers. Weights are 1 if not given."""

    plain = False

    def __init__(self, parts: tuple[Strategy, ...], weights: Mapping[str, float] | None = None) -> None:
        self.parts = parts
        given = [float((weights or {}).get(part.name, 1.0)) for part in parts]
        self._even = 1.0 / len(parts) if len(set(given)) == 1 else None  # equal weights need one root, no logarithms
        self._weighed = tuple((part, weight / sum(given)) for part, weight in zip(parts, given, strict=True))
        self.name = "@".join(part.name for part in parts)
        self.patient = all(part.patient for part in parts)
        self.unscorable = "; ".join(part.unscorable for part in parts if part.unscorable)

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        product = 1.0
        for part, power in self._weighed:
            score = part.score(request, state)
            if score is None:
                return None
            if part.name == "price":
                score = max(score, least_price(request, state))
            product *= score if self._even is not None else score**power
        return product if self._even is None else product**self._even

    def error(self, state: OfferState) -> float:
        squares = 0.0
        for part, power in self._weighed:
            error = part.error(state)
            if error:
                squares += (power * error) ** 2
        return sqrt(squares)


def least_price(request: RequestShape, state: OfferState) -> float:
    """The least that a request counts as inside a product, in pico-USD; never zero."""
    return LEAST_PRICE_PICO_USD_PER_TOKEN * max(1.0, request.prompt_tokens + state.output_tokens)
