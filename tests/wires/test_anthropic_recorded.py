"""The wire on bytes that Anthropic really sent: every recorded call that it recognises, in every format that is read.

The second reader is Anthropic's own client (`Message` for whole answers, its stream accumulator for streams). Where
the two differ, who is right:

- text of several blocks: joined here, a list there; the same text.
- usage of streams with server tools: the client overwrites counts one by one and leaves `cache_creation` of the start
  standing beside a newer aggregate. Ours drops it (`usage/anthropic.py`): the aggregate is what was written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Usage
from clawbench.wires.anthropic import AnthropicMessages
from clawbench.wires.collect import collect
from tests.wires.made import offer, pieces_of, shown
from tests.wires.recorded_exchanges import Recorded, numbers, recorded

WIRE = AnthropicMessages()

UNDECODED: dict[str, str] = {}
"""Recorded calls that cannot be decoded, each with its reason."""


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    return recorded(shared, (WIRE,), lambda wire, call, body: wire.recognises(call, body))


def answer_of(one: Recorded) -> tuple[Choice, Usage | None] | UpstreamError:
    result = one.outcome()
    if isinstance(result, tuple):
        deltas, end = result
        result = collect(deltas, end)
        assert end.complete, one.name
    return (result.choices[0], result.usage) if isinstance(result, Completion) else result


def official(one: Recorded) -> Message:
    body = one.interaction.body
    if not one.streamed:
        return Message.model_validate_json(body)
    reply = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda request: reply))
    client = anthropic.Anthropic(api_key="k", base_url="http://h", max_retries=0, http_client=http)
    with client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()


def test_nearly_every_call_is_decoded(calls: list[Recorded]) -> None:
    failed = {}
    for one in calls:
        result = one.outcome()
        if isinstance(result, UpstreamError) and result.outcome in ("protocol_error", "too_large"):
            failed[one.name] = str(result)
    assert failed.keys() == UNDECODED.keys()
    assert len(calls) >= 59
    assert len(failed) <= 0.03 * len(calls)


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    seen = set()
    for one in calls:
        result = one.outcome()
        if isinstance(result, UpstreamError):
            assert result.status == one.interaction.status, one.name
            seen.add((result.status, result.outcome, result.code))
    assert seen <= {
        (400, "rejected", "invalid_request_error"),
        (400, "rejected", "context_length_exceeded"),
        (401, "auth", "authentication_error"),
        (404, "model_gone", "not_found_error"),
        (429, "rate_limited", "rate_limit_error"),
        (529, "upstream_5xx", "overloaded_error"),
    }
    assert (401, "auth", "authentication_error") in seen


def test_answers_are_what_anthropics_own_client_reads(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        if one.interaction.status != 200:
            continue
        theirs, ours = official(one), answer_of(one)
        assert not isinstance(ours, UpstreamError), one.name
        choice, usage = ours
        texts = [block.text for block in theirs.content if block.type == "text"]
        assert (choice.content or "") == "".join(texts), one.name
        thoughts = [block.thinking for block in theirs.content if block.type == "thinking"]
        assert (choice.reasoning or "") == "".join(thoughts), one.name
        uses = [(block.id, block.name, block.input) for block in theirs.content if block.type == "tool_use"]
        assert [(call.id, call.name, json.loads(call.arguments)) for call in choice.tool_calls] == uses, one.name
        details = (choice.extra or {}).get("reasoning_details", [])
        signatures = [block.signature for block in theirs.content if block.type == "thinking"]
        assert [detail.get("signature", "") for detail in details] == signatures, one.name
        assert usage is not None, one.name
        read, written = theirs.usage.cache_read_input_tokens or 0, theirs.usage.cache_creation_input_tokens or 0
        assert usage.input_tokens == theirs.usage.input_tokens + read + written, one.name
        assert usage.output_tokens == theirs.usage.output_tokens, one.name
        assert (usage.cached_input_tokens or 0, usage.cache_write_tokens or 0) == (read, written), one.name
        compared += 1
    assert compared >= 50


def test_usage_is_what_the_catalogue_states(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        result = answer_of(one)
        if one.usage is None or isinstance(result, UpstreamError):
            continue
        usage = result[1]
        assert usage is not None, one.name
        assert usage.raw is not None, one.name
        stated, ours = one.usage, numbers(usage.raw)
        # The catalogue keeps the split of a stream's start beside the aggregate of its end.
        shared = {name: count for name, count in stated.items() if name in ours}
        assert {name: ours[name] for name in shared} == shared, one.name
        assert all(name.startswith("cache_creation.") for name in stated.keys() - ours.keys()), one.name
        compared += 1
    assert compared >= 45


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Recorded], size: int) -> None:
    for one in calls:
        body = one.interaction.body
        if one.streamed and len(body) <= 60_000:
            whole, split = WIRE.stream(), WIRE.stream()
            pieces = pieces_of(body, [size] * (len(body) // size))
            assert shown(delta for piece in pieces for delta in split.feed(piece)) == shown(whole.feed(body)), one.name
            assert split.finish() == whole.finish(), one.name


def asked_again(one: Recorded) -> tuple[dict[str, Any], dict[str, Any]]:
    """(body as recorded, body as we would write it)."""
    request = WIRE.parse(one.call)
    again = WIRE.encode(request, offer("anthropic", upstream_model=request.model))
    return json.loads(one.interaction.request_body), json.loads(again.body)


SAME = (
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "tool_choice",
    "stop_sequences",
    "container",
)


def test_recorded_requests_are_written_back_as_they_were(calls: list[Recorded]) -> None:
    for one in calls:
        before, after = asked_again(one)
        assert {name: before.get(name) for name in SAME} == {name: after.get(name) for name in SAME}, one.name
        assert [turn["role"] for turn in before["messages"]] == [turn["role"] for turn in after["messages"]], one.name
        assert blocks_of(before) == blocks_of(after), one.name


def blocks_of(body: dict[str, Any]) -> list[Any]:
    """The blocks of all turns in their long form, text joined, without what means nothing.

    That is: `is_error` false, nulls, and the caller that a tool has anyway.
    """
    flat: list[Any] = []
    for turn in body["messages"]:
        content = turn["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            plain = {key: item for key, item in block.items() if item not in (False, None, {"type": "direct"})}
            if flat and flat[-1].keys() == plain.keys() == {"type", "text"} and turn["role"] == "assistant":
                flat[-1] = {**plain, "text": flat[-1]["text"] + plain["text"]}
            else:
                flat.append(plain)
    return flat


def test_recorded_answers_go_back_unchanged_in_a_follow_up(calls: list[Recorded]) -> None:
    """Signatures, server tools and their results byte for byte: the whole content as the API sent it."""
    compared = 0
    for one in calls:
        result = answer_of(one)
        if isinstance(result, UpstreamError) or one.streamed:
            continue
        choice = result[0]
        message = {
            "role": "assistant",
            "content": choice.content,
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in choice.tool_calls
            ],
            **(choice.extra or {}),
        }
        request = WIRE.parse(one.call)
        follow_up = type(request)(model=request.model, messages=[{"role": "user", "content": "x"}, message])
        written = json.loads(WIRE.encode(follow_up, offer("anthropic")).body)
        sent = json.loads(one.interaction.body)
        if sent["content"]:
            bare = {"messages": [{"role": "assistant", "content": sent["content"]}]}
            assert blocks_of({"messages": written["messages"][1:]}) == blocks_of(bare), one.name
            compared += 1
    assert compared >= 20
