"""Where the events of streamed bodies end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.framing import Framing, event_ends, framing


def pieces(body: bytes, framed: Framing) -> list[bytes]:
    ends = event_ends(body, framed)
    return [body[start:end] for start, end in zip((0, *ends), ends, strict=False)]


def frame(payload: bytes) -> bytes:
    return (16 + len(payload)).to_bytes(4, "big") + bytes(8) + payload + bytes(4)


@given(st.binary(max_size=300), st.sampled_from(["", "sse", "lines", "frames"]))
def test_events_cover_the_body_exactly(body: bytes, framed: Framing) -> None:
    ends = event_ends(body, framed)
    assert list(ends) == sorted(set(ends))
    assert b"".join(pieces(body, framed)) == body
    assert not body or ends[-1] == len(body)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_server_sent_events_end_at_blank_lines_of_any_kind(newline: bytes) -> None:
    events = [b"data: 1" + newline * 2, b": note" + newline + b"data: 2" + newline * 3, b"data: [DONE]" + newline * 2]
    assert pieces(b"".join(events), "sse") == events


def test_an_event_that_was_cut_off_is_the_last_piece() -> None:
    assert pieces(b"data: 1\n\ndata: 2", "sse") == [b"data: 1\n\n", b"data: 2"]
    assert pieces(b'{"a":1}\n{"b"', "lines") == [b'{"a":1}\n', b'{"b"']
    assert pieces(frame(b"one") + frame(b"two")[:9], "frames") == [frame(b"one"), frame(b"two")[:9]]


def test_frames_end_where_their_length_says() -> None:
    assert pieces(frame(b"one") + frame(b""), "frames") == [frame(b"one"), frame(b"")]
    assert pieces(bytes(40), "frames") == [bytes(40)]  # a length of nought would never end


@pytest.mark.parametrize(
    ("content_type", "body", "asked", "expected"),
    [
        ("text/event-stream; charset=utf-8", b"data: 1\n\n", True, "sse"),
        ("", b": OPENROUTER PROCESSING\n\ndata: 1\n\n", False, "sse"),
        ("text/event-stream", b'{"error": 1}', True, ""),  # an error object in spite of its type
        ("application/x-ndjson", b'{"a":1}\n', True, "lines"),
        ("", b'{"a":1}\n{"a":2}\n', True, "lines"),
        ("", b'{"a":1}\n{"a":2}\n', False, ""),
        ("application/vnd.amazon.eventstream", frame(b"x"), True, "frames"),
        ("", frame(b"x"), True, "frames"),
        ("application/json", b'{"a": 1}', True, ""),
        ("text/event-stream", b"", True, ""),
    ],
)
def test_framing_is_told_by_content_first(content_type: str, body: bytes, asked: bool, expected: Framing) -> None:
    assert framing({"content-type": content_type}, body, stream_asked=asked) == expected
