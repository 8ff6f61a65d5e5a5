"""Server-sent events: bytes of a body in, events out, whatever the places at which the bytes were split.

Knows the line format of the WHATWG event-stream and nothing of what the events mean. Differences from the
standard, each seen from a provider: an `error:` line counts as an event named "error" (llama.cpp), and `unfinished`
hands over a last event that the sender never closed with a blank line. Time is linear in the number of bytes and
chunks: bytes are kept as pieces until a line end comes, and every byte is joined once.
"""

from __future__ import annotations

from msgspec import Struct

EVENT_BYTES_MAX = 256 * 1024

_BOM = b"\xef\xbb\xbf"


class SseEvent(Struct, frozen=True):
    """One event: its data lines joined by line feeds, and its name ("" where the sender gave none)."""

    data: bytes
    name: str = ""


class SseSplitter:
    """Splits one body. Call `feed` for every chunk in order, `unfinished` once at the end.

    `oversize` becomes True when an event, or a single line, exceeds `bytes_max`: the events before it are still
    returned, everything after it is ignored. Which events come out does not depend on how the bytes were split.
    """

    __slots__ = (
        "_after_cr",
        "_bytes_max",
        "_data",
        "_data_bytes",
        "_first_line",
        "_held",
        "_name",
        "_partial",
        "oversize",
    )

    def __init__(self, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._partial: list[bytes] = []  # pieces of the line that has no end yet
        self._held = 0  # bytes in _partial
        self._data: list[bytes] = []  # data lines of the event that has no blank line yet
        self._data_bytes = 0
        self._name = ""
        self._after_cr = False  # a line ended with CR: a LF that follows belongs to it
        self._first_line = True
        self.oversize = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """Events that these bytes complete."""
        if self.oversize or not data:
            return []
        if (one := self.one_event(data)) is not None:
            return [SseEvent(one)]
        if self._after_cr:
            self._after_cr = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1] == 13
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            return self._hold(data)
        if self._held:
            self._partial.append(data)
            data = b"".join(self._partial)
            self._partial.clear()
            self._held = 0
        lines = data.split(b"\n")
        rest = lines.pop()
        events = self._take(lines)
        if rest and not self.oversize:
            self._hold(rest)
        return events

    def one_event(self, data: bytes) -> bytes | None:
        """Takes bytes that are one event of one data line while nothing is held, which is what providers send a chunk.

        The event's data; None, and nothing is taken, where the bytes are anything else.
        """
        length = len(data) - 2
        if (
            data.find(10) == length
            and data[-1] == 10
            and data[:6] == b"data: "
            and length <= self._bytes_max
            and data.find(13) < 0
            and self.is_between_events()
        ):
            self._first_line = False
            return data[6:-2]
        return None

    def is_between_events(self) -> bool:
        """Whether nothing is held."""
        return not (self._held or self._data or self._name or self._after_cr or self.oversize)

    def unfinished(self) -> SseEvent | None:
        """The event that the body ended in, None if it ended between events. A line without an end is part of it."""
        if self.oversize:
            return None
        events = self._take([b"".join(self._partial), b""]) if self._held else self._take([b""])
        self._partial.clear()
        self._held = 0
        return events[0] if events else None

    def _hold(self, piece: bytes) -> list[SseEvent]:
        self._partial.append(piece)
        self._held += len(piece)
        if self._held + self._data_bytes > self._bytes_max:
            self._give_up()
        return []

    def _give_up(self) -> None:
        self.oversize = True
        self._partial.clear()
        self._data.clear()

    def _take(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        waiting = self._data
        for line in lines:
            if not line:
                if waiting:
                    events.append(SseEvent(waiting[0] if len(waiting) == 1 else b"\n".join(waiting), self._name))
                    waiting.clear()
                    self._data_bytes = 0
                self._name = ""
                self._first_line = False
                continue
            if len(line) + self._data_bytes > self._bytes_max:
                self._give_up()
                break
            if line.startswith(b"data: "):
                waiting.append(line[6:])
                self._data_bytes += len(line)
            else:
                self._field(line)
            self._first_line = False
        return events

    def _field(self, line: bytes) -> None:
        if self._first_line and line.startswith(_BOM):
            line = line[3:]
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"error":
            self._name = "error"
        if field in (b"data", b"error"):
            self._data.append(value)
            self._data_bytes += len(line)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
