"""Under which conditions an offer answers a call: what is left of its limits, what its cache knows, who waits before
it.

Two kinds. `Drawn`: nothing but luck decides, so a call's fate depends on nothing that happened before; for making
cassettes. `Live`: the traffic decides, so that load makes an offer slower and routing feeds back; for the transport
and the server.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from clawbench.emulator.dialects.manners import NO_QUOTA, Quota, RefusalKind
from clawbench.emulator.limits import Allowance, Places
from clawbench.emulator.prefix_cache import PrefixCache, marked_tokens, whole_blocks
from clawbench.emulator.profiles import Profile
from clawbench.emulator.tokens import count_prefix
from clawbench.types import ChatRequest

_DAY_S = 86_400.0


class Chances(Struct, frozen=True):
    """The draws that stand in for what traffic would decide: uniform from 0 to 1."""

    cache: float
    quota_left: float


class CacheUse(Struct, frozen=True):
    """Tokens of a prompt that a cache knew, and that it has written. None: the offer has no such thing."""

    read: int | None = None
    written: int | None = None


class Conditions(Protocol):
    """Called once each for a call, in this order; a refusal ends it. Instants never go back."""

    def quota(self, tokens: int, chances: Chances, at_s: float) -> tuple[Quota, RefusalKind | None, float]:
        """What is left of the limits once `tokens` are counted; which limit refuses the call; seconds to wait then."""
        ...

    def cached(self, request: ChatRequest, chances: Chances, at_s: float) -> CacheUse:
        """What the cache knows of the prompt, which it knows from now on."""
        ...

    def slowness(self, at_s: float) -> float:
        """Factor on all times: the hour's, and that of those who are served at the same time."""
        ...

    def enter(self, service_s: float, at_s: float) -> float | None:
        """Seconds in the queue before being served for so long; None: there is no room."""
        ...


class Drawn:
    """No traffic: luck alone. Limits never refuse, nobody waits."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def quota(self, tokens: int, chances: Chances, at_s: float) -> tuple[Quota, RefusalKind | None, float]:
        requests, per_minute = self._profile.requests_per_minute, self._profile.tokens_per_minute
        if requests is None and per_minute is None:
            return NO_QUOTA, None, 0.0
        left = chances.quota_left
        quota = Quota(
            requests=requests,
            requests_left=int((requests or 0) * left),
            requests_reset_s=60 * (1 - left),
            tokens=per_minute,
            tokens_left=int((per_minute or 0) * left),
            tokens_reset_s=60 * (1 - left),
        )
        return quota, None, 0.0

    def cached(self, request: ChatRequest, chances: Chances, at_s: float) -> CacheUse:
        hit = chances.cache < self._profile.cache_hit_share
        match self._profile.cache:
            case "none":
                return CacheUse()
            case "automatic":
                return CacheUse(whole_blocks(count_prefix(request)) if hit else 0)
            case "marked":
                marked = marked_tokens(request)
                return CacheUse(marked, 0) if hit else CacheUse(0, marked)

    def slowness(self, at_s: float) -> float:
        return 1.0

    def enter(self, service_s: float, at_s: float) -> float | None:
        return 0.0


class Live:
    """One offer under the traffic that it gets. `hour_at_zero`: the hour of the day at instant 0."""

    def __init__(self, profile: Profile, *, hour_at_zero: float = 0.0) -> None:
        self._profile, self._hour_at_zero = profile, hour_at_zero
        per_minute = profile.requests_per_minute, profile.tokens_per_minute
        self._requests, self._tokens = (Allowance(limit) if limit is not None else None for limit in per_minute)
        self._places = Places(profile.slots, profile.queue_max) if profile.slots is not None else None
        self._cache = PrefixCache(profile.cache_ttl_s)

    def quota(self, tokens: int, chances: Chances, at_s: float) -> tuple[Quota, RefusalKind | None, float]:
        requests, allowance = self._requests, self._tokens
        if requests is None and allowance is None:
            return NO_QUOTA, None, 0.0
        refused: RefusalKind | None = None
        wait_s = 0.0
        if requests is not None and (wait_s := requests.wait_s(1, at_s)):
            refused = "rate_limited"
        elif allowance is not None and (wait_s := allowance.wait_s(tokens, at_s)):
            refused = "tokens_limited"
        else:
            if requests is not None:
                requests.take(1, at_s)
            if allowance is not None:
                allowance.take(tokens, at_s)
        quota = Quota(
            requests=requests.per_minute if requests else None,
            requests_left=requests.left(at_s) if requests else 0,
            requests_reset_s=requests.reset_s(at_s) if requests else 0.0,
            tokens=allowance.per_minute if allowance else None,
            tokens_left=allowance.left(at_s) if allowance else 0,
            tokens_reset_s=allowance.reset_s(at_s) if allowance else 0.0,
        )
        return quota, refused, wait_s

    def cached(self, request: ChatRequest, chances: Chances, at_s: float) -> CacheUse:
        policy = self._profile.cache
        if policy == "none":
            return CacheUse()
        known = self._cache.known(request, at_s)
        if policy == "automatic":
            self._cache.remember(request, at_s)
            return CacheUse(known)
        marked = marked_tokens(request)
        self._cache.remember(request, at_s, up_to=marked)
        read = min(known, marked)
        return CacheUse(read, marked - read)

    def slowness(self, at_s: float) -> float:
        profile = self._profile
        factor = profile.hour_factor((self._hour_at_zero + at_s % _DAY_S / 3600) % 24) if profile.hourly else 1.0
        if self._places is None or not profile.contention:
            return factor
        return factor * (1 + profile.contention * self._places.busy(at_s) / self._places.slots)

    def enter(self, service_s: float, at_s: float) -> float | None:
        if self._places is None:
            return 0.0
        wait_s = self._places.wait_s(at_s)
        if wait_s is not None:
            self._places.take(at_s, wait_s, service_s)
        return wait_s
