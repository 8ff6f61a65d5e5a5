"""Bodies of other families behind InvokeModel, read: Titan, Nova, Cohere, Llama, Mistral, old Claudes."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, HttpCall, StreamEnd, ToolCall, Usage
from clawbench.wires.bedrock_invoke_other import BedrockInvokeOther
from clawbench.wires.collect import collect
from clawbench.wires.event_stream import encode_frame
from tests.wires.made import offer, pieces_of

WIRE = BedrockInvokeOther()
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 8, "outputTokenCount": 3}}
HEADERS = {"x-amzn-bedrock-input-token-count": "8", "x-amzn-bedrock-output-token-count": "3"}
ASKED = {"role": "user", "content": "hi"}


def call(model: str, body: Any, operation: str = "invoke") -> HttpCall:
    return HttpCall(
        method="POST", url=f"https://h/model/{model}/{operation}", headers={}, body=json.dumps(body).encode()
    )


def counts(usage: Usage | None) -> tuple[int | None, int | None] | None:
    return None if usage is None else (usage.input_tokens, usage.output_tokens)


FAMILIES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, str], str, tuple[int, int]]] = [
    (
        "amazon.titan-text-express-v1",
        {
            "inputText": "hi",
            "textGenerationConfig": {"maxTokenCount": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
        },
        {"inputTextTokenCount": 8, "results": [{"tokenCount": 3, "outputText": "yo", "completionReason": "LENGTH"}]},
        {},
        "length",
        (8, 3),
    ),
    (
        "amazon.nova-micro-v1%3A0",
        {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "inferenceConfig": {"max_new_tokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
        },
        {
            "output": {"message": {"content": [{"text": "yo"}]}},
            "stopReason": "max_tokens",
            "usage": {"inputTokens": 8, "outputTokens": 3},
        },
        {},
        "length",
        (8, 3),
    ),
    (
        "anthropic.claude-v2",
        {"prompt": "hi", "max_tokens_to_sample": 9, "temperature": 0.5, "top_p": 1, "stop_sequences": ["x"]},
        {"completion": "yo", "stop_reason": "stop_sequence", "stop": "x"},
        HEADERS,
        "stop",
        (8, 3),
    ),
    (
        "cohere.command-text-v14",
        {"prompt": "hi", "max_tokens": 9, "temperature": 0.5, "p": 1, "stop_sequences": ["x"]},
        {"id": "g", "generations": [{"id": "g", "text": "yo", "finish_reason": "COMPLETE"}], "prompt": "hi"},
        HEADERS,
        "stop",
        (8, 3),
    ),
    (
        "cohere.command-r-v1%3A0",
        {"message": "hi", "max_tokens": 9, "temperature": 0.5, "p": 1, "stop_sequences": ["x"]},
        {"generation_id": "g", "text": "yo", "finish_reason": "MAX_TOKENS", "chat_history": []},
        HEADERS,
        "length",
        (8, 3),
    ),
    (
        "meta.llama3-8b-instruct-v1%3A0",
        {"prompt": "hi", "max_gen_len": 9, "temperature": 0.5, "top_p": 1, "stop": ["x"]},
        {"generation": "yo", "prompt_token_count": 8, "generation_token_count": 3, "stop_reason": "stop"},
        {},
        "stop",
        (8, 3),
    ),
    (
        "mistral.mistral-7b-instruct-v0%3A2",
        {"prompt": "hi", "max_tokens": 9, "temperature": 0.5, "top_p": 1, "stop": ["x"]},
        {"outputs": [{"text": "yo", "stop_reason": "length"}]},
        HEADERS,
        "length",
        (8, 3),
    ),
    (
        "ai21.j2-mid-v1",
        {"prompt": "hi", "maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
        {"id": 1, "completions": [{"data": {"text": "yo"}, "finishReason": {"reason": "endoftext"}}]},
        HEADERS,
        "stop",
        (8, 3),
    ),
    (
        "openai.gpt-oss-20b-1%3A0",
        {"messages": [ASKED], "max_completion_tokens": 9, "temperature": 0.5, "top_p": 1, "stop": ["x"]},
        {
            "choices": [{"message": {"content": "yo"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11},
        },
        {},
        "stop",
        (8, 3),
    ),
]


@pytest.mark.parametrize(("model", "asked", "reply", "headers", "finish", "tokens"), FAMILIES)
def test_each_familys_request_and_answer_are_read(
    model: str, asked: Any, reply: Any, headers: dict[str, str], finish: str, tokens: tuple[int, int]
) -> None:
    recorded = call(model, asked)
    assert WIRE.recognises(recorded, json.dumps(reply).encode())
    request = WIRE.parse(recorded)
    assert request.messages == [ASKED]
    said = (request.max_output_tokens, request.temperature, request.top_p, request.stop, request.stream)
    assert said == (9, 0.5, 1, ["x"], False)
    assert "%" not in request.model
    completion = WIRE.decode(200, headers, json.dumps(reply).encode())
    choice = completion.choices[0]
    assert (choice.content, choice.finish_reason, counts(completion.usage)) == ("yo", finish, tokens)
    assert completion.notes == ()


def chunk(event: Any) -> bytes:
    payload = {"bytes": b64encode(json.dumps(event).encode()).decode()}
    return encode_frame({":event-type": "chunk", ":message-type": "event"}, json.dumps(payload).encode())


STREAMS: list[tuple[list[Any], str]] = [
    ([{"outputText": "yo", "index": 0, "completionReason": "FINISH", **METRICS}], "stop"),
    (
        [
            {"completion": "y", "stop_reason": None},
            {"completion": "o"},
            {"completion": "", "stop_reason": "max_tokens", **METRICS},
        ],
        "length",
    ),
    ([{"is_finished": False, "text": "yo"}, {"is_finished": True, "finish_reason": "COMPLETE", **METRICS}], "stop"),
    (
        [
            {"event_type": "text-generation", "text": "yo"},
            {"event_type": "stream-end", "text": "yo", "finish_reason": "COMPLETE", **METRICS},
        ],
        "stop",
    ),
    ([{"generation": "yo", "stop_reason": None}, {"generation": "", "stop_reason": "length", **METRICS}], "length"),
    (
        [
            {"outputs": [{"text": "yo", "stop_reason": None}]},
            {"outputs": [{"text": "", "stop_reason": "stop"}], **METRICS},
        ],
        "stop",
    ),
    (
        [{"choices": [{"delta": {"content": "yo"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}], **METRICS}],
        "stop",
    ),
    (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "yo"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 8, "outputTokens": 3}}, **METRICS},
        ],
        "stop",
    ),
]


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


@pytest.mark.parametrize(("events", "finish"), STREAMS)
def test_each_familys_stream_is_read(events: list[Any], finish: str) -> None:
    body = b"".join(map(chunk, events))
    deltas, end = decoded([body])
    assert "".join(delta.content or "" for delta in deltas) == "yo"
    assert (end.complete, end.finish_reason, counts(end.usage)) == (True, finish, (8, 3))
    assert decoded(pieces_of(body, [7] * (len(body) // 7))) == (deltas, end)
    for at in range(0, len(body), 5):
        cut = decoded([body[:at]])
        assert cut[0] == deltas[: len(cut[0])]


def test_tool_calls_in_a_stream_of_openais_shape_are_told_apart() -> None:
    def piece(*calls: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"choices": [{"delta": {"tool_calls": list(calls)}, "finish_reason": finish}]}

    def part(text: str, **more: Any) -> dict[str, Any]:
        return {"function": {"arguments": text, **more.pop("function", {})}, **more}

    chunks = [
        piece(part("{", index=0, id="a", function={"name": "f"}), part("", index=1, id="b", function={"name": "g"})),
        piece(part("}", index=0)),
        piece(part("[]", index=1), finish="tool_calls"),
        METRICS,
    ]
    deltas, end = decoded(map(chunk, chunks))
    calls = collect(deltas, end).choices[0].tool_calls
    assert calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]"))
    assert (end.complete, end.finish_reason) == (True, "tool_calls")


def test_a_history_of_coheres_is_read() -> None:
    body = {
        "message": "and?",
        "preamble": "be brief",
        "chat_history": [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}],
    }
    assert [(turn["role"], turn["content"]) for turn in WIRE.parse(call("cohere.command-r", body)).messages] == [
        ("system", "be brief"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "and?"),
    ]


@pytest.mark.parametrize(
    ("model", "body", "reply"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "x"}, b'{"embedding":[1]}'),
        ("some-model", {"inputText": "x"}, b'{"embedding":[1]}'),
        ("amazon.titan-image-generator-v1", {"prompt": "x"}, b""),
        ("cohere.rerank-v3", {"message": "x"}, b""),
        ("anthropic.claude-v2", {"messages": [ASKED], "anthropic_version": "bedrock-2023-05-31"}, b""),
        ("amazon.titan", {"taskType": "x"}, b""),
    ],
)
def test_calls_that_are_no_chat_or_another_wires_are_not_claimed(model: str, body: Any, reply: bytes) -> None:
    assert not WIRE.recognises(call(model, body), reply)


def test_nothing_is_written() -> None:
    with pytest.raises(UpstreamError, match="only read"):
        WIRE.encode(ChatRequest(model="m", messages=[ASKED]), offer("bedrock"))
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose(Completion(choices=()))
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose_stream([], id="x", model="m", created=0)


@pytest.mark.parametrize(
    ("body", "outcome"), [(b'{"message":"no"}', "error_200"), (b"", "protocol_error"), (b'{"x":1}', "protocol_error")]
)
def test_a_200_that_is_no_answer_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        WIRE.decode(200, {}, body)
    assert caught.value.outcome == outcome


KEYS = [
    "results",
    "generations",
    "outputs",
    "choices",
    "text",
    "completion",
    "outputText",
    "message",
    "delta",
    "tool_calls",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*KEYS, "stop_reason", "usage"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "usage", "id", "model", "metadata", "contentBlockDelta", *METRICS]), VALUES, max_size=4
    )
)
def test_an_answer_of_any_shape_is_read_or_a_typed_error(value: dict[str, Any]) -> None:
    decoded([chunk(value)])
    try:
        completion = WIRE.decode(200, {}, json.dumps(value).encode())
    except UpstreamError:
        return
    assert len(completion.choices) == 1


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_a_value_error(body: bytes) -> None:
    recorded = HttpCall(method="POST", url="https://h/model/m/invoke", headers={}, body=body)
    if not WIRE.recognises(recorded, b""):
        with pytest.raises(ValueError, match="body"):
            WIRE.parse(recorded)
