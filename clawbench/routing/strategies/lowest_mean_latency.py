"""Lowest mean latency: the offer that was quickest lately, load not considered. A baseline, not a tag."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class LowestMeanLatency:
    """Mean seconds to the first token of a stream, to the end of anything else. Always the best: it herds."""

    name = "lowest_mean_latency"
    unscorable = ""
    plain = True
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        if request.stream:
            return state.ttft_s
        return state.ttft_s + state.output_tokens / state.token_rate

    def error(self, state: OfferState) -> float:
        return 0.0
