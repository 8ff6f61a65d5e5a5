"""A tool call of Gemini that comes in pieces (Vertex's `streamFunctionCallArguments`), put together.

The first piece has the name, further ones values with the JSONPath at which they belong (a text may continue), and the
last says that nothing follows. Paths make pieces of JSON text impossible before the end, so the call leaves whole.
Knows members by name and by index only (`$.a['b'][0]`), which is all that Google sends.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct, field

from clawbench.types import ToolCall
from clawbench.wires.tolerant_json import DEPTH_MAX, dumps

INDEX_MAX: Final = 10_000
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_VALUES: Final = ("stringValue", "numberValue", "boolValue")


class BadPiece(ValueError):
    """A piece that fits nowhere; the message says why."""


class PartialCall(Struct):
    """One call while its pieces come. `part` is the first one, which bears id, name and signature."""

    part: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)

    def add(self, call: dict[str, Any]) -> bool:
        """Takes a piece in; True if it was the last one. Raises `BadPiece`."""
        whole, pieces = call.get("args"), call.get("partialArgs")
        if type(whole) is dict:
            self.arguments.update(whole)
        for piece in pieces if type(pieces) is list else ():
            if type(piece) is not dict:
                raise BadPiece("a piece of an argument is no object")
            self._put(_steps(piece.get("jsonPath")), _value(piece))
        return call.get("willContinue") is not True

    def whole(self, made_up_id: str) -> ToolCall:
        """The call once its last piece is there."""
        call = self.part["functionCall"]
        id, name = call.get("id"), call.get("name")
        return ToolCall(
            id if type(id) is str and id else made_up_id,
            name if type(name) is str else "",
            dumps(self.arguments).decode(),
        )

    def _put(self, steps: list[str | int], value: Any) -> None:
        held: Any = self.arguments
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            last = following is None
            fresh: Any = value if last else [] if type(following) is int else {}
            if type(held) is dict and type(step) is str:
                known = held.get(step)
                if known is None:
                    known = held[step] = fresh
                elif last:
                    known = held[step] = _continued(known, value)
            elif type(held) is list and type(step) is int and step <= min(len(held), INDEX_MAX):
                if step == len(held):
                    held.append(fresh)
                elif last:
                    held[step] = _continued(held[step], value)
                known = held[step]
            else:
                raise BadPiece("a piece of an argument fits nowhere")
            held = known


def _steps(path: Any) -> list[str | int]:
    if type(path) is not str or path[:1] != "$" or len(path) < 3:
        raise BadPiece("a piece of an argument has no path")
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or len(steps) >= DEPTH_MAX - 1:
            raise BadPiece("the path of a piece of an argument is not understood")
        plain, index, single, double = step.groups()
        steps.append(int(index) if index is not None else plain if plain is not None else _unquoted(single or double))
        at = step.end()
    return steps


def _unquoted(text: str | None) -> str:
    return re.sub(r"\\(.)", r"\1", text or "")


def _value(piece: dict[str, Any]) -> Any:
    return next((piece[name] for name in _VALUES if name in piece), None)


def _continued(known: Any, value: Any) -> Any:
    return known + value if type(known) is str and type(value) is str else value
