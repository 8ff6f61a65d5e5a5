"""Limits of the gateway: how often and how long it tries. The `[gateway]` table of a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clawbench.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class HedgingSettings:
    """When a second offer is asked for a stream that keeps waiting. The `[gateway.hedging]` table of a plan."""

    quantile: float = 0.95  # of the offer's recent times to first token; a stream that waits longer is hedged
    after_s_min: float = 0.1  # never sooner
    spend_share: float = 0.02  # what dropped legs may cost, of all that has been spent upstream

    def __post_init__(self) -> None:
        if not 0.5 <= self.quantile < 1:
            raise PlanError(f"gateway.hedging.quantile must be from 0.5 to below 1, got {self.quantile}")
        if not self.after_s_min > 0:
            raise PlanError(f"gateway.hedging.after_s_min must be > 0 seconds, got {self.after_s_min}")
        if not 0 < self.spend_share <= 1:
            raise PlanError(f"gateway.hedging.spend_share must be above 0 and at most 1, got {self.spend_share}")

    def late(self, ttft_quantile: Callable[[float], float | None]) -> float | None:
        """Seconds after which a stream is late, by an offer's recent times; None where there are none."""
        usual_s = ttft_quantile(self.quantile)
        return None if usual_s is None else max(usual_s, self.after_s_min)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on one request."""

    attempts_max: int = 3  # upstream calls, the first included
    request_timeout_s: float = 120.0  # from arrival, all attempts together
    attempt_timeout_s: float | None = None  # of an answer that is not streamed; None: two thirds of request_timeout_s
    ttft_timeout_s: float = 60.0  # from dispatch to the first output of a stream
    idle_timeout_s: float = 60.0  # between two pieces of a stream
    drains_max: int = 64  # answers read to their end at a time after their clients have gone
    drain_s: float = 60.0  # for how long one of them is read
    retries_max: int = 2  # further attempts at an offer that has failed, where no other one is left
    retry_wait_s_max: float = 2.0  # longest Retry-After that is waited for
    retry_share: float = 0.1  # retries to requests, over the gateway's life
    hedging: HedgingSettings | None = None  # None: off

    def __post_init__(self) -> None:
        for name in ("attempt_timeout_s", "ttft_timeout_s", "idle_timeout_s"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise PlanError(f"gateway.{name} must be > 0 seconds, got {getattr(self, name)}")
        if self.attempts_max < 1:
            raise PlanError(f"gateway.attempts_max must be at least 1, got {self.attempts_max}")
        if not self.request_timeout_s > 0:
            raise PlanError(f"gateway.request_timeout_s must be > 0 seconds, got {self.request_timeout_s}")

    @property
    def whole_timeout_s(self) -> float:
        """Seconds after which a whole answer is asked of another offer, where one is left.

        By default long enough for thousands of tokens, and short enough to leave the next offer a third of the time.
        """
        return self.attempt_timeout_s or self.request_timeout_s * 2 / 3
