"""Cassettes that are written are read back as they were, by this project and by stock vcrpy."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import msgspec
import pytest
import vcr
import yaml
from hypothesis import given
from hypothesis import strategies as st
from vcr.request import Request
from vcr.serialize import deserialize, serialize
from vcr.serializers import yamlserializer

from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.writer import cassette_bytes, write_cassette
from clawbench.errors import WriteFailed
from tests.cassettes.made import exchange

header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
headers = st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,12}", fullmatch=True), header_text, max_size=3).map(
    lambda found: {name: value for name, value in found.items() if not name.startswith(("content-", "transfer-"))}
)
bodies = st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
not_gzip = bodies.filter(lambda body: not body.startswith(b"\x1f\x8b"))


@st.composite
def timings(draw: st.DrawFn, length: int) -> RecordedTiming:
    cuts = sorted(draw(st.sets(st.integers(1, max(length - 1, 1)), max_size=4))) if length > 1 else []
    ends = [*cuts, length] if length else []
    instants = sorted(draw(st.lists(st.floats(0, 1e4), min_size=len(ends) + 1, max_size=len(ends) + 1)))
    starts = [0, *ends][: len(ends)]
    chunks = ((end - start, t_s) for start, end, t_s in zip(starts, ends, instants[1:], strict=True))
    return RecordedTiming(instants[0], tuple(chunks))


@st.composite
def interactions(draw: st.DrawFn, index: int) -> Interaction:
    body = draw(not_gzip)
    return Interaction(
        file="x.yaml",
        index=index,
        method="POST",
        url="https://api.plain.test/v1/ask?x=1",
        request_headers=draw(headers),
        request_body=draw(not_gzip),
        status=draw(st.integers(100, 599)),
        headers=draw(headers),
        body=body,
        timing=draw(st.none() | timings(len(body))),
        duration_s=draw(st.none() | st.floats(0, 1e4)),
        e2e_s=draw(st.none() | st.floats(0, 1e4)),
    )


several = st.integers(0, 3).flatmap(lambda count: st.tuples(*(interactions(index) for index in range(count))))


def read(data: bytes) -> list[Interaction]:
    found = list(Vcrpy().read(data, "x.yaml"))
    assert all(isinstance(item, Interaction) for item in found), found
    return [msgspec.structs.replace(item, place="") for item in found if isinstance(item, Interaction)]


@given(several)
def test_what_is_written_is_read_back_as_it_was(written: tuple[Interaction, ...]) -> None:
    assert read(cassette_bytes(written, comment="by a test")) == list(written)


@given(several)
def test_vcrpy_reads_the_same_requests_and_replies(written: tuple[Interaction, ...]) -> None:
    requests, responses = deserialize(cassette_bytes(written).decode(), yamlserializer)
    assert [request.uri for request in requests] == [item.url for item in written]
    assert [request.body or b"" for request in requests] == [item.request_body for item in written]
    assert [response["body"]["string"] for response in responses] == [item.body for item in written]
    assert [response["status"]["code"] for response in responses] == [item.status for item in written]
    assert [dict(request.headers) for request in requests] == [item.request_headers for item in written]


def test_vcrpy_replays_the_file(tmp_path: Path) -> None:
    item = exchange(say="ä b", stream=True)
    write_cassette(tmp_path / "out.yaml", [item])
    with vcr.use_cassette(str(tmp_path / "out.yaml"), record_mode="none", match_on=["method", "uri", "body"]) as played:
        request = urllib.request.Request(item.url, data=item.request_body, method="POST")
        with urllib.request.urlopen(request) as reply:
            assert (reply.status, reply.read()) == (200, item.body)
            assert reply.headers["content-type"] == "text/event-stream"
        assert played.all_played


def test_arrival_times_survive_a_rewrite_by_vcrpy() -> None:
    item = exchange(stream=True, say="a b c")
    third = len(item.body) // 3
    timing = RecordedTiming(0.2, ((third, 0.25), (len(item.body) - third, 1.0)))
    written = [msgspec.structs.replace(item, file="x.yaml", timing=timing)]
    requests, responses = deserialize(cassette_bytes(written).decode(), yamlserializer)
    assert isinstance(requests[0], Request)
    rewritten = serialize({"requests": requests, "responses": responses}, yamlserializer)
    assert read(rewritten.encode()) == written


def test_text_bodies_stay_readable_and_the_comment_stands_on_top() -> None:
    body = b'data: {"say": "caf\xc3\xa9"}\n\ndata: [DONE]\n\n'
    data = cassette_bytes([exchange(body=body)], comment="recorded for a test\n\nby hand\x07\u2028x")
    text = data.decode()
    assert text.startswith("# recorded for a test\n#\n# by hand?\n# x\ninteractions:\n")
    assert '        data: {"say": "café"}\n\n        data: [DONE]\n' in text
    assert yaml.safe_load(data)["version"] == 1


@pytest.mark.parametrize(
    "body", [b"a\r\nb\r\n", "x\u2028y\u0085z\n".encode(), b"\n\n a\n", b"tail \n ", b"\x00\x07\n", b"\n"]
)
def test_line_breaks_of_every_kind_survive(body: bytes) -> None:
    assert read(cassette_bytes([exchange(body=body)]))[0].body == body


def test_the_same_interactions_give_the_same_bytes() -> None:
    def made() -> list[Interaction]:
        return [exchange("a", say="b c", stream=True), exchange({"deep": [1, 2]}, status=500)]

    assert cassette_bytes(made()) == cassette_bytes(made())


def test_a_file_is_replaced_at_once_and_no_neighbour_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    path.write_text("old")
    write_cassette(path, [exchange()])
    assert read(path.read_bytes())[0].body == exchange().body
    assert [file.name for file in tmp_path.iterdir()] == ["out.yaml"]


def test_a_folder_that_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=r"out\.yaml: the cassette could not be written"):
        write_cassette(tmp_path / "missing" / "out.yaml", [exchange()])
    assert list(tmp_path.iterdir()) == []
