"""Six decisions that routers get wrong, asked of LiteLLM's strategies and of ours: ours are asserted, both shown.

`pytest -s tests/routing/test_decisions_of_litellm.py` prints the table. What LiteLLM answers is a fact of the release
that is installed, so nothing is asserted of it but that it answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import pytest

from clawbench.catalog.catalog import Catalog
from clawbench.experiments.baselines import router_for
from clawbench.rng import draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.types import Offer, RequestShape
from tests.lab import offer

pytestmark = pytest.mark.filterwarnings("ignore:.*ReadOnly.*:UserWarning")  # of LiteLLM's own types

STREAMED = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=True, needs=frozenset())
LONG_IN = RequestShape(prompt_tokens=20_000, max_output_tokens=10, stream=False, needs=frozenset())
Case = Callable[[str], Counter[str]]


def router(strategy: str, offers: list[Offer]) -> Router:
    return router_for(Catalog(offers), default_strategy=strategy, settings=RoutingSettings(exploration=0))


def picks(of: Router, count: int, *, shape: RequestShape = STREAMED, at_s: float = 100.0) -> Counter[str]:
    """`count` decisions at one instant, nothing dispatched between them."""
    chosen = [
        of.decide(Reference(None, ()), shape, at_s=at_s, draw=partial(draws, 1, str(key))).chosen
        for key in range(count)
    ]
    return Counter(chosen)


def seen(of: Router, name: str, *, outcome: str = "ok", elapsed_s: float = 1.0, ttft_s: float | None = None) -> None:
    lease = of.dispatched(name, at_s=99.0 - elapsed_s, expires_s=200.0)
    answered = {"token_rate": 50.0, "output_tokens": 50} if outcome == "ok" else {}
    of.finished(
        lease, at_s=99.0, outcome=outcome, elapsed_s=elapsed_s, ttft_s=ttft_s, stream=ttft_s is not None, **answered
    )


def free_beside_paid(strategy: str) -> Counter[str]:
    return picks(router(strategy, [offer("paid"), offer("free", price=(0, 0))]), 100)


def long_prompt_short_answer(strategy: str) -> Counter[str]:
    return picks(router(strategy, [offer("a", price=(1, 10)), offer("b", price=(4, 4))]), 100, shape=LONG_IN)


def two_equal_prices(strategy: str) -> Counter[str]:
    return picks(router(strategy, [offer("a"), offer("b")]), 100)


def one_without_a_ttft_sample(strategy: str) -> Counter[str]:
    of = router(strategy, [offer("a", ttft_s=0.3, rate=250), offer("b", ttft_s=2.0, rate=20)])
    for _ in range(5):
        seen(of, "a/m", elapsed_s=0.6, ttft_s=0.3)
        seen(of, "b/m", elapsed_s=3.0)
    return picks(of, 100)


def after_one_timeout(strategy: str) -> Counter[str]:
    of = router(strategy, [offer("a", ttft_s=0.5), offer("b", ttft_s=0.5)])
    for name in ("a/m", "b/m"):
        for _ in range(5):
            seen(of, name, elapsed_s=1.0)
    seen(of, "b/m", outcome="timeout_total", elapsed_s=10.0)
    whole = RequestShape(prompt_tokens=100, max_output_tokens=None, stream=False, needs=frozenset())
    return picks(of, 500, shape=whole, at_s=700.0)


def before_the_first_answer(strategy: str) -> Counter[str]:
    of = router(strategy, [offer("a", ttft_s=0.5), offer("new", ttft_s=0.5)])
    for _ in range(5):
        seen(of, "a/m", elapsed_s=1.0, ttft_s=0.5)
    chosen: Counter[str] = Counter()
    for key in range(200):
        name = of.decide(Reference(None, ()), STREAMED, at_s=100.0, draw=partial(draws, 1, str(key))).chosen
        of.dispatched(name, at_s=100.0, expires_s=300.0)
        chosen[name] += 1
    return chosen


CASES: list[tuple[Case, str, str, Callable[[Counter[str]], bool], str]] = [
    (free_beside_paid, "price", "litellm:cost", lambda got: got["free/m"] == 100, "all free"),
    (long_prompt_short_answer, "price", "litellm:cost", lambda got: got["a/m"] == 100, "all a"),
    (two_equal_prices, "price", "litellm:cost", lambda got: 35 <= got["a/m"] <= 65, "about half each"),
    (one_without_a_ttft_sample, "latency", "litellm:latency", lambda got: got["a/m"] == 100, "all a"),
    (after_one_timeout, "latency", "litellm:latency", lambda got: got["b/m"] >= 100, "b not left for good"),
    (before_the_first_answer, "latency", "litellm:latency", lambda got: got["new/m"] <= 2, "at most 2 new"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_a_decision_that_routers_get_wrong(case: tuple[Case, str, str, Callable[[Counter[str]], bool], str]) -> None:
    decided, ours, theirs, is_right, right = case
    got, others = decided(ours), decided(theirs)
    print(
        f"\n{decided.__name__} (right: {right}): {ours} {dict(got)}; "
        f"{theirs} of LiteLLM {version('litellm')} {dict(others)}{'' if is_right(others) else ', not right'}"
    )
    assert is_right(got)
    assert sum(others.values()) == sum(got.values())
