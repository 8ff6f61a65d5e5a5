"""Recorded answers of Bedrock beside what AWS's own reader (botocore) and Anthropic's own models make of them.

Streams are taken apart by botocore, frames and checksums included, by the service's own description; bodies of Claude
behind InvokeModel are read by Anthropic's models. What was read is written again, and read by them once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawbench.types import Completion
from clawbench.wires.bedrock_anthropic import BedrockAnthropic
from clawbench.wires.bedrock_converse import BedrockConverse
from clawbench.wires.bedrock_invoke_other import BedrockInvokeOther
from clawbench.wires.collect import collect
from tests.wires.recorded_exchanges import Recorded, recorded

boto = pytest.importorskip("botocore.session")
eventstream = pytest.importorskip("botocore.eventstream")
parsers = pytest.importorskip("botocore.parsers")
anthropic = pytest.importorskip("anthropic.types")

CONVERSE, CLAUDE, OTHER = BedrockConverse(), BedrockAnthropic(), BedrockInvokeOther()

Told = tuple[str, str, list[tuple[str, str, Any]], str | None, tuple[int | None, int | None]]
"""Text, reasoning, calls (id, name, arguments), the provider's stop reason or ours, and tokens in and out."""

REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


@pytest.fixture(scope="module")
def service() -> Any:
    return boto.get_session().get_service_model("bedrock-runtime")


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    found = recorded(shared, (CLAUDE, CONVERSE, OTHER), lambda wire, call, body: wire.recognises(call, body))
    return [one for one in found if one.interaction.status == 200]


def ours_of(one: Recorded) -> Completion:
    result = one.outcome()
    if isinstance(result, tuple):
        return collect(*result)
    assert isinstance(result, Completion), one.name
    return result


