"""Cohere's chat API, version 1, which is only read: one message and a history, answers, streams of lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Choice, Completion, Delta, HttpCall, StreamEnd, ToolCall, Usage
from clawbench.wires.cohere_v1 import CohereV1
from clawbench.wires.collect import collect
from tests.wires.made import offer, pieces_of, shown

WIRE = CohereV1()
META = {"billed_units": {"input_tokens": 5.0, "output_tokens": 7.0}}


def parse(value: Any) -> ChatRequest:
    return WIRE.parse(HttpCall(method="POST", url="https://h/v1/chat", headers={}, body=json.dumps(value).encode()))


def test_a_message_its_history_and_its_preamble_are_a_conversation() -> None:
    call = {"name": "f", "parameters": {"a": 1}}
    asked = parse(
        {
            "model": "command-r",
            "message": "and?",
            "preamble": "sys",
            "chat_history": [
                {"role": "User", "message": "hi"},
                {"role": "CHATBOT", "message": "I will", "tool_calls": [call]},
                {"role": "TOOL", "tool_results": [{"call": call, "outputs": [{"r": 1}]}]},
                {"role": "SYSTEM", "message": "now"},
            ],
            "stream": True,
            "temperature": 0.5,
            "p": 0.9,
            "k": 4,
            "max_tokens": 9,
            "stop_sequences": ["x"],
            "seed": 7,
            "response_format": {"type": "json_object", "schema": {"type": "object"}},
            "connectors": [{"id": "web-search"}],
            "documents": None,
        }
    )
    assert asked.messages == [
        {"role": "system", "content": "sys"},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "I will",
            "tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": '[{"r":1}]'},
        {"role": "system", "content": "now"},
        {"role": "user", "content": "and?"},
    ]
    assert (asked.model, asked.stream, asked.temperature, asked.top_p, asked.max_output_tokens) == (
        "command-r", True, 0.5, 0.9, 9,
    )  # fmt: skip
    assert (asked.stop, asked.seed, asked.extra) == (["x"], 7, {"k": 4, "connectors": [{"id": "web-search"}]})
    assert asked.response_format is not None
    assert asked.response_format["json_schema"]["schema"] == {"type": "object"}


def test_results_take_the_place_of_an_empty_message_and_tools_become_functions() -> None:
    asked = parse(
        {
            "message": "",
            "chat_history": [{"role": "CHATBOT", "message": "", "tool_calls": [{"name": "f"}, {"name": "g"}]}],
            "tool_results": [{"call": {"name": "g"}, "outputs": []}, {"call": {"name": "f"}, "outputs": []}],
            "tools": [
                {
                    "name": "f",
                    "description": "d",
                    "parameter_definitions": {
                        "a": {"type": "str", "description": "x", "required": True},
                        "b": {"type": "int"},
                    },
                }
            ],
        }
    )
    assert [message.get("tool_call_id") for message in asked.messages] == [None, "call_1", "call_0"]
    parameters = {
        "type": "object",
        "properties": {"a": {"type": "string", "description": "x"}, "b": {"type": "integer"}},
        "required": ["a"],
    }
    assert asked.tools == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}
    ]


@pytest.mark.parametrize("bad", [b"", b"[]", b"{}", b'{"message":7}', b'{"message":"x","chat_history":[7]}'])
def test_what_is_no_request_is_a_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        WIRE.parse(HttpCall(method="POST", url="https://h/v1/chat", headers={}, body=bad))


def test_it_is_read_and_not_made() -> None:
    with pytest.raises(UpstreamError, match="only read"):
        WIRE.encode(ChatRequest(model="m", messages=[]), offer("cohere"))
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose(Completion(choices=()))
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose_stream([], id="", model="", created=0)


def test_calls_are_told_by_path_and_content() -> None:
    for url, sent, reply, expected in (
        ("https://h/v1/chat", b'{"message":"x"}', b"", True),
        ("https://proxy/chat", b'{"message":"x"}', b'{"text":"y","generation_id":"z"}', True),
        ("https://api.writer.com/v1/chat", b'{"messages":[]}', b"", False),
        ("https://proxy/chat", b'{"message":"x"}', b'{"reply":"y"}', False),
        ("https://h/v1/chat", b"\xff", b"", False),
    ):
        assert WIRE.recognises(HttpCall(method="POST", url=url, headers={}, body=sent), reply) is expected, url


def answer(**top: Any) -> bytes:
    return json.dumps({"response_id": "r", "text": "hi", "finish_reason": "COMPLETE", "meta": META, **top}).encode()


def test_a_whole_answer() -> None:
    completion = WIRE.decode(200, {}, answer(citations=[{"start": 0}], tool_calls=None))
    assert completion.choices == (Choice(content="hi", finish_reason="stop", extra={"citations": [{"start": 0}]}),)
    assert completion.usage == Usage(input_tokens=5, output_tokens=7, raw=META)
    assert completion.id == "r"
    calls = [{"name": "f", "parameters": {"a": 1}}]
    [choice] = WIRE.decode(200, {}, answer(text="", tool_calls=calls)).choices
    assert choice == Choice(tool_calls=(ToolCall("call_0", "f", '{"a":1}'),), finish_reason="tool_calls")
    [filtered] = WIRE.decode(200, {}, answer(finish_reason="ERROR_TOXIC")).choices
    assert filtered.finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "protocol_error"),
        (b"7", "protocol_error"),
        (b'{"message":"no"}', "error_200"),
        (answer(text="", finish_reason="ERROR"), "error_200"),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        WIRE.decode(200, {}, data)
    assert caught.value.outcome == outcome
    assert WIRE.error(404, {}, b'{"message":"model \'x\' was removed"}').outcome == "model_gone"


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def said(kind: str, **more: Any) -> dict[str, Any]:
    return {"is_finished": kind == "stream-end", "event_type": kind, **more}


CITED = {"start": 0, "end": 2, "text": "he", "document_ids": ["d"]}
STREAM = lines(
    said("stream-start", generation_id="g"),
    said("search-results", documents=[{"id": "d"}]),
    said("text-generation", text="he"),
    said("text-generation", text="llo"),
    said("citation-generation", citations=[CITED]),
    said("tool-calls-chunk", text="I will"),
    said("tool-calls-generation", tool_calls=[{"name": "f", "parameters": {}}]),
    said("stream-end", finish_reason="COMPLETE", response={"response_id": "r", "text": "hello", "meta": META}),
)


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for one in pieces for delta in decoder.feed(one)]
    return deltas, decoder.finish()


def test_a_stream_of_lines() -> None:
    deltas, end = decoded([STREAM])
    assert collect(deltas, end) == Completion(
        choices=(
            Choice(
                content="helloI will",
                tool_calls=(ToolCall("call_0", "f", "{}"),),
                finish_reason="tool_calls",
                extra={"citations": [CITED]},
            ),
        ),
        id="r",
        usage=Usage(input_tokens=5, output_tokens=7, raw=META),
    )
    assert end.complete


def test_a_plan_that_comes_whole_with_its_calls_is_said_once() -> None:
    plan = said("tool-calls-generation", text="I will", tool_calls=[{"name": "f", "parameters": {}}])
    end = said("stream-end", finish_reason="COMPLETE", response={})
    assert collect(*decoded([lines(plan, end)])).choices[0].content == "I will"
    assert collect(*decoded([lines(said("tool-calls-chunk", text="I will"), plan, end)])).choices[0].content == "I will"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_stream_of_events_is_the_same_as_one_of_lines(size: int) -> None:
    events = b"".join(b"event: x\ndata: " + line + b"\n\n" for line in STREAM.splitlines())
    assert decoded(pieces_of(events, [size] * (len(events) // size))) == decoded([STREAM])


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    whole, split = decoded([STREAM]), decoded(pieces_of(STREAM, sizes))
    assert (shown(whole[0]), whole[1]) == (shown(split[0]), split[1])


def test_a_cut_anywhere_is_told() -> None:
    for length in range(len(STREAM) - 1):
        deltas, end = decoded([STREAM[:length]])
        assert not end.complete, length
        assert all(delta.error is None for delta in deltas)
    assert decoded([STREAM[:-1]])[1].complete


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        (said("stream-end", finish_reason="ERROR"), "error_event"),
        ({"message": "internal server error"}, "error_event"),
        ({"strange": 1}, "protocol_error"),
    ],
)
def test_a_failure_is_the_last_delta(bad: Any, outcome: str) -> None:
    deltas, end = decoded([lines(said("text-generation", text="a"), bad, said("text-generation", text="b"))])
    assert [delta.content for delta in deltas[:-1]] == ["a"]
    assert deltas[-1].error is not None
    assert (deltas[-1].error.outcome, end.complete) == (outcome, False)


LOOSE: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([])
VALUES = LOOSE | st.dictionaries(
    st.sampled_from(
        ["event_type", "text", "tool_calls", "finish_reason", "response", "meta", "citations", "error", "message"]
    ),
    LOOSE
    | st.sampled_from(["text-generation", "stream-end", "tool-calls-generation", [1], [{"name": 2}], {"meta": 3}]),
)


@given(st.lists(VALUES, max_size=4))
def test_no_value_makes_reading_raise_anything_but_an_upstream_error(values: list[Any]) -> None:
    deltas, end = decoded([lines(*values)])
    assert not (end.complete and any(delta.error is not None for delta in deltas))
    for value in values:
        try:
            WIRE.decode(200, {}, json.dumps(value).encode())
        except UpstreamError as error:
            assert error.outcome in ("error_200", "protocol_error")  # noqa: PT017


@given(st.dictionaries(st.sampled_from(["chat_history", "tools", "tool_results", "p", "stop_sequences", "preamble"]),
    LOOSE | st.lists(st.dictionaries(st.sampled_from(
        ["role", "message", "tool_calls", "tool_results", "call", "outputs", "name", "parameter_definitions"]),
        LOOSE | st.just("TOOL") | st.just("CHATBOT") | st.just([7, {}]) | st.just({"a": {"type": 3}})))))  # fmt: skip
def test_no_body_makes_reading_raise_anything_but_a_value_error(value: dict[str, Any]) -> None:
    try:
        read = parse({**value, "message": "x"})
    except ValueError:
        return
    assert read.messages
