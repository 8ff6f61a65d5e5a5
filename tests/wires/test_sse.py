"""The event splitter: the same events whatever the split, in time linear in the input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.wires.sse import SseEvent, SseSplitter

LINE_ENDS = (b"\n", b"\r", b"\r\n")


def split_up(body: bytes, sizes: list[int]) -> list[bytes]:
    """The body in pieces of these sizes, the rest in one."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(body[start : start + size])
        start += size
    return [*pieces, body[start:]]


def events_of(pieces: list[bytes], bytes_max: int = 256 * 1024) -> tuple[list[SseEvent], SseEvent | None, bool]:
    splitter = SseSplitter(bytes_max)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.unfinished(), splitter.oversize


@pytest.mark.parametrize("end", LINE_ENDS)
def test_an_event_ends_with_a_blank_line_of_any_kind(end: bytes) -> None:
    events, rest, _ = events_of([b"data: one" + end + end + b"data: two" + end + end])
    assert [event.data for event in events] == [b"one", b"two"]
    assert rest is None


def test_comments_names_ids_and_the_order_mark_are_not_data() -> None:
    body = b"\xef\xbb\xbfdata: a\n\n: keep-alive\n\nevent: ping\nid: 7\nretry: 10\ndata:b\ndata\ndata:  c\n\n"
    assert events_of([body])[0] == [SseEvent(b"a"), SseEvent(b"b\n\n c", "ping")]


def test_a_name_without_data_makes_no_event_and_does_not_stick_to_the_next() -> None:
    assert events_of([b"event: ping\n\ndata: x\n\n"])[0] == [SseEvent(b"x")]


def test_an_error_line_is_an_event_of_that_name() -> None:
    assert events_of([b'error: {"message":"no"}\n\n'])[0] == [SseEvent(b'{"message":"no"}', "error")]


def test_an_event_without_its_blank_line_is_handed_over_at_the_end() -> None:
    assert events_of([b"data: a\n\ndata: b"]) == ([SseEvent(b"a")], SseEvent(b"b"), False)
    assert events_of([b"data: a\n\ndata: b\n"])[1] == SseEvent(b"b")


def test_events_before_one_that_is_too_large_are_kept_and_the_rest_is_ignored() -> None:
    body = b"data: a\n\ndata: " + b"x" * 100 + b"\n\ndata: c\n\n"
    assert events_of([body], bytes_max=50) == ([SseEvent(b"a")], None, True)
    assert events_of([body[i : i + 1] for i in range(len(body))], bytes_max=50) == ([SseEvent(b"a")], None, True)


def test_many_short_data_lines_are_together_too_large() -> None:
    assert events_of([b"data: 123456\n" * 10], bytes_max=50)[2]


def test_comments_do_not_add_up_to_a_large_event() -> None:
    assert events_of([b": keep-alive\n" * 1000 + b"data: a\n\n"], bytes_max=50)[0] == [SseEvent(b"a")]


LINES = st.one_of(
    st.sampled_from([b"", b"data", b"data:", b": c", b"event: e", b"error: x", b"\xef\xbb\xbf", b"id: 1", b"{}"]),
    st.text(max_size=12).map(lambda text: b"data: " + json.dumps(text, ensure_ascii=False).encode()),
    st.binary(max_size=40),
)
BODIES = st.lists(st.tuples(LINES, st.sampled_from(LINE_ENDS)), max_size=20).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(BODIES, st.lists(st.integers(0, 9), max_size=60), st.sampled_from([30, 256 * 1024]))
def test_any_split_gives_the_same_events(body: bytes, sizes: list[int], bytes_max: int) -> None:
    assert events_of(split_up(body, sizes), bytes_max) == events_of([body], bytes_max)


BEFORE = (
    b"", b": c\n", b"event: e\n", b"error: x\n",
    b"data: a\n", b"data: a", b"da", b"\r", b"data: a\r", b"\xef\xbb\xbf", b"\n",
)  # fmt: skip
CHUNKS = (
    b"data: one\n\n", b"data: \n\n", b"data: o\rn\n\n", b"data: one\n ", b"data: 0123456789\n\n", b"data:\n\n",
)  # fmt: skip


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("bytes_max", [15, 256 * 1024])
def test_a_chunk_that_looks_like_one_event_is_read_as_what_came_before_it_says(
    before: bytes, chunk: bytes, bytes_max: int
) -> None:
    after = b"data: last\n\n"
    assert events_of([before, chunk, after], bytes_max) == events_of([before + chunk + after], bytes_max)


def test_a_million_chunks_of_one_byte_are_read() -> None:
    event = b"data: " + b"x" * 9_992 + b"\n\n"
    splitter = SseSplitter()
    events = 0
    for _ in range(100):
        for byte in event:
            events += len(splitter.feed(b"%c" % byte))
    assert events == 100
