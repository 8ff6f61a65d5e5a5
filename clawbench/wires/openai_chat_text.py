"""The commonest event of a chat stream, read fast: one choice with one piece of text and nothing else.

Nearly every event of nearly every stream is one. Typed decoding reads it at half the cost of a walk over dicts;
whatever does not fit exactly is left to that walk (`openai_chat_stream.py`), which comes to the same for what does.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def plain_texts(chunks: Sequence[bytes]) -> list[Delta]:
    """The pieces of text that the first of these chunks are, one each; as many as lie before what ends a stream.

    Empty where one of them is anything else, or anything more: then each has to be looked at by itself.
    """
    count = len(chunks)
    while count and (b'"content":' not in chunks[count - 1] or b'"content":""' in chunks[count - 1]):
        count -= 1
    lines = [data[6:-2] for data in chunks[:count] if data[:7] == b"data: {" and data[-3:] == b"}\n\n"]
    events = b"\n".join(lines)
    if not lines or len(lines) < count or events.count(b"\n") >= count or events.find(13) >= 0:
        return []
    try:
        # Each line begins with { and ends with }, so that none can go on in the next: that would need a comma between.
        read = _read_lines(events)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if len(read) != count or _has_hidden(events, count):
        return []
    choices = [event.choices[0] for event in read]
    found = [Delta(index=each.index, content=each.delta.content) for each in choices if each.delta.content]
    return found if len(found) == count else []


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
