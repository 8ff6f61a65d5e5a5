"""The wire on bytes that Google really sent: every recorded call that it recognises, in every format that is read.

The second reader is Google's own client (google-genai, over a transport that gives it the recorded bytes). Where the
two differ, who is right:

- answers with proto enums as numbers (`$alt=json;enum-encoding=int`): the client takes names only, so these are left
  out of the comparison; their text is compared with the JSON itself.
- a body that is one JSON array: the client reads events only, so the elements are given to it as events.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types as google

from clawbench.cassettes.matching import differences
from clawbench.cassettes.understanding import Understood
from clawbench.types import ChatRequest
from clawbench.wires.gemini import Gemini
from tests.wires.made import offer, pieces_of, shown
from tests.wires.recorded_calls import Recorded, numbers, recorded

WIRE = Gemini()

UNDECODED: dict[str, str] = {}
"""Recorded calls that cannot be decoded, each with its reason.

Not recognised at all: vertexai_generate_content_score.yaml, whose recorder kept no request body.
"""


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRE)


def test_nearly_every_call_is_decoded(calls: list[Recorded]) -> None:
    failed = {one.name: one.read.reason for one in calls if not isinstance(one.read, Understood)}
    assert failed.keys() == UNDECODED.keys()
    assert len(calls) >= 129
    assert len(failed) <= 0.03 * len(calls)


def test_every_success_brings_something_and_ends(calls: list[Recorded]) -> None:
    for one in calls:
        answer, completion = one.understood.answer, one.completion
        assert answer.outcome not in ("truncated", "protocol_error"), one.name
        if completion is not None:
            choice = completion.choices[0]
            assert choice.finish_reason in ("stop", "length", "tool_calls"), one.name
            cut_in_thought = choice.finish_reason == "length" and choice.extra
            assert choice.content or choice.tool_calls or choice.extra or cut_in_thought, one.name
            assert completion.usage is not None, one.name
            assert not [note for note in completion.notes if note.startswith("bad_usage")], one.name


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    seen = {
        (error.status, error.outcome, error.code) for one in calls if (error := one.understood.answer.error) is not None
    }
    assert seen <= {
        (400, "auth", "INVALID_ARGUMENT"),
        (400, "rejected", "INVALID_ARGUMENT"),
        (400, "rejected", "context_length_exceeded"),
        (403, "auth", "PERMISSION_DENIED"),
        (404, "model_gone", "NOT_FOUND"),
        (429, "rate_limited", "RESOURCE_EXHAUSTED"),
        (500, "upstream_5xx", "INTERNAL"),
        (503, "upstream_5xx", "UNAVAILABLE"),
    }
    assert (429, "rate_limited", "RESOURCE_EXHAUSTED") in seen


def has_numeric_enums(body: bytes) -> bool:
    return b'"finishReason": 1' in body


class Official:
    """Google's client over a transport that answers with the bytes at hand."""

    def __init__(self) -> None:
        self.body = b""
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=self.body))
        options = google.HttpOptions(base_url="http://h", httpx_client=httpx2.Client(transport=transport))
        self.models = genai.Client(api_key="k", http_options=options).models

    def read(self, one: Recorded) -> list[google.GenerateContentResponse]:
        self.body = one.interaction.body
        if self.body.lstrip()[:1] == b"[":
            elements = json.loads(self.body)
            self.body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in elements)
        if one.understood.request.stream:
            return list(self.models.generate_content_stream(model="m", contents="x"))
        return [self.models.generate_content(model="m", contents="x")]