def told(ours: Completion) -> Told:
    choice, usage = ours.choices[0], ours.usage
    calls = [(call.id, call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls]
    tokens = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    return choice.content or "", choice.reasoning or "", calls, choice.finish_reason, tokens


class Body:
    """A response's body as botocore wants to read it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self) -> Iterator[bytes]:
        yield self.data


def events_of(service: Any, operation: str, member: str, body: bytes) -> list[dict[str, Any]]:
    """The events of a stream as botocore gives them to whoever calls the service."""
    model = service.operation_model(operation)
    shape = model.output_shape.members[member]
    return list(eventstream.EventStream(Body(body), shape, parsers.EventStreamJSONParser(), model.name))


def whole_by_botocore(service: Any, body: bytes) -> Told:
    shape = service.operation_model("Converse").output_shape
    reply = {"status_code": 200, "headers": {"content-type": "application/json"}, "body": body, "context": {}}
    said = parsers.create_parser("rest-json").parse(reply, shape)
    blocks = said["output"]["message"]["content"]
    thoughts = [block["reasoningContent"].get("reasoningText", {}) for block in blocks if "reasoningContent" in block]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return (
        "".join(block["text"] for block in blocks if "text" in block),
        "".join(thought.get("text", "") for thought in thoughts),
        [(use["toolUseId"], use["name"], use["input"]) for use in uses],
        REASONS[said["stopReason"]],
        tokens_of(said["usage"]),
    )


def tokens_of(usage: dict[str, int]) -> tuple[int, int]:
    """Tokens in, those of the cache among them, and out."""
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    return usage["inputTokens"] + cached, usage["outputTokens"]


def stream_by_botocore(service: Any, body: bytes) -> Told:
    text = thought = ""
    uses: dict[int, list[str]] = {}
    reason, tokens = None, (0, 0)
    for event in events_of(service, "ConverseStream", "stream", body):
        if "contentBlockStart" in event and "toolUse" in event["contentBlockStart"].get("start", {}):
            use = event["contentBlockStart"]["start"]["toolUse"]
            uses[event["contentBlockStart"]["contentBlockIndex"]] = [use["toolUseId"], use["name"], ""]
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            text += delta.get("text", "")
            thought += delta.get("reasoningContent", {}).get("text", "")
            if "toolUse" in delta:
                uses[event["contentBlockDelta"]["contentBlockIndex"]][2] += delta["toolUse"]["input"]
        elif "messageStop" in event:
            reason = REASONS[event["messageStop"]["stopReason"]]
        elif "metadata" in event:
            tokens = tokens_of(event["metadata"]["usage"])
    calls = [(id, name, json.loads(arguments or "{}")) for id, name, arguments in uses.values()]
    return text, thought, calls, reason, tokens


def by_anthropic(service: Any, body: bytes, *, streamed: bool) -> Told:
    if not streamed:
        return of_message(anthropic.Message.model_validate_json(body))
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    for frame in events_of(service, "InvokeModelWithResponseStream", "body", body):
        event = json.loads(frame["chunk"]["bytes"])
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            message["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            partial[event["index"]] = partial.get(event["index"], "") + delta.get("partial_json", "")
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= {key: count for key, count in event["usage"].items() if count is not None}
    for index, text in partial.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return of_message(anthropic.Message.model_validate(message))


def of_message(message: Any) -> Told:
    cached = (message.usage.cache_read_input_tokens or 0) + (message.usage.cache_creation_input_tokens or 0)
    return (
        "".join(block.text for block in message.content if block.type == "text"),
        "".join(block.thinking for block in message.content if block.type == "thinking"),
        [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"],
        REASONS[message.stop_reason],
        (message.usage.input_tokens + cached, message.usage.output_tokens),
    )


def test_answers_of_converse_are_what_botocore_reads(service: Any, calls: list[Recorded]) -> None:
    compared = {True: 0, False: 0}
    for one in calls:
        if one.wire is CONVERSE:
            read = stream_by_botocore if one.streamed else whole_by_botocore
            assert told(ours_of(one)) == read(service, one.interaction.body), one.name
            compared[one.streamed] += 1
    assert compared[False] >= 19
    assert compared[True] >= 8


def test_answers_of_claude_are_what_anthropics_models_read(service: Any, calls: list[Recorded]) -> None:
    compared = {True: 0, False: 0}
    for one in calls:
        if one.wire is CLAUDE:
            expected = by_anthropic(service, one.interaction.body, streamed=one.streamed)
            assert told(ours_of(one)) == expected, one.name
            compared[one.streamed] += 1
    assert compared[False] >= 20
    assert compared[True] >= 5


def test_what_was_read_is_written_again_for_these_readers(service: Any, calls: list[Recorded]) -> None:
    for one in calls:
        ours = ours_of(one)
        result = one.outcome()
        if one.wire is CONVERSE:
            assert whole_by_botocore(service, CONVERSE.compose(ours).body) == told(ours), one.name
        elif one.wire is CLAUDE:
            assert by_anthropic(service, CLAUDE.compose(ours).body, streamed=False) == told(ours), one.name
        if isinstance(result, tuple) and one.wire is not OTHER:
            body = b"".join(one.wire.compose_stream(result[0], id="1", model="m", created=1))
            again = (
                stream_by_botocore(service, body)
                if one.wire is CONVERSE
                else by_anthropic(service, body, streamed=True)
            )
            assert again == told(ours), one.name


def test_streams_of_other_families_are_framed_as_botocore_reads_them(service: Any, calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        if one.wire is OTHER and one.streamed:
            frames = events_of(service, "InvokeModelWithResponseStream", "body", one.interaction.body)
            values = [json.loads(frame["chunk"]["bytes"]) for frame in frames]
            texts = [value.get("outputText") or value.get("generation") or "" for value in values]
            texts += [value.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for value in values]
            texts += [value.get("completion", "") or value.get("text", "") for value in values]
            assert (ours_of(one).choices[0].content or "") == "".join(texts), one.name
            compared += 1
    assert compared >= 5
