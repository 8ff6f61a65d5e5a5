"""The commonest event of a chat stream, read fast: one choice with one piece of text and nothing else.

Nearly every event of nearly every stream is one. Typed decoding reads it at half the cost of a walk over dicts;
whatever does not fit exactly is left to that walk (`openai_chat_stream.py`), which comes to the same for what does.
"""

from __future__ import annotations

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


def plain_text(event: bytes) -> Delta | None:
    """The piece of text that an event's data is; None where it is anything else, or anything more.

    Of fields that nobody reads, a number beyond a double goes unnoticed here; the walk would note it.
    """
    try:
        choice = _read(event).choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    content = choice.delta.content
    # What the types skip is not looked at by them: neither its depth nor its encoding.
    if not content or event.count(b"{") + event.count(b"[") > DEPTH_MAX:
        return None
    if (event.find(92) >= 0 and b"\\ud" in event) or not (event.isascii() or _is_utf8(event)):
        return None
    return Delta(index=choice.index, content=content) if choice.index else Delta(content=content)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
