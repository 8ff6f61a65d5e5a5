"""What routing costs: a decision among twenty offers, learning from an attempt, and memory an offer.

The floor is LiteLLM's Router choosing among the same twenty in the same run, decision only
(`async_get_available_deployment`): latency-based for the decision, its own success event for learning.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import process_time
from typing import Any

import pytest

from clawbench.catalog.catalog import Catalog
from clawbench.experiments.baselines.litellm_router import GROUP, deployment
from clawbench.rng import draws
from clawbench.routing.reference import Reference
from clawbench.routing.router import Router
from clawbench.types import Offer, RequestShape
from clawbench.wires.litellm_bridge_import import import_litellm
from tests.benchmarks.test_clock import Benchmark, Ratio
from tests.lab import offer

OFFERS = 20
DECISIONS = 2_000
ROUNDS = 5
DECISION_SHARE_MAX = 0.33  # of LiteLLM's; the goal is 50 microseconds on an idle machine
LEARNING_S_MAX = 10e-6
STATE_BYTES_MAX = 4_096
SHAPE = RequestShape(prompt_tokens=800, max_output_tokens=300, stream=True, needs=frozenset())
BALANCED = Reference(None, ("latency", "price", "token_rate"))


def offers(count: int = OFFERS) -> list[Offer]:
    return [
        offer(f"o{number}", price=(1 + number % 5, 2 + number % 7), ttft_s=0.2 + 0.05 * number, rate=40.0 + 9 * number)
        for number in range(count)
    ]


def warm(count: int = OFFERS, *, samples: int = 20) -> Router:
    """A router that has seen something of every offer, for both kinds of request and two sizes of prompt."""
    router = Router(Catalog(offers(count)))
    for number in range(samples):
        for each in router.catalog.offers_of():
            learn(router, each.id, at_s=number * 0.5, stream=number % 2 == 0, prompt_tokens=800 + 3_000 * (number % 3))
    return router


def learn(router: Router, offer_id: str, *, at_s: float, stream: bool = True, prompt_tokens: int = 800) -> None:
    lease = router.dispatched(offer_id, at_s=at_s, expires_s=at_s + 60)
    router.finished(
        lease, at_s=at_s + 0.4, outcome="ok", stream=stream, prompt_tokens=prompt_tokens, elapsed_s=2.0,
        ttft_s=0.3 + at_s % 0.1, token_rate=60.0, output_tokens=150, cached_share=0.0, cost_pico_usd=10**9,
    )  # fmt: skip


def decide(router: Router, number: int, at_s: float) -> str:
    return router.decide(BALANCED, SHAPE, at_s=at_s, draw=partial(draws, 1, str(number), "pick", "0")).chosen


def request(router: Router, at_s: float, number: int = 1) -> None:
    """All that routing does for a request that succeeds at once."""
    learn(router, decide(router, number, at_s), at_s=at_s)


def best(seconds: Callable[[], float]) -> float:
    return min(seconds() for _ in range(ROUNDS))


def decision_seconds() -> float:
    """CPU seconds of a decision between which nothing was learned."""
    router = warm()
    began_s = process_time()
    for number in range(DECISIONS):
        decide(router, number, at_s=10.5)
    return (process_time() - began_s) / DECISIONS


def learning_seconds() -> float:
    """CPU seconds of telling the router of an attempt: its leaving and its end."""
    router = warm()
    began_s = process_time()
    for number in range(DECISIONS):
        learn(router, f"o{number % OFFERS}/m", at_s=10.0 + number * 0.01)
    return (process_time() - began_s) / DECISIONS


def whole_request_seconds() -> float:
    """CPU seconds of a decision and of learning what came of it, at 100 requests a second."""
    router = warm()
    began_s = process_time()
    for number in range(DECISIONS):
        request(router, 10.0 + number * 0.01, number)
    return (process_time() - began_s) / DECISIONS


def litellm_router() -> Any:
    return import_litellm().Router(
        model_list=[deployment(each) for each in offers()], routing_strategy="latency-based-routing"
    )


def litellm_told(offer_id: str, at_s: float) -> tuple[Any, ...]:
    litellm = import_litellm()
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)
    told = {
        "stream": True,
        "completion_start_time": end - timedelta(seconds=1.7),
        "litellm_params": {"metadata": {"model_group": GROUP}, "model_info": {"id": offer_id}},
    }
    usage = litellm.Usage(prompt_tokens=800, completion_tokens=150, total_tokens=950)
    return told, litellm.ModelResponse(usage=usage), end - timedelta(seconds=2), end


def litellm_decision_seconds(router: Any) -> float:
    messages = [{"role": "user", "content": "x"}]

    async def main() -> float:
        for number in range(OFFERS):
            await router.lowestlatency_logger.async_log_success_event(*litellm_told(f"o{number}/m", number))
        began_s = process_time()
        for _ in range(DECISIONS // 4):
            await router.async_get_available_deployment(model=GROUP, request_kwargs={"stream": True}, messages=messages)
        return (process_time() - began_s) / (DECISIONS // 4)

    return asyncio.run(main())


def litellm_learning_seconds(router: Any) -> float:
    async def main() -> float:
        told = [litellm_told(f"o{number % OFFERS}/m", number) for number in range(DECISIONS // 4)]
        began_s = process_time()
        for each in told:
            await router.lowestlatency_logger.async_log_success_event(*each)
        return (process_time() - began_s) / len(told)

    return asyncio.run(main())


def bytes_an_offer() -> float:
    """Memory that the router's state takes for an offer, warm; its catalogue entry not counted."""
    count = 200
    everything = offers(count)
    catalog = Catalog(everything)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        router = Router(catalog)
        for number in range(20):
            for each in everything:
                learn(router, each.id, at_s=number * 0.5, prompt_tokens=800 + 3_000 * (number % 3))
                router.estimates.state(each.id, at_s=number * 0.5, prompt_tokens=800)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / count


@pytest.fixture(scope="module")
def theirs() -> Any:
    return litellm_router()


def test_a_decision_among_twenty_offers_by_three_tags(benchmark: Benchmark, ratio: Ratio, theirs: Any) -> None:
    ours_s = best(decision_seconds)
    share = ratio(ours_s, best(partial(litellm_decision_seconds, theirs)))
    router = warm()
    benchmark.pedantic(decide, args=(router, 1, 10.5), rounds=500)
    assert share <= DECISION_SHARE_MAX


def test_learning_from_an_attempt(benchmark: Benchmark, ratio: Ratio, theirs: Any) -> None:
    ours_s = best(learning_seconds)
    ratio(ours_s, best(partial(litellm_learning_seconds, theirs)))
    router = warm()
    benchmark.pedantic(partial(learn, router, at_s=10.5), args=("o3/m",), rounds=500)
    assert ours_s <= LEARNING_S_MAX


def test_a_decision_and_learning_what_came_of_it(benchmark: Benchmark, ratio: Ratio, theirs: Any) -> None:
    ours_s = best(whole_request_seconds)
    both_s = best(partial(litellm_decision_seconds, theirs)) + best(partial(litellm_learning_seconds, theirs))
    assert ratio(ours_s, both_s) <= DECISION_SHARE_MAX
    router = warm()
    benchmark.pedantic(request, args=(router, 10.5), rounds=500)


def test_state_of_an_offer_in_memory(benchmark: Benchmark) -> None:
    used = bytes_an_offer()
    benchmark.pedantic(bytes_an_offer, args=(), rounds=1)
    assert used <= STATE_BYTES_MAX
