"""The strings of a JSON text, each with the key that it stands under, rewritten in place.

A lexer and no parser: it finds strings in what is cut short, in server-sent events and in JSON within JSON, and leaves
every other byte as it is, so that numbers, order and layout of a recording stay what they were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

# Possessive, and with the end of the text as an end of a string: what is cut short is found, and nothing is read twice.
_LITERAL: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:("|\\?\Z))(\s*:(?!:))?', re.DOTALL)
_BYTE_SURROGATE: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_DEPTH_MAX: Final = 5

Rewrite = Callable[[str, str], str]
"""Given a string and the key that it stands under ("" for none), what is to stand there."""


def rewritten(text: str, value: Rewrite, between: Callable[[str], str], *, depth: int = 0) -> str:
    """The text with every string put through `value`, and what is between strings through `between`.

    A string that is JSON itself is gone into, four levels deep; its strings stand under the keys in it. Keys are given
    to `value` as strings under "". In lists of `{"name": …, "value": …}` a value's key is the name beside it.
    """
    parts: list[str] = []
    at = 0
    key = name = ""
    for match in _LITERAL.finditer(text):
        if match.start() > at:
            parts.append(between(text[at : match.start()]))
        at = match.end()
        raw, end, colon = match.groups(default="")
        plain = unescaped(raw)
        if colon:
            key = plain
            new = value(plain, "")
        else:
            if key in ("name", "key", "header"):
                name = plain
            under = name if key == "value" and name else key
            new = _value(plain, under, value, between, depth)
        parts.append(match[0] if new == plain else f'"{escaped(new, raw)}{end}{colon}')
    parts.append(between(text[at:]))
    return "".join(parts)


def _value(plain: str, key: str, value: Rewrite, between: Callable[[str], str], depth: int) -> str:
    if depth < _DEPTH_MAX - 1 and '"' in plain and plain.lstrip()[:1] in ("{", "["):
        return rewritten(plain, value, between, depth=depth + 1)
    return value(plain, key)


def unescaped(raw: str) -> str:
    """The string that stands between these quotes; what no JSON string could hold stays as it is."""
    if "\\" not in raw:
        return raw
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except ValueError:
        return raw
    return text


def escaped(text: str, like: str) -> str:
    """What is to stand between quotes for a string; in ASCII alone if what stood there was (`like`)."""
    raw = json.dumps(text, ensure_ascii=like.isascii())[1:-1]
    # What stands for a byte that is no UTF-8 stays; any other half of a pair can only be written as an escape.
    return _BYTE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", raw)
