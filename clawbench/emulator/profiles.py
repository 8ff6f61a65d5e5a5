"""Profiles: how an emulated offer behaves. Numbers only; `provider.py` turns them into replies.

Values come from a plan (`config/emulator.py` checks them), from `shipped_profiles.toml` (fitted on real latencies) or
from a fit of one's own. Times in seconds, sigmas of the natural logarithm, shares from 0 to 1. None means: no such
limit.
"""

from __future__ import annotations

from bisect import bisect_right
from math import exp, log
from statistics import NormalDist
from typing import Final, Literal

from msgspec import Struct

from clawbench.types import LatencyProfile

FailureKind = Literal["rate_limited", "overloaded", "server_error", "unavailable"]
"""What a provider says when it fails; each dialect has its own words for it.

`rate_limited`: 429. `overloaded`: it has no room (529 at Anthropic, 503 elsewhere). `server_error`: 500.
`unavailable`: 503 of a gateway before it.
"""

Moment = Literal["door", "model", "stream", "cut"]
"""When it fails: at the door, before a model was reached; after the time to first token; in mid-stream, with the
dialect's error event; in mid-stream, by breaking off. A reply that is not streamed fails in mid-stream with a 500."""

CachePolicy = Literal["none", "automatic", "marked"]
"""Whose prompts a prompt cache keeps: nobody's, everybody's, or those that mark a prefix with `cache_control`."""

HOURS: Final = 24
_STANDARD_NORMAL: Final = NormalDist()


class Failure(Struct, frozen=True, kw_only=True):
    """One way in which an offer fails, and how often. `retry_after_s` is what it then asks for; None: nothing."""

    share: float  # of requests
    kind: FailureKind
    at: Moment = "model"
    retry_after_s: float | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """What one offer's answers look like from outside.

    Time to first token: a median that grows with the uncached prompt, times a factor with median 1; token rate: a
    median that falls with the prompt, times such a factor. The factors are log-normal, or, where `*_quantiles` are
    given, drawn from those: values at evenly spaced probabilities from 0 to 1. `jitter_sigma` varies the gaps between
    the events of a stream around the rate; servers send several tokens an event. `network_s` lies between the
    provider's own clock and the caller's.

    Load: `slots` answers are generated at once, further requests queue first come, first served; a request that would
    find `queue_max` before it is told that the provider is overloaded. With all slots busy, everything takes (1 +
    `contention`) times as long. `hourly` are factors on all times by the hour of the day, interpolated; empty: none.
    """

    ttft_s_median: float  # for an empty prompt
    ttft_s_sigma: float
    token_rate_median: float  # output tokens per second after the first, for an empty prompt
    token_rate_sigma: float
    ttft_s_per_1k_prompt_tokens: float = 0.0
    token_rate_loss_per_1k_prompt_tokens: float = 0.0  # 0.1: 10 % more time a token for every 1,000 tokens of prompt
    ttft_quantiles: tuple[float, ...] = ()
    token_rate_quantiles: tuple[float, ...] = ()
    jitter_sigma: float = 0.25
    tokens_per_event: int = 4
    network_s: float = 0.02
    failures: tuple[Failure, ...] = ()
    cache: CachePolicy = "none"
    cache_hit_share: float = 0.0  # of prompts with a long enough prefix, where no traffic decides it (cassettes)
    cache_ttl_s: float = 300.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    slots: int | None = None
    queue_max: int | None = None
    contention: float = 0.0
    hourly: tuple[float, ...] = ()
    joules_per_input_token: float = 0.0
    joules_per_output_token: float = 0.0
    source: str = ""  # where the figures are from

    @property
    def error_share(self) -> float:
        """Share of requests that fail in one of the ways."""
        return sum(failure.share for failure in self.failures)

    @property
    def latency(self) -> LatencyProfile:
        """The same as an offer's profile: for an empty prompt, since an offer's profile knows no prompt."""
        return LatencyProfile(
            ttft_s_median=self.ttft_s_median,
            ttft_s_sigma=self.ttft_s_sigma,
            token_rate_median=self.token_rate_median,
            token_rate_sigma=self.token_rate_sigma,
            source=self.source or "emulator",
        )

    def ttft_s(self, fresh_tokens: int) -> float:
        """Median time to first token for a prompt with so many tokens that no cache knows."""
        return self.ttft_s_median + self.ttft_s_per_1k_prompt_tokens * fresh_tokens / 1000

    def token_rate(self, prompt_tokens: int) -> float:
        """Median tokens per second for a prompt of so many tokens."""
        return self.token_rate_median / (1 + self.token_rate_loss_per_1k_prompt_tokens * prompt_tokens / 1000)

    def hour_factor(self, hour: float) -> float:
        """Factor on all times at an hour of the day, 0 to 24, between the two nearest of `hourly`."""
        if not self.hourly:
            return 1.0
        before = int(hour) % HOURS
        share = hour - int(hour)
        return self.hourly[before] * (1 - share) + self.hourly[(before + 1) % HOURS] * share

    def energy_j(self, input_tokens: int, output_tokens: int) -> float:
        """Energy that an answer took, in joules."""
        return self.joules_per_input_token * input_tokens + self.joules_per_output_token * output_tokens


def factor_at(probability: float, sigma: float, quantiles: tuple[float, ...]) -> float:
    """The factor with median 1 at this probability, in (0, 1): from the table if there is one, else log-normal."""
    if quantiles:
        place = probability * (len(quantiles) - 1)
        low = min(int(place), len(quantiles) - 2)
        return quantiles[low] + (quantiles[low + 1] - quantiles[low]) * (place - low)
    return exp(sigma * _STANDARD_NORMAL.inv_cdf(min(max(probability, 1e-15), 1 - 1e-15)))


def probability_of(factor: float, sigma: float, quantiles: tuple[float, ...]) -> float:
    """The inverse of `factor_at`: the share of draws at or below this factor. `factor` is above 0, `sigma` too."""
    if not quantiles:
        return _STANDARD_NORMAL.cdf(log(factor) / sigma)
    if factor >= quantiles[-1]:
        return 1.0
    if factor < quantiles[0]:
        return 0.0
    above = bisect_right(quantiles, factor)
    low, high = quantiles[above - 1], quantiles[above]
    return (above - 1 + (factor - low) / (high - low)) / (len(quantiles) - 1)


def profile_of(latency: LatencyProfile) -> Profile:
    """The profile of an offer of which only its latency is known: no limits, no failures, no cache."""
    return Profile(
        ttft_s_median=latency.ttft_s_median,
        ttft_s_sigma=latency.ttft_s_sigma,
        token_rate_median=latency.token_rate_median,
        token_rate_sigma=latency.token_rate_sigma,
        source=latency.source,
    )
