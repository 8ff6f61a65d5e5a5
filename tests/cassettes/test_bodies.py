"""Bodies come out as they were before compression, whatever the header claims, and bombs are named."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.bodies import MAX_BODY_BYTES, BadBody, decoded, surviving
from clawbench.errors import CassetteError

TEXT = b'{"say": "hi"}' * 20


def undone(body: bytes, encoding: str = "") -> bytes:
    headers = {"content-encoding": encoding} if encoding else {}
    return decoded(body, headers, file="x.yaml", place="interaction 0")


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@given(st.binary(max_size=2000))
def test_gzip_is_undone_also_in_several_members(body: bytes) -> None:
    wrapped = b"\xff" + body  # begins like no text: recorders leave text bodies decoded
    assert undone(gzip.compress(wrapped), "gzip") == wrapped
    assert undone(b"".join([gzip.compress(wrapped), gzip.compress(b"tail")]), "gzip") == wrapped + b"tail"


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("", gzip.compress(TEXT)),  # no header: the magic bytes speak
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli.compress(TEXT)),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
        ("gzip", TEXT),  # already undone by the recorder
        ("br", TEXT),
        ("deflate", TEXT),
        ("identity", TEXT),
    ],
)
def test_encodings_are_undone_where_they_are_still_on(encoding: str, stored: bytes) -> None:
    assert undone(stored, encoding) == TEXT


@pytest.mark.parametrize(
    ("encoding", "stored", "reason"),
    [
        ("gzip", gzip.compress(TEXT)[:-12], "cut short"),
        ("gzip", b"\x1f\x8b" + b"\xff" * 20, "does not decompress"),
        ("br", brotli.compress(b"\xff" + bytes(range(256)) * 9)[:-5], "brotli"),
        ("deflate", b"\xff\xfe\xfd" * 9, "deflate"),
        ("zstd", b"\x28\xb5\x2f\xfd\xff\xff", "'zstd' is not read"),
        ("snappy", b"\xff\xff", "'snappy' is not read"),
    ],
)
def test_a_body_that_is_not_what_its_header_says_is_refused_with_the_reason(
    encoding: str, stored: bytes, reason: str
) -> None:
    with pytest.raises(BadBody, match=reason):
        undone(stored, encoding)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(8 * 2**20))),
        ("br", brotli.compress(bytes(8 * 2**20))),
        ("deflate", zlib.compress(b"\xff" * 8 * 2**20)),
        ("gzip", gzip.compress(bytes(MAX_BODY_BYTES + 1))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(64 * 2**20)))),
    ],
)
def test_a_bomb_is_named_with_its_encoding_and_place(encoding: str, bomb: bytes) -> None:
    with pytest.raises(
        CassetteError, match=r"x\.yaml, interaction 0: the (gzip|br|deflate) body is a decompression bomb"
    ):
        undone(bomb, encoding)


def test_a_small_repetitive_body_is_no_bomb() -> None:
    assert undone(gzip.compress(bytes(500_000)), "gzip") == bytes(500_000)


def test_headers_that_no_longer_hold_are_dropped() -> None:
    headers = {"content-type": "a/b", "content-length": "9", "content-encoding": "gzip", "transfer-encoding": "chunked"}
    assert surviving(headers) == {"content-type": "a/b"}
