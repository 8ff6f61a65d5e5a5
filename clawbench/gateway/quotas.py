"""Quotas: the limits that providers state, kept before they have to remind us with a 429.

Requests and tokens a minute, by aiolimiter, which asks the loop for the time and so follows a virtual clock.
An offer without room is not refused: the router takes it only when all are without.
"""

from __future__ import annotations

from aiolimiter import AsyncLimiter

from clawbench.types import Offer

MINUTE_S = 60.0


class Quotas:
    """The limiters of one gateway, by offer, or by the upstream quota that several offers share."""

    def __init__(self) -> None:
        self._limiters: dict[str, tuple[AsyncLimiter | None, AsyncLimiter | None]] = {}

    def has_capacity(self, offer: Offer, tokens: int) -> bool:
        """Whether one more request of so many prompt tokens keeps within the stated limits."""
        if offer.requests_per_minute is None and offer.tokens_per_minute is None:
            return True
        requests, per_token = self._of(offer)
        roomy = requests is None or requests.has_capacity(1)
        return roomy and (per_token is None or per_token.has_capacity(min(tokens, per_token.max_rate)))

    async def take(self, offer: Offer, tokens: int) -> None:
        """Counts a request that leaves now; never waits."""
        if offer.requests_per_minute is None and offer.tokens_per_minute is None:
            return
        requests, per_token = self._of(offer)
        if requests is not None and requests.has_capacity(1):
            await requests.acquire(1)
        if per_token is not None and per_token.has_capacity(amount := min(tokens, per_token.max_rate)):
            await per_token.acquire(amount)

    def _of(self, offer: Offer) -> tuple[AsyncLimiter | None, AsyncLimiter | None]:
        name = offer.quota or offer.id
        found = self._limiters.get(name)
        if found is None:
            requests, tokens = offer.requests_per_minute, offer.tokens_per_minute
            found = self._limiters[name] = (
                AsyncLimiter(requests, MINUTE_S) if requests else None,
                AsyncLimiter(tokens, MINUTE_S) if tokens else None,
            )
        return found
