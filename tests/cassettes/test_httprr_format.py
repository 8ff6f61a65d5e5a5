"""httprr's traces: lengths are believed, chunks undone, and what is broken is told with its byte."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.formats.httprr import Httprr
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

FIRST = b"httprr trace v1\n"
REQUEST = b'POST https://h.test/v1/ask HTTP/1.1\r\nHost: h.test\r\nUser-Agent: x\nA: 1\r\na: 2\r\n\r\n{"ask": 1}'
REPLY = b'HTTP/2.0 200 OK\r\nContent-Type: a/b\r\nContent-Length: 999\r\n\r\n{"say": "hi"}'


def pair(request: bytes = REQUEST, reply: bytes = REPLY) -> bytes:
    return b"%d %d\n" % (len(request), len(reply)) + request + reply


def read(data: bytes) -> list[Interaction | Unreadable]:
    return list(Httprr().read(data, "x.httprr"))


def one(data: bytes) -> Interaction:
    (found,) = read(data)
    assert isinstance(found, Interaction), found
    return found


def reason(data: bytes) -> str:
    (found,) = read(data)
    assert isinstance(found, Unreadable), found
    assert "byte" in found.place
    return found.reason


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    body = b"".join(b"%x\r\n" % len(chunk) + chunk + b"\r\n" for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


def test_an_ordinary_trace() -> None:
    assert one(FIRST + pair()) == Interaction(
        file="x.httprr",
        index=0,
        method="POST",
        url="https://h.test/v1/ask",
        request_headers={"host": "h.test", "user-agent": "x", "a": "1, 2"},
        request_body=b'{"ask": 1}',
        status=200,
        headers={"content-type": "a/b"},
        body=b'{"say": "hi"}',
        place="interaction 0 (byte 16)",
    )


def test_several_exchanges_follow_each_other() -> None:
    found = read(FIRST + pair() * 3 + b"\n")
    assert [item.index for item in found] == [0, 1, 2]
    assert all(isinstance(item, Interaction) for item in found)
    assert read(FIRST) == []


def test_chunked_bodies_are_joined_and_trailers_left_out() -> None:
    found = one(FIRST + pair(reply=chunked(b'{"say": ', b'"hi"}', end=b"0;x=y\r\nTrailer: 1\r\n\r\n")))
    assert (found.body, found.headers) == (b'{"say": "hi"}', {})
    gzipped = chunked(gzip.compress(b'{"say": "hi"}')).replace(
        b"\r\nTransfer", b"\r\nContent-Encoding: gzip\r\nTransfer"
    )
    assert one(FIRST + pair(reply=gzipped)).body == b'{"say": "hi"}'


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5))
def test_any_division_into_chunks_gives_the_same_body(chunks: list[bytes]) -> None:
    whole = b"plain " + b"".join(chunks)
    assert one(FIRST + pair(reply=chunked(b"plain ", *chunks))).body == whole


def test_html_empty_and_binary_bodies() -> None:
    for body in (b"<html>\r\n\r\n</html>", b"", b"\xff\x00\r\n\r\n9 9\n"):
        assert one(FIRST + pair(reply=b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + body)).body == body


def test_an_address_without_scheme_takes_its_host_from_the_header() -> None:
    request = b"POST /v1/ask?a=b HTTP/1.1\r\nHost: h.test:8080\r\n\r\n"
    assert one(FIRST + pair(request)).url == "//h.test:8080/v1/ask?a=b"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pair(reply=chunked(b"abc", end=b"")), "no chunk size stands at byte"),
        (pair(reply=chunked(b"abc").replace(b"3\r\nabc", b"ffff\r\nabc")), "is cut short: 65,535 bytes told"),
        (pair(reply=chunked(b"abc").replace(b"3\r\nabc", b"zz\r\nabc")), "no chunk size stands at byte"),
        (pair(reply=b"HTTP/1.1 200 OK\r\nA: b"), "the headers of the reply at byte 111 have no end"),
        (pair(request=b"nonsense"), "the headers of the request at byte 21 have no end"),
        (pair(request=b"NONSENSE\r\n\r\n"), "request line 'NONSENSE' at byte 22"),
        (pair(reply=b"HTTP/1.1 9000 OVER\r\n\r\n"), "status line 'HTTP/1.1 9000 OVER' at byte 111"),
        (pair(reply=b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "without a name: 'no colon'"),
        (b"99999999 5\n" + REQUEST, "run past the end of the file"),
        (b"999999999999 999999999999\n", "run past the end of the file"),
        (b"9" * 5000 + b" 1\n", "no line with two lengths stands at byte 16"),
        (b"-5 3\nabc", "no line with two lengths"),
        (pair(reply=REPLY + b"x" * 400)[:-380], "is it cut short?"),
    ],
)
def test_what_is_broken_is_told_with_its_byte(data: bytes, expected: str) -> None:
    assert expected in reason(FIRST + data)


@pytest.mark.parametrize("broken", [b"12 x\njunk", b"9999999 1\n", pair(request=b"junk\r\n\r\n"), b"\xff\xfe\x00\n"])
def test_a_bad_exchange_does_not_take_the_others_along(broken: bytes) -> None:
    before, bad, after = read(FIRST + pair() + broken + pair())
    assert isinstance(before, Interaction)
    assert isinstance(bad, Unreadable)
    assert isinstance(after, Interaction)
    assert (bad.index, after.index) == (1, 2)
    assert bad.place.startswith("interaction 1 (byte ")
    assert after.body == before.body


@given(st.integers(0, len(FIRST + pair() + pair()) - 1))
def test_no_cut_passes_as_the_whole(cut: int) -> None:
    whole = FIRST + pair() + pair()
    if cut < len(FIRST):
        with pytest.raises(CassetteError, match=r"^x\.httprr, line 1: "):
            read(whole[:cut])
        return
    found = read(whole[:cut])
    assert sum(isinstance(item, Interaction) for item in found) < 2


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(junk: bytes) -> None:
    assert all(item.file == "x.httprr" for item in read(FIRST + pair() + junk))


def test_another_version_is_refused() -> None:
    with pytest.raises(CassetteError, match="'httprr trace v2'") as caught:
        read(b"httprr trace v2\n" + pair())
    assert caught.value.place == "line 1"
