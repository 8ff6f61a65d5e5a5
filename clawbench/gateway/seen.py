"""What the router learns from an attempt that is over: figures derived from its facts, and nothing estimated."""

from __future__ import annotations

from msgspec import Struct

from clawbench.gateway.recorder import AttemptFacts

RATE_TOKENS_MIN = 2  # below two output tokens there is no rate


class Seen(Struct, frozen=True, kw_only=True):
    """Seconds, output tokens a second, tokens, a share from 0 to 1; None: did not happen, or nobody said."""

    ttft_s: float | None
    token_rate: float | None
    output_tokens: int | None
    cached_share: float | None


def seen_of(facts: AttemptFacts) -> Seen:
    """A failed attempt has no speed: a fast failure is not fast."""
    usage = facts.usage
    if usage is not None and usage.estimated:
        usage = None
    tokens = usage.output_tokens if usage else None
    ttft_s = rate = cached_share = None
    if facts.t_first_token_s is not None and facts.outcome == "ok":
        ttft_s = facts.t_first_token_s - facts.t_dispatch_s
        if facts.t_last_token_s is not None and tokens is not None and tokens >= RATE_TOKENS_MIN:
            span_s = facts.t_last_token_s - facts.t_first_token_s
            rate = (tokens - 1) / span_s if span_s > 0 else None
    if usage is not None and usage.input_tokens:
        cached_share = (usage.cached_input_tokens or 0) / usage.input_tokens
    return Seen(ttft_s=ttft_s, token_rate=rate, output_tokens=tokens, cached_share=cached_share)
