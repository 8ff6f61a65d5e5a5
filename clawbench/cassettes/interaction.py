"""Interactions: one recorded HTTP exchange each, as plain values, whatever file format they stood in.

Knows neither chat nor providers: whether an exchange is a chat call is for the wires to say.
"""

from __future__ import annotations

from itertools import accumulate

from msgspec import Struct


class RecordedTiming(Struct, frozen=True, array_like=True):
    """When the parts of a reply arrived, in seconds since its request was sent.

    `chunks` holds (length in bytes, arrival) in order of arrival; the lengths add up to the body's length and the
    arrivals never go back. A body that came at once has one chunk, an empty body none.
    """

    headers_s: float
    chunks: tuple[tuple[int, float], ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Offset in the body at which each chunk ends."""
        return tuple(accumulate(length for length, _ in self.chunks))


class Interaction(Struct, frozen=True, kw_only=True):
    """One request and its reply. Both bodies are decoded: any content encoding is undone and its header dropped."""

    file: str
    index: int  # position in the file, from 0
    method: str
    url: str
    request_headers: dict[str, str] = {}  # names in lower case, repeated ones joined by ', '
    request_body: bytes = b""
    status: int
    headers: dict[str, str] = {}  # of the reply, likewise; without lengths and encodings, which no longer hold
    body: bytes = b""
    timing: RecordedTiming | None = None  # None: the recording holds no arrival times
    duration_s: float | None = None  # to the reply's headers, by the recorder's clock; None where it wrote none
    e2e_s: float | None = None  # to the end of the reply's body, likewise
    place: str = ""  # where in the file, for messages

    @property
    def id(self) -> str:
        """File and index, e.g. `openai.yaml#3`."""
        return f"{self.file}#{self.index}"


class Unreadable(Struct, frozen=True, kw_only=True):
    """An interaction that could not be read, and why; its neighbours are not affected."""

    file: str
    index: int
    reason: str
    place: str = ""
