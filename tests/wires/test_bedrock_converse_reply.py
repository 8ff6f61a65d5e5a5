"""Bedrock's Converse: whole answers and refusals, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, ToolCall, ToolCallDelta, Usage
from clawbench.wires.bedrock_converse import BedrockConverse
from clawbench.wires.collect import collect
from tests.wires.test_bedrock_converse_request import SIGNED, TEXT, VALUES
from tests.wires.test_bedrock_converse_stream import decoded

WIRE = BedrockConverse()


def reply(*blocks: Any, stop: str = "end_turn", **top: Any) -> bytes:
    message = {"role": "assistant", "content": list(blocks or ({"text": "hi"},))}
    usage = {"inputTokens": 11, "outputTokens": 5, "totalTokens": 16}
    body = {"output": {"message": message}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 7}}
    return json.dumps({**body, **top}).encode()


def test_an_answer_is_read_in_openais_terms() -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Eq=="}}}
    use = {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}
    body = reply(thought, {"text": "hi"}, use, stop="tool_use", serviceTier={"type": "flex"})
    completion = WIRE.decode(200, {"x-amzn-requestid": "r-1"}, body)
    assert (completion.id, completion.service_tier, completion.extra) == ("r-1", "flex", {"metrics": {"latencyMs": 7}})
    assert completion.choices == (
        Choice(
            content="hi",
            reasoning="hm",
            tool_calls=(ToolCall("t", "f", '{"a":1}'),),
            finish_reason="tool_calls",
            extra={"reasoning_details": [SIGNED]},
        ),
    )


@pytest.mark.parametrize(
    ("stop", "word", "noted"),
    [
        ("end_turn", "stop", False),
        ("stop_sequence", "stop", False),
        ("max_tokens", "length", False),
        ("model_context_window_exceeded", "length", False),
        ("content_filtered", "content_filter", False),
        ("guardrail_intervened", "content_filter", False),
        ("malformed_tool_use", "stop", True),
    ],
)
def test_stop_reasons_become_openais_words_and_come_back(stop: str, word: str, noted: bool) -> None:
    completion = WIRE.decode(200, {}, reply(stop=stop))
    assert (completion.choices[0].finish_reason, bool(completion.notes)) == (word, noted)
    assert json.loads(WIRE.compose(completion).body)["stopReason"] == stop


def test_citations_of_pages_become_annotations_and_all_blocks_are_kept() -> None:
    page = {"title": "T", "location": {"web": {"url": "https://h"}}}
    spot = {"location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}
    blocks = [{"text": "See "}, {"citationsContent": {"content": [{"text": "this"}], "citations": [page, spot]}}]
    choice = WIRE.decode(200, {}, reply(*blocks)).choices[0]
    link = {"start_index": 4, "end_index": 8, "url": "https://h", "title": "T"}
    assert choice.content == "See this"
    assert choice.extra == {
        "annotations": [{"type": "url_citation", "url_citation": link}],
        "citations": [spot],
        "bedrock_content": blocks,
    }


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome", "code", "try_next"),
    [
        (
            400,
            {"x-amzn-errortype": "ValidationException:http://x/"},
            b'{"message":"The provided model identifier is invalid."}',
            "model_gone",
            "ValidationException",
            True,
        ),
        (
            400,
            {},
            b'{"__type":"com.amazon#ValidationException","message":"Input is too long for requested model."}',
            "rejected",
            "context_length_exceeded",
            True,
        ),
        (400, {}, b'{"message":"bad field"}', "rejected", None, False),
        (
            400,
            {"x-amzn-errortype": "ServiceQuotaExceededException"},
            b'{"message":"quota"}',
            "rate_limited",
            "ServiceQuotaExceededException",
            True,
        ),
        (
            403,
            {"x-amzn-errortype": "AccessDeniedException:x"},
            b'{"message":"no"}',
            "auth",
            "AccessDeniedException",
            True,
        ),
        (
            404,
            {"x-amzn-errortype": "ResourceNotFoundException"},
            b'{"message":"gone"}',
            "model_gone",
            "ResourceNotFoundException",
            True,
        ),
        (
            424,
            {"x-amzn-errortype": "ModelErrorException"},
            b'{"message":"model broke"}',
            "upstream_5xx",
            "ModelErrorException",
            True,
        ),
        (
            429,
            {"x-amzn-errortype": "ThrottlingException"},
            b'{"message":"Too many tokens"}',
            "rate_limited",
            "ThrottlingException",
            True,
        ),
        (500, {}, b"", "upstream_5xx", None, True),
    ],
)
def test_refusals_are_typed(
    status: int, headers: dict[str, str], body: bytes, outcome: str, code: str | None, try_next: bool
) -> None:
    failure = WIRE.error(status, headers, body)
    assert (failure.outcome, failure.status, failure.code, failure.try_next) == (outcome, status, code, try_next)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"message":"no"}', "error_200"),
        (b"", "protocol_error"),
        (b'{"output":{}}', "protocol_error"),
        (b"x", "protocol_error"),
    ],
)
def test_a_200_that_is_no_answer_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        WIRE.decode(200, {}, body)
    assert caught.value.outcome == outcome


@given(VALUES, VALUES, VALUES)
def test_an_answer_of_any_shape_is_read_or_a_typed_error(content: Any, usage: Any, ending: Any) -> None:
    body = reply(*(content if isinstance(content, list) else [content]), usage=usage, stopReason=ending)
    WIRE.compose(WIRE.decode(200, {}, body))


COMPLETIONS = st.builds(
    lambda content, reasoning, calls, finish: Completion(
        choices=(
            Choice(
                content=content,
                reasoning=reasoning,
                tool_calls=tuple(calls),
                finish_reason=finish,
                extra={"reasoning_details": [{**SIGNED, "text": reasoning}]} if reasoning else None,
            ),
        ),
        id="r-1",
        usage=Usage(input_tokens=9, cached_input_tokens=4, cache_write_tokens=0, output_tokens=3),
    ),
    st.none() | TEXT,
    st.none() | TEXT,
    st.lists(st.builds(ToolCall, TEXT, TEXT, st.sampled_from(["{}", '{"a":1}'])), max_size=2),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)


@given(COMPLETIONS)
def test_answers_and_streams_that_are_written_are_read_back(completion: Completion) -> None:
    written = WIRE.compose(completion)
    back = WIRE.decode(written.status, written.headers, written.body)
    assert (back.choices, back.id) == (completion.choices, completion.id)
    choice = completion.choices[0]
    deltas = [
        Delta(reasoning=choice.reasoning),
        Delta(extra=choice.extra),
        Delta(content=choice.content),
        *(
            Delta(tool_calls=(ToolCallDelta(n, call.id, call.name, call.arguments),))
            for n, call in enumerate(choice.tool_calls)
        ),
        Delta(finish_reason=choice.finish_reason),
        Delta(usage=completion.usage),
    ]
    frames = list(WIRE.compose_stream(deltas, id="x", model="m", created=0))
    read, end = decoded(frames)
    assert collect(read, end).choices == completion.choices
    for usage in (back.usage, end.usage):
        assert usage is not None
        assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (9, 4, 3)
