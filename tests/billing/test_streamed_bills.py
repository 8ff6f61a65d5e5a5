"""Worked bills of streams: usage that is cumulative, repeated, revised, late, partial or missing; and their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.billing.test_hostile_bills import CHAT, CONVERSE, GEMINI, MESSAGES, differing, row

USAGE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
Event = dict[str, Any]
Named = list[Any]


def chunk(text: str | None = None, usage: Any = None, finish: str | None = None, **more: Any) -> Event:
    """A chunk of OpenAI's dialect; without text and reason its choices are empty."""
    delta = {} if text is None else {"content": text}
    choices = [] if text is None and finish is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    stated = {} if usage is None else {"usage": usage}
    return (
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices} | stated | more
    )


def streamed(
    tmp_path: Path, provider: str, api: str, sse: dict[str, Any], outcome: str, usd: str | None
) -> list[tuple[str, ...]]:
    reply = {"status": 200, "body": None, "sse": sse}
    return differing(tmp_path, [row(provider, api, None, outcome, usd, stream=True, mock_response=reply)])


ERROR = {"error": {"message": "boom", "code": 500}}


@pytest.mark.parametrize(
    ("events", "done", "outcome", "usd"),
    [
        ([chunk("a", USAGE), chunk("b", USAGE), chunk(None, CHAT, "stop")], True, "charge", "0.0004"),
        ([chunk("a", CHAT), chunk(None, USAGE, "stop")], True, "charge", "0.00025"),  # revised downward
        ([chunk("a"), chunk(None, None, "stop"), chunk(None, CHAT)], True, "charge", "0.0004"),
        ([chunk(None, CHAT), chunk("a"), chunk(None, None, "stop")], True, "charge", "0.0004"),
        ([chunk("a"), chunk(None, CHAT, "stop")], False, "charge", "0.0004"),
        ([chunk("a", CHAT), chunk(None, {}, "stop")], True, "charge", "0.0004"),
        ([chunk("a", {"prompt_tokens": -1}), chunk(None, CHAT, "stop")], True, "charge", "0.0004"),
        ([chunk("a", CHAT), chunk(None, CHAT | {"prompt_tokens": -1}, "stop")], True, "quarantine", None),
        ([chunk("a", CHAT), chunk(None, {"completion_tokens": 20}, "stop")], True, "estimate_and_flag", None),
        ([chunk("a"), chunk(None, None, "stop")], True, "estimate_and_flag", None),
        ([chunk("a"), chunk("b", CHAT)], False, "estimate_and_flag", None),
        ([chunk("a", CHAT), ERROR], False, "estimate_and_flag", None),
        ([ERROR], False, "release", "0"),
        ([chunk(None, CHAT), ERROR], False, "release_and_flag", "0"),
        ([], False, "release_and_flag", "0"),
    ],
)
def test_streams_of_openai_s_dialect(
    tmp_path: Path, events: list[Event], done: bool, outcome: str, usd: str | None
) -> None:
    assert not streamed(tmp_path, "openai", "chat.completions", {"sse": events, "done": done}, outcome, usd)


def test_groq_s_usage_of_its_own_gives_way_to_a_later_one(tmp_path: Path) -> None:
    own = [chunk("a"), chunk(None, None, "stop", x_groq={"usage": USAGE})]
    for events, usd in ((own, "0.00025"), ([*own, chunk(None, CHAT)], "0.0004")):
        assert not streamed(tmp_path, "groq", "chat.completions", {"sse": events, "done": True}, "charge", usd)


def test_azure_s_first_chunk_says_nothing_and_a_filtered_answer_is_charged(tmp_path: Path) -> None:
    first = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    events = [first, chunk("a"), chunk(None, None, "content_filter"), chunk(None, CHAT)]
    assert not streamed(tmp_path, "azure", "chat.completions", {"sse": events, "done": True}, "charge", "0.0004")


def start(usage: Event | None) -> Named:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []}
    return ["message_start", {"type": "message_start", "message": message | ({"usage": usage} if usage else {})}]


