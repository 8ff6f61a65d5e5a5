"""When the bytes of a replayed answer come.

From the recording's own times where it has them; else from what it reveals (processing headers, timings in its
body, its recorded duration); what is still open comes from the offer's profile, by keyed draws, so that a request
meets the same luck at an offer under every strategy. The label says which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from clawbench.cassettes.interaction import RecordedTiming
from clawbench.cassettes.timings import Revealed
from clawbench.rng import Draws
from clawbench.types import LatencyProfile, TimingSource

# Headers come a little before the first token; where only one of the two is known they are taken as one instant.
RATE_MIN = 1e-3  # output tokens per second; keeps a wild draw from stalling a run for days


class Instants(Protocol):
    """Seconds by the place of a chunk: a list, or worked out when asked for, since of most streams two ever are."""

    def __getitem__(self, place: int, /) -> float: ...


class Timeline(Struct, frozen=True):
    """Offsets in seconds since dispatch.

    `ends` are byte offsets in the body, `at_s` the instants at which the bytes up to there have come. They run
    in parallel and are never empty for a body that has bytes.
    """

    headers_s: float
    ends: Sequence[int]
    at_s: Instants
    source: TimingSource


class _Evenly(Struct, frozen=True):
    """Instants that are evenly spaced from `first_s` on, the one at place `last` being `span_s` later."""

    first_s: float
    span_s: float
    last: int

    def __getitem__(self, place: int, /) -> float:
        return self.first_s + self.span_s * place / self.last


def recorded(timing: RecordedTiming) -> Timeline:
    """The times as they were measured when the answer was recorded."""
    ends: list[int] = []
    total = 0
    for length, _ in timing.chunks:
        total += length
        ends.append(total)
    return Timeline(timing.headers_s, ends, [t_s for _, t_s in timing.chunks], "recorded")


def whole(
    length: int,
    output_tokens: int | None,
    revealed: Revealed | None,
    profile: LatencyProfile,
    draws: Callable[[], Draws],
) -> Timeline:
    """An answer that was not streamed: headers and body come together, when everything has been generated."""
    if revealed is not None and (end_s := _first(revealed.e2e_s, revealed.headers_s)) is not None:
        return Timeline(end_s, [length], [end_s], revealed.source)
    ttft_s, rate = _drawn(profile, draws())
    source: TimingSource = "profile"
    if revealed is not None and revealed.ttft_s is not None:
        ttft_s, source = revealed.ttft_s, revealed.source
    end_s = ttft_s + max(0, (output_tokens or 1) - 1) / rate
    return Timeline(end_s, [length], [end_s], source)


def streamed(
    ends: Sequence[int],
    output_tokens: int | None,
    revealed: Revealed | None,
    profile: LatencyProfile,
    draws: Callable[[], Draws],
) -> Timeline:
    """A stream: the first event at TTFT, the last when the last token has been generated, the others evenly between.

    `ends` are the byte offsets at which its events end; without a token count each event is taken for a token.
    """
    ttft_s, rate = _drawn(profile, draws())
    source: TimingSource = "profile"
    tokens = output_tokens if output_tokens is not None else len(ends)
    span_s = max(0, tokens - 1) / rate
    if revealed is not None:
        first_s = _first(revealed.ttft_s, revealed.headers_s)
        if first_s is not None:
            ttft_s, source = first_s, revealed.source
        if revealed.e2e_s is not None:
            source = revealed.source
            ttft_s = min(ttft_s, revealed.e2e_s)
            span_s = revealed.e2e_s - ttft_s
    last = max(1, len(ends) - 1)
    return Timeline(ttft_s, ends, _Evenly(ttft_s, span_s, last), source)


def _drawn(profile: LatencyProfile, draw: Draws) -> tuple[float, float]:
    """(TTFT in seconds, output tokens per second), the same for a (request, offer) pair under every strategy."""
    ttft_s = draw.lognormal(profile.ttft_s_median, profile.ttft_s_sigma)
    rate = draw.lognormal(profile.token_rate_median, profile.token_rate_sigma)
    return ttft_s, max(rate, RATE_MIN)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
