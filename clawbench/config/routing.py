"""Tables of a plan that say how models are called and how offers are learned about, picked and hedged."""

from __future__ import annotations

from msgspec import Struct, structs

from clawbench.gateway.limits import HedgingSettings
from clawbench.routing.settings import RoutingSettings


class ModelTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[models."ID"]`: further names of a model."""

    name: str | None = None  # the display name
    aliases: list[str] = []


class HedgingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gateway.hedging]`: see `gateway/limits.py`."""

    quantile: float = 0.95
    after_s_min: float = 0.1
    spend_share: float = 0.02

    def settings(self) -> HedgingSettings:
        """The checked values. Raises `PlanError`."""
        return HedgingSettings(**structs.asdict(self))


class RoutingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routing]`: see `routing/settings.py`."""

    half_life_s: float = 60.0
    exploration: float | None = None  # None: 1 %, none at all in a strict replay
    band: float = 0.05
    price_band: float = 0.005
    cold_unresolved_max: int = 2
    breaker_failure_share: float = 0.4
    breaker_attempts_min: float = 4.0
    breaker_streak: int = 5
    breaker_half_life_s: float = 10.0
    breaker_open_s: float = 5.0
    breaker_open_s_max: float = 60.0
    sticky_margin: float | None = None
    sticky_idle_s: float = 300.0
    weights: dict[str, float] = {}
    warm_from: str | None = None  # a file of estimates; None: every cell starts cold

    def settings(self, *, strict: bool) -> RoutingSettings:
        """The checked values. Raises `PlanError`."""
        values = structs.asdict(self)
        values.pop("warm_from")
        if values["exploration"] is None:
            values["exploration"] = 0.0 if strict else RoutingSettings.exploration
        return RoutingSettings(**values)
