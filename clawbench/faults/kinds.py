"""The kinds of faults. Frozen values, as a plan's tables write them: `kind` tells them apart.

Each one lasts from `from_s` (inclusive) to `until_s` (exclusive), seconds since the start of the cell, and strikes
calls that leave for `offers` in that time, whatever becomes of them later. Knows no transport: what a fault does to a
call is `transports/faulty.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Moment = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
ErrorStatus = Annotated[int, Meta(ge=400, le=599)]


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all faults have. `offers` are ids; "*" stands for every offer."""

    offers: tuple[str, ...]
    from_s: Moment = 0.0
    until_s: Positive = float("inf")

    @property
    def name(self) -> str:
        """What the record of an attempt says."""
        return str(self.__struct_config__.tag)

    def strikes(self, offer_id: str, t_s: float) -> bool:
        """Whether a call that leaves for this offer at this instant is struck."""
        return self.from_s <= t_s < self.until_s and (offer_id in self.offers or "*" in self.offers)


class Outage(Fault, frozen=True, kw_only=True, tag="outage"):
    """Nothing answers. `refused`: at once, no connection; `silent`: no connection after `connect_timeout_s`."""

    how: Literal["refused", "silent"] = "refused"
    connect_timeout_s: Positive = 10.0


class Brownout(Fault, frozen=True, kw_only=True, tag="brownout"):
    """Everything takes `factor` times as long as it would have."""

    factor: Annotated[float, Meta(ge=1)]


class ErrorBurst(Fault, frozen=True, kw_only=True, tag="error_burst"):
    """A share of the calls gets an error status after `after_s`."""

    share: Share
    status: ErrorStatus = 503
    after_s: Moment = 0.05


class RateLimitStorm(Fault, frozen=True, kw_only=True, tag="rate_limit_storm"):
    """A share of the calls gets 429 after `after_s`, with a Retry-After unless `retry_after_s` is None."""

    retry_after_s: Positive | None = 5.0
    share: Share = 1.0
    after_s: Moment = 0.05


class Stall(Fault, frozen=True, kw_only=True, tag="stall"):
    """The answer begins and stands still for good: after the headers, or once `chunks` pieces of the body have come."""

    chunks: Count = 0
    share: Share = 1.0


class Cut(Fault, frozen=True, kw_only=True, tag="cut"):
    """The connection is reset in mid-answer, once `chunks` pieces of the body have come (or all there are but one)."""

    chunks: Count = 3
    share: Share = 1.0


class SharedQuota(Fault, frozen=True, kw_only=True, tag="shared_quota"):
    """`offers` share one upstream limit: `requests` in each `window_s` of run time, all together; above it 429.

    Windows are counted from the cell's start; Retry-After is what is left of the one in force.
    """

    requests: Annotated[int, Meta(ge=1)]
    window_s: Positive = 60.0
    after_s: Moment = 0.05

    def window(self, t_s: float) -> int:
        """Number of the window that an instant lies in."""
        return int(t_s // self.window_s)

    def left_s(self, t_s: float) -> float:
        """Seconds until the next window."""
        return (self.window(t_s) + 1) * self.window_s - t_s


AnyFault = Outage | Brownout | ErrorBurst | RateLimitStorm | Stall | Cut | SharedQuota
"""One entry of a plan's list of faults."""
