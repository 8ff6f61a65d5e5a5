"""Exact money: whole pico units (1e-12), never floats.

Prices arrive as decimal text and leave as integers; sums of integers need no rounding. `Decimal` is built
from text only. Display converts to text at the very end.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NewType

PicoUSD = NewType("PicoUSD", int)
"""Amount of money in 1e-12 USD."""

PICO = 10**12
INT64_MAX = 2**63 - 1

# Far outside any price or bill, and small enough that no exponent makes a number of a million digits.
_EXPONENT_RANGE = range(-40, 25)


class NotMoney(ValueError):
    """A text that is no finite decimal number in a sane range."""


def decimal(text: str) -> Decimal:
    """Parse decimal text ('0.000003', '1.5e-07'); refuses NaN, infinities and absurd exponents."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise NotMoney(f"{text[:40]!r} is not a decimal number") from None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent not in _EXPONENT_RANGE or value.adjusted() not in _EXPONENT_RANGE:
        raise NotMoney(f"{text[:40]!r} is not a finite amount between 1e-40 and 1e24")
    return value


def pico_per_token_from_usd_per_token(value: Decimal) -> tuple[int, bool]:
    """Rate in pico-USD per token from USD per token; the flag is False where it had to be rounded (half to even)."""
    pico = value * PICO
    whole = pico.to_integral_value(rounding=ROUND_HALF_EVEN)
    return int(whole), whole == pico


def pico_per_token_from_usd_per_million(value: Decimal) -> tuple[int, bool]:
    """Rate in pico-USD per token from USD per million tokens; the flag is False where it had to be rounded."""
    return pico_per_token_from_usd_per_token(value / 1_000_000)


def exact_text(pico: int) -> str:
    """Whole pico units of USD or UAT as decimal text with no digit lost and none added: 1_500_000_000_000 → '1.5'."""
    sign, size = ("-", -pico) if pico < 0 else ("", pico)
    whole, part = divmod(size, PICO)
    return f"{sign}{whole}.{part:012d}".rstrip("0") if part else f"{sign}{whole}"


def usd_text(pico: int, places: int = 6) -> str:
    """Amount of pico-USD as decimal text with `places` digits, rounded half to even: 1_234_500_000 → '0.001234'."""
    if places == 12:  # nothing to round, and every answer's header has it
        sign, size = ("-", -pico) if pico < 0 else ("", pico)
        return f"{sign}{size // PICO}.{size % PICO:012d}"
    return f"{(Decimal(pico) / PICO).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):f}"
