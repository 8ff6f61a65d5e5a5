"""Bodies as they come from the network: gzip undone piece by piece, within bounds.

What is asked for is gzip; any other encoding is a mistake of the provider. Bounds are those of a recorded body: 32 MiB,
or from 1 MiB on a hundred times what was sent. Knows bytes only.
"""

from __future__ import annotations

import zlib
from typing import Final

from clawbench.errors import UpstreamError
from clawbench.types import Headers

BODY_BYTES_MAX: Final = 32 * 2**20
RATIO_MAX: Final = 100
HARMLESS_BYTES: Final = 2**20
"""Below this size a ratio above `RATIO_MAX` is no bomb: short repetitive bodies compress that well."""

_STEP: Final = 2**18
_GZIP_WBITS: Final = 31


class PlainBody:
    """A body without encoding; only its size is looked at."""

    __slots__ = ("_length",)

    def __init__(self) -> None:
        self._length = 0

    def feed(self, data: bytes) -> bytes:
        """The same bytes. Raises `UpstreamError` too_large."""
        self._length += len(data)
        if self._length > BODY_BYTES_MAX:
            raise too_large()
        return data

    def finish(self) -> None:
        """Nothing is held back."""


class GzipBody:
    """A gzipped body; members may follow each other."""

    __slots__ = ("_came", "_given", "_member", "_started")

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=_GZIP_WBITS)
        self._came = self._given = 0
        self._started = False  # whether the present member has begun

    def feed(self, data: bytes) -> bytes:
        """What these bytes complete, possibly nothing. Raises `UpstreamError` protocol_error or too_large."""
        self._came += len(data)
        out: list[bytes] = []
        while data:
            self._started = True
            try:
                piece = self._member.decompress(data, _STEP)
            except zlib.error:
                raise UpstreamError("The gzip body does not decompress.", outcome="protocol_error") from None
            if piece:
                out.append(piece)
                self._given += len(piece)
                if self._given > BODY_BYTES_MAX or self._given > max(HARMLESS_BYTES, RATIO_MAX * self._came):
                    raise too_large()
            data = self._member.unconsumed_tail
            if self._member.eof:
                data = self._member.unused_data
                self._member, self._started = zlib.decompressobj(wbits=_GZIP_WBITS), False
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> None:
        """Raises `UpstreamError` protocol_error for a body that was cut short."""
        if self._started:
            raise UpstreamError("The gzip body is cut short.", outcome="protocol_error")


def body_of(headers: Headers) -> PlainBody | GzipBody:
    """The reader for a reply with these headers. Raises `UpstreamError` for an encoding that was not asked for."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return PlainBody()
    if encoding in ("gzip", "x-gzip"):
        return GzipBody()
    raise UpstreamError("The body comes in an encoding that was not asked for.", outcome="protocol_error")


def too_large() -> UpstreamError:
    """The error for a body beyond the bounds."""
    return UpstreamError("The body is larger than any answer may be.", outcome="too_large")
