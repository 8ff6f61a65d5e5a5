"""Profiles: how an emulated provider behaves. Numbers only; `provider.py` turns them into replies.

The providers of `QUICKSTART` are invented, as their `.example` hosts say. Their figures are chosen, not measured:
far enough apart that each strategy has something to choose, each within what is seen on the market.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clawbench.types import LatencyProfile


class Failure(Struct, frozen=True, kw_only=True):
    """One way in which a provider fails, and how often.

    In `message`, `{model}` and `{requests_per_minute}` are filled in. `at_the_door` failures come at once, before
    the model was reached; the others after the time to first token.
    """

    share: float  # of requests, 0 to 1
    status: int
    type: str
    code: str | None
    message: str
    retry_after_s: int | None = None  # whole seconds, as providers send them; None: it says nothing
    at_the_door: bool = False


class ProviderProfile(Struct, frozen=True, kw_only=True):
    """What one provider's answers look like from outside. Times in seconds, sigmas of the natural logarithm.

    Time to first token is log-normal around a median that grows with the uncached prompt. After it, tokens come at
    a rate drawn once a request; `jitter_sigma` varies single gaps around it. Servers send several tokens an event,
    `tokens_per_event`. `network_s` lies between the provider's own clock and the caller's.
    """

    name: str
    base_url: str
    ttft_s_median: float
    ttft_s_sigma: float
    ttft_s_per_1k_prompt_tokens: float
    token_rate_median: float  # output tokens per second after the first
    token_rate_sigma: float
    jitter_sigma: float = 0.25
    tokens_per_event: int = 4
    network_s: float = 0.02
    failures: tuple[Failure, ...] = ()
    cache_hit_share: float = 0.0  # of requests whose prompt has a long enough prefix; 0: there is no prompt cache
    requests_per_minute: int = 600
    tokens_per_minute: int = 200_000

    @property
    def error_share(self) -> float:
        """Share of requests that fail in one of the ways."""
        return sum(failure.share for failure in self.failures)

    @property
    def latency(self) -> LatencyProfile:
        """The same as an offer's profile: medians for an empty prompt, since an offer's profile knows no prompt."""
        return LatencyProfile(
            ttft_s_median=self.ttft_s_median,
            ttft_s_sigma=self.ttft_s_sigma,
            token_rate_median=self.token_rate_median,
            token_rate_sigma=self.token_rate_sigma,
            source=f"emulator profile {self.name}",
        )


def rate_limit(share: float, *, retry_after_s: int) -> Failure:
    """A 429 in OpenAI's words."""
    return Failure(
        share=share,
        status=429,
        type="requests",
        code="rate_limit_exceeded",
        message=(
            "Rate limit reached for model `{model}` on requests per min (RPM): Limit {requests_per_minute}, "
            f"Used {{requests_per_minute}}, Requested 1. Please try again in {retry_after_s}s."
        ),
        retry_after_s=retry_after_s,
        at_the_door=True,
    )


def server_error(share: float) -> Failure:
    """A 500 in OpenAI's words."""
    return Failure(
        share=share,
        status=500,
        type="server_error",
        code=None,
        message="The server had an error while processing your request. Sorry about that!",
    )


def overloaded(share: float) -> Failure:
    """A 503 in OpenAI's words."""
    return Failure(
        share=share,
        status=503,
        type="server_error",
        code=None,
        message="The engine is currently overloaded, please try again later",
        at_the_door=True,
    )


SWIFTSILICON: Final = ProviderProfile(
    name="swiftsilicon",
    base_url="https://api.swiftsilicon.example/v1",
    ttft_s_median=0.16,
    ttft_s_sigma=0.22,
    ttft_s_per_1k_prompt_tokens=0.02,
    token_rate_median=620,
    token_rate_sigma=0.15,
    tokens_per_event=12,
    failures=(rate_limit(0.012, retry_after_s=4),),
    requests_per_minute=240,
)
"""Fast, dear, with tight rate limits."""

EVENKEEL: Final = ProviderProfile(
    name="evenkeel",
    base_url="https://api.evenkeel.example/v1",
    ttft_s_median=0.38,
    ttft_s_sigma=0.28,
    ttft_s_per_1k_prompt_tokens=0.1,
    token_rate_median=130,
    token_rate_sigma=0.2,
    tokens_per_event=6,
    failures=(server_error(0.004),),
    cache_hit_share=0.8,
)
"""Neither fast nor cheap, and dependable."""

THRIFTCLOUD: Final = ProviderProfile(
    name="thriftcloud",
    base_url="https://api.thriftcloud.example/v1",
    ttft_s_median=0.85,
    ttft_s_sigma=0.35,
    ttft_s_per_1k_prompt_tokens=0.4,
    token_rate_median=46,
    token_rate_sigma=0.25,
    tokens_per_event=6,
    failures=(overloaded(0.006),),
    requests_per_minute=1200,
)
"""Slow and cheap."""

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
    failures=(rate_limit(0.012, retry_after_s=2), server_error(0.012), overloaded(0.006)),
    cache_hit_share=0.5,
)
"""Often quick, sometimes ten times slower, and the one that fails most."""

QUICKSTART: Final = (SWIFTSILICON, EVENKEEL, THRIFTCLOUD, GUSTLINE)
