"""Baselines with a memory or a draw of their own, run in the gateway in place of its strategies.

Who is eligible, breakers, fallback and timeouts are the gateway's for all of them: what differs is the pick alone.
To add one: a file with a `Balancer` (see `protocol.py`), a line here, its name in `routing/strategies/outside.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from clawbench.catalog.catalog import Catalog
from clawbench.experiments.baselines.balanced_router import BalancedRouter
from clawbench.experiments.baselines.inverse_square_price import InverseSquarePrice
from clawbench.experiments.baselines.litellm_router import LITELLM_STRATEGIES, LiteLLMBalancer
from clawbench.experiments.baselines.p2c_peak_ewma import P2CPeakEwma
from clawbench.experiments.baselines.protocol import Balancer
from clawbench.routing.router import Router

BALANCERS: dict[str, Callable[[Catalog], Balancer]] = {
    InverseSquarePrice.name: lambda catalog: InverseSquarePrice(),
    P2CPeakEwma.name: lambda catalog: P2CPeakEwma(),
    **{name: partial(LiteLLMBalancer, name) for name in LITELLM_STRATEGIES},
}


def router_for(catalog: Catalog, *, default_strategy: str, **options: Any) -> Router:
    """The gateway's router under this strategy, with a fresh balancer where it is one of `BALANCERS`."""
    balancer = BALANCERS.get(default_strategy)
    if balancer is None:
        return Router(catalog, default_strategy=default_strategy, **options)
    return BalancedRouter(catalog, balancer(catalog), **options)


__all__ = ["BALANCERS", "Balancer", "router_for"]
