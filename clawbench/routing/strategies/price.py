"""Price: what this very request is expected to cost at an offer, not the sum of its unit prices."""

from __future__ import annotations

from clawbench.catalog.tiers import rates_at
from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Price:
    """Expected cost of the request in pico-USD, at the rates that a prompt of its length reaches.

    prompt tokens × input rate, the cached share of them at the cached rate, + min(the request's output limit,
    expected output) × output rate + P(failure) × what a failure has cost. Zero is a price; an offer without one cannot
    be chosen.
    """

    name = "price"
    unscorable = "price unknown"
    plain = False
    patient = True

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        rates = state.offer.rates
        if rates is None:
            return None
        if rates.tiers:
            rates = rates_at(rates, request.prompt_tokens)
        output_tokens = state.output_tokens
        if request.max_output_tokens is not None and request.max_output_tokens < output_tokens:
            output_tokens = request.max_output_tokens
        rate_in = float(rates.input)
        if rates.cached_input is not None:
            rate_in += state.cached_share * (rates.cached_input - rates.input)
        return request.prompt_tokens * rate_in + output_tokens * rates.output + state.failure_share * state.failed_cost

    def error(self, state: OfferState) -> float:
        return 0.0
