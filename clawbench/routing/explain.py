"""Explain: what the router would do with a request at this instant, and why, without doing it.

Asks the router the same questions as a decision does, for the strategy asked for and then for each single tag. Nothing
is drawn, dispatched or learned. Plain values come out: whoever prints or serves them needs nothing else of routing.
"""

from __future__ import annotations

from msgspec import Struct

from clawbench.routing.reference import Reference
from clawbench.routing.router import Router, Scored
from clawbench.routing.settings import TAG_NAMES
from clawbench.routing.state import OfferState
from clawbench.routing.strategies import STRATEGIES
from clawbench.types import Exclusion, RequestShape

LATER = "taken when those before it are gone"
UNITS = {
    "energy": "J per output token",
    "latency": "s, times load",
    "price": "pico-USD for this request",
    "quality": "1 / score",
    "token_rate": "s per output token",
}
"""Unit of each tag's metric; lower is better in all of them."""


class Prediction(Struct, frozen=True, kw_only=True):
    """What is expected of an offer for a request of this kind, and what that rests on.

    Errors are standard errors of the natural logarithm: 0.1 is about 10 %. `samples` is the effective number of
    recent observations, 0 where everything is prior; `prior` says from where: the offer's profile, or the others of its
    model. `age_s` is None where no answer has come yet.
    """

    ttft_s: float
    ttft_error: float
    token_rate: float
    token_rate_error: float
    output_tokens: float
    cached_share: float
    failure_share: float
    failed_cost_pico_usd: float
    samples: float
    age_s: float | None
    prior: str
    ttft_s_p50: float | None  # of recent answers; None without any
    ttft_s_p90: float | None
    ttft_s_p99: float | None


class Candidate(Struct, frozen=True, kw_only=True):
    """An offer that may be picked. `score` is the strategy's, `metrics` each tag's (None: nothing is known)."""

    offer_id: str
    provider: str
    model: str
    score: float
    probability: float
    metrics: dict[str, float | None]
    in_flight: int
    price_source: str | None
    prediction: Prediction


class SingleTag(Struct, frozen=True):
    """What one tag alone would choose: the offers of the best score, and how likely the router is to pick one of them.

    Nothing where no offer can be scored by it.
    """

    offers: tuple[str, ...]
    probability: float
    unit: str  # of the tag's metric


class Explanation(Struct, frozen=True, kw_only=True):
    """A decision that could be made at `t_s`. `candidates` come best first; none: nothing can serve."""

    strategy: str
    model: str | None  # None: any
    tags: tuple[str, ...]
    t_s: float
    prompt_tokens: int
    max_output_tokens: int | None
    stream: bool
    needs: tuple[str, ...]
    exploration: float
    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...]
    by_tag: dict[str, SingleTag]


def explain(router: Router, reference: Reference, shape: RequestShape, at_s: float) -> Explanation:
    """What `router.decide` would do with this request now; an empty choice is explained too, not refused."""
    strategy = router.strategy(reference)
    scored = router.scored(strategy, reference, shape, at_s=at_s)
    chances = router.chances(strategy, shape, scored) if scored.states else []
    candidates = [
        _candidate(router, state, score, chance, shape)
        for state, score, chance in zip(scored.states, scored.scores, chances, strict=True)
    ]
    return Explanation(
        strategy=strategy.name,
        model=reference.model.id if reference.model else None,
        tags=reference.tags,
        t_s=at_s,
        prompt_tokens=shape.prompt_tokens,
        max_output_tokens=shape.max_output_tokens,
        stream=shape.stream,
        needs=tuple(sorted(shape.needs)),
        exploration=0.0 if strategy.plain else router.settings.exploration,
        candidates=tuple(sorted(candidates, key=lambda each: (each.score, -each.probability, each.offer_id))),
        excluded=(*scored.excluded, *_later(router, reference, scored)),
        by_tag={tag: _single(router, tag, reference, shape, at_s) for tag in TAG_NAMES},
    )


def _candidate(router: Router, state: OfferState, score: float, chance: float, shape: RequestShape) -> Candidate:
    offer = state.offer
    return Candidate(
        offer_id=offer.id,
        provider=offer.provider,
        model=offer.model,
        score=score,
        probability=chance,
        metrics={tag: _metric(tag, shape, state) for tag in TAG_NAMES},
        in_flight=state.in_flight,
        price_source=offer.price_source,
        prediction=_prediction(router, state, shape),
    )


def _metric(tag: str, shape: RequestShape, state: OfferState) -> float | None:
    if tag == "energy" and state.offer.energy_j_per_token is None:
        return None  # the strategy ranks such an offer last; that is no figure
    return STRATEGIES[tag].score(shape, state)


def _prediction(router: Router, state: OfferState, shape: RequestShape) -> Prediction:
    offer, estimates = state.offer, router.estimates
    expected = state.output_tokens
    if shape.max_output_tokens is not None:
        expected = min(expected, shape.max_output_tokens)
    return Prediction(
        ttft_s=state.ttft_s,
        ttft_error=state.log_ttft_error,
        token_rate=state.token_rate,
        token_rate_error=state.log_rate_error,
        output_tokens=expected,
        cached_share=state.cached_share,
        failure_share=state.failure_share,
        failed_cost_pico_usd=state.failed_cost,
        samples=state.samples,
        age_s=state.age_s,
        prior=offer.profile.source if offer.profile else "the other offers of its model",
        ttft_s_p50=estimates.ttft_quantile(offer.id, 0.5),
        ttft_s_p90=estimates.ttft_quantile(offer.id, 0.9),
        ttft_s_p99=estimates.ttft_quantile(offer.id, 0.99),
    )


def _later(router: Router, reference: Reference, scored: Scored) -> list[Exclusion]:
    """Offers that are in order, but stand behind the others: of a fallback model, or less preferred by the client."""
    models = None if reference.model is None else [reference.model.id, *(each.id for each in reference.fallbacks)]
    told = {state.offer.id for state in scored.states} | {each.offer_id for each in scored.excluded}
    return [Exclusion(offer.id, LATER) for offer in router.catalog.offers_of(models) if offer.id not in told]


def _single(router: Router, tag: str, reference: Reference, shape: RequestShape, at_s: float) -> SingleTag:
    strategy = STRATEGIES[tag]
    scored = router.scored(strategy, reference, shape, at_s=at_s)
    if all(_metric(tag, shape, state) is None for state in scored.states):
        return SingleTag((), 0.0, UNITS[tag])
    best, chances = min(scored.scores), router.chances(strategy, shape, scored)
    places = [place for place, score in enumerate(scored.scores) if score == best]
    offers = tuple(scored.states[place].offer.id for place in places)
    return SingleTag(offers, min(sum(chances[place] for place in places), 1.0), UNITS[tag])
