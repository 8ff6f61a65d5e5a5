"""A stream of server-sent events that hold one JSON object each: what every such dialect has to do, once.

Tells a body that is no event stream (an error object, an HTML page), reads events, notes what is odd but harmless,
stops at the first failure, and judges a last event that lacks its blank line. What an object means is for the
subclass, one a dialect. Knows no dialect itself.
"""

from __future__ import annotations

from typing import Any, Protocol

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd
from clawbench.wires.failures import ErrorText, clean, error_in_body, read_error
from clawbench.wires.sse import EVENT_BYTES_MAX, SseEvent, SseSplitter
from clawbench.wires.tolerant_json import NotJson, loads


class Splitter(Protocol):
    """What a body's framing is: `SseSplitter`, or another with the same promises."""

    oversize: bool

    def feed(self, data: bytes) -> list[SseEvent]: ...

    def unfinished(self) -> SseEvent | None: ...


class SseJsonStream:
    """Base of decoders. A subclass gives `_object`, `_has_ended` and `_end`, and may change `_of_whole`.

    `finish` raises `UpstreamError` for a body that never was an event stream: that is known only once it has ended.
    It does not raise after a delta that carried an error.
    """

    __slots__ = ("_done", "_event_bytes_max", "_failed", "_marked", "_notes", "_plain", "_splitter", "_started")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._splitter: Splitter = SseSplitter(event_bytes_max)
        self._plain: bytearray | None = None  # a body that is no event stream
        self._started = self._done = self._failed = False
        self._marked = False  # `[DONE]` was seen
        self._notes: list[str] = []

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        """Appends what an event's object adds; False if nothing may follow it."""
        raise NotImplementedError

    def _has_ended(self) -> bool:
        """Whether what was read is a whole answer."""
        raise NotImplementedError

    def _end(self, complete: bool) -> StreamEnd:
        """What is known at the end."""
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        if self._failed or self._done:
            return out
        if not self._started and self._is_plain(data):
            return out
        for event in self._splitter.feed(data):
            if not self._event(event.data, event.name, out):
                return out
        if self._splitter.oversize:
            message = f"A stream event has more than {self._event_bytes_max:,} bytes."
            self._fail(UpstreamError(message, outcome="too_large"), out)
        return out

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        if self._plain is not None and not self._failed:
            raise self._of_whole(bytes(self._plain))
        left = None if self._failed or self._done else self._splitter.unfinished()
        cut = left is not None and not self._take_unfinished(left.data, left.name)
        return self._end(complete=not self._failed and not cut and self._has_ended())

    def _is_plain(self, data: bytes) -> bool:
        """Whether the body is no event stream, told by its first visible byte; gathers it if so."""
        if self._plain is None:
            start = data.lstrip(b" \t\r\n")[:1]
            if not start:
                return False
            self._started = start not in b"{[<"
            if self._started:
                return False
            self._plain = bytearray()
        self._plain += data[: max(self._event_bytes_max - len(self._plain), 0)]
        return True

    def _of_whole(self, body: bytes) -> UpstreamError:
        """The error that a body without events is."""
        try:
            said = read_error(loads(body)[0])
        except NotJson as error:
            return unreadable(body, str(error), None)
        if said is not None:
            return error_in_body(said, outcome="error_200", status=None)
        return UpstreamError("A whole body came where a stream was asked for.", outcome="protocol_error")

    def _take_unfinished(self, data: bytes, name: str) -> bool:
        """Reads an event that lacks its blank line; False if the stream was cut within it or its output is lost."""
        out: list[Delta] = []
        try:
            if not data.startswith(b"[DONE]"):
                loads(data)
        except NotJson:
            self._note("cut within an event")
            return False
        self._event(data, name, out)
        self._note("last event without its blank line")
        return not any(delta.error or delta.has_output for delta in out)

    def _event(self, data: bytes, name: str, out: list[Delta]) -> bool:
        """Appends what the event adds; False if it was the last one."""
        if data.startswith(b"[DONE]"):
            self._marked = self._done = True
            return False
        if not data.strip():
            return True
        try:
            value, notes = loads(data)
        except NotJson as error:
            return self._fail(UpstreamError(clean(f"Unreadable stream event: {error}"), outcome="protocol_error"), out)
        for note in notes:
            self._note(note)
        if type(value) is not dict:
            return self._broke_off(read_error(value), name, out)
        return self._object(value, name, out)

    def _broke_off(self, said: ErrorText | None, name: str, out: list[Delta]) -> bool:
        """Ends the stream with what the provider said of an error, if it said anything."""
        if said is not None:
            error = error_in_body(said, outcome="error_event", status=None)
        elif name == "error":
            error = UpstreamError("The provider broke off the stream.", outcome="error_event")
        else:
            error = UpstreamError("A stream event is none of this dialect.", outcome="protocol_error")
        return self._fail(error, out)

    def _fail(self, error: UpstreamError, out: list[Delta]) -> bool:
        self._failed = True
        out.append(Delta(error=error))
        return False

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def unreadable(body: bytes, why: str, status: int | None) -> UpstreamError:
    """The error for a 200 that is no JSON."""
    start = body[:512].lstrip().lower()
    if not start:
        why = "the body is empty"
    elif start.startswith((b"<!doctype", b"<html")):
        why = "the body is an HTML page"
    return UpstreamError(clean(f"Unreadable answer: {why}"), outcome="protocol_error", status=status)
