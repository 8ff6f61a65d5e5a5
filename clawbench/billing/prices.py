"""The upstream cost of one attempt, exact, in whole pico-USD. Integers only; nothing is rounded."""

from __future__ import annotations

from clawbench.catalog.tiers import rates_at
from clawbench.money import PicoUSD
from clawbench.types import Rates, Usage


def cost_pico_usd(usage: Usage | None, rates: Rates | None) -> PicoUSD | None:
    """Σ tokens × rate over disjoint parts of prompt and output.

    Cached and written prompt tokens and reasoning tokens go at their own rate where one is published, else at
    the rate of what they are part of. None if the price or a primary count (prompt, output) is unknown, or if the
    parts are larger than the whole: such a count proves nothing.
    """
    if usage is None or rates is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    rates = rates_at(rates, usage.input_tokens)
    cached = usage.cached_input_tokens or 0
    written = usage.cache_write_tokens or 0
    reasoning = usage.reasoning_tokens or 0
    uncached = usage.input_tokens - cached - written
    text = usage.output_tokens - reasoning
    if uncached < 0 or text < 0:
        return None
    return PicoUSD(
        uncached * rates.input
        + cached * (rates.input if rates.cached_input is None else rates.cached_input)
        + written * (rates.input if rates.cache_write is None else rates.cache_write)
        + text * rates.output
        + reasoning * (rates.output if rates.reasoning is None else rates.reasoning)
    )
