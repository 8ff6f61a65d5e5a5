"""Numerals: figures as text for people, no more digits than they carry, one number of decimals a column where it fits.

Text only; what a figure means and where it stands is the business of whoever prints it. An unknown figure is a
dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10

UNKNOWN = "–"
_DECIMALS_MAX = 6
_FAR = 20.0


def column(values: Sequence[float | None], half_widths: Sequence[float | None] = ()) -> list[str]:
    """A column of figures with the same number of decimals, each with ` ± half-width` where one is known.

    Three significant digits for the largest and at least two for the others, but none beyond the second digit of the
    typical half-width. A figure that this would leave with fewer than two of the digits it carries gets more decimals
    than the column.
    """
    places = decimals(values, half_widths)
    widths = list(half_widths) or [None] * len(values)
    return [
        _figure(value, width, max(places, _own_decimals(value, width)))
        for value, width in zip(values, widths, strict=True)
    ]


def decimals(values: Sequence[float | None], half_widths: Sequence[float | None] = ()) -> int:
    """How many decimals `column` prints for these figures, 0 to 6."""
    sizes = [abs(value) for value in values if value and isfinite(value)]
    if not sizes:
        return 0
    # What is far smaller than the largest has decimals of its own, and gives the others none that they do not carry.
    near = [size for size in sizes if size > max(sizes) / _FAR]
    wanted = max(2 - floor(log10(max(sizes))), 1 - floor(log10(min(near))))
    widths = sorted(width for width in half_widths if width and isfinite(width))
    if widths:
        wanted = min(wanted, 1 - floor(log10(widths[len(widths) // 2])))
    return min(max(wanted, 0), _DECIMALS_MAX)


def _own_decimals(value: float | None, half_width: float | None) -> int:
    """Decimals that show two digits of a figure, or as many as its half-width leaves it; at most 6."""
    if not value or not isfinite(value):
        return 0
    wanted = 1 - floor(log10(abs(value)))
    if half_width and isfinite(half_width):
        wanted = min(wanted, 1 - floor(log10(half_width)))
    return min(wanted, _DECIMALS_MAX)


def _figure(value: float | None, half_width: float | None, places: int) -> str:
    if value is None or not isfinite(value):
        return UNKNOWN
    text = f"{value:,.{places}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.removeprefix("-")
    if half_width is None or not isfinite(half_width):
        return text
    return f"{text} ± {half_width:,.{places}f}"


def count(value: int | None) -> str:
    """A count with thousands separators."""
    return UNKNOWN if value is None else f"{value:,}"


def percent(share: float | None, of: int | None, half_width: float | None = None) -> str:
    """A share of `of` things in percent, without the sign: 0 decimals below 200 of them, 1 below 20,000, else 2.

    All and none are said of all and none only: 1999 of 2000 is '>99.9' at one decimal if it would round to 100.
    """
    if share is None or not isfinite(share) or not of:
        return UNKNOWN
    places = 0 if of < 200 else 1 if of < 20_000 else 2
    step = 10.0**-places
    text = f"{100 * share:.{places}f}"
    if share < 1 and float(text) >= 100:
        text = f">{100 - step:.{places}f}"
    elif share > 0 and float(text) <= 0:
        text = f"<{step:.{places}f}"
    return text if not half_width else f"{text} ± {max(100 * half_width, step):.{places}f}"


def mix(shares: Sequence[tuple[str, float | None]], of: int | None) -> str:
    """Shares that are not 0, as 'exact 81.2 %, nearest 18.8 %'."""
    named = [f"{name} {percent(share, of)} %" for name, share in shares if share]
    return ", ".join(named) or UNKNOWN


def short(text: object, length: int = 12) -> str:
    """The head of a hash, or a dash where there is none."""
    return str(text)[:length] if text else UNKNOWN


def clipped(text: str, length: int) -> str:
    """Text of at most `length` characters on one line, its middle left out where it is longer."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(line) <= length:
        return line
    tail = (length - 1) // 3
    return f"{line[: length - 1 - tail]}…{line[-tail:]}"