def delta(usage: Event | None) -> Named:
    stated = {"usage": usage} if usage else {}
    return ["message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}} | stated]


STARTED = {"input_tokens": 100, "output_tokens": 1}
TEXT: list[Named] = [
    [
        "content_block_start",
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ],
    [
        "content_block_delta",
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    ],
    ["content_block_stop", {"type": "content_block_stop", "index": 0}],
]
STOP: Named = ["message_stop", {"type": "message_stop"}]
OVERLOADED: Named = ["error", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}]


@pytest.mark.parametrize(
    ("events", "outcome", "usd"),
    [
        ([start(STARTED), *TEXT, delta({"output_tokens": 10}), delta({"output_tokens": 20}), STOP], "charge", "0.0004"),
        (
            [start(STARTED | {"cache_read_input_tokens": 10}), *TEXT, delta(MESSAGES | {"input_tokens": None}), STOP],
            "charge",
            "0.000405",
        ),
        ([start(STARTED), *TEXT, delta(MESSAGES | {"input_tokens": 0}), STOP], "charge", "0.0002"),
        ([start(None), *TEXT, delta({"output_tokens": 20}), STOP], "estimate_and_flag", None),
        ([start(STARTED), *TEXT, delta(None), STOP], "estimate_and_flag", None),
        ([start(STARTED), *TEXT], "estimate_and_flag", None),
        ([start(STARTED), *TEXT, delta({"output_tokens": -20}), STOP], "quarantine", None),
        ([start(STARTED), *TEXT, OVERLOADED], "estimate_and_flag", None),
        ([OVERLOADED], "release", "0"),
        ([start(STARTED), OVERLOADED], "release_and_flag", "0"),
    ],
)
def test_streams_of_anthropic_s(tmp_path: Path, events: list[Named], outcome: str, usd: str | None) -> None:
    assert not streamed(tmp_path, "anthropic", "messages", {"sse_named": events}, outcome, usd)


def google(text: str, usage: Event | None, finish: str | None = None) -> Event:
    candidate: Event = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    candidate |= {"finishReason": finish} if finish else {}
    return {"candidates": [candidate]} | ({"usageMetadata": usage} if usage else {})


PROMPT = {"promptTokenCount": 100, "totalTokenCount": 100}


@pytest.mark.parametrize(
    ("events", "outcome", "usd"),
    [
        ([google("a", PROMPT), google("b", GEMINI, "STOP")], "charge", "0.0004"),
        ([google("a", GEMINI), google("b", None, "STOP")], "charge", "0.0004"),
        ([google("a", PROMPT)], "estimate_and_flag", None),
        ([google("a", None), google("b", None, "STOP")], "estimate_and_flag", None),
        ([{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": PROMPT}], "release_and_flag", "0"),
    ],
)
def test_streams_of_google_s(tmp_path: Path, events: list[Event], outcome: str, usd: str | None) -> None:
    assert not streamed(tmp_path, "gemini", "streamGenerateContent", {"sse": events, "done": False}, outcome, usd)


BEDROCK: list[Named] = [
    ["messageStart", {"role": "assistant"}],
    ["contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "ok"}}],
    ["contentBlockStop", {"contentBlockIndex": 0}],
]
ENDED: Named = ["messageStop", {"stopReason": "end_turn"}]


@pytest.mark.parametrize(
    ("events", "outcome", "usd"),
    [
        ([*BEDROCK, ENDED, ["metadata", {"usage": CONVERSE, "metrics": {"latencyMs": 1}}]], "charge", "0.0004"),
        ([*BEDROCK, ENDED], "estimate_and_flag", None),
        (BEDROCK, "estimate_and_flag", None),
    ],
)
def test_streams_of_bedrock_s(tmp_path: Path, events: list[Named], outcome: str, usd: str | None) -> None:
    assert not streamed(tmp_path, "bedrock", "converse-stream", {"sse_named": events}, outcome, usd)


def test_an_ollama_stream_that_was_cut_is_estimated(tmp_path: Path) -> None:
    said = {"model": "m", "message": {"role": "assistant", "content": "a"}, "done": False}
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    counts = {"prompt_eval_count": 100, "eval_count": 20}
    assert not streamed(tmp_path, "ollama", "api/chat", {"sse": [said, end | counts]}, "charge", "0.0004")
    assert not streamed(tmp_path, "ollama", "api/chat", {"sse": [said]}, "estimate_and_flag", None)
