"""YAML as plain data: foreign cassettes are read event by event, and nothing in them is ever constructed.

PyYAML's C parser delivers events; this module alone turns them into dicts, lists, text, bytes and numbers. Tags are
an allow-list: YAML's own scalars, `!!binary`, and the string-like Python tags that vcrpy's recorders left behind,
which are read as the text they hold. Any other tag is refused by name. So are merge keys, repeated keys, more than
one document, nesting beyond 64, and aliases that would unfold into more than their share. Because values are built
from events there is no recursion for a deep file to exhaust, and every refusal knows its line.
Timestamps stay text, and so do YAML 1.1's sexagesimal numbers.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Any, Final, NoReturn

from msgspec import Struct
from yaml import SafeLoader, YAMLError
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from clawbench.errors import CassetteError

MAX_FILE_BYTES: Final = 64 * 2**20
MAX_DEPTH: Final = 64
MAX_ALIAS_CHARS: Final = 4 * 2**20
"""What all aliases of a file may unfold to: one for each node and one for each character."""

_YAML: Final = "tag:yaml.org,2002:"
_ITEM_DEPTH: Final = 2  # root mapping, its list: the items of which are worth a line number

_BINARY: Final = frozenset({_YAML + "binary", "!binary"})  # the second is how Ruby writes it
_TEXT: Final = frozenset({"!", _YAML + "str", _YAML + "timestamp", _YAML + "python/str", _YAML + "python/unicode"})
_LIST: Final = frozenset({_YAML + "seq", _YAML + "python/tuple"})
_MAP: Final = frozenset({_YAML + "map"})
_WRAPPED_TEXT: Final = frozenset(
    f"{_YAML}python/object/{how}:{where}.istr"
    for how in ("apply", "new")
    for where in ("multidict._multidict", "multidict._multidict_py", "multidict._istr", "multidict")
)
_NO_KEY: Final = object()


class Undecodable(Struct, frozen=True):
    """Stands where a `!!binary` is not base64: whoever needs that value refuses it, the rest of the file is read."""

    reason: str
    line: int


class Document(Struct, frozen=True):
    """What a file holds, and the lines (from 1) on which the items of the lists right below its root begin."""

    value: Any
    item_lines: tuple[int, ...]


class _Open(Struct):
    """A collection that is still being filled."""

    value: dict[Any, Any] | list[Any]
    tag: str | None
    anchor: str | None
    weight_before: int
    line: int
    key: Any = _NO_KEY


def load(data: bytes, file: str) -> Document:
    """The one document in these bytes. Raises `CassetteError` with file and line for everything listed above."""
    if len(data) > MAX_FILE_BYTES:
        raise CassetteError(f"the file has {len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}", file=file)
    try:
        return _Composer(file).compose(CParser(data).get_event)
    except ReaderError as error:
        line = data.count(b"\n", 0, error.position) + 1
        raise CassetteError(f"is not text: {error.reason}", file=file, place=f"line {line}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}" if mark else ""
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise CassetteError(f"is not valid YAML: {reason}", file=file, place=place) from error
    except YAMLError as error:
        raise CassetteError(f"is not valid YAML: {error}", file=file) from error


class _Composer:
    """Builds one document from events; made anew for each file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, tuple[Any, int]] = {}  # name → value and what it unfolds to
        self.weight = 0
        self.alias_weight = 0
        self.item_lines: list[int] = []

    def compose(self, next_event: Callable[[], Any]) -> Document:
        stack: list[_Open] = []
        root: Any = None
        documents = 0
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is ScalarEvent:
                value = self._scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._open(event, stack)
                continue
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                value = self._close(stack.pop())
            elif kind is AliasEvent:
                value = self._alias(event)
            elif kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._refuse("holds more than one document", event)
                continue
            else:
                continue
            if not stack:
                root = value
                continue
            top = stack[-1]
            if isinstance(top.value, list):
                top.value.append(value)
            elif top.key is _NO_KEY:
                top.key = self._key(value, top.value, event)
            else:
                top.value[top.key] = value
                top.key = _NO_KEY
        return Document(root, tuple(self.item_lines))

    def _open(self, event: Any, stack: list[_Open]) -> None:
        if len(stack) >= MAX_DEPTH:
            self._refuse(f"is nested more than {MAX_DEPTH} deep", event)
        line = event.start_mark.line + 1
        mapping = type(event) is MappingStartEvent
        tag = event.tag
        if tag is not None and tag != "!" and tag not in (_MAP if mapping else _LIST) and tag not in _WRAPPED_TEXT:
            self._refuse_tag(tag, event)
        if len(stack) == _ITEM_DEPTH:
            self.item_lines.append(line)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)  # an alias inside its own node finds nothing and is refused
        stack.append(_Open({} if mapping else [], tag, event.anchor, self.weight, line))
        self.weight += 1

    def _close(self, done: _Open) -> Any:
        value: Any = done.value
        if done.tag in _WRAPPED_TEXT:
            value = _wrapped_text(value)
            if value is None:
                raise CassetteError(f"{_shown(done.tag)} holds no text", file=self.file, place=f"line {done.line}")
        if done.anchor is not None:
            self.anchors[done.anchor] = (value, self.weight - done.weight_before)
        return value

    def _alias(self, event: Any) -> Any:
        found = self.anchors.get(event.anchor)
        if found is None:
            self._refuse(f"alias *{event.anchor} has no finished anchor before it", event)
        value, weight = found
        self.weight += weight
        self.alias_weight += weight
        if self.alias_weight > MAX_ALIAS_CHARS:
            self._refuse(f"is an alias bomb: its aliases unfold to more than {MAX_ALIAS_CHARS:,} characters", event)
        return value

    def _key(self, key: Any, mapping: dict[Any, Any], event: Any) -> Any:
        if key == "<<" and type(event) is ScalarEvent and event.implicit[0]:
            self._refuse("merge keys (<<) are not read", event)
        if isinstance(key, (dict, list, Undecodable)):
            self._refuse("a key must be a scalar", event)
        if key in mapping:
            self._refuse(f"key {str(key)[:40]!r} appears twice in one mapping", event)
        return key

    def _scalar(self, event: Any) -> Any:
        text = event.value
        tag = event.tag
        self.weight += 1 + len(text)
        if tag is None:
            value = self._plain(text, event) if event.implicit[0] else text
        elif tag in _TEXT:
            value = text
        elif tag in _BINARY:
            value = _binary(text, event)
        elif tag in _WRAPPED_TEXT:
            value = text
        elif tag in _CONVERT:
            value = self._convert(tag, text, event)
        else:
            self._refuse_tag(tag, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1 + len(text))
        return value

    def _plain(self, text: str, event: Any) -> Any:
        for tag, pattern in _RESOLVERS.get(text[:1], ()):
            if pattern.match(text):
                return self._convert(tag, text, event) if tag in _CONVERT else text
        return text

    def _convert(self, tag: str, text: str, event: Any) -> Any:
        try:
            return _CONVERT[tag](text)
        except (ValueError, KeyError, OverflowError):
            self._refuse(f"{text[:40]!r} is no {_shown(tag)}", event)

    def _refuse(self, reason: str, event: Any) -> NoReturn:
        raise CassetteError(reason, file=self.file, place=f"line {event.start_mark.line + 1}")

    def _refuse_tag(self, tag: str, event: Any) -> NoReturn:
        self._refuse(f"tag {_shown(tag)} is refused: a cassette holds plain data only", event)


