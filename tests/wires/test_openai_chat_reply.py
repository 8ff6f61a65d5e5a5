"""Whole answers: every shape that imitators send, errors behind a 200, and bytes that are no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from clawbench.errors import UpstreamError
from clawbench.schema import OUTCOMES
from clawbench.types import Choice, Completion, ToolCall
from clawbench.wires.openai_chat import OpenAIChat
from tests.wires.made import LOOSE, MESSAGES, answer

WIRE = OpenAIChat()


def decode(body: bytes) -> Completion:
    return WIRE.decode(200, {}, body)


def attempted(body: bytes) -> Completion | UpstreamError:
    try:
        return decode(body)
    except UpstreamError as error:
        return error


def choice(message: dict[str, Any], finish: str = "stop") -> Choice:
    return decode(answer(message, finish=finish)).choices[0]


def test_a_whole_answer_written_as_a_delta_is_read() -> None:
    completion = decode(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}')
    assert completion.choices == (Choice(content="hi", finish_reason="stop"),)


def test_text_usage_and_what_has_no_place_of_its_own() -> None:
    completion = decode(answer(service_tier="default", system_fingerprint="fp", citations=["https://a"]))
    assert completion.choices == (Choice(content="hi", finish_reason="stop"),)
    assert completion.usage is not None
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (11, 5)
    assert (completion.id, completion.model, completion.created) == ("chatcmpl-1", "m-1", 1_748_764_800)
    assert (completion.service_tier, completion.system_fingerprint) == ("default", "fp")
    assert completion.extra == {"citations": ["https://a"]}
    assert completion.notes == ()


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "so", "content": "hi"},
        {"reasoning": "so", "content": "hi"},
        {"reasoning": "so", "reasoning_content": "so", "content": "hi"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "s"}, {"type": "text", "text": "o"}]},
                {"type": "text", "text": "hi"},
            ]
        },
        {
            "content": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]},
                {"type": "text", "text": "hi"},
            ]
        },
    ],
)
def test_reasoning_is_read_wherever_it_stands(message: dict[str, Any]) -> None:
    assert choice(message) == Choice(content="hi", reasoning="so", finish_reason="stop")


def test_tool_calls_keep_their_arguments_as_the_model_wrote_them() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": tru'}},
        {"function": {"name": "g", "arguments": {"y": 1}}},
        {"id": "c", "function": {"name": "h", "arguments": None}},
    ]
    read = choice({"content": None, "tool_calls": calls}, "tool_calls")
    assert read.content is None
    assert read.tool_calls == (ToolCall("a", "f", '{"x": tru'), ToolCall("", "g", '{"y":1}'), ToolCall("c", "h", ""))


def test_tool_calls_with_one_id_are_passed_on_and_noted() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    completion = decode(answer({"tool_calls": [call, call]}))
    assert len(completion.choices[0].tool_calls) == 2
    assert completion.notes == ("duplicate tool-call ids",)


def test_refusal_audio_images_and_annotations_are_kept() -> None:
    extra = {"audio": {"id": "a"}, "images": [{"type": "image_url"}], "annotations": [{"type": "url_citation"}]}
    read = choice({"content": None, "refusal": "no", **extra})
    assert (read.refusal, read.extra) == ("no", extra)


def test_several_choices_keep_their_numbers() -> None:
    choices = [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        {"message": {"content": "c"}, "finish_reason": "stop", "logprobs": {"content": []}},
    ]
    read = decode(answer(choices=choices)).choices
    assert [(one.index, one.content, one.finish_reason) for one in read] == [(1, "b", "length"), (1, "c", "stop")]
    assert read[1].logprobs == {"content": []}


@pytest.mark.parametrize(
    ("stated", "read"), [("eos", "stop"), ("model_length", "length"), ("END_TURN", "stop"), ("tool_use", "tool_calls")]
)
def test_finish_reasons_become_openais_words(stated: str, read: str) -> None:
    assert choice({}, stated).finish_reason == read


def test_an_unknown_finish_reason_reads_as_stop_and_is_noted() -> None:
    completion = decode(answer(finish="tired"))
    assert completion.choices[0].finish_reason == "stop"
    assert completion.notes == ("finish reason 'tired' read as stop",)


def test_usage_is_found_under_x_groq_and_in_timings() -> None:
    groq = decode(answer(usage=None, x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 4}})).usage
    assert groq is not None
    assert (groq.input_tokens, groq.output_tokens) == (3, 4)
    llama = decode(answer(usage=None, timings={"prompt_n": 1, "cache_n": 83, "predicted_n": 57})).usage
    assert llama is not None
    assert (llama.input_tokens, llama.cached_input_tokens, llama.output_tokens) == (84, 83, 57)


def test_unusable_usage_never_turns_a_paid_answer_into_an_error() -> None:
    body = answer().replace(b'"prompt_tokens": 11', b'"prompt_tokens": NaN')
    completion = decode(body)
    assert completion.choices[0].content == "hi"
    assert completion.usage is not None
    assert completion.usage.input_tokens is None
    assert any(note.startswith("bad_usage") for note in completion.notes)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"message":"m","code":"server_error"}}', "server_error"),
        (b'\n   \n{"error":{"message":"Provider returned error","code":400}}', "400"),
        (b'{"error":"text"}', None),
        (b'[{"error":{"message":"m"}}]', None),
        (b'{"code":"DataInspectionFailed","message":"m","request_id":"r"}', "DataInspectionFailed"),
        (b'{"object":"error","message":"m","type":"internal_server_error"}', "internal_server_error"),
        (b'{"detail":"no"}', None),
        (b'{"choices":[{"index":0,"error":{"message":"m","code":502},"message":{"content":""}}]}', "502"),
        (b'{"choices":[],"error":{"message":"m","type":"t"}}', "t"),
    ],
)
def test_an_error_behind_a_200_is_an_error(body: bytes, code: str | None) -> None:
    with pytest.raises(UpstreamError) as raised:
        decode(body)
    assert (raised.value.outcome, raised.value.code, raised.value.status) == ("error_200", code, 200)
    assert raised.value.try_next == (code != "DataInspectionFailed")


def test_a_filtered_prompt_behind_a_200_is_not_tried_elsewhere() -> None:
    with pytest.raises(UpstreamError) as raised:
        decode(b'{"error":{"message":"filtered","code":"content_filter","status":400}}')
    assert not raised.value.try_next


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"<!DOCTYPE html><p>hi",
        b"{",
        b"[]",
        b"3",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[3]}',
        b'{"choices":{}}',
    ],
)
def test_what_is_no_answer_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(UpstreamError) as raised:
        decode(body)
    assert raised.value.outcome == "protocol_error"
    assert raised.value.try_next


def test_a_blank_completion_that_ended_with_an_error_keeps_its_usage() -> None:
    completion = decode(
        answer({"content": ""}, finish="error", usage={"prompt_tokens": 5, "completion_tokens": 0, "cost": 0})
    )
    assert completion.choices[0].finish_reason == "error"
    assert completion.usage is not None
    assert completion.usage.input_tokens == 5


def test_lone_surrogates_and_invalid_bytes_become_replacement_characters() -> None:
    completion = decode(answer().replace(b'"hi"', b'"x\xff\\ud83d"'))
    assert completion.choices[0].content == "x\ufffd\ufffd"
    assert completion.notes == ("invalid UTF-8 replaced",)


@given(
    st.lists(st.fixed_dictionaries({}, optional={"message": MESSAGES | LOOSE, "index": LOOSE, "finish_reason": LOOSE})),
    st.dictionaries(st.sampled_from(["usage", "model", "id", "created", "error", "x_groq", "object"]), LOOSE),
)
def test_any_answer_decodes_or_is_a_typed_error_and_what_decodes_is_openais_again(
    choices: list[Any], top: dict[str, Any]
) -> None:
    completion = attempted(json.dumps({**top, "choices": choices}).encode())
    if isinstance(completion, UpstreamError):
        assert completion.outcome in OUTCOMES
        return
    composed = json.loads(WIRE.compose(completion).body)
    for one in composed["choices"]:
        one["finish_reason"] = "stop" if one["finish_reason"] == "error" else one["finish_reason"]
        one["message"].pop("annotations", None)  # passed through as the provider wrote them, whatever they are
    ChatCompletion.model_validate(composed)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_a_typed_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        decode(body)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_answer_is_an_answer_or_a_typed_error(place: int, byte: int) -> None:
    body = bytearray(answer({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}))
    body[place % len(body)] = byte
    result = attempted(bytes(body))
    if isinstance(result, UpstreamError):
        assert result.outcome in ("protocol_error", "error_200")
    else:
        assert result.choices
