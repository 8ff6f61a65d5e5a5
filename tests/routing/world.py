"""Offers that behave as told, and a router that learns of them: routing without a gateway, in computed time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

from clawbench.catalog.catalog import Catalog
from clawbench.errors import RequestError
from clawbench.rng import draws
from clawbench.routing.reference import Reference, resolve
from clawbench.routing.router import Lease, Router
from clawbench.routing.settings import RoutingSettings
from clawbench.types import Offer, RequestShape

Behaviour = Callable[[float, int], tuple[str, float]]
"""(instant, attempts under way) → (outcome, seconds until it is known)."""


def steady(ttft_s: float) -> Behaviour:
    return lambda at_s, in_flight: ("ok", ttft_s)


def hanging(until_s: float = 1e9, then_s: float = 0.3, timeout_s: float = 20.0) -> Behaviour:
    """Never answers before `until_s`: the gateway gives up after `timeout_s`."""
    return lambda at_s, in_flight: ("timeout_first", timeout_s) if at_s < until_s else ("ok", then_s)


def failing(until_s: float = 1e9, then_s: float = 0.3, fails_after_s: float = 0.01) -> Behaviour:
    """Fails at once before `until_s`."""
    return lambda at_s, in_flight: ("upstream_5xx", fails_after_s) if at_s < until_s else ("ok", then_s)


@dataclass
class World:
    """Sends requests at fixed gaps; what is chosen and what becomes of it is kept in order."""

    behaviours: dict[str, Behaviour]
    offers: Sequence[Offer]
    model: str = "m@latency"
    settings: RoutingSettings = field(default_factory=RoutingSettings)
    stream: bool = True
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.router = Router(Catalog(self.offers), settings=self.settings)
        self.reference: Reference = resolve(self.model, self.router.catalog)
        self.shape = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=self.stream, needs=frozenset())
        self.chosen: list[str] = []
        self.outcomes: list[str] = []
        self._ends: list[tuple[float, int, Lease, str, float]] = []
        self._sent = 0

    def send(self, requests: int, *, every_s: float) -> Counter[str]:
        """So many further requests; how often each offer was chosen for them."""
        before = len(self.chosen)
        for _ in range(requests):
            self.at_s += every_s
            self._end_until(self.at_s)
            self._one()
        return Counter(self.chosen[before:])

    def rest(self, seconds: float) -> None:
        self.at_s += seconds
        self._end_until(self.at_s)

    def _one(self) -> None:
        self._sent += 1
        try:
            decision = self.router.decide(
                self.reference, self.shape, at_s=self.at_s, draw=partial(draws, 7, "world", str(self._sent))
            )
        except RequestError:
            self.chosen.append("nobody")
            return
        name = decision.chosen
        self.chosen.append(name)
        in_flight = self.router.estimates.in_flight(name, self.at_s)
        lease = self.router.dispatched(name, at_s=self.at_s, expires_s=self.at_s + 60)
        outcome, after_s = self.behaviours[name](self.at_s, in_flight)
        heappush(self._ends, (self.at_s + after_s, self._sent, lease, outcome, after_s))

    def _end_until(self, at_s: float) -> None:
        while self._ends and self._ends[0][0] <= at_s:
            end_s, _, lease, outcome, after_s = heappop(self._ends)
            seen: dict[str, Any] = (
                {"ttft_s": after_s, "token_rate": 50.0, "output_tokens": 100} if outcome == "ok" else {}
            )
            self.router.finished(lease, at_s=end_s, outcome=outcome, elapsed_s=after_s, **seen)
            self.outcomes.append(outcome)
