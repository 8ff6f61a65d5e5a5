"""Estimates: how each offer has behaved lately, and what to expect where nothing has been seen yet.

For each offer, and within it for streamed or not and for prompt-size classes: time-decayed means and variances of
log-TTFT and log-token-rate, shrunk towards what is known one level up (class → offer → its profile, or the
other offers of its model, a little optimistic) with a weight of five samples. Time-outs and resets count as failures
and as samples of *at least* the elapsed time; any other failure is no sample: a fast 503 is not fast.
Decay is forward: an observation's weight grows with its instant, so nothing has to be aged. Time is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt
from typing import Any

from clawbench.errors import UsageError
from clawbench.routing import snapshots
from clawbench.routing.settings import RoutingSettings
from clawbench.routing.sketch import Sketch
from clawbench.routing.state import OVERTAKEN, Live, OfferState
from clawbench.types import LatencyProfile, Offer

PRIOR_WEIGHT = 5.0  # samples that a prior is worth
EXPECTED_OUTPUT_TOKENS = 200.0  # prior length of an answer
CENSORED = frozenset(
    {
        "timeout_first", "timeout_attempt", "timeout_total", "timeout_idle",
        "reset_early", "reset_mid", "connect_error",
    }
)  # fmt: skip
SIZE_CLASSES = (256, 2_048, 8_192)  # upper bounds in prompt tokens
STALE_S = 1.0  # a prediction is recomputed when it is older than this, or anything was observed
BASELINE_HALF_LIFE_S = 600.0  # of an offer's usual TTFT, against which a queue shows
CONGESTED_FACTOR = 4.0  # times the usual TTFT
UNSEEN_STALE_S = 20.0  # the same for an offer of which nothing was observed
REBASE_EXPONENT = 200.0
UNKNOWN = LatencyProfile(
    ttft_s_median=1.0, ttft_s_sigma=0.8, token_rate_median=50.0, token_rate_sigma=0.6, source="assumed"
)

Kind = tuple[bool, int]
"""(streamed, class of prompt size): see `kind_of`."""


class Series:
    """Weighted sums of one quantity: Σw, Σw·x, Σw·x²."""

    __slots__ = ("square", "total", "weight")

    def __init__(self, weight: float = 0.0, total: float = 0.0, square: float = 0.0) -> None:
        self.weight, self.total, self.square = weight, total, square

    def add(self, value: float, weight: float) -> None:
        self.weight += weight
        self.total += weight * value
        self.square += weight * value * value

    def mean(self, prior: float, prior_weight: float) -> float:
        return (self.total + prior_weight * prior) / (self.weight + prior_weight)

    def variance(self, unit: float, sigma: float) -> float:
        """Of one value, shrunk to that of the prior, whose standard deviation is `sigma`; `unit`: a sample's weight."""
        samples = self.weight / unit
        if samples <= 1:
            return sigma * sigma
        mean = self.total / self.weight
        seen = max(self.square / self.weight - mean * mean, 0.0)
        return (samples * seen + PRIOR_WEIGHT * sigma * sigma) / (samples + PRIOR_WEIGHT)

    def error(self, unit: float, sigma: float) -> float:
        """Standard error of the mean, with `sigma` and `unit` as in `variance`."""
        samples = self.weight / unit
        return sqrt(self.variance(unit, sigma) / (PRIOR_WEIGHT + (samples if samples > 1 else 0.0)))

    def scale(self, factor: float) -> None:
        self.weight *= factor
        self.total *= factor
        self.square *= factor


class _Memory:
    """What is remembered of one kind of request at an offer."""

    __slots__ = ("rate", "state", "ttft")

    def __init__(self, offer: Offer) -> None:
        self.ttft, self.rate = Series(), Series()
        self.state = OfferState(offer)


