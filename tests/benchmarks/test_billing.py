"""What a bill costs: usage text → buckets → price → charge, and the look-up of a price alone.

The floor of the printed ratio is litellm's `cost_per_token` for the same counts, which also looks a price up and
applies it, without reading the usage. No limits are asserted: they depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from clawbench.billing.charge import Cost, Served, charge_pico_uat, cost_of, terms
from clawbench.billing.evidence import of_body
from clawbench.billing.outcomes import Ending, Hold, decide
from clawbench.billing.price_book import PriceBook, Tariff
from clawbench.billing.price_tables import LongContext
from clawbench.money import PICO
from clawbench.usage.normalisers import ANTHROPIC, OPENAI_CHAT, Normaliser, count
from clawbench.wires.litellm_bridge_import import import_litellm
from tests.benchmarks.test_clock import Benchmark, Ratio

RATES = {
    "uncached_input": 2_500_000,
    "cache_read": 1_250_000,
    "cache_write_5m": 3_750_000,
    "output_text": 10_000_000,
    "reasoning": 10_000_000,
}
BOOK = PriceBook(
    Tariff(
        provider="p",
        models=(f"m{number}",),
        rates=RATES,
        tiers=(LongContext(threshold=200_000, inclusive=False, rates=RATES),),
    )
    for number in range(3_000)
)
SERVED = Served(provider="p", model="m2718", at_s=1.8e9)
TERMS = terms("0.055")
USAGES = {
    "openai": (
        OPENAI_CHAT,
        b'{"prompt_tokens":3000,"completion_tokens":400,"total_tokens":3400,"prompt_tokens_details":{"cached_tokens":2048,'
        b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":100,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}',
    ),
    "anthropic": (
        ANTHROPIC,
        b'{"input_tokens":3,"cache_creation_input_tokens":12304,"cache_read_input_tokens":0,"output_tokens":550,'
        b'"cache_creation":{"ephemeral_5m_input_tokens":12304,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}',
    ),
}


def bill(normaliser: Normaliser, text: bytes) -> int:
    cost = cost_of(BOOK, count(normaliser, (text,), bound=4_000_000), SERVED)
    assert isinstance(cost, Cost)
    return charge_pico_uat(cost.pico_usd, TERMS)


@pytest.mark.parametrize("api", USAGES)
def test_normalise_price_and_charge(api: str, benchmark: Benchmark, ratio: Ratio) -> None:
    normaliser, text = USAGES[api]
    benchmark.pedantic(bill, args=(normaliser, text), rounds=2_000)
    ratio(per_call(lambda: bill(normaliser, text)), per_call(litellm_cost()))


def test_price_look_up(benchmark: Benchmark, ratio: Ratio) -> None:
    benchmark.pedantic(BOOK.price, args=("p", "m2718", 1.8e9, None, 3000), rounds=2_000)
    ratio(per_call(lambda: BOOK.price("p", "m2718", 1.8e9, None, 3000)), per_call(litellm_cost()))


def test_the_whole_decision_from_a_body(benchmark: Benchmark) -> None:
    body = b'{"id":"1","model":"m2718","choices":[{"index":0,"message":{"role":"assistant","content":"' + b"word " * 200
    body += b'"},"finish_reason":"stop"}],"usage":' + USAGES["openai"][1] + b"}"
    hold = Hold(pico_uat=PICO)

    def decision() -> str:
        evidence = of_body("openai_chat", body)
        counted = count(OPENAI_CHAT, evidence.usage, bound=4_000_000)
        return decide(Ending(), counted, BOOK, SERVED, TERMS, hold, evidence.uses).outcome

    assert decision() == "charge"
    benchmark.pedantic(decision, args=(), rounds=2_000)


def litellm_cost() -> Callable[[], Any]:
    litellm = import_litellm()
    return lambda: litellm.cost_per_token(
        model="gpt-4o", prompt_tokens=3000, completion_tokens=400, cache_read_input_tokens=2048
    )


def per_call(call: Callable[[], object], rounds: int = 2_000) -> float:
    call()
    started = process_time()
    for _ in range(rounds):
        call()
    return (process_time() - started) / rounds
