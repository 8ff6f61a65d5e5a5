"""Invented providers with one offer each: the figures are chosen, far enough apart to be told from each other."""

from __future__ import annotations

from typing import Final

from clawbench.emulator.profiles import Failure, Profile


class ProviderProfile(Profile, frozen=True, kw_only=True):
    """The profile of a provider that has one offer."""

    name: str
    base_url: str


SWIFTSILICON: Final = ProviderProfile(
    name="swiftsilicon",
    base_url="https://api.swiftsilicon.example/v1",
    ttft_s_median=0.16,
    ttft_s_sigma=0.22,
    ttft_s_per_1k_prompt_tokens=0.02,
    token_rate_median=620,
    token_rate_sigma=0.15,
    tokens_per_event=12,
    failures=(Failure(share=0.012, kind="rate_limited", at="door", retry_after_s=4),),
    requests_per_minute=240,
    tokens_per_minute=200_000,
)
"""Fast, dear, with tight rate limits. Invented, as the `.example` host says; the figures are chosen, not measured."""

EVENKEEL: Final = ProviderProfile(
    name="evenkeel",
    base_url="https://api.evenkeel.example/v1",
    ttft_s_median=0.38,
    ttft_s_sigma=0.28,
    ttft_s_per_1k_prompt_tokens=0.1,
    token_rate_median=130,
    token_rate_sigma=0.2,
    tokens_per_event=6,
    failures=(Failure(share=0.004, kind="server_error"),),
    cache="automatic",
    cache_hit_share=0.8,
    requests_per_minute=600,
    tokens_per_minute=200_000,
)
"""Neither fast nor cheap, and dependable. Invented."""

THRIFTCLOUD: Final = ProviderProfile(
    name="thriftcloud",
    base_url="https://api.thriftcloud.example/v1",
    ttft_s_median=0.85,
    ttft_s_sigma=0.35,
    ttft_s_per_1k_prompt_tokens=0.4,
    token_rate_median=46,
    token_rate_sigma=0.25,
    tokens_per_event=6,
    failures=(Failure(share=0.006, kind="overloaded", at="door"),),
    requests_per_minute=1200,
    tokens_per_minute=200_000,
)
"""Slow and cheap. Invented."""

GUSTLINE: Final = ProviderProfile(
    name="gustline",
    base_url="https://llm.gustline.example/openai/v1",
    ttft_s_median=0.42,
    ttft_s_sigma=1.0,
    ttft_s_per_1k_prompt_tokens=0.15,
    token_rate_median=95,
    token_rate_sigma=0.6,
    jitter_sigma=0.6,
    tokens_per_event=6,
    failures=(
        Failure(share=0.012, kind="rate_limited", at="door", retry_after_s=2),
        Failure(share=0.012, kind="server_error"),
        Failure(share=0.006, kind="overloaded", at="door"),
    ),
    cache="automatic",
    cache_hit_share=0.5,
    requests_per_minute=600,
    tokens_per_minute=200_000,
)
"""Often quick, sometimes ten times slower, and the one that fails most. Invented."""

INVENTED: Final = (SWIFTSILICON, EVENKEEL, THRIFTCLOUD, GUSTLINE)