class Track:
    """What is remembered of one offer."""

    def __init__(self, offer: Offer, last_dispatch: int) -> None:
        self.offer, self.live = offer, Live(last_dispatch)
        self.kinds: dict[Kind, _Memory] = {}
        self.answered_s: float | None = None
        profile = offer.profile
        self.usual_log_ttft = log(profile.ttft_s_median) if profile is not None else None
        self.usual_at_s = 0.0
        self.version = 0
        self.sketch = Sketch()
        self.forget()
        self.output, self.cached, self.failed_cost = Series(), Series(), Series()

    def forget(self) -> None:
        """Drops what was seen of speed and failures, as after an outage: what comes now is another matter."""
        self.ttft, self.rate, self.in_flight, self.failed = Series(), Series(), Series(), Series()
        for kind in self.kinds.values():
            kind.ttft, kind.rate = Series(), Series()
        self.sketch.clear()
        self.version += 1

    def kind(self, kind: Kind) -> _Memory:
        """What is remembered of this kind of request."""
        memory = self.kinds.get(kind)
        if memory is None:
            memory = self.kinds[kind] = _Memory(self.offer)
        return memory

    def is_congested(self, log_ttft: float, at_s: float) -> bool:
        """Whether this wait is far above the usual one, which it then changes a little."""
        if self.usual_log_ttft is None:
            self.usual_log_ttft = log_ttft
        share = 1 - 0.5 ** ((at_s - self.usual_at_s) / BASELINE_HALF_LIFE_S)
        congested = log_ttft > self.usual_log_ttft + log(CONGESTED_FACTOR)
        self.usual_log_ttft += share * (log_ttft - self.usual_log_ttft)
        self.usual_at_s = at_s
        return congested

    def series(self) -> list[Series]:
        own = [self.ttft, self.rate, self.in_flight, self.failed, self.output, self.cached, self.failed_cost]
        return own + [series for kind in self.kinds.values() for series in (kind.ttft, kind.rate)]


