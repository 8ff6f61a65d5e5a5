"""Bodies as they were before compression: recorders keep them gzipped, deflated, brotli'd or already undone.

Many recorders undo an encoding and leave its header standing, so the header alone is no proof: gzip is told by its
magic bytes, and so is zlib where no header tells of any encoding (some recorders pack what they keep); the others are
tried only where the bytes are not text already. Output is bounded while it is produced.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import brotli

from clawbench.errors import CassetteError

MAX_BODY_BYTES: Final = 32 * 2**20
MAX_RATIO: Final = 100
HARMLESS_BYTES: Final = 2**20
"""Below this size a ratio above `MAX_RATIO` is no bomb: short repetitive bodies compress that well."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZLIB_MARKS: Final = frozenset({b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"})
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_STEP: Final = 2**18

_SPENT_HEADERS: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class BadBody(Exception):
    """A body cannot be brought back to what was sent; the message says why."""


def decoded(body: bytes, headers: dict[str, str], *, file: str, place: str) -> bytes:
    """The body with its content encodings undone, in the order in which they were applied.

    Raises `BadBody` for a body that is not what its header says, `CassetteError` naming file and place for a bomb:
    more than 32 MiB, or more than 100 times its stored size (from 1 MiB on).
    """
    encodings = [name for part in headers.get("content-encoding", "").split(",") if (name := part.strip().lower())]
    if body.startswith(_GZIP_MAGIC) and not {"gzip", "x-gzip"} & set(encodings):
        encodings.append("gzip")
    for encoding in reversed(encodings):
        try:
            body = _undone(body, encoding)
        except _Bomb as bomb:
            raise CassetteError(
                f"the {encoding} body is a decompression bomb: {bomb}", file=file, place=place
            ) from None
    if not encodings and is_zlib(body):
        try:
            body = _unzlibbed(body)
        except _Bomb as bomb:
            raise CassetteError(f"the zlib body is a decompression bomb: {bomb}", file=file, place=place) from None
    if len(body) > MAX_BODY_BYTES:
        raise CassetteError(f"a body has {len(body):,} bytes; the limit is {MAX_BODY_BYTES:,}", file=file, place=place)
    return body


def inflated_file(content: bytes, *, file: str, limit: int) -> bytes:
    """A file that was packed by gzip or zlib as a whole, bounded like a body but for its own limit in bytes.

    Raises `CassetteError` for a bomb and for what does not decompress.
    """
    try:
        return _gunzipped(content, limit=limit) if is_gzip(content) else _inflated(content, limit=limit)
    except _Bomb as bomb:
        raise CassetteError(f"the packed file is a decompression bomb: {bomb}", file=file) from None
    except BadBody as bad:
        raise CassetteError(str(bad).replace("body", "file"), file=file) from None


def is_gzip(content: bytes) -> bool:
    """Whether these bytes begin like a gzip stream."""
    return content.startswith(_GZIP_MAGIC)


def is_zlib(content: bytes) -> bool:
    """Whether these bytes begin like a zlib stream and are no text: its mark alone is too weak, "x^" bears it too."""
    return content[:2] in _ZLIB_MARKS and not _is_text(content)


def surviving(headers: dict[str, str]) -> dict[str, str]:
    """The headers that still hold for a decoded body of known length."""
    return {name: value for name, value in headers.items() if name not in _SPENT_HEADERS}


class _Bomb(Exception):
    """Says how far the output went."""


def _undone(body: bytes, encoding: str) -> bytes:
    if not body or encoding == "identity":
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzipped(body) if body.startswith(_GZIP_MAGIC) else body
    if _is_text(body):
        return body  # the recorder undid it and left the header
    if encoding == "deflate":
        return _inflated(body)
    if encoding == "br":
        return _unbrotlied(body)
    if encoding == "zstd" and not body.startswith(_ZSTD_MAGIC):
        return body
    raise BadBody(f"content encoding {encoding!r} is not read")


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in body


def _gunzipped(body: bytes, *, limit: int = MAX_BODY_BYTES) -> bytes:
    out = bytearray()
    rest = body
    while rest.startswith(_GZIP_MAGIC):  # members may follow each other
        member = zlib.decompressobj(wbits=31)
        _drain(member, rest, out, stored=len(body), limit=limit)
        if not member.eof:
            raise BadBody("the gzip body is cut short")
        rest = member.unused_data
    return bytes(out)


def _unzlibbed(body: bytes) -> bytes:
    """What a body holds that only looks like zlib's: itself, if it is none."""
    try:
        return _inflated(body)
    except BadBody:
        return body


def _inflated(body: bytes, *, limit: int = MAX_BODY_BYTES) -> bytes:
    for wbits in (15, -15):  # with zlib's frame, as the standard says, and without, as some servers do
        stream = zlib.decompressobj(wbits=wbits)
        out = bytearray()
        try:
            _drain(stream, body, out, stored=len(body), limit=limit)
        except BadBody:
            continue
        if stream.eof:
            return bytes(out)
    raise BadBody("the deflate body does not decode")


def _drain(stream: Any, data: bytes, out: bytearray, *, stored: int, limit: int) -> None:
    """Feeds `data` to a zlib stream in bounded steps; what it gives goes to `out`."""
    while data:
        try:
            piece = stream.decompress(data, _STEP)
        except zlib.error as error:
            raise BadBody(f"the body does not decompress: {error}") from None
        out += piece
        _check(len(out), stored, limit)
        data = stream.unconsumed_tail
        if not piece and data:
            raise BadBody("the body does not decompress")


def _unbrotlied(body: bytes) -> bytes:
    stream: Any = brotli.Decompressor()
    out = bytearray()
    data = body
    try:
        while True:
            piece = stream.process(data, output_buffer_limit=_STEP)
            out += piece
            _check(len(out), len(body), MAX_BODY_BYTES)
            if stream.is_finished():
                return bytes(out)
            if not piece and stream.can_accept_more_data():
                raise BadBody("the brotli body is cut short")
            data = b""
    except brotli.error as error:
        raise BadBody(f"the brotli body does not decode: {error}") from None


def _check(length: int, stored: int, limit: int) -> None:
    if length > limit:
        raise _Bomb(f"{stored:,} bytes become more than {limit:,}")
    if length > HARMLESS_BYTES and length > MAX_RATIO * stored:
        raise _Bomb(f"{stored:,} bytes become more than {MAX_RATIO} times as many")
