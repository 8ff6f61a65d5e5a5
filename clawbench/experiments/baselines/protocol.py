"""What a baseline's balancer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from clawbench.rng import Draws
from clawbench.routing.state import OfferState
from clawbench.routing.strategies import Strategy
from clawbench.types import RequestShape


class Balancer(Strategy, Protocol):
    """A strategy that picks for itself and is told of every attempt. One object a gateway; time is handed in.

    `score` is what it goes by (lower is better), for the record.
    """

    def pick(
        self,
        request: RequestShape,
        states: Sequence[OfferState],
        scores: Sequence[float],
        *,
        at_s: float,
        draw: Callable[[], Draws],
    ) -> tuple[int, float]:
        """(place of the pick, probability with which it was drawn). Called with two offers at least."""
        ...

    def dispatched(self, offer_id: str, *, at_s: float) -> None:
        """An attempt leaves for this offer."""
        ...

    def finished(self, offer_id: str, *, at_s: float, outcome: str, seen: Mapping[str, Any]) -> None:
        """It is over; `seen` as in `Estimates.finished`."""
        ...
