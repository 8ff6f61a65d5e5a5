"""AWS's binary event stream: bytes of a body in, frames out, wherever the bytes were split; and back.

A frame is a prelude (total length, length of headers, CRC32 of both), headers, payload, and a CRC32 of all before it;
integers are big-endian. Checked is everything: both checksums, that lengths fit each other and a limit, that headers
parse. Knows nothing of what frames mean. Format: "vnd.amazon.eventstream" as smithy's specification describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct as Packing
from typing import Final, Literal
from uuid import UUID
from zlib import crc32

from msgspec import Struct

FRAME_BYTES_MAX: Final = 256 * 1024
HEADER_BYTES_MAX: Final = 128 * 1024

HeaderValue = bool | int | bytes | str | UUID
"""A header's value; a timestamp is read as its milliseconds since 1970."""

_PRELUDE: Final = Packing(">III")
_WORD: Final = Packing(">I")
_SHORT: Final = Packing(">H")
_OVERHEAD: Final = 16  # prelude, its checksum, the frame's checksum
_INTEGERS: Final = {2: Packing(">b"), 3: Packing(">h"), 4: Packing(">i"), 5: Packing(">q"), 8: Packing(">q")}
_BYTES, _STRING, _UUID = 6, 7, 9
_KNOWN_HEADERS_MAX: Final = 64


class BadFrame(ValueError):
    """Bytes that are no frame. `offset` is where in the body the frame begins, `kind` what is wrong with it."""

    def __init__(
        self, message: str, *, kind: Literal["checksum", "length", "too_large", "headers"], offset: int
    ) -> None:
        self.kind, self.offset = kind, offset
        super().__init__(f"Frame at byte {offset}: {message}")


class Frame(Struct, frozen=True):
    """One message: headers by name, the payload as it came, and the offset in the body at which it began."""

    headers: Mapping[str, HeaderValue]
    payload: bytes
    offset: int


class FrameSplitter:
    """Splits one body. Call `feed` for every chunk in order; after `broken` is set, bytes are ignored.

    Which frames come out does not depend on how the bytes were split. `pending` is the number of bytes that wait for
    the rest of their frame: above 0 at the end of a body, it was cut.
    """

    __slots__ = ("_bytes_max", "_known", "_need", "_offset", "_waiting", "broken")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._waiting = bytearray()
        self._need = _PRELUDE.size  # bytes without which nothing more can be said
        self._offset = 0  # in the body, of the first waiting byte
        self._known: dict[bytes, Mapping[str, HeaderValue]] = {}  # a stream repeats a handful of header blocks
        self.broken: BadFrame | None = None

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that these bytes complete; those before a broken one are still returned."""
        frames: list[Frame] = []
        if self.broken is not None:
            return frames
        waiting = self._waiting
        waiting += data
        if len(waiting) < self._need:
            return frames
        at = 0
        try:
            while len(waiting) - at >= self._need:
                length = self._length(waiting, at)
                if len(waiting) - at < length:
                    self._need = length
                    break
                frames.append(self._frame(bytes(memoryview(waiting)[at : at + length]), self._offset + at))
                at += length
                self._need = _PRELUDE.size
        except BadFrame as error:
            self.broken = error
            waiting.clear()
            return frames
        del waiting[:at]
        self._offset += at
        return frames

    def _length(self, waiting: bytearray, at: int) -> int:
        """Length of the frame whose prelude stands at `at`, once it may be believed."""
        total, headers, checksum = _PRELUDE.unpack_from(waiting, at)
        offset = self._offset + at
        if crc32(memoryview(waiting)[at : at + 8]) != checksum:
            raise BadFrame("the prelude's checksum is wrong", kind="checksum", offset=offset)
        if total > self._bytes_max:
            raise BadFrame(f"{total:,} bytes are above {self._bytes_max:,}", kind="too_large", offset=offset)
        if headers > HEADER_BYTES_MAX or total < headers + _OVERHEAD:
            raise BadFrame(f"{headers:,} bytes of headers in {total:,}", kind="length", offset=offset)
        return int(total)

    def _frame(self, frame: bytes, offset: int) -> Frame:
        if crc32(frame[:-4]) != _WORD.unpack_from(frame, len(frame) - 4)[0]:
            raise BadFrame("its checksum is wrong", kind="checksum", offset=offset)
        end = _PRELUDE.size + _WORD.unpack_from(frame, 4)[0]
        block = frame[_PRELUDE.size : end]
        headers = self._known.get(block)
        if headers is None:
            headers = _headers(block, offset)
            if len(self._known) < _KNOWN_HEADERS_MAX:
                self._known[block] = headers
        return Frame(headers, frame[end:-4], offset)


def encode_frame(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One frame. Integers are written as 4 or 8 bytes. Raises `ValueError` for headers that no frame can carry."""
    block = b"".join(_header(name, value) for name, value in headers.items())
    if len(block) > HEADER_BYTES_MAX:
        raise ValueError(f"{len(block):,} bytes of headers are above {HEADER_BYTES_MAX:,}")
    lengths = _PRELUDE.pack(_OVERHEAD + len(block) + len(payload), len(block), 0)[:8]
    body = lengths + _WORD.pack(crc32(lengths)) + block + payload
    return body + _WORD.pack(crc32(body))


def _headers(block: bytes, offset: int) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            end = at + 1 + block[at]
            name = block[at + 1 : end].decode()
            kind = block[end]
            value, at = _value(kind, block, end + 1)
            if at > len(block) or name in headers:
                raise ValueError
            headers[name] = value
    except (ValueError, IndexError, OverflowError, KeyError):
        raise BadFrame(f"its headers cannot be read from byte {at} of them", kind="headers", offset=offset) from None
    return headers


def _value(kind: int, block: bytes, at: int) -> tuple[HeaderValue, int]:
    """(value, where the next header begins); raises one of what `_headers` catches."""
    if kind in (_STRING, _BYTES):
        size = int.from_bytes(block[at : at + 2], "big")
        text = block[at + 2 : at + 2 + size]
        return (text.decode() if kind == _STRING else text), at + 2 + size
    if kind in (0, 1):
        return kind == 0, at
    if kind == _UUID:
        return UUID(bytes=block[at : at + 16]), at + 16
    packing = _INTEGERS[kind]
    number = block[at : at + packing.size]
    if len(number) < packing.size:
        raise IndexError
    return int(packing.unpack(number)[0]), at + packing.size


def _header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) < 256:
        raise ValueError(f"a header's name has 1 to 255 bytes, not {len(encoded)}")
    head = bytes((len(encoded),)) + encoded
    if isinstance(value, bool):
        return head + (b"\x00" if value else b"\x01")
    if isinstance(value, int):
        kind = 4 if -(2**31) <= value < 2**31 else 5
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"header {name!r} has more than 64 bits")
        return head + bytes((kind,)) + _INTEGERS[kind].pack(value)
    if isinstance(value, UUID):
        return head + bytes((_UUID,)) + value.bytes
    text = value.encode() if isinstance(value, str) else value
    if len(text) > 0xFFFF:
        raise ValueError(f"header {name!r} has more than 65,535 bytes")
    return head + bytes((_STRING if isinstance(value, str) else _BYTES,)) + _SHORT.pack(len(text)) + text
