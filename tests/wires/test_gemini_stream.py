"""Streamed answers of Gemini: events and arrays, every split and every cut, and what a stream may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.wires.collect import collect, deltas_of
from clawbench.wires.gemini import Gemini
from clawbench.wires.gemini_stream import GeminiStream
from tests.wires.made import pieces_of, shown

WIRE = Gemini()
USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 5, "totalTokenCount": 16}


def chunk(*parts: Any, finish: Any = None, index: int | None = None, **top: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    return {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r1", **top}


def events(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(each, indent=2).encode() for each in chunks) + b"\n]\n"


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


CHUNKS = (
    chunk({"text": "hm", "thought": True}, usageMetadata={"promptTokenCount": 11, "totalTokenCount": 11}),
    chunk({"text": 'he"l[{'}, index=0),
    chunk({"text": "lo\\"}),
    chunk({"functionCall": {"name": "f", "args": {"a": "]}"}}, "thoughtSignature": "S"}),
    chunk({"text": ""}, finish="STOP", usageMetadata=USAGE),
)
DETAIL = {"type": "reasoning.encrypted", "data": "S", "format": "google-gemini-v1", "id": "call_0_r1"}
EXPECTED = Completion(
    choices=(
        Choice(
            content='he"l[{lo\\',
            reasoning="hm",
            tool_calls=(ToolCall("call_0_r1", "f", '{"a":"]}"}'),),
            finish_reason="tool_calls",
            extra={"reasoning_details": [DETAIL]},
        ),
    ),
    id="r1",
    model="gemini-x",
    usage=Usage(input_tokens=11, output_tokens=5, raw=USAGE),
)


@pytest.mark.parametrize("body", [events(*CHUNKS), array(*CHUNKS), json.dumps(CHUNKS).encode()])
def test_events_and_arrays_are_the_same_answer(body: bytes) -> None:
    deltas, end = decoded([body])
    assert collect(deltas, end) == EXPECTED
    assert (end.complete, end.notes) == (True, ())


@given(st.sampled_from([events(*CHUNKS), array(*CHUNKS)]), st.lists(st.integers(1, 40), max_size=30))
def test_any_split_gives_the_same_deltas(body: bytes, sizes: list[int]) -> None:
    whole, split = decoded([body]), decoded(pieces_of(body, sizes))
    assert (shown(whole[0]), whole[1]) == (shown(split[0]), split[1])


@pytest.mark.parametrize("body", [events(*CHUNKS), array(*CHUNKS)])
def test_a_cut_anywhere_is_told(body: bytes) -> None:
    # The last chunk's closing bracket or blank line may be missing: nothing of the answer is.
    whole = len(body.rstrip(b"]\r\n "))
    for length in range(1, whole):
        deltas, end = decoded([body[:length]])
        assert not end.complete, length
        assert all(delta.error is None for delta in deltas)
    assert decoded([body[:whole]])[1].complete


def test_a_finish_reason_in_every_chunk_ends_nothing_early() -> None:
    deltas, end = decoded([events(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="STOP"))])
    assert collect(deltas, end).choices[0].content == "ab"
    assert end.complete


def test_the_last_usage_stands() -> None:
    first, last = {**USAGE, "candidatesTokenCount": 1, "totalTokenCount": 12}, USAGE
    _, end = decoded([events(chunk({"text": "a"}, usageMetadata=first), chunk(finish="STOP", usageMetadata=last))])
    assert end.usage is not None
    assert (end.usage.output_tokens, end.usage.raw) == (5, USAGE)


def test_sources_come_with_the_end_over_the_whole_text() -> None:
    metadata = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 2, "endIndex": 4}, "groundingChunkIndices": [0]}],
    }
    grounded = chunk({"text": "cd"}, finish="STOP")
    grounded["candidates"][0]["groundingMetadata"] = metadata
    deltas, _ = decoded([events(chunk({"text": "ab"}), grounded)])
    assert [delta.content for delta in deltas if delta.content] == ["ab", "cd"]
    assert deltas[-1].extra is not None
    place = {"start_index": 2, "end_index": 4, "url": "https://a", "title": "A"}
    assert deltas[-1].extra["annotations"] == [{"type": "url_citation", "url_citation": place}]


def test_parallel_calls_and_several_candidates() -> None:
    calls = chunk({"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"id": "x", "name": "g"}}, finish=1)
    other = chunk({"text": "b"}, finish="MAX_TOKENS", index=1)
    deltas, end = decoded([events(calls, other)])
    assert [delta.tool_calls for delta in deltas[:2]] == [
        (ToolCallDelta(0, "call_0_r1", "f", "{}"),),
        (ToolCallDelta(1, "x", "g", "{}"),),
    ]
    assert [choice.finish_reason for choice in collect(deltas, end).choices] == ["tool_calls", "length"]
    _, cut = decoded([events(calls, chunk({"text": "b"}, index=1))])
    assert not cut.complete


def piece(*parts: tuple[str, dict[str, Any]], more: bool = True, **call: Any) -> dict[str, Any]:
    held = {**call, "partialArgs": [{"jsonPath": path, **value} for path, value in parts]}
    return chunk({"functionCall": {**held, "willContinue": True} if more else held})


def test_calls_in_pieces_leave_whole_at_their_last_piece() -> None:
    first = chunk({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "S"})
    body = [
        first,
        piece(("$.place", {"stringValue": "Bos", "willContinue": True}), ("$.n", {"numberValue": 50})),
        piece(("$.place", {"stringValue": "ton"}), ("$.on", {"boolValue": False}), ("$.no", {"nullValue": None})),
        piece(("$.all[0]['a b']", {"numberValue": 1.5}), ("$.all[1].x", {"stringValue": ""})),
        chunk({"functionCall": {}}),
        piece(("$.q", {"stringValue": "y"}), name="g", id="9", more=False),
        chunk(finish="STOP"),
    ]
    for data in (events(*body), array(*body)):
        deltas, end = decoded([data])
        calls = [call for delta in deltas for call in delta.tool_calls]
        assert [(call.index, call.id, call.name) for call in calls] == [(0, "call_0_r1", "f"), (1, "9", "g")]
        assert json.loads(calls[0].arguments) == {
            "place": "Boston",
            "n": 50,
            "on": False,
            "no": None,
            "all": [{"a b": 1.5}, {"x": ""}],
        }
        assert calls[1].arguments == '{"q":"y"}'
        assert deltas[0].extra == {"reasoning_details": [DETAIL]}
        assert (end.complete, end.finish_reason) == (True, "tool_calls")
    assert not decoded([events(first, chunk(finish="STOP"))])[1].complete


PATHS = st.lists(st.sampled_from([".a", ".b", "[0]", "[1]", "['c']", "x", "["]), max_size=4).map(
    lambda s: "$" + "".join(s)
)


@given(st.lists(st.tuples(PATHS, st.none() | st.text(max_size=2) | st.integers(), st.booleans()), max_size=6))
def test_pieces_of_any_shape_give_calls_or_a_typed_error(stated: list[tuple[str, Any, bool]]) -> None:
    body = [piece((path, {"stringValue": value}), more=more, name="f") for path, value, more in stated]
    deltas, _ = decoded([events(*body)])
    for delta in deltas:
        assert delta.error is None or delta.error.outcome == "protocol_error"
        assert all(type(json.loads(call.arguments)) is dict for call in delta.tool_calls)


def test_a_blocked_prompt_ends_the_stream() -> None:
    deltas, end = decoded([events({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE})])
    assert [delta.finish_reason for delta in deltas] == ["content_filter", None]
    assert (end.complete, end.finish_reason, end.notes) == (True, "content_filter", ("prompt blocked: SAFETY",))


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        ({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, "error_event"),
        (chunk(finish="MALFORMED_FUNCTION_CALL"), "error_event"),
        ("text", "error_event"),
        (7, "protocol_error"),
        (
            chunk({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "a", "stringValue": "x"}]}}),
            "protocol_error",
        ),
        (chunk({"functionCall": {"partialArgs": [{"jsonPath": "$.a[7]", "nullValue": None}]}}), "protocol_error"),
        (chunk({"functionCall": {"partialArgs": [7]}}), "protocol_error"),
    ],
)
def test_a_failure_is_the_last_delta(bad: Any, outcome: str) -> None:
    for frame in (events, array):
        if frame is array and not isinstance(bad, dict):
            continue
        deltas, end = decoded([frame(chunk({"text": "a"}), bad, chunk({"text": "b"}, finish="STOP"))])
        assert [delta.content for delta in deltas[:-1]] == ["a"]
        error = deltas[-1].error
        assert error is not None
        assert (error.outcome, end.complete) == (outcome, False)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}', "error_200"),
        (b"<html>", "protocol_error"),
        (json.dumps(chunk({"text": "a"}, finish="STOP")).encode(), "protocol_error"),
    ],
)
def test_a_body_that_is_no_stream_is_an_error_at_its_end(body: bytes, outcome: str) -> None:
    decoder = WIRE.stream()
    assert decoder.feed(body) == []
    with pytest.raises(UpstreamError) as caught:
        decoder.finish()
    assert caught.value.outcome == outcome


def test_an_error_as_the_only_element_of_an_array() -> None:
    deltas, _ = decoded([b'[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}\n]'])
    assert deltas[0].error is not None
    assert (deltas[0].error.outcome, deltas[0].error.code) == ("error_event", "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("frame", [events, array])
def test_an_event_beyond_the_limit_is_too_large_wherever_it_is_cut(frame: Any) -> None:
    body = frame(chunk({"text": "a"}), chunk({"text": "b" * 5000}))
    for size in (1, 7, 100_000):
        decoder = GeminiStream(event_bytes_max=2000)
        deltas = [delta for piece in pieces_of(body, [size] * (len(body) // size)) for delta in decoder.feed(piece)]
        assert [delta.content for delta in deltas] == ["a", None]
        assert deltas[-1].error is not None
        assert deltas[-1].error.outcome == "too_large"


@given(st.binary(max_size=200), st.sampled_from([b"", b"[", b"data: ", b'[{"candidates":', b'data: {"candidates":[']))
def test_no_bytes_make_it_raise_anything_but_an_upstream_error(noise: bytes, start: bytes) -> None:
    decoder = WIRE.stream()
    decoder.feed(start + noise)
    try:
        ended = decoder.finish().complete
    except UpstreamError:
        ended = False
    assert not ended


LOOSE: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([]) | st.just({})
)
CHUNK = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "candidates": LOOSE
        | st.lists(
            LOOSE
            | st.fixed_dictionaries(
                {},
                optional={
                    "content": LOOSE
                    | st.fixed_dictionaries(
                        {"parts": st.lists(LOOSE | st.dictionaries(st.sampled_from(
                            ["text", "thought", "functionCall", "thoughtSignature", "inlineData"]), LOOSE), max_size=3)}
                    ),
                    "finishReason": LOOSE | st.just("STOP"),
                    "index": LOOSE,
                    "groundingMetadata": LOOSE,
                    "logprobsResult": LOOSE,
                },
            ),
            max_size=2,
        ),
        "usageMetadata": LOOSE | st.just(USAGE),
        "promptFeedback": LOOSE | st.just({"blockReason": 1}),
        "error": LOOSE,
        "responseId": LOOSE,
    },
)  # fmt: skip


@given(st.lists(CHUNK, max_size=4))
def test_no_chunk_makes_it_raise(chunks: list[Any]) -> None:
    deltas, end = decoded([events(*chunks)])
    failed = [place for place, delta in enumerate(deltas) if delta.error is not None]
    assert failed in ([], [len(deltas) - 1])
    assert not (failed and end.complete)


PIECES = st.lists(
    st.builds(Delta, content=st.text(min_size=1, max_size=5))
    | st.builds(Delta, reasoning=st.text(min_size=1, max_size=5)),
    max_size=4,
)


@given(PIECES, st.booleans())
def test_what_is_composed_is_read_back_the_same_and_taken_by_googles_client(pieces: list[Delta], calls: bool) -> None:
    usage = Usage(input_tokens=7, output_tokens=9, reasoning_tokens=2, cached_input_tokens=3)
    wanted = [
        *pieces,
        *(
            [
                Delta(tool_calls=(ToolCallDelta(0, "x", "f"),)),
                Delta(tool_calls=(ToolCallDelta(0, arguments='{"a"'),)),
                Delta(tool_calls=(ToolCallDelta(0, arguments=":1}"),)),
            ]
            if calls
            else []
        ),
        Delta(finish_reason="tool_calls" if calls else "stop"),
        Delta(usage=usage),
    ]
    frames = list(WIRE.compose_stream(wanted, id="r", model="g", created=1))
    for frame in frames:
        google.GenerateContentResponse.model_validate_json(frame.removeprefix(b"data: "))
    deltas, end = decoded(frames)
    again, asked = collect(deltas, end), collect(wanted, StreamEnd(complete=True))
    assert again.choices == asked.choices
    assert (end.complete, end.id, end.model) == (True, "r", "g")
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage.reasoning_tokens) == (7, 9, 2)


def test_a_whole_answer_taken_apart_comes_back_with_its_signatures() -> None:
    frames = WIRE.compose_stream(deltas_of(EXPECTED), id="r1", model="gemini-x", created=0)
    deltas, end = decoded(frames)
    assert collect(deltas, end).choices == EXPECTED.choices


def test_a_broken_stream_is_composed_as_one() -> None:
    broken = [Delta(content="a"), Delta(error=UpstreamError("gone", outcome="error_event", code="INTERNAL"))]
    deltas, _ = decoded(WIRE.compose_stream(broken, id="r", model="g", created=0))
    assert deltas[0].content == "a"
    assert deltas[1].error is not None
    assert (deltas[1].error.message, deltas[1].error.code) == ("gone", "INTERNAL")
