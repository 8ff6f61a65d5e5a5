"""Health: offers that fail rest for a while; one probe finds out whether they are back.

A breaker belongs to an offer, or to all offers that share one upstream quota. It opens on the share of failures over
recent attempts, or for as long as a provider asks (Retry-After wins); when its time is up it is half open: a single
probe is let through, and what becomes of it closes or opens it again, for twice as long, jittered by a keyed
draw so that several gateways do not come back at once. Beside it, a cap on what is under way, learned from 429s and
from waits that betray a queue (additive increase, multiplicative decrease). Time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clawbench.rng import Draws
from clawbench.routing.settings import RoutingSettings
from clawbench.routing.state import OVERTAKEN
from clawbench.types import Offer

COUNTED = frozenset(
    {
        "connect_error",
        "timeout_first",
        "timeout_attempt",
        "timeout_total",
        "timeout_idle",
        "reset_early",
        "reset_mid",
        "truncated",
        "protocol_error",
        "too_large",
        "error_200",
        "error_event",
        "upstream_5xx",
        "redirect",
    }
)
"""Outcomes that speak against an offer. A 429 speaks of load, a rejected request of the client."""

OFF = {"auth": 300.0, "model_gone": 300.0}
"""Outcomes that take an offer off at once: seconds until it is tried again. Somebody has to mend it."""

RATE_LIMITED_REST_S = 1.0  # where a 429 asks for no time
CAP_DECREASE = 0.7
CAP_QUEUE_DECREASE = 0.9  # gentler than for a 429: one slow answer may be chance
PATIENCE_S = 10.0  # in a queue, where the client asked for no speed: beyond it success is at stake


@dataclass(slots=True)
class Breaker:
    """Closed, open (`open_until_s` in the future) or half open (it is past, and no probe has succeeded)."""

    weight: float = 0.0
    failures: float = 0.0
    at_s: float = 0.0
    open_until_s: float | None = None  # None: closed
    rests: int = 0
    streak: int = 0  # failures in a row
    probe_until_s: float | None = None  # None: no probe under way; else when its lease ends
    because: str = ""

    def close(self, at_s: float) -> None:
        """All is well again, and nothing is remembered."""
        self.weight = self.failures = 0.0
        self.streak = 0
        self.at_s, self.open_until_s, self.rests, self.probe_until_s, self.because = at_s, None, 0, None, ""


@dataclass(slots=True)
class Cap:
    """How many attempts an offer takes at once before it answers 429 or lets them queue; infinite until it has."""

    limit: float = float("inf")

    def cut(self, in_flight: int, factor: float) -> None:
        """Fewer than there were."""
        self.limit = max(1.0, (in_flight if self.limit == float("inf") else min(in_flight, self.limit)) * factor)

    def stretch(self, in_flight: int) -> None:
        """One more for each round of as many as were allowed."""
        if self.limit != float("inf") and in_flight >= self.limit:
            self.limit += 1.0 / self.limit


@dataclass(slots=True)
class Health:
    """The breakers and caps of one gateway."""

    offers: Sequence[Offer]
    settings: RoutingSettings
    draw: Callable[[str, int], Draws]  # (breaker's name, number of its rest) → stream for its jitter
    breakers: dict[str, Breaker] = field(default_factory=dict)
    caps: dict[str, Cap] = field(default_factory=dict)  # for who counts the seconds
    patient_caps: dict[str, Cap] = field(default_factory=dict)  # for who asks for no speed: long waits cut them only
    _names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for offer in self.offers:
            name = self._names[offer.id] = f"quota {offer.quota}" if offer.quota else offer.id
            self.breakers.setdefault(name, Breaker())
            self.caps[offer.id], self.patient_caps[offer.id] = Cap(), Cap()

    def breaker(self, offer_id: str) -> Breaker:
        """The breaker of this offer, or of its quota: the same object as long as the gateway lives."""
        return self.breakers[self._names[offer_id]]

    def resting(self, offer_id: str, at_s: float) -> str | None:
        """Why this offer may not be tried now; None if it may, be it as a probe."""
        breaker = self.breakers[self._names[offer_id]]
        if breaker.open_until_s is None:
            return None
        if at_s < breaker.open_until_s:
            return f"resting until {breaker.open_until_s:.2f} s ({breaker.because})"
        if breaker.probe_until_s is not None and at_s < breaker.probe_until_s:
            return "a probe is under way"
        return None

    def wakes_s(self, offer_id: str, at_s: float) -> float:
        """When a resting offer may be tried again; now for one that is not resting."""
        until_s = self.breakers[self._names[offer_id]].open_until_s
        return at_s if until_s is None else max(at_s, until_s)

    def is_probe(self, offer_id: str) -> bool:
        """Whether an attempt now would be a probe of a half-open breaker."""
        return self.breakers[self._names[offer_id]].open_until_s is not None

    def is_hot(self, offer_id: str, in_flight: int, *, patient: bool = False) -> bool:
        """Whether the offer has as much under way as it was seen to take, without a wait that would matter."""
        return in_flight >= (self.patient_caps if patient else self.caps)[offer_id].limit

    def dispatched(self, offer_id: str, *, expires_s: float) -> None:
        """An attempt leaves; takes the probe's place where the breaker is half open."""
        breaker = self.breakers[self._names[offer_id]]
        if breaker.open_until_s is not None:
            breaker.probe_until_s = expires_s

    def finished(
        self,
        offer_id: str,
        *,
        at_s: float,
        outcome: str,
        in_flight: int,
        retry_after_s: float | None = None,
        congested_s: float | None = None,
    ) -> bool:
        """An attempt is over; True if it was a probe that brings the offer back.

        `congested_s` is how long it waited for its first token where that betrays a queue, else None.
        """
        name = self._names[offer_id]
        breaker, caps = self.breakers[name], (self.caps[offer_id], self.patient_caps[offer_id])
        half_open = breaker.open_until_s is not None and at_s >= breaker.open_until_s
        if outcome in ("client_abort", "rejected", "filtered", "no_recording", OVERTAKEN):
            breaker.probe_until_s = None
            if outcome == OVERTAKEN:
                self._overtaken(name, breaker, at_s)
            return False
        if outcome == "rate_limited":
            for cap in caps:
                cap.cut(in_flight, CAP_DECREASE)
            self._open(breaker, at_s, retry_after_s or RATE_LIMITED_REST_S, "rate limited")
            return False
        if outcome in OFF:
            self._open(breaker, at_s, OFF[outcome], outcome)
            return False
        for cap, bearable_s in zip(caps, (0.0, PATIENCE_S), strict=True):
            if congested_s is not None and congested_s > bearable_s:
                cap.cut(in_flight + 1, CAP_QUEUE_DECREASE)
            elif outcome == "ok":
                cap.stretch(in_flight + 1)
        self._count(breaker, at_s, failed=outcome in COUNTED)
        if outcome in COUNTED:
            self._failed(name, breaker, at_s, half_open=half_open)
            return False
        if half_open:
            breaker.close(at_s)
            return True
        return False

    def _count(self, breaker: Breaker, at_s: float, *, failed: bool) -> None:
        fade = 0.5 ** ((at_s - breaker.at_s) / self.settings.breaker_half_life_s) if at_s > breaker.at_s else 1.0
        breaker.weight = breaker.weight * fade + 1.0
        breaker.failures = breaker.failures * fade + (1.0 if failed else 0.0)
        breaker.at_s = max(at_s, breaker.at_s)
        breaker.streak = breaker.streak + 1 if failed else 0

    def _failed(self, name: str, breaker: Breaker, at_s: float, *, half_open: bool) -> None:
        settings = self.settings
        enough = breaker.weight >= settings.breaker_attempts_min
        too_many = enough and breaker.failures / breaker.weight > settings.breaker_failure_share
        if half_open or too_many or breaker.streak >= settings.breaker_streak:
            share = f"{breaker.failures:.1f} of {breaker.weight:.1f} recent attempts failed"
            self._rest(name, breaker, at_s, "the probe failed" if half_open else share)

    def _overtaken(self, name: str, breaker: Breaker, at_s: float) -> None:
        """Once is chance. Again and again without an answer in between, the offer hangs, and only hedging hides it."""
        breaker.streak += 1
        if breaker.streak >= self.settings.breaker_streak:
            self._rest(name, breaker, at_s, f"{breaker.streak} attempts in a row were given up or failed")

    def _rest(self, name: str, breaker: Breaker, at_s: float, because: str) -> None:
        settings = self.settings
        breaker.rests += 1
        rest_s = min(settings.breaker_open_s * 2 ** (breaker.rests - 1), settings.breaker_open_s_max)
        jitter = 0.75 + 0.5 * self.draw(name, breaker.rests).random()
        self._open(breaker, at_s, rest_s * jitter, because)

    def _open(self, breaker: Breaker, at_s: float, rest_s: float, because: str) -> None:
        until_s = at_s + rest_s
        if breaker.open_until_s is None or until_s > breaker.open_until_s:
            breaker.open_until_s, breaker.because = until_s, because
        breaker.probe_until_s = None