class Estimates:
    """The memory of one gateway: the router reads it, every attempt feeds it."""

    def __init__(self, offers: Sequence[Offer], settings: RoutingSettings | None = None) -> None:
        self._half_life_s = (settings or RoutingSettings()).half_life_s
        self._tracks = {offer.id: Track(offer, index - len(offers)) for index, offer in enumerate(offers)}
        self._models: dict[str, list[Track]] = {}
        # How long answers are is the model's matter, not the offer's: two equal prices must stay equal.
        outputs: dict[str, Series] = {}
        for track in self._tracks.values():
            self._models.setdefault(track.offer.model, []).append(track)
            track.output = outputs.setdefault(track.offer.model, Series())
        self._dispatches = 0
        self._base_s = 0.0

    def dispatched(self, offer_id: str, *, at_s: float = 0.0, expires_s: float = float("inf")) -> int:
        """An attempt leaves; the lease to give back to `finished`. After `expires_s` it counts no more."""
        live = self._tracks[offer_id].live
        live.last_dispatch = self._dispatches
        self._dispatches += 1
        return live.lease(at_s, expires_s)

    def finished(
        self,
        offer_id: str,
        lease: int,
        *,
        at_s: float,
        outcome: str = "ok",
        stream: bool = True,
        prompt_tokens: int = 0,
        elapsed_s: float | None = None,
        ttft_s: float | None = None,
        token_rate: float | None = None,
        output_tokens: int | None = None,
        cached_share: float | None = None,
        cost_pico_usd: int | None = None,
    ) -> float | None:
        """An attempt at this offer is over; None for what could not be measured.

        Its wait for the first token, in seconds, if that was several times longer than is usual at this offer: a queue.
        `elapsed_s` runs from dispatch to the end. An outcome other than "ok" is a failure, except "client_abort" and
        "rejected", which say nothing about the offer, and "overtaken", which says that it takes at least so long.
        """
        track = self._tracks[offer_id]
        in_flight = track.live.in_flight(at_s)
        track.live.leases.pop(lease, None)
        if outcome in ("client_abort", "rejected", "no_recording"):
            return None
        unit = self._unit(at_s)
        if outcome == OVERTAKEN:
            self._censored(track, self._memory(track, stream, prompt_tokens), at_s, elapsed_s, in_flight)
            return None
        track.live.answers += 1
        track.version += 1
        track.failed.add(0.0 if outcome == "ok" else 1.0, unit)
        kind = self._memory(track, stream, prompt_tokens)
        if outcome != "ok":
            track.failed_cost.add(float(cost_pico_usd or 0), unit)
            if outcome in CENSORED:
                self._censored(track, kind, at_s, elapsed_s, in_flight)
            return None
        track.answered_s = at_s
        if output_tokens is not None:
            track.output.add(output_tokens, unit)
        if cached_share is not None:
            track.cached.add(cached_share, unit)
        if ttft_s is None and elapsed_s is not None and not stream:
            ttft_s, token_rate = self._taken_apart(track, kind, at_s, elapsed_s, output_tokens)
        if ttft_s is not None and ttft_s > 0:
            track.sketch.add(ttft_s, unit)
            self._sample(track, kind, log(ttft_s), log(token_rate) if token_rate else None, in_flight, unit)
            return ttft_s if track.is_congested(log(ttft_s), at_s) else None
        return None

    def recovered(self, offer_id: str) -> None:
        """A probe after an outage has succeeded: what was learned of the outage is dropped."""
        self._tracks[offer_id].forget()

    def in_flight(self, offer_id: str, at_s: float) -> int:
        return self._tracks[offer_id].live.in_flight(at_s)

    def answers(self, offer_id: str) -> int:
        """Attempts at this offer that have ended since the start."""
        return self._tracks[offer_id].live.answers

    def unanswered_s(self, offer_id: str, at_s: float) -> float:
        """For how long an offer that has never answered has been asked without a pause."""
        return at_s - self._tracks[offer_id].live.busy_since_s

    def ttft_quantile(self, offer_id: str, share: float) -> float | None:
        """Recent TTFT below which this share of answers came, in seconds, to about 5 %; None without samples."""
        return self._tracks[offer_id].sketch.quantile(share)

    def state(self, offer_id: str, *, at_s: float, stream: bool = True, prompt_tokens: int = 0) -> OfferState:
        """What to expect of this offer for a request of this kind."""
        return self.state_of(self._tracks[offer_id], kind_of(stream, prompt_tokens), at_s)

    def track(self, offer_id: str) -> Track:
        """The memory of one offer: the same object as long as the gateway lives."""
        return self._tracks[offer_id]

    def state_of(self, track: Track, kind: Kind, at_s: float) -> OfferState:
        """`state` for a caller who has looked up track and kind already."""
        memory = track.kinds.get(kind) or track.kind(kind)
        state = memory.state
        if state.version != track.version or at_s >= state.fresh_until_s:
            self._refreshed(track, memory, at_s)
        live = track.live
        state.in_flight = live.in_flight(at_s) if live.leases else 0
        state.last_dispatch = live.last_dispatch
        return state

    def _memory(self, track: Track, stream: bool, prompt_tokens: int) -> _Memory:
        return track.kind(kind_of(stream, prompt_tokens))

    def _refreshed(self, track: Track, kind: _Memory, at_s: float) -> OfferState:
        state = kind.state
        if state.version == track.version and at_s < state.fresh_until_s:
            return state
        unit = self._unit(at_s)
        shrink = PRIOR_WEIGHT * unit
        prior_ttft, prior_rate, profile = self._prior(track, unit)
        log_ttft = kind.ttft.mean(track.ttft.mean(prior_ttft, shrink), shrink)
        log_rate = kind.rate.mean(track.rate.mean(prior_rate, shrink), shrink)
        state.ttft_s_median, state.token_rate = exp(log_ttft), exp(log_rate)
        # The mean of a log-normal wait, not its median: who waits long now and then is slow.
        state.ttft_s = exp(log_ttft + track.ttft.variance(unit, profile.ttft_s_sigma) / 2)
        state.log_ttft_error = track.ttft.error(unit, profile.ttft_s_sigma)
        state.log_rate_error = track.rate.error(unit, profile.token_rate_sigma)
        state.output_tokens = track.output.mean(EXPECTED_OUTPUT_TOKENS, shrink)
        state.cached_share = track.cached.mean(0.0, shrink)
        state.failure_share = track.failed.mean(0.0, shrink)
        state.failed_cost = track.failed_cost.mean(0.0, unit)
        state.sampled_in_flight = track.in_flight.mean(0.0, unit)
        state.samples = track.ttft.weight / unit
        state.age_s = None if track.answered_s is None else at_s - track.answered_s
        state.version = track.version
        # What was never observed does not fade; what its neighbours have shown since may wait a little.
        state.fresh_until_s = at_s + (STALE_S if track.failed.weight else UNSEEN_STALE_S)
        return state

    def _prior(self, track: Track, unit: float) -> tuple[float, float, LatencyProfile]:
        """(log TTFT, log rate, profile): the offer's own profile, else the others of its model, half a sigma faster."""
        profile = track.offer.profile
        if profile is not None:
            return log(profile.ttft_s_median), log(profile.token_rate_median), profile
        ttfts, rates = [], []
        for other in self._models[track.offer.model]:
            known = other.offer.profile
            if other.ttft.weight > unit:
                ttfts.append(other.ttft.total / other.ttft.weight)
            elif known is not None:
                ttfts.append(log(known.ttft_s_median))
            if other.rate.weight > unit:
                rates.append(other.rate.total / other.rate.weight)
            elif known is not None:
                rates.append(log(known.token_rate_median))
        ttft = _median(ttfts) if ttfts else log(UNKNOWN.ttft_s_median)
        rate = _median(rates) if rates else log(UNKNOWN.token_rate_median)
        return ttft - UNKNOWN.ttft_s_sigma / 2, rate + UNKNOWN.token_rate_sigma / 2, UNKNOWN

    def _sample(
        self, track: Track, kind: _Memory, log_ttft: float, log_rate: float | None, in_flight: int, unit: float
    ) -> None:
        for series in (track.ttft, kind.ttft):
            series.add(log_ttft, unit)
        track.in_flight.add(max(in_flight - 1, 0), unit)
        if log_rate is not None:
            for series in (track.rate, kind.rate):
                series.add(log_rate, unit)
        track.version += 1

    def _censored(self, track: Track, kind: _Memory, at_s: float, elapsed_s: float | None, in_flight: int) -> None:
        """A wait that was given up, a sample of at least its time: below what was expected anyway it says nothing."""
        if elapsed_s and elapsed_s > self._refreshed(track, kind, at_s).ttft_s:
            self._sample(track, kind, log(elapsed_s), None, in_flight, self._unit(at_s))

    def _taken_apart(
        self, track: Track, kind: _Memory, at_s: float, elapsed_s: float, output_tokens: int | None
    ) -> tuple[float, float | None]:
        """(TTFT, rate) of an answer that came whole: both off by the factor by which the whole was off."""
        state = self._refreshed(track, kind, at_s)
        tokens = max(output_tokens or 1, 1)
        off = elapsed_s / (state.ttft_s_median + (tokens - 1) / state.token_rate)
        return max(state.ttft_s_median * off, 1e-6), max(state.token_rate / off, 1e-6) if tokens > 1 else None

    def _unit(self, at_s: float) -> float:
        """Weight of an observation made now; doubles every half-life."""
        exponent = (at_s - self._base_s) / self._half_life_s
        if exponent > REBASE_EXPONENT:
            factor = 0.5**exponent
            for track in self._tracks.values():
                track.sketch.scale(factor)
            for series in {id(series): series for track in self._tracks.values() for series in track.series()}.values():
                series.scale(factor)
            self._base_s, exponent = at_s, 0.0
        return float(2.0**exponent)

    def snapshot(self, *, at_s: float) -> dict[str, Any]:
        """What was learned, as plain JSON values, to be given to `restore` of another gateway's estimates."""
        unit = self._unit(at_s)
        offers = {offer_id: snapshots.kept(track, unit) for offer_id, track in self._tracks.items()}
        return {"version": snapshots.VERSION, "offers": offers}

    def restore(self, snapshot: Any, *, at_s: float, age_s: float = 0.0) -> int:
        """Starts warm from a snapshot that is `age_s` old; how many offers it knows. The others stay cold.

        Raises `UsageError` for another form.
        """
        if not isinstance(snapshot, Mapping) or snapshot.get("version") != snapshots.VERSION:
            version = snapshot.get("version") if isinstance(snapshot, Mapping) else None
            raise UsageError(f"estimates of version {version!r} are not read; this is {snapshots.VERSION}")
        if not isinstance(snapshot.get("offers"), Mapping):
            raise UsageError("the snapshot of estimates cannot be read: it has no offers")
        unit, fade = self._unit(at_s), 0.5 ** (max(age_s, 0.0) / self._half_life_s)
        known = [offer_id for offer_id in snapshot["offers"] if offer_id in self._tracks]
        for offer_id in known:
            snapshots.warm(self._tracks[offer_id], snapshot["offers"][offer_id], unit=unit, fade=fade)
        return len(known)


def kind_of(stream: bool, prompt_tokens: int) -> Kind:
    """Requests that are expected to behave alike: streamed or not, and the class of their prompt's size."""
    size = 0
    while size < len(SIZE_CLASSES) and prompt_tokens > SIZE_CLASSES[size]:
        size += 1
    return stream, size


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
