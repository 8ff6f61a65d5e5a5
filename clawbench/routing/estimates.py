"""Estimates: how each offer has behaved lately, and what to expect where nothing has been seen yet.

Time-decayed means of log-TTFT and log-token-rate (half-life about a minute), shrunk towards a prior that weighs
as much as five samples: the offer's own profile, else the mean of the profiles known. Failures never make an
offer look fast: they count as failures, and their elapsed time enters nothing. Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from clawbench.types import LatencyProfile, Offer, OfferState

PRIOR_WEIGHT = 5.0  # samples that the prior is worth
EXPECTED_OUTPUT_TOKENS = 200.0  # prior length of an answer
UNKNOWN = LatencyProfile(
    ttft_s_median=1.0, ttft_s_sigma=0.8, token_rate_median=50.0, token_rate_sigma=0.6, source="assumed"
)


@dataclass(frozen=True, kw_only=True)
class EstimatesConfig:
    """How quickly old observations lose weight."""

    half_life_s: float = 60.0


class _Decayed:
    """A weighted mean whose observations halve their weight every half-life, shrunk towards a prior."""

    __slots__ = ("prior", "total", "weight")

    def __init__(self, prior: float) -> None:
        self.total, self.weight = 0.0, 0.0
        self.prior = PRIOR_WEIGHT * prior

    @property
    def mean(self) -> float:
        return (self.total + self.prior) / (self.weight + PRIOR_WEIGHT)

    def add(self, value: float) -> None:
        self.total += value
        self.weight += 1.0


class _Track:
    """What is remembered of one offer."""

    def __init__(self, offer: Offer, prior: LatencyProfile, last_dispatch: int) -> None:
        self.offer, self.last_dispatch = offer, last_dispatch
        self.log_ttft = _Decayed(log(prior.ttft_s_median))
        self.log_rate = _Decayed(log(prior.token_rate_median))
        self.output = _Decayed(EXPECTED_OUTPUT_TOKENS)
        self.failed = _Decayed(0.0)
        self.in_flight, self.at_s = 0, 0.0

    def decay(self, at_s: float, half_life_s: float) -> None:
        """Lets time pass; an instant in the past changes nothing."""
        if at_s <= self.at_s:
            return
        factor = 0.5 ** ((at_s - self.at_s) / half_life_s)
        self.at_s = at_s
        for sums in (self.log_ttft, self.log_rate, self.output, self.failed):
            sums.total *= factor
            sums.weight *= factor


class Estimates:
    """The memory of one gateway; the router reads it, every attempt feeds it."""

    def __init__(self, offers: Sequence[Offer], config: EstimatesConfig | None = None) -> None:
        self._half_life_s = (config or EstimatesConfig()).half_life_s
        everyone = _mean_profile([offer.profile for offer in offers if offer.profile])
        self._tracks = {
            offer.id: _Track(offer, offer.profile or everyone, index - len(offers))
            for index, offer in enumerate(offers)
        }
        self._dispatches = 0

    def dispatched(self, offer_id: str) -> None:
        """An attempt leaves for this offer."""
        track = self._tracks[offer_id]
        track.in_flight += 1
        track.last_dispatch = self._dispatches
        self._dispatches += 1

    def finished(
        self,
        offer_id: str,
        *,
        at_s: float,
        ok: bool,
        ttft_s: float | None = None,
        token_rate: float | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """An attempt at this offer is over; None for what could not be measured."""
        track = self._tracks[offer_id]
        track.in_flight -= 1
        track.decay(at_s, self._half_life_s)
        track.failed.add(0.0 if ok else 1.0)
        if not ok:
            return
        for sums, value in ((track.log_ttft, ttft_s), (track.log_rate, token_rate)):
            if value is not None and value > 0:
                sums.add(log(value))
        if output_tokens is not None:
            track.output.add(output_tokens)

    def state(self, offer_id: str, *, at_s: float) -> OfferState:
        """What to expect of this offer at `at_s`."""
        track = self._tracks[offer_id]
        track.decay(at_s, self._half_life_s)
        return OfferState(
            offer=track.offer,
            ttft_s=exp(track.log_ttft.mean),
            token_rate=exp(track.log_rate.mean),
            output_tokens=track.output.mean,
            failure_share=track.failed.mean,
            in_flight=track.in_flight,
            last_dispatch=track.last_dispatch,
            samples=track.log_ttft.weight,
        )


def _mean_profile(profiles: Sequence[LatencyProfile]) -> LatencyProfile:
    if not profiles:
        return UNKNOWN
    n = len(profiles)
    return LatencyProfile(
        ttft_s_median=exp(sum(log(profile.ttft_s_median) for profile in profiles) / n),
        ttft_s_sigma=sum(profile.ttft_s_sigma for profile in profiles) / n,
        token_rate_median=exp(sum(log(profile.token_rate_median) for profile in profiles) / n),
        token_rate_sigma=sum(profile.token_rate_sigma for profile in profiles) / n,
        source=f"mean of {n} profiles",
    )
