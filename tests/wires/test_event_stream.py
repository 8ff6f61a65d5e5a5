"""Binary event streams: frames in any split, both checksums, and bytes that are no frames."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.wires.event_stream import BadFrame, Frame, FrameSplitter, encode_frame
from tests.wires.made import pieces_of

NAMES = st.text(min_size=1, max_size=20)
VALUES: st.SearchStrategy[Any] = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=30) | st.text(max_size=30) | st.uuids()
)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=4)
SIZES = st.lists(st.integers(1, 40), max_size=20)


def by_hand(headers: bytes, payload: bytes) -> bytes:
    """A frame put together without the module under test."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def text_header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value


def split(pieces: list[bytes]) -> tuple[list[Frame], FrameSplitter]:
    splitter = FrameSplitter()
    return [frame for piece in pieces for frame in splitter.feed(piece)], splitter


def broken_by(body: bytes, bytes_max: int = 4096) -> BadFrame:
    splitter = FrameSplitter(bytes_max)
    splitter.feed(body)
    assert splitter.broken is not None
    return splitter.broken


def test_a_frame_is_read_as_the_format_says() -> None:
    block = text_header(b":event-type", b"chunk") + b"\x01a\x00" + b"\x01b\x04\xff\xff\xff\xfe" + b"\x01c\x06\x00\x01x"
    block += b"\x01d\x08" + struct.pack(">q", 1_700_000_000_000) + b"\x01e\x02\xff" + b"\x01f\x03\x01\x00\x01g\x01"
    frames, splitter = split([by_hand(block, b'{"x":1}')])
    headers: dict[str, Any] = {
        ":event-type": "chunk",
        "a": True,
        "b": -2,
        "c": b"x",
        "d": 1_700_000_000_000,
        "e": -1,
        "f": 256,
    }
    assert frames == [Frame({**headers, "g": False}, b'{"x":1}', 0)]
    assert splitter.pending == 0


def test_a_written_frame_is_byte_for_byte_the_one_made_by_hand() -> None:
    written = encode_frame({":event-type": "chunk"}, b"{}")
    assert written == by_hand(text_header(b":event-type", b"chunk"), b"{}")


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=60)), max_size=4), SIZES)
def test_what_is_written_is_read_back_in_any_split(
    messages: list[tuple[dict[str, Any], bytes]], sizes: list[int]
) -> None:
    body = b"".join(encode_frame(headers, payload) for headers, payload in messages)
    frames, splitter = split(pieces_of(body, sizes))
    assert [(dict(frame.headers), frame.payload) for frame in frames] == messages
    assert splitter.broken is None
    assert splitter.pending == 0


@given(st.integers(0, 200), st.integers(1, 255))
def test_one_changed_byte_is_found_and_the_frame_is_named_by_its_place(at: int, change: int) -> None:
    first, second = encode_frame({"n": "1"}, b"first"), encode_frame({"n": "2"}, b"second")
    body = bytearray(first + second)
    at %= len(body)
    body[at] ^= change
    frames, splitter = split([bytes(body)])
    assert splitter.broken is not None
    assert splitter.broken.kind == "checksum"
    assert splitter.broken.offset == (0 if at < len(first) else len(first))
    assert f"byte {splitter.broken.offset}" in str(splitter.broken)
    assert [frame.payload for frame in frames] == ([] if at < len(first) else [b"first"])


@given(st.integers(0, 80))
def test_a_cut_body_gives_the_frames_before_the_cut_and_says_that_bytes_wait(at: int) -> None:
    first = encode_frame({"n": "1"}, b"first")
    body = (first + encode_frame({"n": "2"}, b"second"))[:at]
    frames, splitter = split([body])
    assert len(frames) == sum(len(body) >= end for end in (len(first), len(first) + len(first) + 1))
    assert splitter.broken is None
    assert splitter.pending == len(body) - sum(len(first) + place for place, _ in enumerate(frames))


@pytest.mark.parametrize(
    ("total", "headers", "kind"),
    [(2**32 - 1, 0, "too_large"), (5000, 0, "too_large"), (15, 0, "length"), (100, 200, "length"), (0, 0, "length")],
)
def test_absurd_lengths_are_refused_before_any_byte_of_them_is_waited_for(total: int, headers: int, kind: str) -> None:
    prelude = struct.pack(">II", total, headers)
    error = broken_by(prelude + struct.pack(">I", crc32(prelude)))
    assert (error.kind, error.offset) == (kind, 0)


@pytest.mark.parametrize(
    "block",
    [
        b"\x05ab",
        text_header(b"a", b"x") + text_header(b"a", b"y"),
        b"\x01a\x07\x00\x09short",
        b"\x01a\x0a",
        b"\x01a\x04\x00",
        b"\x01a\x09short",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a",
    ],
)
def test_headers_that_make_no_sense_are_refused(block: bytes) -> None:
    assert broken_by(by_hand(block, b"")).kind == "headers"


@given(st.binary(max_size=200), SIZES)
def test_random_bytes_never_raise_and_break_alike_in_any_split(body: bytes, sizes: list[int]) -> None:
    whole, first = split([body])
    parts, second = split(pieces_of(body, sizes))
    assert whole == parts
    assert str(first.broken) == str(second.broken)


def test_a_million_single_bytes_cost_no_more_than_their_number() -> None:
    body = encode_frame({}, bytes(100_000)) * 10
    frames, splitter = split([body[at : at + 1] for at in range(len(body))])
    assert len(frames) == 10
    assert splitter.pending == 0


@pytest.mark.parametrize("headers", [{"": "x"}, {"a" * 256: "x"}, {"a": "x" * 65_536}, {"a": 2**63}])
def test_headers_that_no_frame_can_carry_are_not_written(headers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="header"):
        encode_frame(headers, b"")


def test_a_uuid_survives() -> None:
    value = UUID(int=7)
    assert split([encode_frame({"u": value}, b"")])[0][0].headers == {"u": value}
