"""Latency: how long the client is expected to wait for the first token, or for the end where nothing is streamed."""

from __future__ import annotations

from clawbench.routing.state import OfferState
from clawbench.types import RequestShape


class Latency:
    """Predicted seconds: TTFT for a stream, TTFT + expected output / token rate otherwise.

    Both times (attempts under way + 1) over what was under way when the samples were taken: a queue that has
    grown since is felt before its first answer comes back.
    """

    name = "latency"
    unscorable = ""
    plain = False
    patient = False

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        load = (state.in_flight + 1) / (state.sampled_in_flight + 1)
        if request.stream:
            return state.ttft_s * load
        output_tokens = state.output_tokens
        if request.max_output_tokens is not None and request.max_output_tokens < output_tokens:
            output_tokens = request.max_output_tokens
        return (state.ttft_s + output_tokens / state.token_rate) * load

    def error(self, state: OfferState) -> float:
        return state.log_ttft_error
