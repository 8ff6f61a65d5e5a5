"""The wires on bytes that Bedrock really sent: every recorded call that one of them recognises.

Second readers: for streams the frames are taken apart here in the plainest way (struct, crc32, json), for whole
answers of Converse litellm's transformation reads the same body.
"""

from __future__ import annotations

import importlib
import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from clawbench.errors import UpstreamError
from clawbench.types import Completion
from clawbench.wires.bedrock_anthropic import BedrockAnthropic
from clawbench.wires.bedrock_converse import BedrockConverse
from clawbench.wires.bedrock_invoke_other import BedrockInvokeOther
from clawbench.wires.collect import collect
from tests.wires.made import offer, pieces_of, shown
from tests.wires.recorded_exchanges import Recorded, numbers, recorded

WIRES = (BedrockAnthropic(), BedrockConverse(), BedrockInvokeOther())

UNDECODED: dict[str, str] = {}
"""Recorded calls that cannot be decoded, each with its reason."""


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRES, lambda wire, call, body: wire.recognises(call, body))


def of(calls: list[Recorded], name: str) -> list[Recorded]:
    return [one for one in calls if one.wire.name == name]


def completion_of(one: Recorded) -> Completion | UpstreamError:
    result = one.outcome()
    if isinstance(result, tuple):
        deltas, end = result
        assert end.complete, one.name
        return collect(deltas, end)
    return result


def test_nearly_every_call_is_decoded_by_one_wire_alone(calls: list[Recorded]) -> None:
    failed = {}
    for one in calls:
        claims = [wire.name for wire in WIRES if wire.recognises(one.call, one.interaction.body)]
        assert claims == [one.wire.name], one.name
        result = completion_of(one)
        if isinstance(result, UpstreamError) and result.outcome in ("protocol_error", "too_large"):
            failed[one.name] = str(result)
    assert failed.keys() == UNDECODED.keys()
    found = {wire.name: len(of(calls, wire.name)) for wire in WIRES}
    for name, least in {"bedrock_anthropic": 27, "bedrock_converse": 34, "bedrock_invoke_other": 9}.items():
        assert found[name] >= least
    assert len(failed) <= 0.03 * len(calls)


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    seen = set()
    for one in calls:
        result = completion_of(one)
        if isinstance(result, UpstreamError):
            assert result.status == one.interaction.status, one.name
            seen.add((result.status, result.outcome))
    assert seen <= {(400, "model_gone"), (400, "rejected"), (403, "auth"), (429, "rate_limited"), (404, "model_gone")}
    assert (400, "model_gone") in seen


def events_in(body: bytes) -> list[dict[str, Any]]:
    """The events of a body, as plainly as they can be read."""
    events, at = [], 0
    while at < len(body):
        total, headers, checksum = struct.unpack_from(">III", body, at)
        assert crc32(body[at : at + 8]) == checksum
        assert crc32(body[at : at + total - 4]) == struct.unpack_from(">I", body, at + total - 4)[0]
        block, value = body[at + 12 : at + 12 + headers], json.loads(body[at + 12 + headers : at + total - 4])
        name = next(
            name
            for name in (
                b"chunk",
                b"messageStart",
                b"contentBlockStart",
                b"contentBlockDelta",
                b"contentBlockStop",
                b"messageStop",
                b"metadata",
            )
            if b":event-type\x07" + struct.pack(">H", len(name)) + name in block
        )
        events.append(json.loads(b64decode(value["bytes"])) if name == b"chunk" else {name.decode(): value})
        at += total
    return events


def plain_reading(body: bytes) -> tuple[str, str, str]:
    """(text, reasoning, arguments of all tool calls) of a stream of any family."""
    text = thought = arguments = ""
    for event in events_in(body):
        piece = event.get("delta") or event.get("contentBlockDelta", {}).get("delta", {})
        text += piece.get("text") or event.get("completion") or event.get("outputText") or ""
        thought += piece.get("thinking") or piece.get("reasoningContent", {}).get("text") or ""
        arguments += piece.get("partial_json") or piece.get("toolUse", {}).get("input") or ""
    return text, thought, arguments


