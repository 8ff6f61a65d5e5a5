"""Baselines: each picks as its source says, states how likely that was, and runs in a plan like any strategy."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.catalog.catalog import Catalog
from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.experiments.baselines import BALANCERS, router_for
from clawbench.experiments.baselines.p2c_peak_ewma import TAU_S, PeakEwma
from clawbench.experiments.cell import Cell, model_reference, run_cell
from clawbench.experiments.prepare import Prepared, prepare
from clawbench.gateway.records import MemoryWriter
from clawbench.rng import draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.routing.strategies import STRATEGIES
from clawbench.types import Decision, Offer, RequestShape
from tests.experiments.made_plan import made_plan
from tests.lab import offer

pytestmark = pytest.mark.filterwarnings("ignore:.*ReadOnly.*:UserWarning")  # of LiteLLM's own types

STREAMED = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=True, needs=frozenset())
LITELLM = [name for name in BALANCERS if name.startswith("litellm:")]
ALL = ["least_busy", "cheapest_unit_price", "lowest_mean_latency", *BALANCERS]


def router(strategy: str, offers: list[Offer]) -> Router:
    return router_for(Catalog(offers), default_strategy=strategy, settings=RoutingSettings(exploration=0))


def decide(of: Router, key: int = 0, at_s: float = 0.0) -> Decision:
    return of.decide(Reference(None, ()), STREAMED, at_s=at_s, draw=partial(draws, 1, str(key)))


def picks(of: Router, count: int, at_s: float = 0.0) -> Counter[str]:
    return Counter(decide(of, key, at_s).chosen for key in range(count))


def answered(of: Router, name: str, *, at_s: float, ttft_s: float, times: int = 1, **seen: Any) -> None:
    for _ in range(times):
        lease = of.dispatched(name, at_s=at_s - ttft_s, expires_s=at_s + 60)
        told = {"stream": True, "elapsed_s": ttft_s, "ttft_s": ttft_s, "token_rate": 50.0, "output_tokens": 20, **seen}
        of.finished(lease, at_s=at_s, outcome="ok", **told)


@pytest.mark.parametrize("strategy", ALL)
def test_a_baseline_only_ever_picks_an_eligible_offer_and_says_how_likely_that_was(strategy: str) -> None:
    of = router(strategy, [offer("a"), offer("b", price=(3, 3)), offer("small", context_window=1)])
    for key in range(20):
        decision = decide(of, key)
        assert decision.strategy == strategy
        assert decision.chosen in decision.candidates == ("a/m", "b/m")
        assert 0 < decision.propensity <= 1


@pytest.mark.parametrize("strategy", ALL)
def test_the_same_draws_give_the_same_picks(strategy: str) -> None:
    offers = [offer(name, price=(price, price)) for name, price in (("a", 1), ("b", 2), ("c", 2))]

    def history() -> list[tuple[str, float]]:
        of, found = router(strategy, offers), []
        for key in range(60):
            decision = decide(of, key, at_s=key * 1.0)
            found.append((decision.chosen, decision.propensity))
            answered(of, decision.chosen, at_s=key + 0.5, ttft_s=0.1 + 0.01 * (key % 7))
        return found

    assert history() == history()


def test_the_cheapest_unit_price_does_not_look_at_the_request() -> None:
    long_in = RequestShape(prompt_tokens=20_000, max_output_tokens=10, stream=True, needs=frozenset())
    of = router("cheapest_unit_price", [offer("a", price=(1, 10)), offer("b", price=(4, 4))])
    assert of.decide(Reference(None, ()), long_in, at_s=0.0, draw=partial(draws, 1)).chosen == "b/m"
    assert of.decide(Reference(None, ("price",)), long_in, at_s=0.0, draw=partial(draws, 1)).chosen == "a/m"


def test_the_least_busy_offer_is_the_one_with_the_fewest_under_way() -> None:
    of = router("least_busy", [offer("a"), offer("b"), offer("c")])
    for _ in range(2):
        of.dispatched("a/m", at_s=0.0, expires_s=60.0)
    of.dispatched("b/m", at_s=0.0, expires_s=60.0)
    assert picks(of, 20) == {"c/m": 20}


def test_the_lowest_mean_latency_ignores_what_is_under_way() -> None:
    of = router("lowest_mean_latency", [offer("a", ttft_s=0.2), offer("b", ttft_s=0.3)])
    for _ in range(50):
        of.dispatched("a/m", at_s=0.0, expires_s=60.0)
    of.estimates.finished("a/m", 1, at_s=0.0, ttft_s=0.2)
    assert decide(of).chosen == "a/m"


def test_inverse_square_price_draws_four_times_as_often_at_half_the_price() -> None:
    of = router("inverse_square_price", [offer("a", price=(1, 1)), offer("b", price=(2, 2))])
    assert {decide(of, key).propensity for key in range(50)} == {0.8, 0.2}
    assert picks(of, 1_000)["a/m"] == pytest.approx(800, abs=50)


def test_inverse_square_price_leaves_all_picks_to_free_offers() -> None:
    of = router("inverse_square_price", [offer("paid"), offer("free", price=(0, 0))])
    assert picks(of, 20) == {"free/m": 20}


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.floats(0.01, 30))
def test_a_peak_is_felt_at_once_and_fades_over_the_decay_time(rtts_s: list[float], gap_s: float) -> None:
    average, at_s = PeakEwma(), 0.0
    for rtt_s in rtts_s:
        at_s += gap_s
        before_s = average.cost_s
        average.observe(rtt_s, at_s)
        assert average.cost_s >= min(rtt_s, before_s) * 0.999999
        assert rtt_s <= before_s or average.cost_s == rtt_s
    assert average.load(at_s + TAU_S) == pytest.approx(average.cost_s / 2.718281828, rel=1e-6)


def test_peak_ewma_multiplies_by_what_is_under_way_and_penalises_the_first_try() -> None:
    average = PeakEwma(cost_s=2.0, stamp_s=5.0, pending=3)
    assert average.load(5.0) == 8.0
    assert PeakEwma(pending=1).load(0.0) > 1e5
    assert PeakEwma().load(0.0) == 0.0


def test_p2c_takes_the_less_loaded_of_two() -> None:
    of = router("p2c_peak_ewma", [offer("a"), offer("b"), offer("slow")])
    for name, ttft_s in (("a/m", 0.2), ("b/m", 0.3), ("slow/m", 3.0)):
        answered(of, name, at_s=10.0, ttft_s=ttft_s)
    found = picks(of, 900, at_s=10.0)
    assert "slow/m" not in found
    assert found["a/m"] == pytest.approx(600, abs=60)


def test_a_client_s_tags_are_not_the_balancers_business() -> None:
    of = router("p2c_peak_ewma", [offer("dear", price=(9, 9)), offer("cheap")])
    decision = of.decide(Reference(None, ("price",)), STREAMED, at_s=0.0, draw=partial(draws, 1))
    assert (decision.strategy, decision.chosen, decision.propensity) == ("price", "cheap/m", 1.0)


def test_a_balancers_name_without_its_balancer_is_a_mistake_that_shows() -> None:
    of = Router(Catalog([offer("a"), offer("b")]), default_strategy="p2c_peak_ewma")
    with pytest.raises(AssertionError, match="p2c_peak_ewma"):
        decide(of)


def test_litellms_shuffle_is_even_and_its_probability_known() -> None:
    of = router("litellm:shuffle", [offer("a"), offer("b"), offer("c"), offer("d")])
    assert decide(of).propensity == 0.25
    assert min(picks(of, 400).values()) > 70


def test_litellms_least_busy_counts_what_was_dispatched_and_finished() -> None:
    of = router("litellm:busy", [offer("a"), offer("b")])
    lease = of.dispatched("a/m", at_s=0.0, expires_s=60.0)
    assert decide(of).chosen == "b/m"
    of.finished(lease, at_s=1.0, outcome="ok", elapsed_s=1.0)
    for _ in range(2):
        of.dispatched("b/m", at_s=1.0, expires_s=60.0)
    assert decide(of, at_s=1.0).chosen == "a/m"


def test_litellms_latency_follows_time_to_first_token_and_forgets_in_virtual_time() -> None:
    of = router("litellm:latency", [offer("a"), offer("b")])
    answered(of, "a/m", at_s=10.0, ttft_s=2.0, times=3)
    answered(of, "b/m", at_s=10.0, ttft_s=0.5, times=3)
    assert picks(of, 20, at_s=11.0) == {"b/m": 20}
    an_hour_on = picks(of, 40, at_s=10.0 + 3_700)
    assert set(an_hour_on) == {"a/m", "b/m"}, "its memory lasts an hour, of the clock in force"


def test_litellms_latency_counts_a_timeout_as_a_thousand_seconds() -> None:
    of = router("litellm:latency", [offer("a"), offer("b")])
    for name in ("a/m", "b/m"):
        answered(of, name, at_s=10.0, ttft_s=0.5, stream=False)
    lease = of.dispatched("b/m", at_s=10.0, expires_s=60.0)
    of.finished(lease, at_s=12.0, outcome="timeout_total", elapsed_s=2.0)
    whole = RequestShape(prompt_tokens=1, max_output_tokens=None, stream=False, needs=frozenset())
    for key in range(50):
        decision = of.decide(Reference(None, ()), whole, at_s=13.0, draw=partial(draws, 1, str(key)))
        assert decision.chosen == "a/m"


def test_litellms_cost_takes_the_cheapest_unit_price() -> None:
    of = router("litellm:cost", [offer("dear", price=(9, 9)), offer("cheap", price=(1, 1))])
    assert picks(of, 10) == {"cheap/m": 10}


def test_litellms_usage_takes_whom_the_running_minute_has_asked_least() -> None:
    of = router("litellm:usage", [offer("a"), offer("b")])
    answered(of, "a/m", at_s=10.0, ttft_s=0.5, prompt_tokens=1_000)
    assert decide(of, at_s=11.0).chosen == "b/m"
    answered(of, "b/m", at_s=12.0, ttft_s=0.5, prompt_tokens=9_000)
    assert decide(of, at_s=13.0).chosen == "a/m"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = made_plan(tmp_path_factory.mktemp("plans"))
    return prepare(load_plan(path, overrides=["workload.requests=60"], strategies=ALL))


@pytest.mark.parametrize("strategy", ALL)
def test_a_baseline_runs_in_a_plan_and_the_client_asks_for_the_bare_model(strategy: str, made: Prepared) -> None:
    assert model_reference("m", strategy) == "m"
    assert STRATEGIES[strategy].plain

    def run() -> MemoryWriter:
        writer = MemoryWriter()

        async def main() -> None:
            await run_cell(Cell(strategy, 1), made, clock=LoopClock(), writer=writer, run_id="test")

        run_virtual(main)
        return writer

    first, second = run(), run()
    assert set(first.frame("requests")["status"]) == {"ok"}
    assert set(first.frame("decisions")["strategy"]) == {strategy}
    assert first.frame("attempts").equals(second.frame("attempts"))
