"""Strategies that are decided outside of this room: a plan may name them, another balancer picks.

They are baselines with a memory or a draw of their own, which a pure score cannot express. `experiments/baselines`
holds the balancers; a router that has none of them must not run under such a name.
"""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Outside:
    """The name alone."""

    unscorable = ""
    plain = True
    patient = False

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        raise AssertionError(f"{self.name} is decided by its balancer; build the router with experiments.baselines")

    def error(self, state: OfferState) -> float:
        return 0.0


OUTSIDE = tuple(
    Outside(name)
    for name in (
        "inverse_square_price",
        "p2c_peak_ewma",
        "litellm:shuffle",
        "litellm:busy",
        "litellm:latency",
        "litellm:cost",
        "litellm:usage",
    )
)
