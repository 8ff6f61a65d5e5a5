"""What an audit comes to, in plain figures: counts, sums in pico-UAT, and text. Written as JSON as they stand.

`charges` are all charges of requests. Each is in one class: `exact` (worked again from raw usage and cited price book
it is the same to the last digit, and where the provider stated a cost the two are explained), `estimated` (the same,
but flagged as an estimate), `differing` (it comes to something else), `unexplained` (it is what it says, but the
provider's own figure is another).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

VIOLATIONS_KEPT = 100  # the rest is counted


class Violation(Struct, frozen=True):
    """Something that must not be. `where` names cell and entry (0: the log as a whole), `cause` is for counting."""

    where: str
    cause: str
    what: str


class Counts(Struct, kw_only=True):
    """`differing` counts by cause; `charged_pico_uat` is the sum of all charges, adjustments left out."""

    charges: int = 0
    exact: int = 0
    estimated: int = 0
    unexplained: int = 0
    differing: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    released: int = 0
    charged_pico_uat: int = 0

    def count(self, other: Counts) -> None:
        """Adds another's counts to these."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        _add(self.differing, other.differing)


_SUMMED = ("charges", "exact", "estimated", "unexplained", "quarantined", "released", "charged_pico_uat")


class Group(Counts, kw_only=True):
    """Figures of one strategy, provider and surface; "" where nothing says which."""

    strategy: str = ""
    provider: str = ""
    surface: str = ""

    def differs(self, cause: str) -> None:
        self.differing[cause] = self.differing.get(cause, 0) + 1


class OpenItem(Struct, frozen=True, kw_only=True):
    """Money whose fate is open: a hold, a quarantined hold, a shortfall, a risk. `amount` in pico-UAT, `age_s` in s."""

    kind: str
    where: str
    of: str  # account or provider
    amount: int
    age_s: float


class Conservation(Struct, frozen=True, kw_only=True):
    """In pico-UAT: topped_up = available + held + shortfall + charged, over all accounts."""

    topped_up: int = 0
    available: int = 0
    held: int = 0
    shortfall: int = 0
    charged: int = 0


class Figures(Counts, kw_only=True):
    """An audit's outcome; its counts are the sums of `groups`.

    `quarantined_for` counts by cause why charges are held back, `quarantined_why` has the first reason of each cause.
    `skipped` charges were made before the instant from which charges are worked again; they are in no other count.
    `provider_stated` counts charges by how the provider's own figure compares: equal, rounded, promotion, unpriced,
    unexplained. `findings` are no violations: somebody should know. `open_items` are the largest of each kind first,
    `open_found` all of them by kind. `opinions`: by whom, how often it agrees, differs, or has none.
    """

    entries: int = 0
    quarantined_for: dict[str, int] = field(default_factory=dict)
    quarantined_why: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    provider_stated: dict[str, int] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    conservation: Conservation = Conservation()
    violations: list[Violation] = field(default_factory=list)
    violated: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    open_items: list[OpenItem] = field(default_factory=list)
    open_found: dict[str, int] = field(default_factory=dict)
    opinions: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Nothing is violated and no difference is unexplained."""
        return not (self.violated or self.unexplained or self.differing)

    def violate(self, where: str, cause: str, what: str) -> None:
        self.violated += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(Violation(where, cause, what))

    def find(self, what: str) -> None:
        self.findings[what] = self.findings.get(what, 0) + 1

    def held_back(self, cause: str, why: str) -> None:
        self.quarantined_for[cause] = self.quarantined_for.get(cause, 0) + 1
        self.quarantined_why.setdefault(cause, why)

    def line(self) -> str:
        """The one line that says it all; estimates, quarantines and violations are named where there are any."""
        said = [f"billing: {self.exact} of {self.charges - self.estimated} exact"]
        for number, what in (
            (self.unexplained, "unexplained"),
            (self.quarantined, "quarantined"),
            (self.estimated, "estimated"),
            (self.violated, "violation" if self.violated == 1 else "violations"),
        ):
            if number:
                said.append(f"{number} {what}")
        return ", ".join(said)


def merged(parts: list[Figures]) -> Figures:
    """Several audits as one: of the cells of a run, each with a log of its own."""
    total = Figures()
    groups: dict[tuple[str, str, str], Group] = {}
    sums: dict[str, int] = dict.fromkeys(Conservation.__struct_fields__, 0)
    for part in parts:
        total.count(part)
        for name in ("entries", "skipped", "violated"):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        for name in _BY_NAME:
            _add(getattr(total, name), getattr(part, name))
        total.quarantined_why = part.quarantined_why | total.quarantined_why
        for who, counts in part.opinions.items():
            _add(total.opinions.setdefault(who, {}), counts)
        for name in sums:
            sums[name] += getattr(part.conservation, name)
        total.violations += part.violations
        total.open_items += part.open_items
        for group in part.groups:
            key = (group.strategy, group.provider, group.surface)
            groups.setdefault(key, Group(strategy=key[0], provider=key[1], surface=key[2])).count(group)
    total.violations = total.violations[:VIOLATIONS_KEPT]
    total.groups = list(groups.values())
    total.conservation = Conservation(**sums)
    return total


_BY_NAME = ("provider_stated", "quarantined_for", "findings", "open_found")


def _add(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        into[name] = into.get(name, 0) + number


def plain(figures: Figures, *, violations: int = VIOLATIONS_KEPT) -> dict[str, Any]:
    """As plain JSON; amounts are text, since JSON numbers are not exact that far. At most so many `violations`."""
    found: dict[str, Any] = msgspec.to_builtins(figures)
    found["charged_pico_uat"] = str(figures.charged_pico_uat)
    found["conservation"] = {name: str(amount) for name, amount in found["conservation"].items()}
    for group in found["groups"]:
        group["charged_pico_uat"] = str(group["charged_pico_uat"])
    for item in found["open_items"]:
        item["amount"] = str(item["amount"])
    del found["violations"][violations:]
    return {"line": figures.line(), "clean": figures.clean, **found}
