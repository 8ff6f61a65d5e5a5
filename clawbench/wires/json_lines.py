"""JSON lines: a body of one JSON object a line, streamed; split, and read as `sse_json` reads events.

Knows no dialect. Lines end with LF or CRLF; blank ones count for nothing.
"""

from __future__ import annotations

from clawbench.types import StreamEnd
from clawbench.wires.failures import error_in_body, read_error
from clawbench.wires.sse import EVENT_BYTES_MAX, SseEvent
from clawbench.wires.sse_json import SseJsonStream
from clawbench.wires.tolerant_json import NotJson, loads


class LineSplitter:
    """Splits one body into lines, as `SseSplitter` splits events; a line is an event without a name."""

    __slots__ = ("_bytes_max", "_held", "_partial", "oversize")

    def __init__(self, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._partial: list[bytes] = []  # pieces of the line that has no end yet
        self._held = 0
        self.oversize = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """Lines that these bytes complete."""
        if self.oversize or not data:
            return []
        if b"\n" not in data:
            return self._hold(data)
        if self._held:
            self._partial.append(data)
            data = b"".join(self._partial)
            self._partial.clear()
            self._held = 0
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[SseEvent] = []
        for line in lines:
            if len(line) > self._bytes_max:
                self.oversize = True
                return events
            if line and line != b"\r":
                events.append(SseEvent(line))
        if rest:
            self._hold(rest)
        return events

    def unfinished(self) -> SseEvent | None:
        """The last line if it has no end, None if there is none."""
        rest = b"" if self.oversize else b"".join(self._partial)
        self._partial.clear()
        return SseEvent(rest) if rest.strip() else None

    def _hold(self, piece: bytes) -> list[SseEvent]:
        self._partial.append(piece)
        self._held += len(piece)
        if self._held > self._bytes_max:
            self.oversize = True
            self._partial.clear()
        return []


class JsonLinesStream(SseJsonStream):
    """Base of decoders of such bodies. A subclass gives `_object`, `_has_ended` and `_end`.

    `finish` raises `UpstreamError` for an HTML page, and for a body that is one error object without a line's end.
    """

    __slots__ = ()

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._splitter = LineSplitter(event_bytes_max)

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        if self._plain is None and not self._failed and not self._done and not self._has_begun():
            self._raise_lone_error()
        return super().finish()

    def _has_begun(self) -> bool:
        """Whether an object of the answer was read."""
        raise NotImplementedError

    def _is_plain(self, data: bytes) -> bool:
        """Whether the body is a page instead of lines, told by its first visible byte; gathers it if so."""
        start = data.lstrip(b" \t\r\n")[:1]
        if self._plain is None and start != b"<":
            self._started = bool(start)
            return not start
        return super()._is_plain(data)

    def _raise_lone_error(self) -> None:
        left = self._splitter.unfinished()
        if left is None:
            return
        try:
            value = loads(left.data)[0]
        except NotJson:
            value = None
        # A message that is an object belongs to an answer, one that is a text to an error.
        is_answer = type(value) is dict and type(value.get("message")) is dict
        said = None if is_answer else read_error(value)
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=None)
        self._splitter.feed(left.data)  # back in its place: the base reads it
