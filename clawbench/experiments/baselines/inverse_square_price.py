"""Inverse square price: offers are drawn with weights 1 / price², the price being the sum of unit prices.

Source: OpenRouter's documentation of its default load balancing ("weighted by inverse square of the price").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clawbench.rng import Draws
from clawbench.routing.pick import drawn
from clawbench.routing.state import OfferState
from clawbench.routing.strategies.cheapest_unit_price import CheapestUnitPrice
from clawbench.types import RequestShape


class InverseSquarePrice(CheapestUnitPrice):
    """Remembers nothing. Free offers share all picks: nothing is as cheap."""

    name = "inverse_square_price"

    def pick(
        self,
        request: RequestShape,
        states: Sequence[OfferState],
        scores: Sequence[float],
        *,
        at_s: float,
        draw: Callable[[], Draws],
    ) -> tuple[int, float]:
        """Drawn by weight."""
        weights = [float(score == 0) for score in scores] if 0 in scores else [score**-2 for score in scores]
        total = sum(weights)
        chances = [weight / total for weight in weights]
        place = drawn(chances, draw())
        return place, chances[place]

    def dispatched(self, offer_id: str, *, at_s: float) -> None:
        """Nothing to remember."""

    def finished(self, offer_id: str, *, at_s: float, outcome: str, seen: Mapping[str, Any]) -> None:
        """Nothing to remember."""
