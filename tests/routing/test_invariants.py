"""What holds for every catalog and every history: of the score, and of the pick."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from clawbench.catalog.catalog import Catalog
from clawbench.rng import draws
from clawbench.routing.pick import Field, Metrics, power_of_two, probabilities
from clawbench.routing.reference import Reference, resolve
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.types import Offer, Rates, RequestShape
from tests.lab import offer

pytestmark = pytest.mark.invariant

CASES = max(300, settings().max_examples)

prices = st.one_of(st.none(), st.tuples(st.integers(0, 60), st.integers(0, 60)))
facts = st.lists(st.tuples(prices, st.floats(0.01, 20), st.floats(1, 2_000)), min_size=1, max_size=6)
shapes = st.builds(
    RequestShape,
    prompt_tokens=st.integers(1, 100_000),
    max_output_tokens=st.none() | st.integers(1, 10_000),
    stream=st.booleans(),
    needs=st.just(frozenset()),
)
tags = st.lists(st.sampled_from(["price", "latency", "token_rate"]), min_size=1, max_size=3, unique=True)
WITHOUT_UNIT = 1e-9  # relative slack for floating point
histories = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["ok", "upstream_5xx", "timeout_first"]), st.floats(0.01, 30)),
    max_size=12,
)


def offers_of(known: list[tuple[tuple[int, int] | None, float, float]]) -> list[Offer]:
    return [offer(f"o{i}", price=price, ttft_s=ttft_s, rate=rate) for i, (price, ttft_s, rate) in enumerate(known)]


def lived(offers: list[Offer], history: list[tuple[int, str, float]], **more: object) -> Router:
    """A router after these attempts, half a second apart."""
    router = Router(Catalog(offers), settings=RoutingSettings(**more))  # type: ignore[arg-type]
    for number, (place, outcome, seconds) in enumerate(history):
        chosen = offers[place % len(offers)]
        lease = router.dispatched(chosen.id, at_s=number * 0.5, expires_s=1e9)
        seen = {"ttft_s": seconds, "token_rate": 10 / seconds, "output_tokens": 50} if outcome == "ok" else {}
        router.finished(lease, at_s=number * 0.5, outcome=outcome, elapsed_s=seconds, **seen)
    return router


def scores(router: Router, asked: list[str], shape: RequestShape) -> dict[str, float]:
    reference = Reference(None, tuple(sorted(asked)))
    scored = router.scored(router.strategy(reference), reference, shape, at_s=1e4)
    return {state.offer.id: score for state, score in zip(scored.states, scored.scores, strict=True)}


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags)
def test_the_order_of_tags_changes_nothing(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
) -> None:
    offers = offers_of(known)
    catalog = Catalog(offers)
    meanings = {resolve("m@" + "@".join(order), catalog).tags for order in permutations(asked)}
    assert len(meanings) == 1


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags, st.integers(2, 1_000))
def test_rescaling_a_unit_changes_no_order(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
    factor: int,
) -> None:
    offers = [one for one in offers_of(known) if one.rates is None or (one.rates.input and one.rates.output)]
    if not offers:
        return
    dearer = [
        structs.replace(one, rates=Rates(input=one.rates.input * factor, output=one.rates.output * factor))
        if one.rates
        else one
        for one in offers
    ]
    before, after = scores(lived(offers, history), asked, shape), scores(lived(dearer, history), asked, shape)
    ratio = {round(after[name] / before[name], 6) for name in before}
    assert len(ratio) <= 1, "all scores grow by one factor, so no order changes"


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags, st.tuples(prices, st.floats(0.01, 20), st.floats(1, 2_000)))
def test_a_further_offer_changes_no_score_of_the_others(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
    further: tuple[tuple[int, int] | None, float, float],
) -> None:
    offers = offers_of(known)
    history = [(place % len(offers), outcome, seconds) for place, outcome, seconds in history]
    more = [*offers, offer("further", price=further[0], ttft_s=further[1], rate=further[2])]
    before, after = scores(lived(offers, history), asked, shape), scores(lived(more, history), asked, shape)
    assert {name: after[name] for name in before} == pytest.approx(before)


@settings(max_examples=CASES)
@given(facts, shapes, tags, st.randoms(use_true_random=False))
def test_the_order_of_the_catalog_changes_no_score(
    known: list[tuple[tuple[int, int] | None, float, float]], shape: RequestShape, asked: list[str], random: object
) -> None:
    offers = offers_of(known)
    mixed = list(offers)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert scores(lived(mixed, []), asked, shape) == pytest.approx(scores(lived(offers, []), asked, shape))


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags, st.integers(0, 59))
def test_lowering_a_price_never_worsens_a_rank(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
    less: int,
) -> None:
    offers = offers_of(known)
    first = offers[0]
    if first.rates is None:
        return
    lower = Rates(
        input=max(0, first.rates.input - less * 1_000_000), output=max(0, first.rates.output - less * 1_000_000)
    )
    cheaper = [structs.replace(first, rates=lower), *offers[1:]]
    before, after = scores(lived(offers, history), asked, shape), scores(lived(cheaper, history), asked, shape)
    if first.id not in before:
        return
    rank = [sum(score < table[first.id] * (1 - 1e-9) for score in table.values()) for table in (before, after)]
    assert rank[1] <= rank[0]


rows = st.lists(
    st.tuples(
        st.floats(0.001, 1e6),
        st.floats(0, 1),
        st.integers(0, 50),
        st.builds(
            Metrics,
            values=st.tuples(st.floats(0.001, 1e3), st.floats(0.001, 1e3)),
            errors=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
        ),
    ),
    min_size=1,
    max_size=8,
)


def field_of(some: list[tuple[float, float, int, Metrics]]) -> Field:
    scores, errors, loads, metrics = zip(*some, strict=True)
    return Field(scores, errors, loads, metrics.__getitem__)


@settings(max_examples=CASES)
@given(rows, st.floats(0, 0.5), st.floats(0, 0.5))
def test_probabilities_add_up_to_one_and_none_is_negative(
    some: list[tuple[float, float, int, Metrics]], width: float, exploration: float
) -> None:
    chances = probabilities(field_of(some), width=width, exploration=exploration)
    assert sum(chances) == pytest.approx(1.0)
    assert min(chances) >= 0


@settings(max_examples=CASES)
@given(rows, st.floats(0, 0.5))
def test_an_offer_beaten_in_every_metric_beyond_doubt_is_drawn_by_exploration_only(
    some: list[tuple[float, float, int, Metrics]], width: float
) -> None:
    chances = probabilities(field_of(some), width=width, exploration=0.0)
    metrics = [row[3] for row in some]
    band = [place for place, chance in enumerate(chances) if chance > 0]
    for place, one in enumerate(metrics):
        for other in band:
            pairs = zip(metrics[other].values, one.values, one.errors, strict=True)
            if all(mine < theirs * (1 - error) for mine, theirs, error in pairs):
                assert chances[place] == 0.0


@settings(max_examples=CASES)
@given(st.integers(2, 8), prices, shapes, tags, st.floats(0, 0.3))
def test_equal_offers_are_picked_with_equal_probability(
    count: int, price: tuple[int, int] | None, shape: RequestShape, asked: list[str], exploration: float
) -> None:
    equals = [offer(f"o{number}", price=price, ttft_s=0.7, rate=60) for number in range(count)]
    router = Router(Catalog(equals), settings=RoutingSettings(exploration=exploration))
    reference = Reference(None, tuple(sorted(asked)))
    scored = router.scored(router.strategy(reference), reference, shape, at_s=1.0)
    if scored.states:
        chances = router.chances(router.strategy(reference), shape, scored)
        assert chances == pytest.approx([1 / count] * count)


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags, st.floats(0, 0.3))
def test_an_offer_far_worse_in_everything_gets_its_share_of_exploration_at_most(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
    exploration: float,
) -> None:
    offers = [*offers_of(known), offer("worst", price=(10_000, 10_000), ttft_s=2_000.0, rate=0.01)]
    history = [(place % (len(offers) - 1), outcome, seconds) for place, outcome, seconds in history]
    router = lived(offers, history, exploration=exploration)
    reference = Reference(None, tuple(sorted(asked)))
    scored = router.scored(router.strategy(reference), reference, shape, at_s=1e4)
    chances = router.chances(router.strategy(reference), shape, scored)
    ids = [state.offer.id for state in scored.states]
    if len(ids) > 1 and "worst/m" in ids:
        assert chances[ids.index("worst/m")] <= exploration + WITHOUT_UNIT


@settings(max_examples=CASES)
@given(st.integers(1, 12), st.integers(0, 9))
def test_equal_loads_split_evenly(count: int, load: int) -> None:
    assert power_of_two([load] * count) == pytest.approx([1 / count] * count)


@settings(max_examples=CASES)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=10))
def test_less_load_is_never_less_likely(loads: list[int]) -> None:
    chances = power_of_two(loads)
    assert sum(chances) == pytest.approx(1.0)
    for (one, chance), (other, its) in permutations(zip(loads, chances, strict=True), 2):
        if one < other:
            assert chance >= its


@settings(max_examples=CASES)
@given(facts, histories, shapes, tags)
def test_the_recorded_probability_is_how_often_it_happens(
    known: list[tuple[tuple[int, int] | None, float, float]],
    history: list[tuple[int, str, float]],
    shape: RequestShape,
    asked: list[str],
) -> None:
    router = lived(offers_of(known), history, exploration=0.2)
    reference = Reference(None, tuple(sorted(asked)))
    scored = router.scored(router.strategy(reference), reference, shape, at_s=1e4)
    if not scored.states:
        return
    chances = router.chances(router.strategy(reference), shape, scored)
    assert sum(chances) == pytest.approx(1.0)
    decision = router.decide(reference, shape, at_s=1e4, draw=lambda: draws(1, "x"))
    assert decision.propensity == chances[[state.offer.id for state in scored.states].index(decision.chosen)]
    assert decision.propensity > 0
