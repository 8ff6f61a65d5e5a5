"""Sticky sessions: a conversation stays where its prompt is cached, as long as that is worth what it costs.

An offer that has served a session's last request has the beginning of the next prompt in its cache. So that offer is
scored once more with the share of cached tokens that this very session had there, and kept unless the best one is
better by more than a margin. Only offers that are eligible and have room are kept: capability, breakers and limits go
first. Time and sessions' names come in as arguments; the oldest sessions are forgotten. Off unless a plan sets it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import copy

from msgspec import Struct

from clawbench.routing.settings import RoutingSettings
from clawbench.routing.state import OfferState
from clawbench.routing.strategies.protocol import Strategy
from clawbench.types import RequestShape

SESSIONS_MAX = 10_000


class _Stay(Struct, frozen=True):
    """Where a session was served last."""

    offer_id: str
    cached_share: float  # of its prompt tokens, as the provider counted
    until_s: float


class Sticky:
    """The sessions of one gateway."""

    def __init__(self, settings: RoutingSettings) -> None:
        self._margin, self._idle_s = settings.sticky_margin, settings.sticky_idle_s
        self._stays: OrderedDict[str, _Stay] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self._margin is not None

    def served(self, session: str, offer_id: str, *, cached_share: float | None, at_s: float) -> None:
        """An offer has answered a request of this session."""
        if self._margin is None:
            return
        self._stays[session] = _Stay(offer_id, cached_share or 0.0, at_s + self._idle_s)
        self._stays.move_to_end(session)
        if len(self._stays) > SESSIONS_MAX:
            self._stays.popitem(last=False)

    def place(
        self,
        session: str,
        strategy: Strategy,
        request: RequestShape,
        states: Sequence[OfferState],
        scores: Sequence[float],
        *,
        at_s: float,
    ) -> int | None:
        """The place of the offer that the session is to stay at; None where it is free to go anywhere."""
        stay = self._stays.get(session)
        if stay is None or self._margin is None or at_s >= stay.until_s or strategy.plain:
            return None
        place = next((place for place, state in enumerate(states) if state.offer.id == stay.offer_id), None)
        if place is None:
            return None
        warm = copy(states[place])
        warm.cached_share = max(warm.cached_share, stay.cached_share)
        score = strategy.score(request, warm)
        return place if score is not None and score <= min(scores) * (1 + self._margin) else None
