"""A fault plan: which fault is in force at an offer at an instant. Values only."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from clawbench.errors import PlanError, did_you_mean
from clawbench.faults.kinds import AnyFault, Fault


class FaultPlan(Struct, frozen=True, kw_only=True):
    """Faults in order; where several strike, the first one counts. `name` goes into the records."""

    name: str
    faults: tuple[AnyFault, ...]

    def fault_at(self, offer_id: str, t_s: float) -> AnyFault | None:
        """The fault that strikes a call to this offer that leaves at `t_s` (seconds since the cell's start)."""
        for fault in self.faults:
            if fault.strikes(offer_id, t_s):
                return fault
        return None

    def check(self, offer_ids: Iterable[str]) -> None:
        """Raises `PlanError` for a fault at an offer that does not exist, or one that ends before it begins."""
        known = sorted(offer_ids)
        for place, fault in enumerate(self.faults):
            where = f"faults[{place}] ({fault.name})"
            _check_span(fault, where)
            for offer_id in fault.offers:
                if offer_id != "*" and offer_id not in known:
                    raise PlanError(
                        f'{where}: there is no offer "{offer_id}".{did_you_mean(offer_id, known)} '
                        f"Known: {', '.join(known)}"
                    )


NO_FAULTS = FaultPlan(name="none", faults=())


def _check_span(fault: Fault, where: str) -> None:
    if not fault.offers:
        raise PlanError(f'{where}: offers is empty; name at least one, or "*" for all')
    if not fault.from_s < fault.until_s:
        raise PlanError(f"{where}: until_s = {fault.until_s:g} must be after from_s = {fault.from_s:g}")
