"""Streamed answers of Anthropic's API: bytes of server-sent events in, deltas out, whatever the split.

Only the framing is here; what the events mean is `anthropic_events.py`'s.
"""

from __future__ import annotations

from typing import Any

from clawbench.types import Delta, StreamEnd
from clawbench.wires.anthropic_events import AnthropicEvents
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import SseJsonStream


class AnthropicStream(SseJsonStream):
    """Decodes one stream."""

    __slots__ = ("_events",)

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._events = AnthropicEvents(self._notes)

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        events = self._events
        events.take(value, out)
        self._failed, self._done = events.failed, events.done
        return not events.over

    def _has_ended(self) -> bool:
        return self._events.has_ended

    def _end(self, complete: bool) -> StreamEnd:
        return self._events.end(complete=complete)
