"""Bodies of one JSON object a line: which lines come out, whatever the split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clawbench.wires.json_lines import LineSplitter
from tests.wires.made import pieces_of

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=8)


def split(body: bytes, sizes: list[int], limit: int = 1000) -> tuple[list[bytes], bytes | None, bool]:
    splitter = LineSplitter(limit)
    found = [event.data for piece in pieces_of(body, sizes) for event in splitter.feed(piece)]
    left = splitter.unfinished()
    return found, left.data if left is not None else None, splitter.oversize


@given(LINES, st.binary(max_size=5).filter(lambda rest: b"\n" not in rest), st.lists(st.integers(1, 5), max_size=20))
def test_lines_and_the_rest_come_out_the_same_for_any_split(lines: list[bytes], rest: bytes, sizes: list[int]) -> None:
    body = b"".join(line + b"\n" for line in lines) + rest
    expected = [line for line in lines if line], rest if rest.strip() else None, False
    assert split(body, sizes) == split(body, []) == expected


@given(st.lists(st.integers(1, 5), max_size=20))
def test_a_line_beyond_the_limit_stops_the_reading_for_any_split(sizes: list[int]) -> None:
    assert split(b"ab\n" + b"c" * 20 + b"\nde\n", sizes, limit=10) == ([b"ab"], None, True)
    assert split(b"ab\n" + b"c" * 20, sizes, limit=10) == ([b"ab"], None, True)
