"""Explanations: they say what the router does, and change nothing by saying it."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.catalog.catalog import Catalog
from clawbench.rng import draws
from clawbench.routing.explain import LATER, explain
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.types import RequestShape
from tests.lab import offer

SHAPE = RequestShape(prompt_tokens=1_000, max_output_tokens=100, stream=True, needs=frozenset())
THREE = [
    offer("cheap", price=(1, 1), ttft_s=2.0, rate=20.0),
    offer("quick", price=(9, 9), ttft_s=0.1, rate=50.0),
    offer("fluent", price=(5, 5), ttft_s=1.0, rate=900.0),
]
tags = st.sampled_from(["m@price", "m@latency", "m@token_rate", "m@price@latency", "m@balanced", "@price", "m"])


@given(tags, st.integers(0, 30))
def test_an_explanation_names_the_scores_and_probabilities_of_the_decision_that_follows(text: str, key: int) -> None:
    router = Router(Catalog(THREE))
    reference = router.reference(text)
    told = explain(router, reference, SHAPE, at_s=0.0)
    decision = router.decide(reference, SHAPE, at_s=0.0, draw=partial(draws, 1, str(key)))
    by_id = {each.offer_id: each for each in told.candidates}
    assert {name: each.score for name, each in by_id.items()} == dict(
        zip(decision.candidates, decision.scores, strict=True)
    )
    assert by_id[decision.chosen].probability == decision.propensity
    assert sum(each.probability for each in told.candidates) == pytest.approx(1.0)
    assert told.strategy == decision.strategy


def test_probabilities_are_those_with_which_offers_are_picked() -> None:
    router = Router(Catalog([offer("a"), offer("b"), offer("far", ttft_s=30.0)]))
    reference = router.reference("m@latency")
    told = {each.offer_id: each.probability for each in explain(router, reference, SHAPE, at_s=0.0).candidates}
    picks = Counter(
        router.decide(reference, SHAPE, at_s=0.0, draw=partial(draws, 3, str(number))).chosen for number in range(2_000)
    )
    assert all(picks[name] / 2_000 == pytest.approx(chance, abs=0.04) for name, chance in told.items())


def test_each_single_tag_names_whom_it_would_choose() -> None:
    router = Router(Catalog(THREE), settings=RoutingSettings(exploration=0))
    told = explain(router, router.reference("m@price@latency"), SHAPE, at_s=0.0)
    assert told.by_tag["price"].offers == ("cheap/m",)
    assert told.by_tag["latency"].offers == ("quick/m",)
    assert told.by_tag["token_rate"].offers == ("fluent/m",)
    assert told.by_tag["quality"].offers == ()
    assert told.by_tag["price"].probability == 1.0


def test_reasons_of_what_was_left_out_are_told_also_of_what_stands_behind() -> None:
    offers = [*THREE, offer("small", context_window=10), offer("spare", model="n")]
    router = Router(Catalog(offers), ineligible={"cheap/m": "only errors are recorded"})
    told = explain(router, router.reference("m@price", models=["n"]), SHAPE, at_s=0.0)
    reasons = {each.offer_id: each.reason for each in told.excluded}
    assert reasons == {
        "cheap/m": "only errors are recorded",
        "small/m": "context window 10 tokens, prompt about 1000",
        "spare/n": LATER,
    }


def test_what_nothing_can_serve_is_explained_rather_than_refused() -> None:
    router = Router(Catalog([offer("small", context_window=10)]))
    told = explain(router, router.reference("m"), SHAPE, at_s=0.0)
    assert told.candidates == ()
    assert told.by_tag["price"].offers == ()
    assert told.excluded[0].offer_id == "small/m"


def test_predictions_say_on_how_much_they_rest() -> None:
    router = Router(Catalog(THREE))
    for _ in range(4):
        lease = router.dispatched("quick/m", at_s=0.0, expires_s=60.0)
        router.finished(lease, at_s=1.0, outcome="ok", ttft_s=0.5, token_rate=40.0, output_tokens=10, elapsed_s=1.0)
    told = explain(router, router.reference("m@latency"), SHAPE, at_s=11.0)
    seen = {each.offer_id: each.prediction for each in told.candidates}
    assert (seen["cheap/m"].samples, seen["cheap/m"].age_s, seen["cheap/m"].ttft_s_p50) == (0.0, None, None)
    assert seen["quick/m"].samples == pytest.approx(4 * 0.5 ** (10 / 60))
    assert seen["quick/m"].age_s == pytest.approx(10.0)
    assert seen["quick/m"].ttft_s_p90 == pytest.approx(0.5, rel=0.05)
    assert seen["quick/m"].prior == "test"


def test_explaining_changes_no_later_decision() -> None:
    asked, quiet = Router(Catalog(THREE)), Router(Catalog(THREE))
    for number in range(30):
        for router in (asked, quiet):
            if router is asked:
                explain(router, router.reference("m@balanced"), SHAPE, at_s=number * 1.0)
            reference = router.reference("m@latency")
            decision = router.decide(reference, SHAPE, at_s=number * 1.0, draw=partial(draws, 5, str(number)))
            lease = router.dispatched(decision.chosen, at_s=number * 1.0, expires_s=number + 60.0)
            router.finished(lease, at_s=number + 0.5, outcome="ok", ttft_s=0.4, elapsed_s=0.5)
    assert asked.estimates.snapshot(at_s=30.0) == quiet.estimates.snapshot(at_s=30.0)
