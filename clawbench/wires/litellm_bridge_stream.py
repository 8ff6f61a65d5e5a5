"""Streams through litellm: lines of a body go to a provider's own iterator, its chunks come back as deltas.

litellm's iterators pull; a decoder is pushed. So the iterator draws from a queue of lines, which stops it by an
exception that it does not catch whenever the queue is dry. Providers that litellm cannot stream are asked for a whole
answer, which is read here as soon as it is one. Knows no provider.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Completion, Delta, StreamEnd, Usage
from clawbench.wires.collect import deltas_of
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.litellm_bridge_import import sealed
from clawbench.wires.litellm_bridge_reply import Chunks
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads

BODY_BYTES_MAX: Final = 32 * 1024 * 1024


class _Dry(BaseException):
    """No line is there yet. No Exception, so that no iterator takes it for a provider's mistake."""


class _Lines:
    """The lines that have come; what has no end yet waits."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self.taken: list[str] = []  # since the last chunk
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._ready:
            raise StopIteration if self.ended else _Dry
        line = self._ready.popleft()
        self.taken.append(line)
        return line

    def add(self, line: str) -> None:
        """One more line."""
        self._ready.append(line)


class BridgeStream:
    """Decodes one stream. `open_iterator` makes litellm's iterator over lines, or gives None where it has none;
    `whole` reads a whole body and raises `UpstreamError`."""

    def __init__(self, open_iterator: Callable[[Any], Any], whole: Callable[[bytes], Completion]) -> None:
        self._lines = _Lines()
        self._whole = whole
        self._chunks = Chunks()
        with sealed():
            self._iterator = open_iterator(self._lines)
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial: list[str] = []
        self._partial_characters = 0
        self._after_cr = False
        self._head: list[bytes] = []  # of a body of which it is not clear yet what it is
        self._first = b""  # its first visible byte
        self._body = bytearray()  # of an answer that came as a whole
        self._brackets = _Brackets()
        self._is_whole = self._iterator is None
        self._started = self._failed = self._marked = False
        self._answer: Completion | None = None
        self._notes: list[str] = []

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        if self._failed or self._marked or self._answer is not None:
            return out
        if not self._started and not self._is_whole:
            data = self._beginning(data)
        if self._is_whole:
            self._gather(data, out)
            return out
        for line in self._split(self._text.decode(data)):
            if not self._line(line, out):
                return out
        if self._partial_characters > EVENT_BYTES_MAX:
            message = f"A line of the stream has more than {EVENT_BYTES_MAX:,} characters."
            self._fail(UpstreamError(message, outcome="too_large"), out)
        return out

    def finish(self) -> StreamEnd:
        """What is known at the end of the body. Raises `UpstreamError` for a body that never was a stream."""
        if self._answer is not None:
            choice = self._answer.choices[0] if self._answer.choices else None
            reason = choice.finish_reason if choice is not None else None
            return self._end(True, reason, self._answer.usage, self._answer.id, self._answer.model)
        if (self._is_whole or self._head) and not self._failed:
            raise self._of_whole(bytes(self._body) or b"".join(self._head))
        if not self._failed and not self._marked:
            self._last_line()
        chunks = self._chunks
        complete = not self._failed and (self._marked or chunks.finish is not None)
        return self._end(complete, chunks.finish, chunks.usage, chunks.id, chunks.model)

    def _end(
        self, complete: bool, reason: str | None, usage: Usage | None, id: str | None, model: str | None
    ) -> StreamEnd:
        return StreamEnd(
            complete=complete, finish_reason=reason, usage=usage, id=id or None, model=model, notes=tuple(self._notes)
        )

    def _beginning(self, data: bytes) -> bytes:
        """The bytes to go on with: none while it is not clear whether they are lines or one whole body."""
        if self._first:
            visible = data
        else:
            visible = data.lstrip(b" \t\r\n\xef\xbb\xbf")
            self._first = visible[:1]
        first = self._first
        if first:
            self._head.append(visible)
            self._partial_characters += len(visible)
        if not first or (first == b"{" and b"\n" not in visible):
            return b""  # nothing yet, or a line of JSON, or the beginning of a whole body
        self._partial_characters = 0
        held = b"".join(self._head)
        self._head.clear()
        line = held.split(b"\n", 1)[0]
        if first in (b"[", b"<") or (first == b"{" and not _is_json(line)):
            self._is_whole = True
        else:
            self._started = True
        return held

    def _split(self, text: str) -> list[str]:
        """Whole lines, without their ends; CR LF, LF and CR end one."""
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\n" not in text:
            self._partial.append(text)
            self._partial_characters += len(text)
            return []
        lines = ("".join(self._partial) + text).split("\n")
        rest = lines.pop()
        self._partial = [rest]
        self._partial_characters = len(rest)
        return lines

    def _line(self, line: str, out: list[Delta]) -> bool:
        """Takes one line; False if nothing may follow it."""
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self._marked = True
        elif data.startswith("{") and '"error"' in data:
            error = _stated_error(data)
            if error is not None:
                return self._fail(error, out)
        self._lines.add(line)
        return self._drain(out)

    def _drain(self, out: list[Delta]) -> bool:
        """What the iterator makes of the lines that have come; False after a failure."""
        try:
            with sealed():
                while True:
                    made = next(self._iterator)
                    line = "\n".join(self._lines.taken).encode("utf-8", "replace")
                    self._lines.taken.clear()
                    if made is not None:
                        out += self._chunks.take(_plain(made), line)
        except (_Dry, StopIteration):
            return True
        except Exception as error:  # litellm's iterators raise whatever they like at a line that they cannot read
            why = UpstreamError(clean(f"Unreadable stream event: {error}"), outcome="protocol_error")
            return self._fail(why, out)

    def _last_line(self) -> None:
        """A line without its end: noted, and lost where it holds output."""
        rest = "".join(self._partial) + self._text.decode(b"", True)
        if not rest.strip():
            return
        out: list[Delta] = []
        data = rest.removeprefix("data:").strip()
        if data == "[DONE]" or _is_json(data.encode("utf-8", "replace")):
            self._line(rest, out)
            self._note("last line without its end")
        else:
            self._note("cut within a line")
        if any(delta.error or delta.has_output for delta in out):
            self._failed = True

    def _gather(self, data: bytes, out: list[Delta]) -> None:
        self._body += data
        if len(self._body) > BODY_BYTES_MAX:
            self._fail(UpstreamError("The answer is too large.", outcome="too_large"), out)
        elif self._brackets.closed_by(data):
            try:
                self._answer = self._whole(bytes(self._body))
            except UpstreamError as error:
                self._fail(error, out)
            else:
                out += deltas_of(self._answer)

    def _of_whole(self, body: bytes) -> UpstreamError:
        try:
            said = read_error(loads(body)[0])
        except NotJson as error:
            return unreadable(body, str(error), None)
        if said is not None:
            return error_in_body(said, outcome="error_200", status=None)
        return UpstreamError("A whole body came where a stream was asked for.", outcome="protocol_error")

    def _fail(self, error: UpstreamError, out: list[Delta]) -> bool:
        self._failed = True
        out.append(Delta(error=error))
        return False

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


class _Brackets:
    """Tells when a JSON value ends, in time linear in its bytes."""

    __slots__ = ("_depth", "_escape", "_in_string")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escape = b""  # a backslash whose other half has not come

    def closed_by(self, data: bytes) -> bool:
        """Whether the value's last bracket is among these bytes."""
        data = self._escape + data
        self._escape = b""
        for match in _MARKS.finditer(data):
            mark = match[0]
            if mark == b"\\":  # at the very end
                self._escape = mark
            elif mark == b'"':
                self._in_string = not self._in_string
            elif not self._in_string and len(mark) == 1:
                self._depth += 1 if mark in b"{[" else -1
                if self._depth <= 0:
                    return True
        return False


_MARKS: Final = re.compile(rb'\\.|\\|["{}\[\]]', re.DOTALL)


def _is_json(text: bytes) -> bool:
    try:
        loads(text)
    except NotJson:
        return False
    return True


def _stated_error(data: str) -> UpstreamError | None:
    try:
        value = loads(data.encode("utf-8", "replace"))[0]
    except NotJson:
        return None
    said = read_error(value) if type(value) is dict and value.get("error") else None
    return None if said is None else error_in_body(said, outcome="error_event", status=None)


def _plain(made: Any) -> dict[str, Any]:
    """A chunk as a dict; litellm's chunks are pydantic models or dicts."""
    if isinstance(made, dict):
        return made
    dump = getattr(made, "model_dump", None)
    value = dump() if dump is not None else {}
    return value if isinstance(value, dict) else {}
