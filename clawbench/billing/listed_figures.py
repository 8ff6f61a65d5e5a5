"""Figures of published price lists as whole pico-USD, and an account of those that are none.

A rate that is no whole number of pico-USD a token (dust of somebody's float arithmetic, or a price that was divided)
is listed by name, and left out unless a rounding rule was chosen outright. Negative amounts and things that are no
numbers are never taken. Nothing is derived from another rate. Knows no list's format.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, Literal, Protocol

from clawbench.billing.price_book import Tariff
from clawbench.money import PICO, NotMoney, decimal

Rounding = Literal["refuse", "nearest"]
"""What becomes of a rate that is no whole number of pico-USD: left out, or the nearest one (half to even)."""

PER_TOKEN: Final = 1
PER_MILLION: Final = 1_000_000


class Figures:
    """Converts amounts and remembers, by the name of each figure, what was odd about it.

    `dust` holds the literals that were no whole pico-USD, `refused` those that are no price at all, `unread` what a
    list states and no row of a price book can hold.
    """

    __slots__ = ("dust", "refused", "rounding", "unread")

    def __init__(self, rounding: Rounding = "refuse") -> None:
        self.rounding = rounding
        self.dust: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.unread: dict[str, str] = {}

    def pico(self, name: str, stated: Any, *, per: int = PER_TOKEN) -> int | None:
        """A stated amount of USD for `per` tokens (or uses) in pico-USD for one; None where it cannot be taken."""
        if stated is None:
            return None
        text = str(stated)
        try:
            exact = Fraction(decimal(text)) * PICO / per
        except NotMoney:
            exact = Fraction(-1)
        if exact < 0 or type(stated) is bool:
            self.refused[name] = text[:40]
            return None
        if exact.denominator == 1:
            return exact.numerator
        self.dust[name] = text[:40]
        return round(exact) if self.rounding == "nearest" else None


class PublishedRows(Protocol):
    """One list, read as rows of a price book."""

    name: str

    def tariffs(self, provider: str, model: str, figures: Figures) -> list[Tariff]:
        """The dated rows of a provider's model; none where the list does not know it or has no usable price."""
        ...
