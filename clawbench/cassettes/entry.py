"""What the store knows of each recorded interaction without opening its bytes: plain values, ready to be matched."""

from __future__ import annotations

import struct
from typing import Literal

from msgspec import Struct

from clawbench.cassettes.framing import Framing
from clawbench.cassettes.interaction import RecordedTiming
from clawbench.cassettes.matching import Features
from clawbench.cassettes.timings import Revealed


class Entry(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One recorded chat call: where it stands, what it asks, how it ended, and where its bytes are in the index."""

    file: str  # relative to the folder that was opened
    index: int  # position in the file, from 0
    scheme: str  # "" where the address was scrubbed to begin with a placeholder
    host: str  # with port, lower case
    path: str  # of the URL, without query
    upstream_model: str
    dialect: str  # name of the wire that recognised it
    stream: bool  # the request asked for a stream
    framing: Framing  # how the reply's body is divided into events; "" where it is not
    key: bytes  # of the canonical request, see matching.py
    has_tools: bool
    prompt_chars: int
    status: int
    outcome: str  # "ok", or what `schema.OUTCOMES` calls the failure
    input_tokens: int | None  # as the provider counted; None: it did not say
    output_tokens: int | None
    revealed: Revealed | None  # None: the recording tells nothing of its times, or it has arrival times
    offset: int
    length: int  # of the body in bytes
    rest_length: int  # of what stands behind the body: headers and request
    checksum: int
    packed_ends: bytes
    packed_timing: bytes

    @property
    def id(self) -> str:
        """File and index, e.g. `openai.yaml#3`; unique in the store."""
        return f"{self.file}#{self.index}"

    @property
    def url(self) -> str:
        """Address without user info, query and fragment."""
        return f"{self.scheme}://{self.host}{self.path}" if self.scheme else self.host + self.path

    @property
    def is_success(self) -> bool:
        """Whether it decodes into a completion."""
        return self.outcome == "ok"

    @property
    def features(self) -> Features:
        return Features(self.stream, self.has_tools, self.prompt_chars)

    @property
    def event_ends(self) -> tuple[int, ...]:
        """Offsets at which the events of a framed body end; empty where the body is not framed."""
        return struct.unpack(f"<{len(self.packed_ends) // 4}I", self.packed_ends)

    @property
    def timing(self) -> RecordedTiming | None:
        """Recorded arrival times, or None."""
        return unpack_timing(self.packed_timing) if self.packed_timing else None


class Leftover(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A recorded interaction that cannot be replayed, and why."""

    file: str
    index: int
    kind: Literal["not_chat", "not_understood", "unreadable"]
    reason: str
    url: str = ""  # without user info, query and fragment; "" where it could not be read
    status: int | None = None

    @property
    def id(self) -> str:
        return f"{self.file}#{self.index}"


def pack_ends(ends: tuple[int, ...]) -> bytes:
    """Offsets as little-endian 32-bit numbers: a body is at most 32 MiB."""
    return struct.pack(f"<{len(ends)}I", *ends)


def pack_timing(timing: RecordedTiming | None) -> bytes:
    """Arrival times as little-endian numbers; empty for None. Ten times cheaper to load than as nested lists."""
    if timing is None:
        return b""
    lengths = [length for length, _ in timing.chunks]
    instants = [t_s for _, t_s in timing.chunks]
    count = len(lengths)
    return struct.pack(f"<d{count}d{count}I", timing.headers_s, *instants, *lengths)


def unpack_timing(packed: bytes) -> RecordedTiming:
    """The inverse of `pack_timing` for what is not empty."""
    count = (len(packed) - 8) // 12
    numbers = struct.unpack(f"<d{count}d{count}I", packed)
    return RecordedTiming(numbers[0], tuple(zip(numbers[1 + count :], numbers[1 : 1 + count], strict=True)))
