"""Whole answers of Gemini: text, thoughts, calls, blocks, sources, and what is no answer; and the other side."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.schema import OUTCOMES
from clawbench.types import ChatRequest, Choice, Completion, Offer, ToolCall, Usage
from clawbench.wires.gemini import Gemini
from clawbench.wires.openai_chat_compose import compose_completion
from tests.wires.made import offer

WIRE = Gemini()
USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 5, "totalTokenCount": 16}


def answer(*parts: Any, finish: Any = "STOP", candidate: dict[str, Any] | None = None, **top: Any) -> bytes:
    held = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish, "index": 0, **(candidate or {})}
    body = {"candidates": [held], "usageMetadata": USAGE, "modelVersion": "gemini-x", "responseId": "r1"}
    return json.dumps({**body, **top}).encode()


def decode(body: bytes) -> Completion:
    return WIRE.decode(200, {}, body)


def choice(*parts: Any, finish: Any = "STOP", **candidate: Any) -> Choice:
    return decode(answer(*parts, finish=finish, candidate=candidate)).choices[0]


def test_text_and_what_surrounds_it() -> None:
    completion = decode(answer({"text": "he"}, {"text": "llo"}, createTime="2026-01-15T22:27:38.066749Z", custom=1))
    assert completion.choices == (Choice(content="hello", finish_reason="stop"),)
    assert completion.usage is not None
    assert (completion.usage.input_tokens, completion.usage.output_tokens, completion.usage.raw) == (11, 5, USAGE)
    assert (completion.id, completion.model, completion.created) == ("r1", "gemini-x", 1768516058)
    assert (completion.extra, completion.notes) == ({"custom": 1}, ())


def test_thoughts_are_reasoning_and_signatures_are_kept_with_what_they_signed() -> None:
    got = choice(
        {"text": "hm", "thought": True},
        {"text": "so", "thought": True, "thoughtSignature": "S1=="},
        {"text": "yes", "thoughtSignature": "S2"},
        {"functionCall": {"name": "f", "args": {"a": [1, 2.5]}}, "thoughtSignature": "S3"},
        {"functionCall": {"id": "x9", "name": "g"}},
        {"text": "", "thoughtSignature": "S4"},
    )
    assert (got.content, got.reasoning, got.finish_reason) == ("yes", "hmso", "tool_calls")
    assert got.tool_calls == (ToolCall("call_0_r1", "f", '{"a":[1,2.5]}'), ToolCall("x9", "g", "{}"))
    format = {"format": "google-gemini-v1"}
    assert got.extra == {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "so", "signature": "S1==", **format},
            {"type": "reasoning.encrypted", "data": "S2", **format},
            {"type": "reasoning.encrypted", "data": "S3", "id": "call_0_r1", **format},
            {"type": "reasoning.encrypted", "data": "S4", "at": "end", **format},
        ]
    }


def test_an_answer_goes_back_in_a_follow_up_with_its_signatures_where_they_were() -> None:
    parts = [
        {"text": "so", "thought": True, "thoughtSignature": "S1=="},
        {"text": "yes", "thoughtSignature": "S2"},
        {"functionCall": {"id": "x9", "name": "g", "args": {}}, "thoughtSignature": "S3"},
    ]
    got = choice(*parts)
    calls = [{"id": c.id, "function": {"name": c.name, "arguments": c.arguments}} for c in got.tool_calls]
    message = {"role": "assistant", "content": got.content, "tool_calls": calls, **(got.extra or {})}
    from_client = json.loads(compose_completion(decode(answer(*parts))).body)["choices"][0]["message"]
    for each in (message, from_client):
        sent = json.loads(WIRE.encode(asked_after(each), target()).body)
        assert sent["contents"][1]["parts"] == parts


def asked_after(message: dict[str, Any]) -> ChatRequest:
    return ChatRequest(model="m", messages=[{"role": "user", "content": "x"}, message])


def target() -> Offer:
    return offer("gemini", upstream_model="gemini-3-pro-preview")


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("STOP", "stop"), (1, "stop"), ("stop", "stop"), ("MAX_TOKENS", "length"), (2, "length"),
        ("SAFETY", "content_filter"), (3, "content_filter"), ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter"), ("BLOCKLIST", "content_filter"),
        ("LANGUAGE", "content_filter"), ("OTHER", "content_filter"), ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"), ("NO_IMAGE", "stop"), ("FINISH_REASON_UNSPECIFIED", None), (None, None),
        ("NEVER_HEARD_OF", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(finish: Any, expected: str | None) -> None:
    assert choice({"text": "x"}, finish=finish).finish_reason == expected


def test_a_candidate_stopped_by_a_filter_is_an_answer_with_usage() -> None:
    completion = decode(answer(finish="SAFETY", candidate={"content": {}}))
    assert completion.choices == (Choice(finish_reason="content_filter"),)
    assert completion.usage is not None
    assert completion.notes == ("finish reason SAFETY",)


def test_a_malformed_call_without_output_is_an_error_that_another_offer_may_avoid() -> None:
    with pytest.raises(UpstreamError) as broken:
        choice(finish="MALFORMED_FUNCTION_CALL", finishMessage="Malformed function call: print(")
    error = broken.value
    assert (error.outcome, error.code, error.try_next) == ("error_200", "MALFORMED_FUNCTION_CALL", True)
    assert "print(" in error.message


def test_a_blocked_prompt_is_an_answer_stopped_by_a_filter_with_a_note() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 20}}
    completion = decode(json.dumps(blocked).encode())
    assert completion.choices == (Choice(finish_reason="content_filter"),)
    assert completion.notes == ("prompt blocked: PROHIBITED_CONTENT",)
    assert completion.usage is not None
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (20, None)


def test_grounding_becomes_url_citations_over_characters() -> None:
    text = "Größe: 5 m."
    metadata = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"retrievedContext": {"uri": "https://b"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 9, "endIndex": 13, "text": "5 m."}, "groundingChunkIndices": [0, 1, 7]},
            {"segment": {"endIndex": 7}, "groundingChunkIndices": [0]},
        ],
        "webSearchQueries": ["q"],
    }
    got = choice({"text": text}, groundingMetadata=metadata)
    assert got.extra is not None
    assert got.extra["groundingMetadata"] == metadata
    spans = [annotation["url_citation"] for annotation in got.extra["annotations"]]
    assert [(span["url"], text[span["start_index"] : span["end_index"]]) for span in spans] == [
        ("https://a", "5 m."), ("https://b", "5 m."), ("https://a", "Größe"),
    ]  # fmt: skip


def test_citations_of_both_products() -> None:
    for key in ("citationSources", "citations"):
        metadata = {key: [{"startIndex": 1, "endIndex": 3, "uri": "https://a", "license": "mit"}, {"startIndex": 0}]}
        got = choice({"text": "hello"}, citationMetadata=metadata)
        assert got.extra is not None
        place = {"start_index": 1, "end_index": 3, "url": "https://a", "title": ""}
        assert got.extra["annotations"] == [{"type": "url_citation", "url_citation": place}]
        assert got.extra["citationMetadata"] == metadata


def test_code_images_and_sound() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    ran = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
    png, pcm = base64.b64encode(b"\x89PNG").decode(), base64.b64encode(b"abc").decode()
    got = choice(
        code,
        ran,
        {"inlineData": {"mimeType": "image/png", "data": png}, "thoughtSignature": "S"},
        {"inlineData": {"mimeType": "audio/wav", "data": pcm}},
        {"inlineData": {"mimeType": "audio/wav", "data": pcm}},
    )
    assert got.extra == {
        "code_execution": [code, ran],
        "images": [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}, "thought_signature": "S"}
        ],
        "audio": {"data": base64.b64encode(b"abcabc").decode(), "format": "wav"},
    }


def test_log_probabilities() -> None:
    got = choice(
        {"text": "hi"},
        logprobsResult={
            "chosenCandidates": [{"token": "hi", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "ho", "logProbability": -1}]}],
        },
    )
    top = {"token": "ho", "logprob": -1.0, "bytes": [104, 111]}
    assert got.logprobs == {
        "content": [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": [top]}],
        "refusal": None,
    }


def test_several_candidates() -> None:
    second = {"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS", "index": 1}
    first = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    completion = decode(answer(candidates=[first, second]))
    assert [(c.index, c.content, c.finish_reason) for c in completion.choices] == [(0, "a", "stop"), (1, "b", "length")]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", "protocol_error"),
        (b"<html>", "protocol_error"),
        (b"{}", "protocol_error"),
        (b"[]", "protocol_error"),
        (b'{"candidates":[]}', "protocol_error"),
        (b'{"candidates":[7]}', "protocol_error"),
        (b'{"candidates":[{"content":', "protocol_error"),
        (b"[" * 100_000, "protocol_error"),
        (b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}', "error_200"),
        (b'[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]', "error_200"),
    ],
)
def test_what_is_no_answer_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        decode(body)
    assert (caught.value.outcome, caught.value.status) == (outcome, 200)


def refused(status: int, code: str, message: str, *details: Any) -> UpstreamError:
    said = {"code": status, "message": message, "status": code, "details": list(details)}
    one = WIRE.error(status, {}, json.dumps({"error": said}).encode())
    other = WIRE.error(status, {}, json.dumps([{"error": said}]).encode())
    fields = ("outcome", "code", "message", "retry_after_s", "try_next", "retry_same")
    assert [getattr(one, field) for field in fields] == [getattr(other, field) for field in fields]
    return one


QUOTA = "You exceeded your current quota, please check your plan and billing details."
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.5s"}


def test_a_limit_says_how_long_to_wait_and_whether_waiting_helps() -> None:
    minute = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}
    day = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    error = refused(429, "RESOURCE_EXHAUSTED", QUOTA, minute, RETRY)
    assert (error.outcome, error.code, error.retry_after_s, error.retry_same) == (
        "rate_limited", "RESOURCE_EXHAUSTED", 33.5, True,
    )  # fmt: skip
    assert refused(429, "RESOURCE_EXHAUSTED", QUOTA, day, RETRY).retry_same is False
    assert refused(429, "RESOURCE_EXHAUSTED", QUOTA, {"retryDelay": {"seconds": 7}}).retry_after_s == 7.0
    assert refused(429, "RESOURCE_EXHAUSTED", QUOTA, {"retryDelay": "9999999s"}).retry_after_s == 60.0
    assert refused(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.").retry_same is True


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", ("auth", True)),
        (403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers", ("auth", True)),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ("auth", True)),
        (404, "NOT_FOUND", "models/x is not found for API version v1beta", ("model_gone", True)),
        (400, "INVALID_ARGUMENT", "Function calling is not enabled for models/gemma", ("rejected", True)),
        (400, "INVALID_ARGUMENT", "temperature value of 1000 but the supported range is", ("rejected", False)),
        (500, "INTERNAL", "An internal error has occurred.", ("upstream_5xx", True)),
        (503, "UNAVAILABLE", "The model is overloaded. Please try again later.", ("upstream_5xx", True)),
    ],
)
def test_refusals(status: int, code: str, message: str, expected: tuple[str, bool]) -> None:
    error = refused(status, code, message)
    assert (error.outcome, error.try_next) == expected
    assert (error.status, error.code) == (status, code)


def test_a_prompt_that_is_too_long_is_told_apart() -> None:
    said = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    error = refused(400, "INVALID_ARGUMENT", said)
    assert (error.outcome, error.code, error.try_next) == ("rejected", "context_length_exceeded", True)


@given(st.integers(400, 599), st.binary(max_size=60))
def test_any_bytes_of_a_refusal_give_a_typed_error(status: int, body: bytes) -> None:
    error = WIRE.error(status, {}, body)
    assert error.outcome in OUTCOMES
    assert error.message


LOOSE: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([]) | st.just({})
)
PARTS = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=6) | LOOSE,
        "thought": LOOSE,
        "thoughtSignature": LOOSE,
        "functionCall": LOOSE | st.fixed_dictionaries({}, optional={"name": LOOSE, "args": LOOSE, "id": LOOSE}),
        "inlineData": LOOSE | st.fixed_dictionaries({}, optional={"mimeType": st.just("audio/wav"), "data": LOOSE}),
        "executableCode": LOOSE,
    },
)
CANDIDATES = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "content": LOOSE | st.fixed_dictionaries({}, optional={"parts": LOOSE | st.lists(PARTS, max_size=4)}),
        "finishReason": LOOSE | st.sampled_from(["STOP", "SAFETY", "MALFORMED_FUNCTION_CALL"]),
        "index": LOOSE,
        "logprobsResult": LOOSE | st.just({"chosenCandidates": [7, {"token": 1}], "topCandidates": [3]}),
        "groundingMetadata": LOOSE
        | st.just(
            {
                "groundingChunks": [1, {"web": 2}],
                "groundingSupports": [3, {"segment": {}, "groundingChunkIndices": [0, 1]}],
            }
        ),
        "citationMetadata": LOOSE | st.just({"citations": [1, {"uri": 5}]}),
    },
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "candidates": LOOSE | st.lists(CANDIDATES, max_size=3),
        "promptFeedback": LOOSE | st.just({"blockReason": 4}),
        "usageMetadata": LOOSE | st.just({"promptTokenCount": -1}),
        "modelVersion": LOOSE,
        "responseId": LOOSE,
        "createTime": LOOSE,
        "error": LOOSE,
    },
)


def outcome(body: bytes) -> str:
    try:
        decode(body)
    except UpstreamError as error:
        return error.outcome
    return "ok"


@given(BODIES)
def test_no_body_makes_reading_raise_anything_but_an_upstream_error(body: dict[str, Any]) -> None:
    assert outcome(json.dumps(body).encode()) in ("ok", "error_200", "protocol_error")


COMPLETIONS = st.builds(
    Completion,
    choices=st.tuples(
        st.builds(
            Choice,
            content=st.none() | st.text(min_size=1, max_size=9),
            reasoning=st.none() | st.text(min_size=1, max_size=9),
            tool_calls=st.lists(
                st.builds(ToolCall, st.uuids().map(str), st.text(min_size=1, max_size=5), st.just('{"x":1}')),
                max_size=2,
            ).map(tuple),
            finish_reason=st.sampled_from(["stop", "length", "content_filter"]),
            extra=st.none()
            | st.just(
                {
                    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
                }
            ),
        )
    ),
    id=st.just("r"),
    model=st.just("g"),
    created=st.none() | st.integers(1, 2**31),
    usage=st.none()
    | st.builds(
        Usage, input_tokens=st.integers(0, 99), output_tokens=st.integers(50, 99), reasoning_tokens=st.integers(0, 50)
    ),
)


@given(COMPLETIONS)
def test_what_is_composed_is_read_back_the_same_and_taken_by_googles_client(completion: Completion) -> None:
    reply = WIRE.compose(completion)
    theirs = google.GenerateContentResponse.model_validate_json(reply.body)
    again = WIRE.decode(reply.status, reply.headers, reply.body)
    [one] = completion.choices
    expected = "tool_calls" if one.tool_calls and one.finish_reason == "stop" else one.finish_reason
    [got] = again.choices
    assert (got.content, got.reasoning, got.tool_calls, got.finish_reason, got.extra) == (
        one.content, one.reasoning, one.tool_calls, expected, one.extra,
    )  # fmt: skip
    assert (again.id, again.model, again.created) == (completion.id, completion.model, completion.created)
    assert theirs.candidates is not None
    assert (again.usage is None) == (completion.usage is None)
    if completion.usage is not None and again.usage is not None:
        assert again.usage.output_tokens == completion.usage.output_tokens
        assert theirs.usage_metadata is not None
        assert theirs.usage_metadata.prompt_token_count == completion.usage.input_tokens


def test_a_blocked_prompt_is_composed_as_one() -> None:
    blocked = decode(b'{"promptFeedback":{"blockReason":"SAFETY"}}')
    assert decode(WIRE.compose(blocked).body) == blocked
