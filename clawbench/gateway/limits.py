"""Limits of the gateway: how often and how long it tries. The `[gateway]` table of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from clawbench.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on one request."""

    attempts_max: int = 3  # upstream calls, the first included
    request_timeout_s: float = 120.0  # from arrival, all attempts together

    def __post_init__(self) -> None:
        if self.attempts_max < 1:
            raise PlanError(f"gateway.attempts_max must be at least 1, got {self.attempts_max}")
        if not self.request_timeout_s > 0:
            raise PlanError(f"gateway.request_timeout_s must be > 0 seconds, got {self.request_timeout_s}")