def test_answers_are_what_googles_own_client_reads(calls: list[Recorded]) -> None:
    compared, official = 0, Official()
    for one in calls:
        completion = one.completion
        if completion is None or has_numeric_enums(one.interaction.body):
            continue
        theirs = official.read(one)
        parts = [
            part
            for chunk in theirs
            for candidate in chunk.candidates or ()
            for part in (candidate.content.parts if candidate.content else None) or ()
        ]
        choice = completion.choices[0]
        assert (choice.content or "") == "".join(part.text or "" for part in parts if not part.thought), one.name
        assert (choice.reasoning or "") == "".join(part.text or "" for part in parts if part.thought), one.name
        called = [part.function_call for part in parts if part.function_call]
        assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
            (call.name, call.args or {}) for call in called
        ], one.name
        ids = [(ours.id, call.id) for ours, call in zip(choice.tool_calls, called, strict=True) if call.id]
        assert all(ours == call for ours, call in ids), one.name
        usage = next(chunk.usage_metadata for chunk in reversed(theirs) if chunk.usage_metadata)
        assert completion.usage is not None
        prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
        assert completion.usage.input_tokens == prompt, one.name
        stated = [count for count in (usage.candidates_token_count, usage.thoughts_token_count) if count is not None]
        # Gemma's answers state no candidate tokens beside a text: unknown, not zero.
        assert completion.usage.output_tokens == (sum(stated) if stated else None), one.name
        assert completion.usage.cached_input_tokens == usage.cached_content_token_count, one.name
        assert completion.model == theirs[0].model_version, one.name
        compared += 1
    assert compared >= 100


def test_answers_with_numbers_for_enums_are_read_too(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        completion = one.completion
        if completion is None or not has_numeric_enums(one.interaction.body):
            continue
        value: Any = json.loads(one.interaction.body)
        chunks = value if type(value) is list else [value]
        parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
        text = "".join(part.get("text", "") for part in parts)
        assert (completion.choices[0].content or "") == text, one.name
        compared += 1
    assert compared >= 5


def test_usage_is_what_the_catalogue_states(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        usage = one.stated_usage
        if one.usage is not None and usage is not None:
            assert numbers(usage.raw) == one.usage, one.name
            compared += 1
    assert compared >= 100


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Recorded], size: int) -> None:
    split_ones = 0
    for one in calls:
        body = one.interaction.body
        if one.understood.answer.end is not None and len(body) <= 30_000:
            split = WIRE.stream()
            pieces = pieces_of(body, [size] * (len(body) // size))
            deltas = [delta for piece in pieces for delta in split.feed(piece)]
            assert shown(deltas) == shown(one.understood.answer.deltas), one.name
            assert split.finish() == one.understood.answer.end, one.name
            split_ones += 1
    assert split_ones >= 30


def test_recorded_requests_are_written_back_as_what_they_were(calls: list[Recorded]) -> None:
    for one in calls:
        asked = one.understood.request
        again = WIRE.encode(asked, offer("gemini", upstream_model=asked.model))
        assert differences(asked, WIRE.parse(again)) == [], one.name
        assert not [note for note in again.notes if "left out" in note], (one.name, again.notes)
        before, after = json.loads(one.interaction.request_body), json.loads(again.body)
        assert signatures(before) == signatures(after), one.name
        google.GenerateContentConfig.model_validate(after.get("generationConfig", {}))
        for content in after["contents"]:
            google.Content.model_validate(content)


def signatures(value: Any) -> list[str]:
    if type(value) is list:
        return [signature for item in value for signature in signatures(item)]
    if type(value) is not dict:
        return []
    own = [item for key, item in value.items() if key == "thoughtSignature"]
    return own + [signature for item in value.values() for signature in signatures(item)]


def test_recorded_answers_go_back_in_a_follow_up_with_all_their_signatures(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        completion, answer = one.completion, one.understood.answer
        if completion is None or answer.end is not None:
            continue
        choice = completion.choices[0]
        said = [{"id": c.id, "function": {"name": c.name, "arguments": c.arguments}} for c in choice.tool_calls]
        message = {"role": "assistant", "content": choice.content, "tool_calls": said, **(choice.extra or {})}
        follow_up = ChatRequest(model="m", messages=[{"role": "user", "content": "x"}, message])
        written = json.loads(WIRE.encode(follow_up, offer("gemini", upstream_model="gemini-2.5-pro")).body)
        sent = json.loads(one.interaction.body)["candidates"][0]["content"]
        assert sorted(signatures(written["contents"])) == sorted(signatures(sent)), one.name
        compared += bool(signatures(sent))
    assert compared >= 20
