"""Bursts: chunks in one piece read like the list of them."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from clawbench.transports.burst import Burst
from clawbench.types import Chunk


@st.composite
def bursts(draw: st.DrawFn) -> tuple[Burst, list[Chunk]]:
    """A burst and what it stands for."""
    parts = draw(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=8))
    at_s = list(accumulate(draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts)))))
    first = draw(st.integers(0, len(parts) - 1))
    ends = list(accumulate(map(len, parts)))
    chunks = [Chunk(part, 100.0 + at) for part, at in zip(parts, at_s, strict=True)]
    return Burst(b"".join(parts), ends, at_s, since_s=100.0).rest(first), chunks[first:]


@given(bursts(), st.slices(10))
def test_a_burst_reads_like_the_list_of_its_chunks(both: tuple[Burst, list[Chunk]], part: slice) -> None:
    burst, chunks = both
    assert list(burst) == chunks
    assert len(burst) == len(chunks)
    assert burst[-1] == chunks[-1]
    assert burst[part] == chunks[part]
    assert burst.data == b"".join(chunk.data for chunk in chunks)
    assert list(burst.rest(len(chunks) - 1)) == chunks[-1:]


@given(bursts(), st.data())
def test_behind_its_first_bytes_comes_the_rest_at_the_same_instants(
    both: tuple[Burst, list[Chunk]], data: st.DataObject
) -> None:
    burst, chunks = both
    instants = [chunk.t_s for chunk in chunks for _ in chunk.data]  # of each byte
    length = data.draw(st.integers(1, len(instants)))
    assert burst.come_s(length) == instants[length - 1]
    rest = burst.after(length)
    assert b"".join(chunk.data for chunk in rest) == burst.data[length:]
    assert [chunk.t_s for chunk in rest for _ in chunk.data] == instants[length:]
    assert burst.after(0) == chunks
