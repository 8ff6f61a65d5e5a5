"""JSON as providers really send it: fast where it is well formed, forgiving where that is harmless.

Forgiven, each with a note: bytes that are no UTF-8 and lone surrogates (U+FFFD in their place), NaN, infinities and
numbers beyond a double (null, except under `usage`, where the counts' own check must see them), a byte-order mark and
raw control characters in strings. Not forgiven: everything else, and nesting above 64. Knows nothing of dialects.
"""

from __future__ import annotations

import json
import re
from math import isfinite, nan
from typing import Any

import msgspec

DEPTH_MAX = 64
_DIGITS_MAX = 40  # longer integers are read as NaN: no count is that large, and converting them costs quadratic time

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotJson(ValueError):
    """The bytes are no JSON value, or one that is nested too deeply."""


def loads(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """The value and what had to be forgiven. Raises `NotJson`."""
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _loads_slowly(data)
    except RecursionError:
        raise NotJson(f"nested more than {DEPTH_MAX} deep") from None
    # No value can be nested deeper than the number of its opening brackets: most bodies need no walk.
    if data.count(b"{") + data.count(b"[") > DEPTH_MAX:
        check_depth(value)
    return value, ()


def dumps(value: Any) -> bytes:
    """JSON in one line; lone surrogates, which no UTF-8 can carry, become U+FFFD."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(scrub(value))


def check_depth(value: Any) -> None:
    """Raises `NotJson` for a value whose containers are nested more than 64 deep."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise NotJson(f"nested more than {DEPTH_MAX} deep")


def scrub(value: Any) -> Any:
    """The same value with lone surrogates replaced by U+FFFD and non-finite numbers by null, except under `usage`."""
    if type(value) is str:
        return _SURROGATE.sub("\ufffd", value)
    if type(value) is float:
        return value if isfinite(value) else None
    if type(value) is list:
        return [scrub(item) for item in value]
    if type(value) is dict:
        return {scrub(key): item if key == "usage" else scrub(item) for key, item in value.items()}
    return value


def _loads_slowly(data: bytes) -> tuple[Any, tuple[str, ...]]:
    notes = []
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        notes.append("invalid UTF-8 replaced")
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            strict=False,
            parse_constant=lambda _: nan,
            parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS_MAX else nan,
        )
    except ValueError as error:
        raise NotJson(f"no JSON: {error}") from None
    except RecursionError:
        raise NotJson(f"nested more than {DEPTH_MAX} deep") from None
    if type(value) is dict or type(value) is list:
        check_depth(value)
    clean = scrub(value)
    if not notes and clean != value:
        notes.append("lone surrogates or non-finite numbers replaced")
    return clean, tuple(notes)
