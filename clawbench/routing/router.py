"""The router: filters the offers of a reference, scores them by the strategy, picks one, and says why.

Chance enters by one keyed stream a decision, whose probabilities are part of it. The gateway tells it of every attempt
through `dispatched` and `finished`. Knows no transport, no wire and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from clawbench.catalog.catalog import Catalog
from clawbench.rng import Draws, draws
from clawbench.routing.estimates import Estimates, Track, kind_of
from clawbench.routing.health import PATIENCE_S, Breaker, Health
from clawbench.routing.pick import Field, Metrics, drawn, probabilities
from clawbench.routing.preferences import NO_PREFERENCES
from clawbench.routing.reference import PATTERNS, Reference, resolve, tags_of
from clawbench.routing.refusals import nothing_eligible
from clawbench.routing.settings import RoutingSettings
from clawbench.routing.state import OfferState
from clawbench.routing.sticky import Sticky
from clawbench.routing.strategies import STRATEGIES, Strategy, by_tags
from clawbench.routing.strategies.product import Product
from clawbench.types import Decision, Exclusion, Offer, RequestShape

REFERENCES_REMEMBERED = 1024


class Scored(Struct, frozen=True):
    """The eligible offers of a request, in parallel, and the others with their reasons."""

    states: list[OfferState]
    scores: list[float]
    excluded: list[Exclusion]


class Slot(Struct, frozen=True):
    """An offer with all that a decision looks at, found once."""

    offer: Offer
    track: Track
    breaker: Breaker
    ineligible: str | None


class Lease(Struct, frozen=True):
    """An attempt under way, as the router knows it."""

    offer_id: str
    number: int
    is_probe: bool


class Router:
    """One gateway's router. `ineligible` names offers that can never serve, with the reason.

    `has_capacity` says whether an offer's stated limits leave room for a request of so many tokens.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        default_strategy: str = "price",
        settings: RoutingSettings | None = None,
        estimates: Estimates | None = None,
        ineligible: Mapping[str, str] | None = None,
        has_capacity: Callable[[Offer, int], bool] = lambda offer, tokens: True,
        chain: Sequence[str] = (),
        patterns: Mapping[str, str] = PATTERNS,
        seed: int = 0,
    ) -> None:
        self.catalog, self.settings = catalog, settings or RoutingSettings()
        self.default = strategy_of(default_strategy, self.settings.weights)
        self.estimates = estimates or Estimates(catalog.offers_of(), self.settings)
        self.health = Health(
            catalog.offers_of(), self.settings, lambda name, rest: draws(seed, "breaker", name, str(rest))
        )
        self._has_capacity, self._chain, self._patterns = has_capacity, tuple(chain), patterns
        self.sticky = Sticky(self.settings)
        self._slots = {
            offer.id: Slot(
                offer, self.estimates.track(offer.id), self.health.breaker(offer.id), (ineligible or {}).get(offer.id)
            )
            for offer in catalog.offers_of()
        }
        self._everything = tuple(self._slots.values())
        self._of_model: dict[str, tuple[Slot, ...]] = {
            model.id: tuple(self._slots[offer.id] for offer in model.offers) for model in catalog.models.values()
        }
        self._combined: dict[tuple[str, ...], Strategy] = {}
        self._references: dict[str, Reference] = {}

    def reference(self, model: str, *, models: Any = None, provider: Any = None, chained: bool = True) -> Reference:
        """What the client's model string and routing fields mean; raises `RequestError` for what is unknown.

        `chained` False: the fallback chain is not for this client, an unknown model is an error.
        """
        if models is not None or provider is not None or not chained:
            chain = self._chain if chained else ()
            return resolve(model, self.catalog, models=models, provider=provider, chain=chain, patterns=self._patterns)
        known = self._references.get(model)
        if known is None:
            known = resolve(model, self.catalog, chain=self._chain, patterns=self._patterns)
            if len(self._references) >= REFERENCES_REMEMBERED:  # clients spell names in any number of ways
                self._references.clear()
            self._references[model] = known
        return known

    def strategy(self, reference: Reference) -> Strategy:
        """The strategy that a reference asks for, the default where it has no tags."""
        if not reference.tags:
            return self.default
        found = self._combined.get(reference.tags)
        if found is None:
            found = self._combined[reference.tags] = by_tags(reference.tags, self.settings.weights)
        return found

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
        """The offer for the next attempt, those in `tried` left out; `session` names the conversation it belongs to.

        `draw` opens the stream of the pick; it is not opened where only one offer is possible. Raises `RequestError`
        that names the binding reason when nothing is left.
        """
        strategy = self.strategy(reference)
        scored = self.scored(strategy, reference, request, at_s=at_s, tried=tried)
        if not scored.states:
            wakes_s = min((self.health.wakes_s(each.offer_id, at_s) for each in scored.excluded), default=at_s)
            raise nothing_eligible(reference, request, scored.excluded, self.offers(reference), wait_s=wakes_s - at_s)
        stay = None
        if session is not None:
            stay = self.sticky.place(session, strategy, request, scored.states, scored.scores, at_s=at_s)
        chances = self.chances(strategy, request, scored) if stay is None else _certain(stay, len(scored.states))
        chosen = chances.index(1.0) if 1.0 in chances else drawn(chances, draw())
        return Decision(
            strategy=strategy.name,
            t_s=at_s,
            candidates=tuple([state.offer.id for state in scored.states]),
            scores=tuple(scored.scores),
            in_flight=tuple([state.in_flight for state in scored.states]),
            excluded=tuple(scored.excluded),
            chosen=scored.states[chosen].offer.id,
            propensity=chances[chosen],
        )

    def chances(self, strategy: Strategy, request: RequestShape, scored: Scored) -> list[float]:
        """The probability with which each eligible offer is picked; they add up to 1."""
        scores = scored.scores
        if len(scores) == 1:
            return [1.0]
        if strategy.plain:
            best = min(scores)
            equals = scores.count(best)
            return [1.0 / equals if score == best else 0.0 for score in scores]
        states = scored.states

        def metrics(place: int) -> Metrics:
            parts = strategy.parts if isinstance(strategy, Product) else (strategy,)
            state = states[place]
            return Metrics(
                tuple([part.score(request, state) or 0.0 for part in parts]),
                tuple([part.error(state) for part in parts]),
            )

        field = Field(
            scores,
            [strategy.error(state) for state in states],
            [state.in_flight for state in states],
            metrics if isinstance(strategy, Product) else None,
        )
        settings = self.settings
        width = settings.price_band if strategy.name == "price" else settings.band
        return probabilities(field, width=width, exploration=settings.exploration)

    def scored(
        self,
        strategy: Strategy,
        reference: Reference,
        request: RequestShape,
        *,
        at_s: float,
        tried: Collection[str] = (),
    ) -> Scored:
        """The offers that may be picked now, those of the first tier that has any, and why the others may not."""
        tiers: dict[tuple[int, int], Scored] = {}
        excluded: list[Exclusion] = []
        kind, preferences, tier = kind_of(request.stream, request.prompt_tokens), reference.preferences, 0
        score_of, state_of, exclusion = strategy.score, self.estimates.state_of, self._exclusion
        for rank, slots in enumerate(self._ranked(reference)):
            into: Scored | None = None
            for slot in slots:
                offer_id = slot.offer.id
                reason = "already tried" if offer_id in tried else exclusion(slot, reference, request, at_s)
                if reason is None:
                    state = state_of(slot.track, kind, at_s)
                    score = score_of(request, state)
                    if score is not None:
                        if preferences is not NO_PREFERENCES:
                            tier = preferences.tier(state)
                            into = tiers.get((rank, tier))
                        if into is None:
                            into = tiers[rank, tier] = Scored([], [], excluded)
                        into.states.append(state)
                        into.scores.append(score)
                        continue
                    reason = strategy.unscorable
                excluded.append(Exclusion(offer_id, reason))
        if not tiers:
            return Scored([], [], excluded)
        first = tiers[min(tiers)]
        return first if strategy.plain else self._with_room(first, request, at_s=at_s, patient=strategy.patient)

    def dispatched(self, offer_id: str, *, at_s: float, expires_s: float) -> Lease:
        """An attempt leaves for this offer; its lease expires by itself at `expires_s`."""
        is_probe = self.health.is_probe(offer_id)
        self.health.dispatched(offer_id, expires_s=expires_s)
        return Lease(offer_id, self.estimates.dispatched(offer_id, at_s=at_s, expires_s=expires_s), is_probe)

    def finished(
        self, lease: Lease, *, at_s: float, outcome: str, retry_after_s: float | None = None, **seen: Any
    ) -> None:
        """An attempt is over; `seen` as in `Estimates.finished`."""
        congested_s = self.estimates.finished(lease.offer_id, lease.number, at_s=at_s, outcome=outcome, **seen)
        back = self.health.finished(
            lease.offer_id,
            at_s=at_s,
            outcome=outcome,
            in_flight=self.estimates.in_flight(lease.offer_id, at_s),
            retry_after_s=retry_after_s,
            congested_s=congested_s,
        )
        if back:
            self.estimates.recovered(lease.offer_id)

    def offers(self, reference: Reference) -> tuple[Offer, ...]:
        """Every offer that may come to serve a reference, fallbacks included, whatever excludes it now."""
        if reference.model is not None and not reference.fallbacks:
            return reference.model.offers
        return tuple(slot.offer for slots in self._ranked(reference) for slot in slots)

    def _ranked(self, reference: Reference) -> list[tuple[Slot, ...]]:
        """Offers of the model asked for, then of each fallback model; all of them for an open reference."""
        if reference.model is None:
            return [self._everything]
        if not reference.fallbacks:
            return [self._of_model[reference.model.id]]
        return [self._of_model[model.id] for model in (reference.model, *reference.fallbacks)]

    def _with_room(self, scored: Scored, request: RequestShape, *, at_s: float, patient: bool) -> Scored:
        """Without the offers that have as much under way as they take, and the cold ones that have not answered yet.

        Where that leaves nothing, all of them: late is better than never. And who asks for no speed gains nothing by
        going from a cold offer to one that is as unproven and worse: the cold ones stay, until the wait betrays a hang.
        """
        states, scores, left_out = scored.states, scored.scores, {}
        cold: list[int] = []
        for place, state in enumerate(states):
            reason = self._no_room(state, request, patient=patient)
            if reason is not None:
                left_out[place] = Exclusion(state.offer.id, reason)
                if patient and reason.startswith("cold"):
                    cold.append(place)
        if cold and not self._is_proven(states, left_out):
            for place in cold:
                if self.estimates.unanswered_s(states[place].offer.id, at_s) <= PATIENCE_S:
                    del left_out[place]
        if not left_out or len(left_out) == len(states):
            return scored
        kept = [place for place in range(len(states)) if place not in left_out]
        excluded = [*scored.excluded, *left_out.values()]
        return Scored([states[place] for place in kept], [scores[place] for place in kept], excluded)

    def _is_proven(self, states: Sequence[OfferState], left_out: Collection[int]) -> bool:
        """Whether any offer that is not left out has ever answered."""
        answers = self.estimates.answers
        return any(place not in left_out and answers(state.offer.id) for place, state in enumerate(states))

    def _no_room(self, state: OfferState, request: RequestShape, *, patient: bool) -> str | None:
        under_way, offer = state.in_flight, state.offer
        limited = offer.requests_per_minute is not None or offer.tokens_per_minute is not None
        if limited and not self._has_capacity(offer, request.prompt_tokens):
            return "hot: its stated limit leaves no room"
        if under_way == 0:
            return None
        if under_way >= self.settings.cold_unresolved_max and self.estimates.answers(offer.id) == 0:
            return f"cold: {under_way} requests under way and none answered yet"
        is_hot = self.health.is_hot(offer.id, under_way, patient=patient)
        return f"hot: {under_way} requests under way" if is_hot else None

    def _exclusion(self, slot: Slot, reference: Reference, request: RequestShape, at_s: float) -> str | None:
        """Why this offer cannot serve this request now; None if it can."""
        offer = slot.offer
        if slot.ineligible is not None:
            return slot.ineligible
        # A prefix belongs to the model that was named; its fallbacks may come from anywhere.
        is_named = reference.model is None or offer.model == reference.model.id
        if reference.provider is not None and offer.provider != reference.provider and is_named:
            return f"not of provider {reference.provider}"
        if request.needs and offer.capabilities is not None and not request.needs <= offer.capabilities:
            return "cannot do " + ", ".join(sorted(request.needs - offer.capabilities))
        if offer.context_window is not None and request.prompt_tokens > offer.context_window:
            return f"context window {offer.context_window} tokens, prompt about {request.prompt_tokens}"
        if reference.preferences is not NO_PREFERENCES:
            if reference.preferences.require_parameters and offer.capabilities is None:
                return "provider.require_parameters: its capabilities are not stated"
            refusal = reference.preferences.refusal(offer, request.prompt_tokens)
            if refusal is not None:
                return refusal
        return None if slot.breaker.open_until_s is None else self.health.resting(offer.id, at_s)


def _certain(place: int, count: int) -> list[float]:
    return [float(each == place) for each in range(count)]


def strategy_of(name: str, weights: Mapping[str, float] | None = None) -> Strategy:
    """A strategy by a plan's name for it: a baseline, a tag, or tags joined by '@'. Raises `RequestError`."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    return by_tags(tags_of(name), weights)
