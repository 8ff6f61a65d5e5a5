"""Answers of Cohere's chat API, version 2: whole ones, streams of events, refusals, and the other side."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.schema import OUTCOMES
from clawbench.types import (
    Choice,
    Completion,
    Delta,
    StreamEnd,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from clawbench.wires.cohere import Cohere
from clawbench.wires.cohere_reply import CohereStream
from clawbench.wires.collect import collect, deltas_of
from tests.wires.made import pieces_of, shown
from tests.wires.made_requests import IDS, TEXT

WIRE = Cohere()


USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 7}, "tokens": {"input_tokens": 71, "output_tokens": 9}}


def answer(message: dict[str, Any] | None = None, **top: Any) -> bytes:
    said = {"role": "assistant", "content": [{"type": "text", "text": "hi"}], **(message or {})}
    return json.dumps({"id": "c1", "message": said, "finish_reason": "COMPLETE", "usage": USAGE, **top}).encode()


def decode(data: bytes) -> Completion:
    return WIRE.decode(200, {}, data)


def test_a_whole_answer() -> None:
    calls = [{"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    said = {"content": [{"type": "thinking", "thinking": "hm"}], "tool_plan": "I will", "tool_calls": calls}
    completion = decode(answer(said, finish_reason="TOOL_CALL"))
    assert completion.choices == (
        Choice(
            reasoning="hmI will",
            tool_calls=(ToolCall("f_1", "f", '{"a": 1}'),),
            finish_reason="tool_calls",
            extra={"tool_plan": "I will"},
        ),
    )
    assert completion.usage == Usage(input_tokens=5, output_tokens=7, raw=USAGE)
    assert (completion.id, completion.notes) == ("c1", ())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR_TOXIC", "content_filter"),
        ("ERROR", "error"),
        ("TIMEOUT", "error"),
        ("ODD", "stop"),
        (None, None),
    ],
)
def test_finish_reasons(said: Any, expected: str | None) -> None:
    assert decode(answer(finish_reason=said)).choices[0].finish_reason == expected


def test_an_answer_that_broke_before_its_first_word_is_an_error() -> None:
    with pytest.raises(UpstreamError) as broken:
        decode(answer({"content": []}, finish_reason="ERROR"))
    assert (broken.value.outcome, broken.value.code, broken.value.try_next) == ("error_200", "ERROR", True)


def test_citations_are_links_where_every_source_has_an_address() -> None:
    page = {"type": "document", "id": "d", "document": {"url": "https://a", "title": "A"}}
    tool = {"type": "tool", "id": "t:0", "tool_output": {"content": "x"}}
    cited = {"start": 1, "end": 3, "text": "i", "sources": [page], "type": "TEXT_CONTENT"}
    place = {"start_index": 1, "end_index": 3, "url": "https://a", "title": "A"}
    link = {"type": "url_citation", "url_citation": place}
    assert decode(answer({"citations": [cited]})).choices[0].extra == {"annotations": [link]}
    mixed = [cited, {**cited, "sources": [tool]}]
    assert decode(answer({"citations": mixed})).choices[0].extra == {"annotations": [link], "citations": mixed}


def test_log_probabilities() -> None:
    chunks = [{"text": "hi", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}]
    token = {"token": "hi", "logprob": -0.75, "bytes": [104, 105], "top_logprobs": []}
    assert decode(answer(logprobs=chunks)).choices[0].logprobs == {"content": [token], "refusal": None}


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "protocol_error"),
        (b"<html>", "protocol_error"),
        (b"{}", "protocol_error"),
        (b"7", "protocol_error"),
        (b'{"message":{"content":', "protocol_error"),
        (b'{"id":"x","message":"invalid request"}', "error_200"),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        decode(data)
    assert (caught.value.outcome, caught.value.status) == (outcome, 200)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (401, "invalid api token", ("auth", None, True)),
        (404, "model 'x' not found, make sure the correct model ID was used", ("model_gone", None, True)),
        (400, "invalid request: image content is not supported for this model", ("rejected", None, True)),
        (400, "invalid request: message must be at least 1 token long", ("rejected", None, False)),
        (400, "too many tokens: size limit exceeded by 9 tokens.", ("rejected", "context_length_exceeded", True)),
        (422, "No valid response generated. Try updating messages", ("rejected", None, True)),
        (429, "You are using a Trial key, which is limited to 10 API calls / minute.", ("rate_limited", None, True)),
        (500, "internal server error", ("upstream_5xx", None, True)),
    ],
)
def test_refusals(status: int, said: str, expected: tuple[str, str | None, bool]) -> None:
    error = WIRE.error(status, {}, json.dumps({"id": "x", "message": said}).encode())
    assert (error.outcome, error.code, error.try_next, error.status) == (*expected, status)


@given(st.integers(400, 599), st.binary(max_size=60))
def test_any_bytes_of_a_refusal_give_a_typed_error(status: int, data: bytes) -> None:
    assert WIRE.error(status, {}, data).outcome in OUTCOMES


def event(type: str, message: Any = None, **more: Any) -> bytes:
    said: dict[str, Any] = {"type": type, **more}
    if message is not None:
        said["delta"] = {"message": message}
    return b"event: " + type.encode() + b"\ndata: " + json.dumps(said).encode() + b"\n\n"


def call(id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    if name:
        function["name"] = name
    return {"tool_calls": {"id": id, "type": "function", "function": function} if id else {"function": function}}


END = event("message-end", delta={"finish_reason": "TOOL_CALL", "usage": USAGE})


TOOL_SOURCE = {"type": "tool", "id": "t:0", "tool_output": {"content": "x"}}


CITED = {"start": 0, "end": 2, "text": "hi", "sources": [TOOL_SOURCE]}


STREAM = b"".join(
    [
        event("message-start", {"role": "assistant", "content": [], "tool_plan": ""}, id="c1"),
        event("tool-plan-delta", {"tool_plan": "I "}),
        event("tool-plan-delta", {"tool_plan": "will"}),
        event("tool-call-start", call("f_1", "f"), index=0),
        event("tool-call-delta", call(arguments='{"a"'), index=0),
        event("tool-call-delta", call(arguments=": 1}"), index=0),
        event("tool-call-end", index=0),
        event("tool-call-start", call("g_1", "g", "{}"), index=1),
        event("tool-call-end", index=1),
        event("content-start", {"content": {"type": "text", "text": ""}}, index=0),
        event("content-delta", {"content": {"text": "hi"}}, index=0),
        event("citation-start", {"citations": CITED}, index=0),
        event("citation-end", index=0),
        event("content-end", index=0),
        event("never-heard-of"),
        END,
    ]
)


EXPECTED = Completion(
    choices=(
        Choice(
            content="hi",
            reasoning="I will",
            tool_calls=(ToolCall("f_1", "f", '{"a": 1}'), ToolCall("g_1", "g", "{}")),
            finish_reason="tool_calls",
            extra={"citations": [CITED]},
        ),
    ),
    id="c1",
    usage=Usage(input_tokens=5, output_tokens=7, raw=USAGE),
)


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for one in pieces for delta in decoder.feed(one)]
    return deltas, decoder.finish()


@pytest.mark.parametrize("tail", [b"", b"data: [DONE]\n\n"])
def test_a_stream_of_events(tail: bytes) -> None:
    deltas, end = decoded([STREAM + tail])
    assert collect(deltas, end) == EXPECTED
    assert (end.complete, end.notes) == (True, ())
    assert deltas[2].tool_calls == (ToolCallDelta(0, "f_1", "f", ""),)


@given(st.lists(st.integers(1, 60), max_size=40))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    whole, split = decoded([STREAM]), decoded(pieces_of(STREAM, sizes))
    assert (shown(whole[0]), whole[1]) == (shown(split[0]), split[1])


def test_a_cut_anywhere_is_told() -> None:
    for length in range(0, len(STREAM) - 2, 3):
        deltas, end = decoded([STREAM[:length]])
        assert not end.complete, length
        assert all(delta.error is None for delta in deltas)
    assert decoded([STREAM[:-1]])[1].complete


@pytest.mark.parametrize(
    ("bad", "outcome", "code"),
    [
        (event("message-end", delta={"finish_reason": "ERROR", "error": "gone"}), "error_event", "ERROR"),
        (b'data: {"id":"x","message":"too many requests"}\n\n', "error_event", None),
        (b"event: error\ndata: {}\n\n", "error_event", None),
        (b"data: {}\n\n", "protocol_error", None),
        (b"data: nonsense\n\n", "protocol_error", None),
    ],
)
def test_a_failure_is_the_last_delta(bad: bytes, outcome: str, code: str | None) -> None:
    text = event("content-delta", {"content": {"text": "a"}}, index=0)
    deltas, end = decoded([text + bad + text + END])
    assert [delta.content for delta in deltas[:-1]] == ["a"]
    error = deltas[-1].error
    assert error is not None
    assert (error.outcome, error.code, end.complete) == (outcome, code, False)


@pytest.mark.parametrize(
    ("data", "outcome"), [(b'{"id":"x","message":"no"}', "error_200"), (b"<html>502", "protocol_error")]
)
def test_a_body_that_is_no_stream_is_an_error_at_its_end(data: bytes, outcome: str) -> None:
    decoder = WIRE.stream()
    assert decoder.feed(data) == []
    with pytest.raises(UpstreamError) as caught:
        decoder.finish()
    assert caught.value.outcome == outcome


def test_an_event_beyond_the_limit_is_too_large() -> None:
    decoder = CohereStream(event_bytes_max=2000)
    deltas = decoder.feed(event("content-delta", {"content": {"text": "b" * 5000}}))
    assert deltas[-1].error is not None
    assert deltas[-1].error.outcome == "too_large"


@given(st.binary(max_size=200), st.sampled_from([b"", b"data: ", STREAM[:400]]))
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


MESSAGE = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "content": LOOSE
        | st.lists(LOOSE | st.dictionaries(st.sampled_from(["type", "text", "thinking"]), LOOSE), max_size=3)
        | st.dictionaries(st.sampled_from(["text", "thinking"]), LOOSE),
        "tool_plan": LOOSE,
        "tool_calls": LOOSE
        | st.lists(LOOSE | st.just({"function": 7}), max_size=2)
        | st.just({"id": 1, "function": 2}),
        "citations": LOOSE
        | st.lists(LOOSE | st.just({"sources": [1, {"document": 2}, {"document": {"url": "u"}}]}), max_size=2),
    },
)


VALUES = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "type": LOOSE
        | st.sampled_from(
            ["message-start", "content-start", "content-delta", "tool-call-start", "tool-call-delta", "tool-plan-delta",
             "citation-start", "message-end", "error"]
        ),
        "delta": LOOSE
        | st.fixed_dictionaries({}, optional={"message": MESSAGE, "usage": LOOSE, "finish_reason": LOOSE}),
        "message": MESSAGE,
        "finish_reason": LOOSE,
        "usage": LOOSE | st.just({"billed_units": 3}),
        "logprobs": LOOSE | st.just([{"logprobs": ["x"], "text": 4}]),
        "index": LOOSE,
        "id": LOOSE,
        "error": LOOSE,
    },
)  # fmt: skip


def outcome(value: Any) -> str:
    try:
        decode(json.dumps(value).encode())
    except UpstreamError as error:
        return error.outcome
    return "ok"


@given(st.lists(VALUES, max_size=4))
def test_no_value_makes_reading_raise(values: list[Any]) -> None:
    assert {outcome(value) for value in values} <= {"ok", "error_200", "protocol_error"}
    deltas, end = decoded([b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)])
    failed = [place for place, delta in enumerate(deltas) if delta.error is not None]
    assert failed in ([], [len(deltas) - 1])
    assert not (failed and end.complete)


@given(
    st.builds(
        Completion,
        choices=st.tuples(
            st.builds(
                Choice,
                content=st.none() | TEXT,
                reasoning=st.none() | TEXT,
                tool_calls=st.lists(st.builds(ToolCall, IDS, TEXT, st.just('{"x":1}')), max_size=2).map(tuple),
                finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
                extra=st.none() | st.just({"citations": [CITED]}),
            )
        ),
        id=st.just("r"),
        usage=st.none() | st.builds(Usage, input_tokens=st.integers(0, 99), output_tokens=st.integers(0, 99)),
    )
)
def test_what_is_composed_is_read_back_the_same(completion: Completion) -> None:
    streamed = decoded(WIRE.compose_stream(deltas_of(completion), id="r", model="m", created=1))
    for again in (decode(WIRE.compose(completion).body), collect(*streamed)):
        assert (again.choices, again.id) == (completion.choices, "r")
        counts = [usage and (usage.input_tokens, usage.output_tokens) for usage in (again.usage, completion.usage)]
        assert counts[0] == counts[1]
    assert streamed[1].complete


def test_a_broken_stream_is_composed_as_one() -> None:
    broken = [Delta(content="a"), Delta(error=UpstreamError("gone", outcome="error_event"))]
    deltas, _ = decoded(WIRE.compose_stream(broken, id="r", model="g", created=0))
    assert deltas[0].content == "a"
    assert deltas[1].error is not None
    assert "gone" in deltas[1].error.message