def _shown(tag: str | None) -> str:
    return "!!" + tag.removeprefix(_YAML) if tag and tag.startswith(_YAML) else str(tag)


def _binary(text: str, event: Any) -> bytes | Undecodable:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (Base64Error, ValueError) as error:
        line = event.start_mark.line + 1
        return Undecodable(f"!!binary is not base64 ({error})", line)


def _wrapped_text(value: Any) -> str | None:
    """Text of a string-like object: `[text]`, or `{args: [text]}` where the pickler kept further state."""
    if isinstance(value, dict):
        value = value.get("args")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return None


_TRUTH: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_BASE: Final = {"0b": 2, "0x": 16}


def _whole(text: str) -> int | str:
    if ":" in text:
        return text
    bare = text.replace("_", "").lower()
    digits = bare.lstrip("+-")
    base = _BASE.get(digits[:2], 8 if digits[:1] == "0" and len(digits) > 1 else 10)
    return int(bare, base)


def _real(text: str) -> float | str:
    if ":" in text:
        return text
    bare = text.replace("_", "").lower()
    # YAML writes infinity as .inf and not-a-number as .nan
    return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", bare))


_CONVERT: Final[dict[str, Callable[[str], Any]]] = {
    _YAML + "null": lambda text: None,
    _YAML + "bool": lambda text: _TRUTH[text.lower()],
    _YAML + "int": _whole,
    _YAML + "float": _real,
}
# PyYAML's own table, so that a plain scalar means here what it meant to the library that wrote it.
_RESOLVERS: Final[dict[str, list[tuple[str, re.Pattern[str]]]]] = SafeLoader.yaml_implicit_resolvers
