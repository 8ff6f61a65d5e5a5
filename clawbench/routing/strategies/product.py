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
        shares = [weight / sum(given) for weight in given]
        price = next((part for part in parts if part.name == "price"), None)
        # Methods are bound once: a decision calls them for every offer.
        self._scores = tuple((part.score, share, part is price) for part, share in zip(parts, shares, strict=True))
        self._errors = tuple(
            (part.error, share) for part, share in zip(parts, shares, strict=True) if part is not price
        )
        self.name = "@".join(part.name for part in parts)
        self.patient = all(part.patient for part in parts)
        self.unscorable = "; ".join(part.unscorable for part in parts if part.unscorable)

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        even, product = self._even, 1.0
        for score_of, power, is_price in self._scores:
            score = score_of(request, state)
            if score is None:
                return None
            if is_price:
                least = LEAST_PRICE_PICO_USD_PER_TOKEN * (request.prompt_tokens + state.output_tokens)
                if score < least or score <= 0:
                    score = max(least, LEAST_PRICE_PICO_USD_PER_TOKEN)
            product *= score if even is not None else score**power
        return product if even is None else product**even

    def error(self, state: OfferState) -> float:
        squares = 0.0
        for error_of, power in self._errors:
            error = error_of(state) * power
            squares += error * error
        return sqrt(squares)
