"""What clients are sent: the exact frames, and that the official client's models accept them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, StreamEnd, TextRun, ToolCall, ToolCallDelta, Usage
from clawbench.wires.openai_chat import OpenAIChat
from clawbench.wires.openai_chat_compose import StreamEncoder, compose_completion
from tests.wires.made import decoded, shown

WIRE = OpenAIChat()
SPENT = Usage(input_tokens=11, output_tokens=5, cached_input_tokens=2)
USAGE_BODY = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
HEAD = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":['


def encoder(*, include_usage: bool = False) -> StreamEncoder:
    return StreamEncoder(id="c", model="m", created=1, include_usage=include_usage)


def body_of(completion: Completion) -> dict[str, Any]:
    value = json.loads(WIRE.compose(completion).body)
    ChatCompletion.model_validate(value)
    assert isinstance(value, dict)
    return value


def test_a_whole_answer_has_exactly_the_documented_shape() -> None:
    completion = Completion(
        choices=(Choice(content="hi", finish_reason="stop"),), id="c", model="m", created=1, usage=SPENT
    )
    assert body_of(completion) == {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE_BODY,
    }


def test_content_is_null_beside_tool_calls_only_and_tool_calls_are_absent_rather_than_null() -> None:
    calls = (ToolCall("", "f", "{}"), ToolCall("b", "g", "{}"))
    with_calls = body_of(Completion(choices=(Choice(tool_calls=calls),), id="c"))["choices"][0]
    assert with_calls["message"]["content"] is None
    assert with_calls["finish_reason"] == "tool_calls"
    ids = [call["id"] for call in with_calls["message"]["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(ids)
    without = body_of(Completion(choices=(Choice(refusal="no", reasoning="so", extra={"audio": None}),), id="c"))
    message = without["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": "",
        "refusal": "no",
        "reasoning_content": "so",
        "audio": None,
    }


def test_usage_is_null_where_a_count_is_missing_and_further_fields_cannot_replace_ours() -> None:
    completion = Completion(
        choices=(Choice(content="x", extra={"role": "system", "images": [1]}),),
        usage=Usage(input_tokens=3),
        service_tier="on_demand",
        extra={"model": "evil", "citations": ["a"]},
    )
    body = body_of(completion)
    assert (body["usage"], body["model"], body["citations"]) == (None, "", ["a"])
    assert "service_tier" not in body
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "x", "images": [1]}


def test_reasoning_goes_out_under_the_name_that_is_asked_for() -> None:
    reply = compose_completion(Completion(choices=(Choice(reasoning="so"),)), reasoning_text="reasoning")
    assert json.loads(reply.body)["choices"][0]["message"]["reasoning"] == "so"


def test_a_stream_has_exactly_the_documented_frames() -> None:
    frames = encoder(include_usage=True)
    assert frames.open() == HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    call = ToolCallDelta(0, "a", "f", "")
    assert frames.feed(
        [
            Delta(content="hé\n"),
            Delta(reasoning="so"),
            Delta(tool_calls=(call,)),
            Delta(tool_calls=(ToolCallDelta(0, arguments="{}"),)),
            Delta(finish_reason="tool_calls"),
            Delta(usage=SPENT),
        ]
    ) == (
        HEAD
        + '{"index":0,"delta":{"content":"hé\\n"},"finish_reason":null}]}\n\n'.encode()
        + HEAD
        + b'{"index":0,"delta":{"reasoning_content":"so"},"finish_reason":null}]}\n\n'
        + HEAD
        + b'{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function",'
        + b'"function":{"name":"f","arguments":""}}]},"finish_reason":null}]}\n\n'
        + HEAD
        + b'{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}]}\n\n'
    )
    usage = json.dumps(USAGE_BODY, separators=(",", ":")).encode()
    assert frames.finish(StreamEnd(complete=True, finish_reason="tool_calls", usage=SPENT)) == (
        HEAD
        + b'{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n'
        + HEAD
        + b'],"usage":'
        + usage
        + b"}\n\ndata: [DONE]\n\n"
    )


def test_usage_goes_out_only_if_asked_for() -> None:
    end = StreamEnd(complete=True, finish_reason="stop", usage=SPENT)
    assert b"usage" not in encoder().finish(end)
    assert b'"choices":[],"usage":null}' in encoder(include_usage=True).finish(StreamEnd(complete=True))


def test_nothing_but_usage_follows_a_finish_reason() -> None:
    frames = encoder()
    sent = frames.open() + frames.feed([Delta(content="a", finish_reason="length"), Delta(content="late")])
    assert b"length" not in sent
    assert frames.finish(StreamEnd(complete=True, finish_reason="length")).count(b'"finish_reason":"length"') == 1


def test_a_stream_of_calls_whose_provider_gave_no_reason_ends_as_a_whole_answer_does() -> None:
    frames = encoder(include_usage=False)
    frames.feed([Delta(tool_calls=(ToolCallDelta(0, "a", "f", "{}"),)), Delta(index=1, content="x")])
    ends = [
        json.loads(line[6:])["choices"][0] for line in frames.finish().decode().split("\n\n") if '"delta":{}' in line
    ]
    assert [end["finish_reason"] for end in ends] == ["tool_calls", "stop"]


def test_further_choices_begin_with_their_role_and_all_end() -> None:
    frames = encoder()
    sent = frames.open() + frames.feed([Delta(content="a"), Delta(index=1, content="b", finish_reason="length")])
    assert sent.count(b'"role":"assistant"') == 2
    assert frames.finish().count(b'"delta":{},"finish_reason"') == 2


def test_a_broken_stream_ends_with_an_error_object_and_the_end_marker() -> None:
    frames = encoder(include_usage=True)
    frames.open()
    last = frames.fail("gone", request_id="r", usage=SPENT).split(b"\n\n")
    assert json.loads(last[0].removeprefix(b"data: ")) == {
        "id": "c",
        "object": "error",
        "created": 1,
        "model": "m",
        "error": {
            "message": "gone",
            "type": "upstream_error",
            "param": None,
            "code": "upstream_error",
            "request_id": "r",
        },
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
    }
    assert b'"usage":{' in last[1]
    assert last[2:] == [b"data: [DONE]", b""]
    assert encoder(include_usage=True).fail("gone").count(b"\n\n") == 2


def test_a_call_without_an_id_gets_one_once() -> None:
    sent = encoder().feed(
        [
            Delta(tool_calls=(ToolCallDelta(0, None, "f", "1"),)),
            Delta(tool_calls=(ToolCallDelta(0, None, None, "2"),)),
            Delta(tool_calls=(ToolCallDelta(1, "b", None, ""),)),
            Delta(tool_calls=(ToolCallDelta(1, None, "g", ""),)),
        ]
    )
    assert sent.count(b'"id":"call_c_0"') == 1
    assert sent.count(b'"id":"b"') == 1


def test_a_lone_surrogate_is_sent_as_a_replacement_character() -> None:
    assert '"content":"x\ufffd"'.encode() in encoder().feed([Delta(content="x\ud83d")])


def test_many_deltas_are_one_block_of_bytes_and_none_are_none() -> None:
    one, many = encoder(), encoder()
    deltas = [Delta(content=str(number)) for number in range(50)]
    assert many.feed(deltas) == b"".join(one.feed([delta]) for delta in deltas)
    assert encoder().feed([Delta(usage=SPENT), Delta(finish_reason="stop")]) == b""


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_run_of_text_is_sent_as_its_pieces_one_by_one_would_be(pieces: list[str]) -> None:
    one, many = encoder(), encoder()
    together = many.feed([TextRun(pieces), Delta(content="end")])
    assert together == b"".join(one.feed([Delta(content=piece)]) for piece in [*pieces, "end"])


def test_a_composed_stream_that_broke_ends_with_its_error() -> None:
    error = UpstreamError("gone", outcome="error_event", code="c")
    frames = list(WIRE.compose_stream([Delta(content="a"), Delta(error=error)], id="c", model="m", created=1))
    assert frames[-1] == b"data: [DONE]\n\n"
    deltas, end = decoded(frames)
    assert shown(deltas)[1:] == [("error_event", "c", "gone")]
    assert not end.complete


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PIECES = st.one_of(
    TEXT.map(lambda text: Delta(content=text)),
    TEXT.map(lambda text: Delta(reasoning=text)),
    TEXT.map(lambda text: Delta(refusal=text)),
    TEXT.map(lambda text: Delta(content=text, logprobs={"content": []})),
    st.tuples(st.integers(0, 2), TEXT).map(lambda pair: Delta(index=pair[0], content=pair[1])),
)


@given(st.lists(PIECES, max_size=8), st.sampled_from(["stop", "length"]), st.booleans())
def test_composed_frames_read_back_and_the_official_client_takes_them(
    pieces: list[Delta], finish: str, with_usage: bool
) -> None:
    calls = [
        Delta(tool_calls=(ToolCallDelta(0, "a", "f", ""),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments="{}"),)),
    ]
    told = [*pieces, *calls, Delta(finish_reason=finish), *([Delta(usage=SPENT)] if with_usage else [])]
    frames = list(WIRE.compose_stream(told, id="c", model="m", created=1))
    assert frames.pop() == b"data: [DONE]\n\n"
    for frame in frames:
        assert frame.startswith(b"data: ")
        assert frame.count(b"\n") == 2
        ChatCompletionChunk.model_validate_json(frame.removeprefix(b"data: "))
    deltas, end = decoded([*frames, b"data: [DONE]\n\n"])
    assert [delta for delta in deltas if delta.has_output] == [*pieces, *calls]
    assert (end.complete, end.finish_reason, end.usage is not None) == (True, end.finish_reason, with_usage)
    assert finish in [delta.finish_reason for delta in deltas]


CALLS = st.lists(st.builds(ToolCall, id=TEXT, name=TEXT, arguments=TEXT), max_size=2, unique_by=lambda call: call.id)
CHOICES = st.builds(
    Choice,
    content=TEXT,
    reasoning=st.none() | TEXT,
    refusal=st.none() | TEXT,
    tool_calls=CALLS.map(tuple),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    extra=st.none() | st.just({"images": [{"type": "image_url"}]}),
)


@given(st.lists(CHOICES, min_size=1, max_size=3), st.none() | st.just("fp"))
def test_a_composed_answer_reads_back_as_it_was(choices: list[Choice], fingerprint: str | None) -> None:
    numbered = tuple(
        Choice(**{**{name: getattr(choice, name) for name in Choice.__struct_fields__}, "index": place})
        for place, choice in enumerate(choices)
    )
    completion = Completion(choices=numbered, id="c", model="m", created=1, system_fingerprint=fingerprint)
    reply = WIRE.compose(completion)
    ChatCompletion.model_validate_json(reply.body)
    assert WIRE.decode(reply.status, reply.headers, reply.body) == completion


@pytest.mark.parametrize("usage", [None, SPENT, Usage(input_tokens=1, output_tokens=2, cache_write_tokens=1)])
def test_usage_reads_back_as_it_was(usage: Usage | None) -> None:
    completion = Completion(choices=(Choice(content="x"),), usage=usage)
    read = WIRE.decode(200, {}, WIRE.compose(completion).body).usage
    if usage is None:
        assert read is None
    else:
        assert read is not None
        assert (read.input_tokens, read.output_tokens) == (usage.input_tokens, usage.output_tokens)
        assert (read.cached_input_tokens or None) == usage.cached_input_tokens
        assert read.cache_write_tokens == usage.cache_write_tokens
