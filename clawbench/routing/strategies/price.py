"""Price: what this very request is expected to cost at an offer, not the sum of its unit prices."""

from __future__ import annotations

from clawbench.types import OfferState, RequestShape


class Price:
    """Expected cost of the request in pico-USD.

    prompt tokens × input rate + min(the request's output limit, expected output) × output rate. Zero is a price;
    an offer without a price cannot be chosen.
    """

    name = "price"
    unscorable = "price unknown"

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        rates = state.offer.rates
        if rates is None:
            return None
        output_tokens = state.output_tokens
        if request.max_output_tokens is not None and request.max_output_tokens < output_tokens:
            output_tokens = request.max_output_tokens
        return request.prompt_tokens * rates.input + output_tokens * rates.output
