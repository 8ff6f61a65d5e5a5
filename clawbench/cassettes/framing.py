"""Where the events of a streamed body end: server-sent events, JSON lines, and AWS event-stream frames.

A recording without arrival times is given to the client event by event, so the replay needs the cuts, not the events.
Knows how bytes are framed and nothing of what is in them.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Framing = Literal["", "sse", "lines", "frames"]
"""How a body is divided: not at all, server-sent events, one JSON a line, or length-prefixed binary frames."""

# Atomic groups: the two halves of one CRLF are not two line ends.
_BLANK_LINES: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)+")
_LINE_FEEDS: Final = re.compile(rb"\n{2,}")
_LINE: Final = re.compile(rb"[\r\n]+")
_SSE_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
_LINES_START: Final = re.compile(rb"\s*\{[^\n]*\}\r?\n\s*\{")
_BY_TYPE: Final[dict[str, Framing]] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/vnd.amazon.eventstream": "frames",
}
_FRAME_HEAD: Final = 12  # total length, length of headers, checksum of both
_FRAME_MIN: Final = 16


def framing(headers: dict[str, str], body: bytes, *, stream_asked: bool) -> Framing:
    """How a reply's body is framed. The content type is believed only where the bytes do not speak against it."""
    if not body:
        return ""
    if _SSE_START.match(body):
        return "sse"
    told = _BY_TYPE.get(headers.get("content-type", "").partition(";")[0].strip().lower(), "")
    if told == "sse":
        return ""  # says so, and is a JSON error object or the like
    if told:
        return told
    if stream_asked and _is_frame(body):
        return "frames"
    return "lines" if stream_asked and _LINES_START.match(body) else ""


def event_ends(body: bytes, framing: Framing) -> tuple[int, ...]:
    """Offsets at which the events end, ascending; the last one is the body's length, also where its end was cut off.

    An empty body has none, a body that is not framed has one.
    """
    if not body:
        return ()
    if framing == "frames":
        ends = _frame_ends(body)
    elif framing == "":
        ends = []
    else:
        pattern = _LINE if framing == "lines" else _BLANK_LINES if b"\r" in body else _LINE_FEEDS
        ends = [match.end() for match in pattern.finditer(body)]
    if not ends or ends[-1] != len(body):
        ends.append(len(body))
    return tuple(ends)


def _is_frame(body: bytes) -> bool:
    return len(body) >= _FRAME_MIN and body[0] == 0 and _FRAME_MIN <= int.from_bytes(body[:4], "big") <= len(body)


def _frame_ends(body: bytes) -> list[int]:
    ends: list[int] = []
    at = 0
    while at + _FRAME_HEAD <= len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        if length < _FRAME_MIN or at + length > len(body):
            break
        at += length
        ends.append(at)
    return ends
