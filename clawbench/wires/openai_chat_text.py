"""The commonest event of a chat stream, read fast: one choice with one piece of text and nothing else.

Nearly every event of nearly every stream is one. Typed decoding reads it at half the cost of a walk over dicts; where
many came together and differ in their text alone, as they mostly do, only the first is read in full. Whatever does not
fit exactly is left to that walk (`openai_chat_stream.py`), which comes to the same for what does.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from clawbench.types import Delta
from clawbench.wires.tolerant_json import DEPTH_MAX

MISSES_MAX: Final = 8
"""A stream with so many other events is of a provider that writes everything into each of them: no use in trying."""


class _Text(Struct, forbid_unknown_fields=True, gc=False):
    """The delta. A field that is not here may be output of another kind."""

    content: str
    role: Any = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning: None = None
    reasoning_content: None = None


class _Choice(Struct, gc=False):
    delta: _Text
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    error: None = None


class _Event(Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None
    x_groq: None = None
    timings: None = None


_BRACKETS: Final = 4  # that every event has at least: itself, its choices, the choice, its delta

_read: Final = msgspec.json.Decoder(_Event).decode
_read_lines: Final = msgspec.json.Decoder(_Event).decode_lines
_read_pieces: Final = msgspec.json.Decoder(list[str]).decode

_CONTENT: Final = b'"content":'
_has_text: Final = re.compile(rb'"content": ?"(?!")').search
_string_at: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"').match


def plain_text(event: bytes) -> Delta | None:
    """The piece of text that an event's data is; None where it is anything else, or anything more.

    Of fields that nobody reads, a number beyond a double goes unnoticed here; the walk would note it.
    """
    try:
        choice = _read(event).choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    content = choice.delta.content
    if not content or _has_hidden(event, 1):
        return None
    return Delta(index=choice.index, content=content) if choice.index else Delta(content=content)


def plain_texts(data: bytes, bytes_max: int) -> tuple[list[str], int]:
    """The pieces of text of choice 0 that the data begins with, one an event, and how many bytes they take.

    ([], 0) where not even the first event is one, where one is longer than `bytes_max`, and where text stands behind an
    event of another kind: then each has to be looked at by itself.
    """
    events = data.split(b"\n")[:-1:2]
    while events and not _has_text(events[-1]):
        events.pop()
    if not events or (len(data) > bytes_max and max(map(len, events)) > bytes_max):
        return [], 0
    length = len(events) * 2 + sum(map(len, events))
    read = data[:length]
    if b"\r" in read:  # which ends a line, too
        return [], 0
    pieces = _alike(events, read)
    if pieces is None and read == b"\n\n".join([*events, b""]):
        pieces = _typed(events)
    return ([], 0) if pieces is None else (pieces, length)


def _alike(events: list[bytes], data: bytes) -> list[str] | None:
    """The texts of these lines, if each is as the first one is but for the text; `data` has them as they came."""
    frame = _frame(events[0])
    if frame is None:
        return None
    before, after = frame
    start, end = len(before), -len(after)
    pieces = [event[start:end] for event in events]
    after += b"\n\n"
    if before + (after + before).join(pieces) + after != data:
        return None
    try:
        # A line feed within a string is an error, so none can go on in the next piece.
        found = _read_pieces(b"[" + b",\n".join(pieces) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if len(found) == len(events) and all(found) else None


def _typed(events: list[bytes]) -> list[str] | None:
    """The same for lines that differ in more than their text, as where each carries a filler of its own."""
    count = len(events)
    lines = [event[6:] for event in events if event[:7] == b"data: {" and event[-1:] == b"}"]
    together = b"\n".join(lines)
    try:
        # Each line begins with { and ends with }, so that none can go on in the next: that would need a comma between.
        read = [event.choices[0] for event in _read_lines(together)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = [choice.delta.content for choice in read if choice.delta.content and not choice.index]
    return found if len(found) == len(read) == count and not _has_hidden(together, count) else None


def _frame(event: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and after the text in a line that is an event of plain text of choice 0; None for any other.

    The line with any other JSON string in its place is one too.
    """
    at = event.find(_CONTENT)
    if at < 0 or not event.startswith(b"data: {"):
        return None
    at += len(_CONTENT)
    string, delta = _string_at(event, at + 1 if event[at : at + 1] == b" " else at), plain_text(event[6:])
    if string is None or delta is None or delta.index:
        return None
    before, after = event[: string.start()], event[string.end() :]
    # Where no name outside the text is escaped, the one that is spelt so is the delta's.
    if after.find(_CONTENT) >= 0 or before.find(92) >= 0 or after.find(92) >= 0:
        return None
    return before, after


def _has_hidden(events: bytes, count: int) -> bool:
    """Whether what the types skip may be too deep, or no proper text; they do not look at it."""
    if events.count(b"{") + events.count(b"[") > DEPTH_MAX + _BRACKETS * (count - 1):
        return True
    return (events.find(92) >= 0 and b"\\ud" in events) or not (events.isascii() or _is_utf8(events))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
