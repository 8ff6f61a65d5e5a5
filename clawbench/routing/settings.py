"""What can be set about routing, with its bounds. The `[routing]` table of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clawbench.errors import PlanError, did_you_mean

TAG_NAMES = ("energy", "latency", "price", "quality", "token_rate")


@dataclass(frozen=True, kw_only=True)
class RoutingSettings:
    """Defaults are starting values: each is a trade between learning quickly and being fooled by noise."""

    half_life_s: float = 60.0  # in which an observation loses half of its weight
    exploration: float = 0.01  # share of picks that go to offers by how little is known of them
    band: float = 0.05  # offers this close to the best score share the load
    price_band: float = 0.005  # the same where price alone is asked for
    cold_unresolved_max: int = 2  # requests at an offer that has never answered
    breaker_failure_share: float = 0.4  # of recent attempts; above it the offer rests
    breaker_attempts_min: float = 4.0  # recent attempts below which nothing is concluded
    breaker_streak: int = 5  # failures in a row after which it rests whatever was before
    breaker_half_life_s: float = 10.0
    breaker_open_s: float = 5.0  # first rest; doubles with each failed probe
    breaker_open_s_max: float = 60.0
    sticky_margin: float | None = None  # by how much the best score may beat a session's last offer; None: no sessions
    sticky_idle_s: float = 300.0  # after which a prompt cache is taken to be cold
    weights: Mapping[str, float] = field(default_factory=dict)  # of tags in a combination; 1 where absent

    def __post_init__(self) -> None:
        for name in ("half_life_s", "breaker_half_life_s", "breaker_open_s", "breaker_open_s_max", "sticky_idle_s"):
            if not getattr(self, name) > 0:
                raise PlanError(f"routing.{name} must be > 0 seconds, got {getattr(self, name)}")
        for name in ("exploration", "band", "price_band", "breaker_failure_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanError(f"routing.{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.sticky_margin is not None and not self.sticky_margin >= 0:
            raise PlanError(f"routing.sticky_margin must be 0 or more, got {self.sticky_margin}")
        if self.breaker_streak < 1:
            raise PlanError(f"routing.breaker_streak must be at least 1, got {self.breaker_streak}")
        if self.cold_unresolved_max < 1:
            raise PlanError(f"routing.cold_unresolved_max must be at least 1, got {self.cold_unresolved_max}")
        for tag, weight in self.weights.items():
            if tag not in TAG_NAMES:
                known = ", ".join(TAG_NAMES)
                raise PlanError(f'routing.weights: "{tag}" is no tag.{did_you_mean(tag, TAG_NAMES)} Known: {known}')
            if not weight > 0:
                raise PlanError(f"routing.weights.{tag} must be > 0, got {weight}")
