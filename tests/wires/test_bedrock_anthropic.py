"""Anthropic's models behind InvokeModel: what differs from the API itself. The body is tested with that."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Delta, HttpCall, StreamEnd, Usage
from clawbench.wires.bedrock_anthropic import BedrockAnthropic
from clawbench.wires.collect import collect
from clawbench.wires.event_stream import FrameSplitter, encode_frame
from tests.wires.made import offer, pieces_of, shown

WIRE = BedrockAnthropic()
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
USER = {"role": "user", "content": "hi"}
BODY_OF_CLAUDE = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}


def call_for(**more: Any) -> HttpCall:
    request = ChatRequest(model=MODEL, messages=[USER], max_output_tokens=9, **more)
    return WIRE.encode(request, offer("bedrock", upstream_model=MODEL, base_url="https://h"))


@pytest.mark.parametrize("stream", [False, True])
def test_model_and_stream_stand_in_the_url_and_not_in_the_body(stream: bool) -> None:
    call = call_for(stream=stream, extra={"anthropic_beta": ["b-1"]})
    operation = "invoke-with-response-stream" if stream else "invoke"
    assert call.url == f"https://h/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/{operation}"
    assert json.loads(call.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["b-1"],
        "max_tokens": 9,
        "messages": [USER],
    }
    request = WIRE.parse(call)
    assert (request.model, request.stream, request.extra) == (MODEL, stream, {"anthropic_beta": ["b-1"]})
    assert WIRE.recognises(call, b"")


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://h/model/anthropic.claude-v2/invoke", {"prompt": "x", "max_tokens_to_sample": 1}),
        ("https://h/model/amazon.nova-micro-v1:0/invoke", {"messages": [USER], "inferenceConfig": {}}),
        ("https://h/model/anthropic.claude-v2/converse", {"messages": [USER], "max_tokens": 1}),
        ("https://h/v1/messages", {"messages": [USER], "max_tokens": 1, "anthropic_version": "x"}),
    ],
)
def test_other_calls_are_not_claimed(url: str, body: dict[str, Any]) -> None:
    assert not WIRE.recognises(HttpCall(method="POST", url=url, headers={}, body=json.dumps(body).encode()), b"")


def test_where_the_body_states_no_usage_the_headers_do() -> None:
    headers = {"x-amzn-bedrock-input-token-count": "4", "x-amzn-bedrock-output-token-count": "2"}
    completion = WIRE.decode(200, headers, json.dumps(BODY_OF_CLAUDE).encode())
    assert completion.usage == Usage(input_tokens=4, output_tokens=2, raw={"inputTokenCount": 4, "outputTokenCount": 2})
    stated = {**BODY_OF_CLAUDE, "usage": {"input_tokens": 9, "output_tokens": 8}}
    usage = WIRE.decode(200, headers, json.dumps(stated).encode()).usage
    assert usage is not None
    assert usage.input_tokens == 9


def test_refusals_are_bedrocks() -> None:
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"}
    failure = WIRE.error(429, headers, b'{"message":"Too many requests, please wait"}')
    assert (failure.outcome, failure.code, failure.retry_same) == ("rate_limited", "ThrottlingException", True)


def frame(event: Any, **more: Any) -> bytes:
    payload = {"bytes": b64encode(json.dumps(event).encode()).decode(), "p": "abcd", **more}
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps(payload).encode())


EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 25, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 25, "outputTokenCount": 7}},
]
BODY = b"".join(map(frame, EVENTS))


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


def test_chunks_hold_anthropics_events() -> None:
    deltas, end = decoded([BODY])
    assert collect(deltas, end).choices[0].content == "Hé"
    assert (end.complete, end.finish_reason, end.id, end.notes) == (True, "stop", "m", ())
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (25, 7)


def test_where_the_events_state_no_usage_the_metrics_do() -> None:
    bare = [{**EVENTS[0], "message": {"id": "m"}}, *EVENTS[1:4], {**EVENTS[4], "usage": None}, EVENTS[5]]
    _, end = decoded([b"".join(map(frame, bare))])
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (25, 7)


@given(st.lists(st.integers(1, 300), max_size=20))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    assert decoded(pieces_of(BODY, sizes)) == decoded([BODY])


def test_a_cut_anywhere_is_never_taken_for_a_whole_answer_before_its_stop_reason() -> None:
    whole, _ = decoded([BODY])
    told = len(BODY) - len(frame(EVENTS[5]))
    for at in range(len(BODY)):
        deltas, end = decoded([BODY[:at]])
        assert deltas == whole[: len(deltas)]
        assert end.complete == (at == told)


@pytest.mark.parametrize(
    "broken",
    [
        frame(3),
        frame([]),
        encode_frame({":event-type": "chunk"}, b'{"bytes":"***"}'),
        encode_frame({":event-type": "chunk"}, b"{}"),
    ],
)
def test_a_chunk_that_holds_no_event_ends_the_stream(broken: bytes) -> None:
    deltas, end = decoded([b"".join(map(frame, EVENTS[:3])) + broken])
    assert deltas[-1].error is not None
    assert deltas[-1].error.outcome == "protocol_error"
    assert not end.complete


def test_an_exception_and_an_error_event_end_the_stream() -> None:
    thrown = encode_frame(
        {":message-type": "exception", ":exception-type": "modelTimeoutException"}, b'{"message":"late"}'
    )
    stated = frame({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    begun = b"".join(map(frame, EVENTS[:3]))
    assert shown(decoded([begun + thrown])[0])[1:] == [("error_event", "modelTimeoutException", "late")]
    assert shown(decoded([begun + stated])[0])[1:] == [("error_event", "overloaded_error", "Overloaded")]


def test_a_written_stream_is_read_back_the_same() -> None:
    deltas, end = decoded([BODY])
    frames = list(WIRE.compose_stream(deltas, id="m", model="c", created=0))
    assert all(len(FrameSplitter().feed(each)) == 1 for each in frames)
    again, closed = decoded(frames)
    before, after = collect(deltas, end), collect(again, closed)
    assert (after.choices, after.usage, closed.id) == (before.choices, before.usage, "m")


def test_a_failure_is_written_as_an_exception() -> None:
    failure = UpstreamError("gone", outcome="reset_mid")
    frames = WIRE.compose_stream([Delta(content="x"), Delta(error=failure)], id="m", model="c", created=0)
    assert shown(decoded(frames)[0]) == [Delta(content="x"), ("error_event", "modelStreamErrorException", "gone")]


def test_a_whole_answer_is_written_as_anthropic_writes_it() -> None:
    completion = WIRE.decode(
        200, {}, json.dumps({**BODY_OF_CLAUDE, "usage": {"input_tokens": 9, "output_tokens": 8}}).encode()
    )
    again = WIRE.decode(200, {}, WIRE.compose(completion).body)
    assert (again.choices, again.usage) == (completion.choices, completion.usage)
