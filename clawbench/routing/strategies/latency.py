"""Latency: how long the client is expected to wait for the first token, or for the end where nothing is streamed."""

from __future__ import annotations

from clawbench.types import OfferState, RequestShape


class Latency:
    """Predicted seconds: TTFT for a stream, TTFT + expected output / token rate otherwise."""

    name = "latency"
    unscorable = ""

    def score(self, request: RequestShape, state: OfferState) -> float | None:
        if request.stream:
            return state.ttft_s
        output_tokens = state.output_tokens
        if request.max_output_tokens is not None and request.max_output_tokens < output_tokens:
            output_tokens = request.max_output_tokens
        return state.ttft_s + output_tokens / state.token_rate
