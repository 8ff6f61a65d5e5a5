"""Which names stand at the top of a JSON file, told from its first bytes alone.

Knows no layout. Recorders write their fields in any order, so a format is told by the names that are there, not by
the first one. Text inside of strings is never taken for a name.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(rb'"((?:[^"\\]++|\\.)*+)("?)|[{}\[\]:]', re.DOTALL)


def object_names(head: bytes) -> frozenset[str]:
    """The names of the object that a file is, as far as `head` goes; none if it is no object."""
    return _names(head, depth=1) if head.lstrip()[:1] == b"{" else frozenset()


def item_names(head: bytes) -> frozenset[str]:
    """The names of the first object of the list that a file is; none if it is no list of objects."""
    return _names(head, depth=2) if head.lstrip()[:1] == b"[" else frozenset()


def _names(head: bytes, *, depth: int) -> frozenset[str]:
    found: set[str] = set()
    here, last = 0, b""
    for token in _TOKEN.finditer(head):
        sign = token[0][:1]
        if sign == b'"':
            if not token[2]:  # the head ends within a string
                break
            last = token[1]
        elif sign == b":":
            if here == depth:
                found.add(last.decode("utf-8", "replace"))
        elif sign in b"{[":
            here += 1
        else:
            here -= 1
            if here < depth:  # the object has ended; a list's other items are not asked
                break
    return frozenset(found)
