"""A provider's usage object, read from its own bytes, and what may be believed of it.

Money rests on these figures, so the text is parsed once more with exact numbers: decimals keep their literal, NaN,
infinities, repeated keys, integers of more than 19 digits and deep nesting are refused. Every count read through
`Reader` is a whole number within its bounds, or the object is refused: nothing is clamped, nothing is guessed, nothing
here raises out of a normaliser. Knows no provider, no price and no model.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import msgspec

TEXT_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 16
INTEGER_DIGITS_MAX: Final = 19
COST_CHARACTERS_MAX: Final = 40
COST_EXPONENTS: Final = range(-30, 7)
COUNT_MAX: Final = 10**INTEGER_DIGITS_MAX - 1


class UsageRefused(ValueError):
    """The text is no usage object that may be charged; says why."""


class Overlong:
    """Stands where a number's literal is too long to be a price; refused only where a figure is read from it."""


_OVERLONG: Final = Overlong()
_ODD: Final = object()


def _decimal(literal: str) -> Decimal | Overlong:
    return Decimal(literal) if len(literal) <= COST_CHARACTERS_MAX else _OVERLONG


def _integer(literal: str) -> int:
    if len(literal.removeprefix("-")) > INTEGER_DIGITS_MAX:
        raise UsageRefused(f"an integer has more than {INTEGER_DIGITS_MAX} digits")
    return int(literal)


def _constant(name: str) -> Any:
    raise UsageRefused(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UsageRefused("a key is repeated")
    return found


_HOOKS: Final[dict[str, Any]] = {
    "parse_float": _decimal,
    "parse_constant": _constant,
    "object_pairs_hook": _object,
}
_decode = json.JSONDecoder(parse_int=_integer, **_HOOKS).decode
_decode_fast = msgspec.json.Decoder(float_hook=_decimal).decode
_keys_in_text = re.compile(rb'"\s*:').findall


def parse(text: bytes) -> Any:
    """The value of a usage object's text: fractions as `Decimal`, keys unique. Raises `UsageRefused`, nothing else."""
    if len(text) > TEXT_BYTES_MAX:
        raise UsageRefused(f"usage has more than {TEXT_BYTES_MAX:,} bytes")
    value = _unless_odd(text)
    if value is _ODD:
        try:
            value = _decode(text.decode())
        except UsageRefused:
            raise
        except (ValueError, RecursionError, InvalidOperation) as error:
            raise UsageRefused(f"usage is no JSON: {error}"[:120]) from None
    if text.count(b"{") + text.count(b"[") > DEPTH_MAX:
        _check_depth(value, DEPTH_MAX)
    return value


def _unless_odd(text: bytes) -> Any:
    """The value of plain text; `_ODD` for what the exact decoder has to judge.

    A text has at least as many closing quotes before colons as it has keys, so as many as there are keys in the value
    means that no key was repeated.
    """
    try:
        value = _decode_fast(text)
    except (ValueError, RecursionError, InvalidOperation):
        return _ODD
    keys = 0
    inner = [value]
    for each in inner:
        kind = type(each)
        if kind is dict:
            keys += len(each)
            inner += each.values()
        elif kind is list:
            inner += each
        elif kind is int and not -COUNT_MAX <= each <= COUNT_MAX:
            return _ODD
    return value if len(_keys_in_text(text)) == keys else _ODD


def _check_depth(value: Any, left: int) -> None:
    if not left:
        raise UsageRefused(f"usage is nested more than {DEPTH_MAX} deep")
    if type(value) is dict or type(value) is list:
        for child in value.values() if type(value) is dict else value:
            _check_depth(child, left - 1)


class Reader:
    """Reads the counts of one usage object; gathers what is refused, missing or merely odd.

    `bound` is the largest count that this offer can produce. After the first refusal the figures mean nothing.
    """

    __slots__ = ("bound", "flags", "missing", "notes", "refused")

    def __init__(self, bound: int = COUNT_MAX) -> None:
        self.bound = bound
        self.refused: list[str] = []
        self.missing: list[str] = []
        self.flags: list[str] = []  # soft identities that do not hold
        self.notes: list[str] = []  # worth recording, no reason to look

    def primary(self, source: dict[str, Any], key: str) -> int:
        """A count without which nothing can be charged; absent or null goes to `missing`."""
        value = source.get(key)
        if type(value) is int and 0 <= value <= self.bound:
            return value
        if value is None:
            self.missing.append(key)
            return 0
        return self._refuse(key, value)

    def count(self, source: dict[str, Any], key: str) -> int:
        """A count of which absence or null means zero."""
        value = source.get(key)
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= self.bound:
            return value
        return self._refuse(key, value)

    def stated(self, source: dict[str, Any], key: str) -> int | None:
        """A count, or None where the provider did not state it."""
        return None if source.get(key) is None else self.count(source, key)

    def total(self, source: dict[str, Any], key: str) -> int | None:
        """A sum that is compared, never charged: it may be larger than any single count."""
        value = source.get(key)
        if value is None:
            return None
        if type(value) is int and 0 <= value <= COUNT_MAX:
            return value
        return self._refuse(key, value)

    def child(self, source: dict[str, Any], key: str) -> dict[str, Any]:
        """An object within; {} where it is absent or null."""
        value = source.get(key)
        if type(value) is dict:
            return value
        if value is not None:
            self.refused.append(f"{key} is no object")
        return {}

    def children(self, source: dict[str, Any], key: str) -> list[dict[str, Any]]:
        """A list of objects; [] where it is absent or null."""
        value = source.get(key)
        if value is None:
            return []
        if type(value) is not list or any(type(each) is not dict for each in value):
            self.refused.append(f"{key} is no list of objects")
            return []
        return value

    def amount(self, source: dict[str, Any], key: str) -> Fraction | None:
        """An amount of USD, exactly as the provider wrote it; None where it is absent or null."""
        value = source.get(key)
        if value is None:
            return None
        if type(value) is int:
            value = Decimal(value)
        if type(value) is not Decimal:
            self.refused.append(f"{key} is no amount")
            return None
        exponent = value.as_tuple().exponent
        sane = type(exponent) is int and exponent in COST_EXPONENTS and value.adjusted() in COST_EXPONENTS
        if value < 0 or (value and not sane):
            self.refused.append(f"{key} is no amount between 1e-30 and 1e6")
            return None
        return Fraction(value)

    def within(self, name: str, part: int, whole: int) -> int:
        """`whole - part`; refuses a part that is larger than what it is part of (a missing whole proves nothing)."""
        if part > whole:
            if self.missing:
                return 0
            self.refused.append(f"{name} {part} exceeds {whole}, which it is part of")
            return 0
        return whole - part

    def same(self, name: str, stated: int | None, summed: int) -> None:
        """Flags a stated sum that is not the sum of its parts; an absent one proves nothing."""
        if stated is not None and stated != summed and not self.missing:
            self.flags.append(f"{name} {stated} is not {summed}")

    def _refuse(self, key: str, value: Any) -> int:
        why = f"is no whole number from 0 to {self.bound}"
        self.refused.append(f"{key} {why}" if type(value) is not int else f"{key} {str(value)[:24]} {why}")
        return 0
