"""Strategies, one a file: each scores one offer for one request, lower is better, and nothing else.

To add one: copy the shortest neighbour and register it here.
"""

from __future__ import annotations

from collections.abc import Mapping

from clawbench.routing.strategies.cheapest_unit_price import CheapestUnitPrice
from clawbench.routing.strategies.energy import Energy
from clawbench.routing.strategies.latency import Latency
from clawbench.routing.strategies.least_busy import LeastBusy
from clawbench.routing.strategies.lowest_mean_latency import LowestMeanLatency
from clawbench.routing.strategies.outside import OUTSIDE
from clawbench.routing.strategies.price import Price
from clawbench.routing.strategies.product import Product
from clawbench.routing.strategies.protocol import Strategy
from clawbench.routing.strategies.quality import Quality
from clawbench.routing.strategies.random import Random
from clawbench.routing.strategies.round_robin import RoundRobin
from clawbench.routing.strategies.token_rate import TokenRate

TAGS: tuple[Strategy, ...] = (Price(), Latency(), TokenRate(), Energy(), Quality())
BASELINES: tuple[Strategy, ...] = (
    Random(),
    RoundRobin(),
    LeastBusy(),
    CheapestUnitPrice(),
    LowestMeanLatency(),
    *OUTSIDE,
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (*BASELINES, *TAGS)}
"""By the name that a plan or a tag uses."""


def by_tags(tags: tuple[str, ...], weights: Mapping[str, float] | None = None) -> Strategy:
    """The strategy that a set of tags means: the one of a single tag, the product of several."""
    if len(tags) == 1:
        return STRATEGIES[tags[0]]
    return Product(tuple(STRATEGIES[tag] for tag in sorted(tags)), weights)


__all__ = ["STRATEGIES", "Strategy", "by_tags"]
