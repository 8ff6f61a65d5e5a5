"""Streamed answers of the Responses API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Completion, Delta, StreamEnd, ToolCallDelta
from clawbench.wires.collect import collect
from clawbench.wires.openai_responses import OpenAIResponses
from tests.wires.made import LOOSE, pieces_of, shown
from tests.wires.made_responses import CALL, CREATED, JUNK, body, completed, done, events, message, text_delta

WIRE = OpenAIResponses()


def read(*output: dict[str, Any]) -> Completion:
    return WIRE.decode(200, {}, json.dumps(body(*output)).encode())


def streamed(*stated: tuple[str, dict[str, Any]]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    return decoder.feed(events(*stated)), decoder.finish()


def test_a_streamed_answer_is_the_whole_answer() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gA=="}
    whole: list[dict[str, Any]] = [
        {**reasoning, "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        message("hello"),
        CALL,
    ]
    thought = {"item_id": "rs_1", "output_index": 0}
    deltas, end = streamed(
        CREATED,
        ("response.output_item.added", {"output_index": 0, "item": {**reasoning, "summary": []}}),
        ("response.reasoning_summary_text.delta", {**thought, "summary_index": 0, "delta": "one"}),
        ("response.reasoning_summary_text.delta", {**thought, "summary_index": 1, "delta": "t"}),
        ("response.reasoning_summary_text.delta", {**thought, "summary_index": 1, "delta": "wo"}),
        done(whole[0], 0),
        ("response.web_search_call.in_progress", {"output_index": 1, "item_id": "ws_1"}),
        done(whole[1], 1),
        text_delta("hel", 2),
        text_delta("lo", 2),
        done(whole[2], 2),
        ("response.output_item.added", {"output_index": 3, "item": {**CALL, "arguments": ""}}),
        ("response.function_call_arguments.delta", {"output_index": 3, "item_id": "fc_1", "delta": '{"a"'}),
        ("response.function_call_arguments.delta", {"output_index": 3, "item_id": "fc_1", "delta": ":1}"}),
        done(CALL, 3),
        completed(*whole),
    )
    assert collect(deltas, end).choices == read(*whole).choices
    assert end.complete
    assert (end.finish_reason, end.id, end.model) == ("tool_calls", "resp_1", "m-1")
    assert end.usage == read(*whole).usage
    assert end.notes == ()


def test_a_server_that_streams_no_pieces_is_read_from_its_items() -> None:
    thought = {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    items = [thought, message("hello"), CALL, {"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]
    for stated in (
        [CREATED, *(done(item, at) for at, item in enumerate(items)), completed(*items)],
        [completed(*items)],
    ):
        deltas, end = streamed(*stated)
        assert collect(deltas, end).choices == read(*items).choices


def test_a_part_that_is_numbered_otherwise_at_its_end_is_not_said_twice() -> None:
    deltas, end = streamed(text_delta("hello", 1, 1), done(message("hello"), 1), completed(message("hello")))
    assert collect(deltas, end).choices[0].content == "hello"


def test_logprobs_come_with_their_piece() -> None:
    piece = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    deltas, _ = streamed(text_delta("a", logprobs=[piece]))
    assert deltas == [Delta(content="a", logprobs={"content": [piece]})]


def test_two_calls_are_numbered_by_their_order() -> None:
    first, second = {**CALL, "arguments": ""}, {**CALL, "call_id": "call_2", "arguments": ""}
    deltas, end = streamed(
        ("response.output_item.added", {"output_index": 3, "item": first}),
        ("response.output_item.added", {"output_index": 5, "item": second}),
        ("response.function_call_arguments.delta", {"output_index": 5, "delta": "{}"}),
        ("response.function_call_arguments.delta", {"output_index": 3, "delta": "[]"}),
    )
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert pieces == [
        ToolCallDelta(0, "call_1", "f"),
        ToolCallDelta(1, "call_2", "f"),
        ToolCallDelta(1, arguments="{}"),
        ToolCallDelta(0, arguments="[]"),
    ]
    assert not end.complete


@pytest.mark.parametrize(
    ("event", "outcome", "code"),
    [
        (
            ("response.failed", {"response": body(status="failed", error={"code": "server_error", "message": "x"})}),
            "error_event",
            "server_error",
        ),
        (("error", {"code": "ERR", "message": "broke", "param": None}), "error_event", "ERR"),
        (("error", {"error": {"message": "broke", "type": "api_error"}}), "error_event", "api_error"),
        (("response.cancelled", {"response": body(status="cancelled")}), "error_event", "cancelled"),
        (("response.completed", {"response": body(status="failed", error={"code": "c"})}), "error_event", "c"),
    ],
)
def test_a_failure_is_the_last_delta(event: tuple[str, dict[str, Any]], outcome: str, code: str) -> None:
    deltas, end = streamed(CREATED, text_delta("a"), event, text_delta("b"))
    assert deltas[0].content == "a"
    error = deltas[-1].error
    assert error is not None
    assert (error.outcome, error.code) == (outcome, code)
    assert len(deltas) == 2
    assert not end.complete


def test_an_incomplete_answer_ends_with_its_reason() -> None:
    response = body(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    deltas, end = streamed(text_delta("a"), ("response.incomplete", {"response": response}))
    assert deltas[-1].finish_reason == "length"
    assert (end.complete, end.finish_reason) == (True, "length")


def test_a_body_that_is_no_stream_is_an_error_at_its_end() -> None:
    for whole, outcome in (
        (b'{"error":{"message":"no"}}', "error_200"),
        (b"<html>no</html>", "protocol_error"),
        (json.dumps(body(message("a"))).encode(), "protocol_error"),
    ):
        decoder = WIRE.stream()
        assert decoder.feed(whole) == []
        with pytest.raises(UpstreamError) as error:
            decoder.finish()
        assert error.value.outcome == outcome


STREAM = events(
    CREATED,
    text_delta("hé"),
    text_delta("llo"),
    done(message("héllo")),
    ("response.output_item.added", {"output_index": 1, "item": {**CALL, "arguments": ""}}),
    ("response.function_call_arguments.delta", {"output_index": 1, "delta": '{"a":1}'}),
    done(CALL, 1),
    completed(message("héllo"), CALL),
)


@given(st.lists(st.integers(1, 200), max_size=40))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    whole, split = WIRE.stream(), WIRE.stream()
    deltas = [delta for piece in pieces_of(STREAM, sizes) for delta in split.feed(piece)]
    assert shown(deltas) == shown(whole.feed(STREAM))
    assert split.finish() == whole.finish()


@given(st.integers(0, len(STREAM) - 3))
def test_a_cut_stream_is_never_complete(cut: int) -> None:
    decoder = WIRE.stream()
    deltas = decoder.feed(STREAM[:cut])
    assert all(delta.error is None for delta in deltas)
    assert not decoder.finish().complete


_NAMES = (
    "response.created",
    "response.output_text.delta",
    "response.output_item.added",
    "response.output_item.done",
    "response.function_call_arguments.delta",
    "response.refusal.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.completed",
    "response.failed",
    "error",
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(_NAMES) | LOOSE,
        "output_index": st.integers(-1, 3) | LOOSE,
        "content_index": st.integers(0, 2) | LOOSE,
        "summary_index": st.integers(0, 2) | LOOSE,
        "delta": st.text(max_size=5) | LOOSE,
        "item": JUNK,
        "response": JUNK,
        "logprobs": JUNK,
        "error": JUNK,
    },
)


@given(st.lists(EVENTS | JUNK, max_size=6), st.sampled_from(["", "error", "response.completed"]))
def test_events_of_any_shape_give_deltas_or_a_typed_error(stated: list[Any], name: str) -> None:
    decoder = WIRE.stream()
    deltas = [
        delta for value in stated for delta in decoder.feed(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())
    ]
    assert sum(delta.error is not None for delta in deltas) <= 1
    end = decoder.finish()
    assert end.complete == (end.finish_reason is not None and deltas[-1].error is None)
    frames = list(WIRE.compose_stream(deltas, id="r", model="m", created=1))
    assert frames[-1].startswith(b"event: response.")


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_no_whole_answer(data: bytes) -> None:
    decoder = WIRE.stream()
    decoder.feed(b"data: " + data + b"\n\n")
    assert not decoder.finish().complete
