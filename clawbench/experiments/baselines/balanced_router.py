"""A router in which a balancer picks: everything but the pick is the gateway's own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from msgspec import structs

from clawbench.catalog.catalog import Catalog
from clawbench.errors import UsageError
from clawbench.experiments.baselines.protocol import Balancer
from clawbench.rng import Draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Lease, Router, Scored
from clawbench.routing.strategies import Strategy
from clawbench.types import Decision, RequestShape


class BalancedRouter(Router):
    """Requests without tags are the balancer's; a client's tags still mean what they mean."""

    def __init__(self, catalog: Catalog, balancer: Balancer, **options: Any) -> None:
        super().__init__(catalog, **options)
        self.default = self._balancer = balancer
        self._at_s, self._propensity = 0.0, 1.0
        self._draw: Callable[[], Draws] | None = None

    def decide(
        self,
        reference: Reference,
        request: RequestShape,
        *,
        at_s: float,
        draw: Callable[[], Draws],
        tried: Collection[str] = (),
        session: str | None = None,
    ) -> Decision:
        """As the router's own."""
        self._at_s, self._draw, self._propensity = at_s, draw, 1.0
        try:
            decision = super().decide(reference, request, at_s=at_s, draw=draw, tried=tried, session=session)
        finally:
            self._draw = None
        if self.strategy(reference) is not self._balancer:
            return decision
        return structs.replace(decision, propensity=self._propensity)

    def chances(self, strategy: Strategy, request: RequestShape, scored: Scored) -> list[float]:
        """Where the balancer decides, 1 for its pick: how likely that was stands in the decision's propensity.

        Raises `UsageError` outside of a decision: what a balancer would pick is known once it has picked.
        """
        if strategy is not self._balancer or len(scored.scores) == 1:
            return super().chances(strategy, request, scored)
        if self._draw is None:
            raise UsageError(f"{strategy.name} picks for itself: its decisions can be explained once they are made")
        place, self._propensity = self._balancer.pick(
            request, scored.states, scored.scores, at_s=self._at_s, draw=self._draw
        )
        return [1.0 if number == place else 0.0 for number in range(len(scored.scores))]

    def dispatched(self, offer_id: str, *, at_s: float, expires_s: float) -> Lease:
        """As the router's own."""
        self._balancer.dispatched(offer_id, at_s=at_s)
        return super().dispatched(offer_id, at_s=at_s, expires_s=expires_s)

    def finished(
        self, lease: Lease, *, at_s: float, outcome: str, retry_after_s: float | None = None, **seen: Any
    ) -> None:
        """As the router's own."""
        self._balancer.finished(lease.offer_id, at_s=at_s, outcome=outcome, seen=seen)
        super().finished(lease, at_s=at_s, outcome=outcome, retry_after_s=retry_after_s, **seen)
