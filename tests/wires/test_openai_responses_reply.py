"""Whole answers of the Responses API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Completion, ToolCall
from clawbench.wires.openai_responses import OpenAIResponses
from clawbench.wires.openai_responses_items import TEXT_HERE
from tests.wires.made_responses import CALL, FIELDS, JUNK, USAGE, body, message

WIRE = OpenAIResponses()


def read(*output: dict[str, Any], **top: Any) -> Completion:
    return WIRE.decode(200, {}, json.dumps(body(*output, **top)).encode())


def refused(value: dict[str, Any], *, http_status: int = 200) -> UpstreamError:
    with pytest.raises(UpstreamError) as error:
        WIRE.decode(http_status, {}, json.dumps(value).encode())
    return error.value


def test_an_answer_with_text_reasoning_and_a_call() -> None:
    answer = read(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "think"}]},
        message("a", "b", phase="commentary"),
        CALL,
        service_tier="default",
        metadata={"system_fingerprint": "fp"},
        tool_usage={"web_search": {"num_requests": 1}},
    )
    choice = answer.choices[0]
    assert (choice.content, choice.reasoning, choice.finish_reason) == ("ab", "think", "tool_calls")
    assert choice.tool_calls == (ToolCall("call_1", "f", '{"a":1}'),)
    assert choice.extra == {
        "reasoning_details": [
            {
                "type": "reasoning.summary",
                "summary": "think",
                "format": "openai-responses-v1",
                "index": 0,
                "id": "rs_1",
            }
        ],
        "phase": "commentary",
    }
    assert (answer.id, answer.model, answer.created) == ("resp_1", "m-1", 1_748_764_800)
    assert (answer.service_tier, answer.system_fingerprint) == ("default", "fp")
    assert answer.extra == {"tool_usage": {"web_search": {"num_requests": 1}}}
    assert answer.usage is not None
    assert answer.usage.raw == USAGE


def test_citations_point_into_the_whole_content() -> None:
    cited = message("see b", "c")
    cited["content"][1]["annotations"] = [
        {"type": "url_citation", "url": "https://h", "title": "t", "start_index": 0, "end_index": 1},
        {"type": "file_citation", "file_id": "f", "index": 0, "filename": "a.txt"},
    ]
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    answer = read(message("first"), search, cited)
    choice = answer.choices[0]
    assert choice.content == "first\n\nsee bc"
    assert choice.extra is not None
    (citation,) = choice.extra["annotations"]
    where = citation["url_citation"]
    assert choice.content[where["start_index"] : where["end_index"]] == "c"
    assert (where["url"], where["title"]) == ("https://h", "t")
    assert choice.extra["file_citation"][0]["file_id"] == "f"
    assert choice.extra["output_items"] == [TEXT_HERE, search]


@pytest.mark.parametrize(
    ("top", "reason", "notes"),
    [
        ({}, "stop", ()),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length", ()),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter", ()),
        ({"status": "incomplete"}, "length", ("incomplete because of 'None' read as length",)),
        ({"status": "complete"}, "stop", ("status 'complete' read as completed",)),
    ],
)
def test_how_an_answer_ended(top: dict[str, Any], reason: str, notes: tuple[str, ...]) -> None:
    answer = read(message("a"), **top)
    assert (answer.choices[0].finish_reason, answer.notes) == (reason, notes)


def test_a_refusal_and_a_custom_tools_call() -> None:
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"}
    choice = read(refusal, custom).choices[0]
    assert (choice.content, choice.refusal) == (None, "no")
    assert choice.tool_calls == (ToolCall("c", "sh", "ls"),)


def test_failures_behind_a_200_are_typed() -> None:
    failed = body(status="failed", error={"code": "rate_limit_exceeded", "message": "try again in 5s"})
    error = refused(failed)
    assert (error.outcome, error.code, error.retry_after_s, error.status) == (
        "error_200",
        "rate_limit_exceeded",
        5.0,
        200,
    )
    too_long = {"code": "context_length_exceeded", "message": "too long"}
    assert refused(body(status="failed", error=too_long)).code == "context_length_exceeded"
    assert refused(body(status="cancelled")).outcome == "error_200"
    assert refused({"error": {"message": "no"}}).outcome == "error_200"
    assert refused(body(status="in_progress")).outcome == "protocol_error"
    assert refused({"object": "response"}).outcome == "protocol_error"
    assert refused({"error": {"message": "slow down"}}, http_status=429).outcome == "rate_limited"
    for odd in (b"", b"<html>", b"[]", b"3", b'{"output":{}}'):
        with pytest.raises(UpstreamError, match=r"answer|Unreadable"):
            WIRE.decode(200, {}, odd)


@given(st.lists(JUNK, max_size=4), st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4))
def test_answers_of_any_shape_are_read_or_a_typed_error(output: list[Any], top: dict[str, Any]) -> None:
    try:
        answer = WIRE.decode(200, {}, json.dumps({"status": "completed", "output": output, **top}).encode())
    except UpstreamError:
        return
    assert WIRE.compose(answer).status == 200


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_no_answer_but_a_typed_error(data: bytes) -> None:
    with pytest.raises(UpstreamError):
        WIRE.decode(200, {}, data)
    assert WIRE.error(500, {}, data).outcome == "upstream_5xx"
