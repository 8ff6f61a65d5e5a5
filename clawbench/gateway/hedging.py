"""Hedging: a second leg for a stream whose first output is late, paid from a budget.

Once an offer has kept a stream waiting longer than most of its recent answers did, the next-best offer is asked the
same. The first leg with output serves; the other is dropped at once. Both are attempts, the second with the cause
"hedge"; what the dropped one can cost is set aside beforehand and never more than a share of what has been spent. Whole
answers are not hedged: nothing of theirs is seen before all of it. Off unless a plan has a `[gateway.hedging]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct

from clawbench.catalog.tiers import rates_at
from clawbench.clock import Clock
from clawbench.errors import UpstreamError
from clawbench.gateway.attempt import Attempt
from clawbench.gateway.limits import HedgingSettings
from clawbench.gateway.recorder import AttemptFacts
from clawbench.routing.estimates import Estimates
from clawbench.routing.strategies.price import Price
from clawbench.types import Decision, Offer, RequestShape

DROPPED = "dropped: a leg of a hedge; its cost is an estimate"
"""Note on the attempt."""

_PRICE = Price()


class Legs(Struct, frozen=True, kw_only=True):
    """What a race asks of the gateway, for one request."""

    commit: Callable[[Attempt], Awaitable[None]]  # reads a leg up to its first output; raises `UpstreamError`
    other: Callable[[], Decision | None]  # for a second leg; None: there is no further offer, or the client wants none
    begin: Callable[[Decision], Attempt]  # records the second leg
    fail: Callable[[Attempt, UpstreamError], None]  # records why a leg is over
    drop: Callable[[Attempt, bool], None]  # records that a leg was given up; True: because the other one was first


class Hedging:
    """When a stream is hedged, and what that has cost. One object a gateway; money is whole pico-USD.

    `spent` is the upstream cost of all attempts so far, `wasted` that of dropped legs, `reserved` what the races under
    way may still waste. No race is begun that could lift wasted + reserved above the settings' share of `spent`.
    """

    def __init__(self, settings: HedgingSettings | None, estimates: Estimates, clock: Clock) -> None:
        self._settings, self._estimates, self._clock = settings, estimates, clock
        self.spent = self.wasted = self.reserved = 0

    @property
    def is_on(self) -> bool:
        return self._settings is not None

    async def race(self, first: Attempt, legs: Legs, shape: RequestShape) -> Attempt:
        """The leg that has output; a second one is begun when `first` has kept waiting longer than is usual there.

        An offer of which no answer has been seen lately is not hedged: nobody knows what is usual. Raises the first
        leg's `UpstreamError` when all have failed, or when it says that no other offer can help; a second leg has been
        recorded by then, whatever is raised.
        """
        usual = partial(self._estimates.ttft_quantile, first.facts.offer.id)
        late_s = None if self._settings is None else self._settings.late(usual)
        if late_s is None:
            await legs.commit(first)
            return first
        race = _Race(first, legs)
        try:
            await asyncio.wait(race.tasks, timeout=late_s)
            set_aside = 0
            if not race.is_decided():
                set_aside = self._second(race, shape)
            try:
                return await race.winner()
            finally:
                self.reserved -= set_aside
        finally:
            await race.end()

    def paid(self, facts: AttemptFacts, *, dropped: bool) -> None:
        """An attempt is over; an unknown cost counts as none."""
        cost = facts.cost_pico_usd or 0
        self.spent += cost
        self.wasted += cost if dropped else 0

    def _second(self, race: _Race, shape: RequestShape) -> int:
        """Begins the second leg, if there is an offer and money for it; what was set aside, in pico-USD."""
        assert self._settings is not None
        decision = race.legs.other()
        if decision is None:
            return 0
        stake = self._stake(shape, race.first.facts.offer.id, decision.chosen)
        if stake is None:
            return 0
        if self.wasted + self.reserved + stake > self._settings.spend_share * self.spent:
            return 0
        self.reserved += stake
        race.add(race.legs.begin(decision))
        return stake

    def _stake(self, shape: RequestShape, *offer_ids: str) -> int | None:
        """The most that a dropped leg at one of these offers is expected to cost; None where a price is unknown."""
        costs = []
        for offer_id in offer_ids:
            state = self._estimates.state(
                offer_id, at_s=self._clock.now(), stream=shape.stream, prompt_tokens=shape.prompt_tokens
            )
            prompt, whole = cost_of_dropped(state.offer, shape), _PRICE.score(shape, state)
            if prompt is None or whole is None:
                return None
            costs.append(max(prompt, round(whole)))
        return max(costs)


class _Race:
    """One or two legs under way."""

    def __init__(self, first: Attempt, legs: Legs) -> None:
        self.first, self.legs = first, legs
        self.tasks: dict[asyncio.Task[None], Attempt] = {}
        self._won = False
        self.add(first)

    def add(self, leg: Attempt) -> None:
        async def main() -> None:
            await self.legs.commit(leg)

        self.tasks[asyncio.get_running_loop().create_task(main())] = leg

    def is_decided(self) -> bool:
        return any(task.done() for task in self.tasks)

    async def winner(self) -> Attempt:
        """The first leg with output, `first` at a tie."""
        failures: dict[Attempt, UpstreamError] = {}
        while True:
            for task, leg in list(self.tasks.items()):
                if not task.done():
                    continue
                del self.tasks[task]
                error = task.exception()
                if error is None:
                    self._won = True
                    return leg
                if not isinstance(error, UpstreamError):
                    raise error
                failures[leg] = error
                self.legs.fail(leg, error)
                if not self.tasks or (leg is self.first and not error.try_next):
                    raise failures[self.first]
            await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Drops what is still under way; a leg that got there in the same moment gives its connection back too."""
        for task in self.tasks:
            task.cancel()
        for task, leg in self.tasks.items():
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await leg.aclose()
            if self._won or leg is not self.first:
                self.legs.drop(leg, self._won)


def cost_of_dropped(offer: Offer, shape: RequestShape) -> int | None:
    """What a leg without output is believed to have cost: its prompt, as long as estimated. None: price unknown."""
    if offer.rates is None:
        return None
    return shape.prompt_tokens * rates_at(offer.rates, shape.prompt_tokens).input
