"""Product: several tags at once, as the geometric mean of their scores.

Free of units and of which other offers exist: rescaling a metric or adding an offer changes no order among the
others, properties that sums of normalised scores lack.
"""

from __future__ import annotations

from math import exp, log

from clawbench.routing.strategies.protocol import Strategy
from clawbench.types import OfferState, RequestShape

# A price of zero would make every product zero; 0.01 USD per million tokens keeps the other metrics alive.
# A constant, so that no other offer can change it.
_ZERO_PRICE_PICO_USD_PER_TOKEN = 10_000


class Product:
    """Geometric mean of the parts' scores (unit: the product of theirs, to the power 1/n)."""

    def __init__(self, parts: tuple[Strategy, ...]) -> None:
        self.parts = parts
        self.name = "@".join(part.name for part in parts)
        self.unscorable = "; ".join(part.unscorable for part in parts if part.unscorable)

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        total = 0.0
        for part in self.parts:
            score = part.score(request, state)
            if score is None:
                return None
            if score <= 0:
                score = float(_ZERO_PRICE_PICO_USD_PER_TOKEN * max(1, request.prompt_tokens))
            total += log(score)
        return exp(total / len(self.parts))