def test_streams_agree_with_a_plain_reading_of_the_same_bytes(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        if one.streamed:
            result = completion_of(one)
            assert isinstance(result, Completion), one.name
            choice = result.choices[0]
            arguments = "".join(call.arguments for call in choice.tool_calls)
            ours = (choice.content or "", choice.reasoning or "", arguments)
            assert ours == plain_reading(one.interaction.body), one.name
            compared += 1
    assert compared >= 14


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Recorded], size: int) -> None:
    for one in calls:
        body = one.interaction.body
        if one.streamed:
            whole, split = one.wire.stream(), one.wire.stream()
            pieces = pieces_of(body, [size] * (len(body) // size))
            assert shown(delta for piece in pieces for delta in split.feed(piece)) == shown(whole.feed(body)), one.name
            assert split.finish() == whole.finish(), one.name


class NoLog:
    """What litellm's transformation wants to tell its log."""

    def post_call(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""


def test_whole_answers_of_converse_are_what_litellm_reads(
    calls: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing it asks the network for prices
    theirs_of = importlib.import_module("litellm.llms.bedrock.chat.converse_transformation").AmazonConverseConfig()
    empty = importlib.import_module("litellm.types.utils").ModelResponse
    http = importlib.import_module("httpx")
    compared = 0
    for one in of(calls, "bedrock_converse"):
        if one.streamed or one.interaction.status != 200:
            continue
        reply = http.Response(200, content=one.interaction.body, headers={"content-type": "application/json"})
        theirs = theirs_of.transform_response(
            model=one.wire.parse(one.call).model,
            raw_response=reply,
            model_response=empty(),
            logging_obj=NoLog(),
            request_data={},
            messages=[],
            optional_params={},
            litellm_params={},
            encoding=None,
        )
        ours = completion_of(one)
        assert isinstance(ours, Completion)
        assert ours.usage is not None
        choice, said = ours.choices[0], theirs.choices[0]
        assert choice.content == (said.message.content or None), one.name
        assert choice.reasoning == getattr(said.message, "reasoning_content", None), one.name
        assert choice.finish_reason == said.finish_reason, one.name
        uses = [
            (use.id, use.function.name, json.loads(use.function.arguments)) for use in said.message.tool_calls or ()
        ]
        assert [(use.id, use.name, json.loads(use.arguments)) for use in choice.tool_calls] == uses, one.name
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (
            theirs.usage.prompt_tokens,
            theirs.usage.completion_tokens,
        ), one.name
        assert (ours.usage.cached_input_tokens or 0) == theirs.usage.prompt_tokens_details.cached_tokens, one.name
        compared += 1
    assert compared >= 18


def test_usage_is_what_the_catalogue_states(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        result = completion_of(one)
        if one.usage is None or isinstance(result, UpstreamError):
            continue
        assert result.usage is not None, one.name
        assert result.usage.raw is not None, one.name
        assert numbers(result.usage.raw) == one.usage, one.name
        compared += 1
    assert compared >= 45


def test_every_answer_of_a_model_states_its_usage(calls: list[Recorded]) -> None:
    """In the body, in a frame, or in the headers: Bedrock always counts."""
    for one in calls:
        result = completion_of(one)
        if isinstance(result, Completion):
            assert result.usage is not None, one.name
            assert result.usage.input_tokens is not None, one.name
            assert result.usage.output_tokens is not None, one.name


def test_recorded_requests_are_written_back_as_they_were(calls: list[Recorded]) -> None:
    """Parsed and written again a request asks for the same: parsing that gives the same request."""
    for one in [*of(calls, "bedrock_anthropic"), *of(calls, "bedrock_converse")]:
        request = one.wire.parse(one.call)
        again = one.wire.encode(request, offer("bedrock", upstream_model=request.model))
        assert one.wire.parse(again) == request, one.name
        before, after = json.loads(one.interaction.request_body), json.loads(again.body)
        assert len(before["messages"]) == len(after["messages"]), one.name
        assert bool(before.get("system")) == bool(after.get("system")), one.name
