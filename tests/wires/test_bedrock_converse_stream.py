"""Bedrock's ConverseStream: events to deltas in any split, cuts, exceptions, and streams written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCallDelta
from clawbench.wires.bedrock_converse import BedrockConverse
from clawbench.wires.event_stream import encode_frame
from tests.wires.made import pieces_of, shown
from tests.wires.test_bedrock_converse_request import HIDDEN, SIGNED, VALUES

WIRE = BedrockConverse()


def frame(kind: str, **event: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps({**event, "p": "abc"}).encode())


def exception(kind: str, message: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, json.dumps({"message": message}).encode())


def delta(index: int, **piece: Any) -> bytes:
    return frame("contentBlockDelta", contentBlockIndex=index, delta=piece)


def stop(index: int) -> bytes:
    return frame("contentBlockStop", contentBlockIndex=index)


METADATA = frame("metadata", usage={"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}, metrics={"latencyMs": 5})
BODY = b"".join(
    [
        frame("messageStart", role="assistant"),
        delta(0, reasoningContent={"text": "h"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "Eq=="}),
        stop(0),
        delta(1, text="Hé"),
        delta(1, text="llo"),
        stop(1),
        frame("contentBlockStart", contentBlockIndex=2, start={"toolUse": {"toolUseId": "t", "name": "f"}}),
        delta(2, toolUse={"input": '{"a":'}),
        delta(2, toolUse={"input": "1}"}),
        stop(2),
        frame("contentBlockStart", contentBlockIndex=3, start={"toolUse": {"toolUseId": "u", "name": "g"}}),
        stop(3),
        frame("messageStop", stopReason="tool_use"),
        METADATA,
    ]
)


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [each for piece in pieces for each in decoder.feed(piece)]
    return deltas, decoder.finish()


def test_every_kind_of_output_comes_as_it_was_sent() -> None:
    deltas, end = decoded([BODY])
    assert [each for each in deltas if each.has_output] == [
        Delta(reasoning="h"),
        Delta(reasoning="m"),
        Delta(extra={"reasoning_details": [SIGNED]}),
        Delta(content="Hé"),
        Delta(content="llo"),
        Delta(tool_calls=(ToolCallDelta(0, "t", "f"),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments='{"a":'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments="1}"),)),
        Delta(tool_calls=(ToolCallDelta(1, "u", "g"),)),
        Delta(tool_calls=(ToolCallDelta(1, arguments="{}"),)),
    ]
    assert (end.complete, end.finish_reason, end.notes) == (True, "tool_calls", ())
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (9, 4)


def test_calls_with_the_same_id_are_passed_on_and_noted() -> None:
    starts = (
        frame("contentBlockStart", contentBlockIndex=n, start={"toolUse": {"toolUseId": "t", "name": "f"}})
        for n in (0, 1)
    )
    deltas, end = decoded([b"".join(starts) + frame("messageStop", stopReason="tool_use")])
    assert [piece.id for delta in deltas for piece in delta.tool_calls if piece.id] == ["t", "t"]
    assert end.notes == ("duplicate tool-call ids",)


def test_redacted_thoughts_in_pieces_are_joined_as_bytes() -> None:
    body = delta(0, reasoningContent={"redactedContent": "Zg=="}) + delta(
        0, reasoningContent={"redactedContent": "b28="}
    )
    deltas, _ = decoded([body + stop(0)])
    assert deltas == [Delta(extra={"reasoning_details": [HIDDEN]})]


@given(st.lists(st.integers(1, 200), max_size=30))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    assert decoded(pieces_of(BODY, sizes)) == decoded([BODY])


def test_a_cut_anywhere_is_never_taken_for_a_whole_answer() -> None:
    whole, _ = decoded([BODY])
    told = len(BODY) - len(METADATA)
    for at in range(len(BODY)):
        deltas, end = decoded([BODY[:at]])
        assert deltas == whole[: len(deltas)]
        assert end.complete == (at == told)


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        ("throttlingException", "Too many requests", "throttlingException"),
        ("modelStreamErrorException", "broke", "modelStreamErrorException"),
        ("validationException", "Input is too long for requested model", "context_length_exceeded"),
    ],
)
def test_an_exception_in_the_stream_ends_it(kind: str, message: str, code: str) -> None:
    deltas, end = decoded([delta(0, text="x") + exception(kind, message) + delta(0, text="y")])
    assert shown(deltas) == [Delta(content="x"), ("error_event", code, message)]
    assert not end.complete


def test_an_error_frame_without_a_payload_is_read_from_its_headers() -> None:
    body = encode_frame({":message-type": "error", ":error-code": "InternalError", ":error-message": "oops"}, b"")
    assert shown(decoded([body])[0]) == [("error_event", "InternalError", "oops")]


def test_a_damaged_frame_ends_the_stream_and_names_its_place() -> None:
    first = delta(0, text="x")
    damaged = bytearray(first + delta(0, text="y"))
    damaged[-1] ^= 1
    deltas, end = decoded([bytes(damaged)])
    assert deltas[0] == Delta(content="x")
    assert deltas[1].error is not None
    assert deltas[1].error.outcome == "protocol_error"
    assert f"byte {len(first)}" in deltas[1].error.message
    assert not end.complete


@pytest.mark.parametrize(("body", "outcome"), [(b'{"message":"no"}', "error_200"), (b"<html>", "protocol_error")])
def test_a_body_that_never_was_a_stream_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        decoded([body])
    assert caught.value.outcome == outcome


KINDS = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "x"]


@given(st.lists(st.tuples(st.sampled_from(KINDS), VALUES, VALUES), max_size=6))
def test_events_of_any_shape_never_raise(events: list[tuple[str, Any, Any]]) -> None:
    decoded(
        [frame(kind, contentBlockIndex=index, delta=a, start=a, stopReason=a, usage=a) for kind, index, a in events]
    )


@given(st.binary(max_size=100), st.lists(st.integers(1, 20), max_size=8))
def test_bytes_of_any_kind_give_a_typed_error_or_an_incomplete_end(body: bytes, sizes: list[int]) -> None:
    try:
        _, end = decoded(pieces_of(body, sizes))
    except UpstreamError:
        return
    assert not end.complete


def test_a_failure_is_written_as_an_exception() -> None:
    failure = UpstreamError("slow down", outcome="rate_limited")
    frames = list(WIRE.compose_stream([Delta(content="x"), Delta(error=failure)], id="x", model="m", created=0))
    assert shown(decoded(frames)[0]) == [Delta(content="x"), ("error_event", "throttlingException", "slow down")]
