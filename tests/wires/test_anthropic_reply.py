"""Anthropic's whole answers read and written, with its own client as a second reader; and its refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, ToolCall, Usage
from clawbench.wires.anthropic import AnthropicMessages

WIRE = AnthropicMessages()
USAGE = {"input_tokens": 11, "output_tokens": 5}


def message(*blocks: Any, stop: str | None = "end_turn", **top: Any) -> bytes:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": list(blocks or ({"type": "text", "text": "hi"},)),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
    }
    return json.dumps({**body, **top}).encode()


def read(*blocks: Any, **more: Any) -> tuple[Completion, Choice]:
    completion = WIRE.decode(200, {}, message(*blocks, **more))
    return completion, completion.choices[0]


def test_an_answer_is_read_in_openais_terms() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "Eq=="}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}}
    completion, choice = read(thought, {"type": "text", "text": "hi"}, use, stop="tool_use", container={"id": "c"})
    assert (completion.id, completion.model, completion.extra) == ("msg_1", "claude-x", {"container": {"id": "c"}})
    assert completion.usage is not None
    assert (completion.usage.input_tokens, completion.usage.output_tokens, completion.usage.raw) == (11, 5, USAGE)
    detail = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "signature": "Eq=="}
    assert choice == Choice(
        content="hi",
        reasoning="hm",
        tool_calls=(ToolCall("toolu_1", "f", '{"a":1}'),),
        finish_reason="tool_calls",
        extra={"reasoning_details": [detail]},
    )


@pytest.mark.parametrize(
    ("stop", "word", "kept"),
    [
        ("end_turn", "stop", None),
        ("max_tokens", "length", None),
        ("tool_use", "tool_calls", None),
        ("stop_sequence", "stop", {"stop_reason": "stop_sequence"}),
        ("pause_turn", "stop", {"stop_reason": "pause_turn"}),
        ("refusal", "content_filter", None),
        ("model_context_window_exceeded", "length", {"stop_reason": "model_context_window_exceeded"}),
        (None, None, None),
    ],
)
def test_stop_reasons_become_openais_words_and_keep_what_those_do_not_say(stop: str, word: str, kept: Any) -> None:
    completion, choice = read(stop=stop)
    assert (choice.finish_reason, choice.extra) == (word, kept)
    assert completion.notes == ()
    if stop is not None:
        assert json.loads(WIRE.compose(completion).body)["stop_reason"] == stop


def test_a_refusal_keeps_its_details_and_is_billed() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    completion, choice = read(stop="refusal", stop_details=details)
    assert choice.extra == {"stop_details": details}
    assert completion.usage is not None


def test_an_unknown_stop_reason_reads_as_stop_with_a_note() -> None:
    completion, choice = read(stop="moonrise")
    assert (choice.finish_reason, completion.notes) == ("stop", ("stop reason 'moonrise' read as stop",))


def test_citations_of_pages_become_annotations_and_all_blocks_are_kept() -> None:
    page = {"type": "web_search_result_location", "url": "https://h", "title": "T", "encrypted_index": "x"}
    spot = {"type": "char_location", "document_index": 0, "start_char_index": 0, "end_char_index": 3}
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "See "},
        {"type": "text", "text": "this", "citations": [page, spot]},
    ]
    completion, choice = read(*blocks)
    link = {"start_index": 4, "end_index": 8, "url": "https://h", "title": "T"}
    assert choice.content == "See this"
    assert choice.extra == {
        "annotations": [{"type": "url_citation", "url_citation": link}],
        "citations": [spot],
        "anthropic_content": blocks,
    }
    assert json.loads(WIRE.compose(completion).body)["content"] == blocks


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b", "signature": "c"}],
        [{"type": "tool_use", "id": "t", "name": "f", "input": {}}, {"type": "text", "text": "a"}],
        [{"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "code_execution_20260120"}}],
        [{"type": "code_execution_tool_result", "tool_use_id": "t", "content": {}}],
        [{"type": "something_new", "x": 1}],
    ],
)
def test_blocks_that_openais_fields_cannot_rebuild_are_kept_whole(blocks: list[Any]) -> None:
    _, choice = read(*blocks)
    assert choice.extra is not None
    assert choice.extra["anthropic_content"] == blocks


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "error_200"),
        (b'{"choices":[]}', "protocol_error"),
        (b"<html>", "protocol_error"),
        (b"", "protocol_error"),
        (b"[]", "protocol_error"),
        (b'{"content":' + b"[" * 70 + b"]" * 70 + b"}", "protocol_error"),
    ],
)
def test_a_200_that_is_no_answer_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        WIRE.decode(200, {}, body)
    assert caught.value.outcome == outcome


def error(kind: str, text: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code", "try_next"),
    [
        (401, error("authentication_error", "invalid x-api-key"), "auth", "authentication_error", True),
        (403, error("permission_error", "no"), "auth", "permission_error", True),
        (404, error("not_found_error", "model: x"), "model_gone", "not_found_error", True),
        (413, error("request_too_large", "too large"), "rejected", "request_too_large", True),
        (429, error("rate_limit_error", "slow"), "rate_limited", "rate_limit_error", True),
        (500, error("api_error", "oops"), "upstream_5xx", "api_error", True),
        (529, error("overloaded_error", "Overloaded"), "upstream_5xx", "overloaded_error", True),
        (400, error("invalid_request_error", "bad"), "rejected", "invalid_request_error", False),
        (
            400,
            error("invalid_request_error", "prompt is too long: 3 tokens > 2 maximum"),
            "rejected",
            "context_length_exceeded",
            True,
        ),
        (
            400,
            error("invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 9 > 10"),
            "rejected",
            "context_length_exceeded",
            True,
        ),
        (
            400,
            error("invalid_request_error", "Your credit balance is too low to access the API."),
            "auth",
            "invalid_request_error",
            True,
        ),
        (
            400,
            error("invalid_request_error", "Output blocked by content filtering policy"),
            "filtered",
            "invalid_request_error",
            False,
        ),
    ],
)
def test_refusals_are_typed(status: int, body: bytes, outcome: str, code: str, try_next: bool) -> None:
    failure = WIRE.error(status, {}, body)
    assert (failure.outcome, failure.status, failure.code, failure.try_next) == (outcome, status, code, try_next)


LIMITS = {
    "date": "Tue, 14 Jan 2025 22:01:30 GMT",
    "anthropic-ratelimit-requests-remaining": "10",
    "anthropic-ratelimit-requests-reset": "2025-01-14T22:02:10Z",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2025-01-14T22:01:35Z",
}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "12", **LIMITS}, 12),
        (LIMITS, 5),
        ({**LIMITS, "anthropic-ratelimit-tokens-remaining": "3"}, 40),
        ({**LIMITS, "anthropic-ratelimit-tokens-reset": "2025-01-15T22:01:35Z"}, 60),
        ({name: value for name, value in LIMITS.items() if name != "date"}, None),
        ({**LIMITS, "anthropic-ratelimit-tokens-reset": "soon", "anthropic-ratelimit-requests-reset": ""}, None),
    ],
)
def test_the_wait_is_that_of_the_exhausted_limit(headers: dict[str, str], wait_s: float | None) -> None:
    assert WIRE.error(429, headers, error("rate_limit_error", "slow")).retry_after_s == wait_s


TEXT = st.text(min_size=1, max_size=12)
COMPLETIONS = st.builds(
    lambda content, reasoning, calls, finish, usage: Completion(
        choices=(
            Choice(
                content=content,
                reasoning=reasoning,
                tool_calls=tuple(calls),
                finish_reason=finish,
                extra={
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": reasoning, "format": "anthropic-claude-v1", "signature": "s"}
                    ]
                }
                if reasoning
                else None,
            ),
        ),
        id="msg_7",
        model="claude-x",
        usage=usage,
    ),
    st.none() | TEXT,
    st.none() | TEXT,
    st.lists(st.builds(ToolCall, TEXT, TEXT, st.sampled_from(["{}", '{"a":1}', '{"b":[true]}'])), max_size=2),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.builds(
        lambda fresh, read, written, output: Usage(
            input_tokens=fresh + read + written,
            cached_input_tokens=read,
            cache_write_tokens=written,
            output_tokens=output,
        ),
        *[st.integers(0, 999)] * 4,
    ),
)


@given(COMPLETIONS)
def test_what_is_written_is_read_back_and_taken_by_the_official_client(completion: Completion) -> None:
    reply = WIRE.compose(completion)
    read_back = WIRE.decode(reply.status, reply.headers, reply.body)
    assert read_back.choices == completion.choices
    assert (read_back.id, read_back.model) == (completion.id, completion.model)
    assert read_back.usage is not None
    assert completion.usage is not None
    for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"):
        assert getattr(read_back.usage, name) == getattr(completion.usage, name)
    official = Message.model_validate_json(reply.body)
    assert "".join(block.text for block in official.content if block.type == "text") == (
        completion.choices[0].content or ""
    )


BLOCKS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "citations", "input", "id", "name", "thinking", "signature", "url", "data"]
            ),
            inner | st.sampled_from(["text", "tool_use", "thinking", "redacted_thinking"]),
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(BLOCKS, BLOCKS, BLOCKS)
def test_an_answer_of_any_shape_is_read_or_a_typed_error(content: Any, usage: Any, stop: Any) -> None:
    body = message(content=content if isinstance(content, list) else [content], usage=usage, stop=stop)
    WIRE.compose(WIRE.decode(200, {}, body))


@given(st.binary(max_size=80), st.integers(200, 599))
def test_bytes_of_any_kind_are_a_typed_error(body: bytes, status: int) -> None:
    with pytest.raises(UpstreamError):
        WIRE.decode(status, {}, body)
    assert len(WIRE.error(status, {}, body).message) <= 200
