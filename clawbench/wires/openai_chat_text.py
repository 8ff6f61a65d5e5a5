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


_read: Final = msgspec.json.Decoder(_Event).decode
_read_pieces: Final = msgspec.json.Decoder(list[str]).decode

_CONTENT: Final = b'"content":'
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
    if not content or _has_hidden(event):
        return None
    return Delta(index=choice.index, content=content) if choice.index else Delta(content=content)


def plain_texts(data: bytes, bytes_max: int) -> tuple[list[str], int]:
    """The pieces of text of choice 0 that the data begins with, one an event, and how many bytes they take.

    ([], 0) where not even the first event is one, where one is longer than `bytes_max`, and where the last that is like
    the first has others before it that are not: then each has to be looked at by itself.
    """
    events = data.split(b"\n")[:-1:2]
    frame = _frame(events[0]) if events else None
    if frame is None:
        return [], 0
    before, after = frame
    count, empty = len(events), len(before) + len(after) + len(b'""')
    while count and not (
        events[count - 1].startswith(before) and events[count - 1].endswith(after) and len(events[count - 1]) > empty
    ):
        count -= 1
    start, end = len(before), -len(after)
    pieces = [event[start:end] for event in events[:count]]
    after += b"\n\n"
    together = before + (after + before).join(pieces) + after
    if max(map(len, pieces)) + start - end > bytes_max or not data.startswith(together):
        return [], 0
    try:
        # A line feed within a string is an error, so none can go on in the next piece.
        found = _read_pieces(b"[" + b",\n".join(pieces) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [], 0
    return (found, len(together)) if len(found) == count and all(found) else ([], 0)


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


def _has_hidden(event: bytes) -> bool:
    """Whether what the types skip may be too deep, or no proper text; they do not look at it."""
    if event.count(b"{") + event.count(b"[") > DEPTH_MAX:
        return True
    return (event.find(92) >= 0 and b"\\ud" in event) or not (event.isascii() or _is_utf8(event))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
