"""The Responses wire on bytes that providers really sent, in every format of cassette that can be read.

The second reader is OpenAI's own client: its `Response` model for whole answers, its stream parser for streams. Where
the two readings of one answer differ, who is right:

- text of several messages: joined by a blank line here, by nothing in the client's `output_text`. Ours, for they are
  two messages: DeepSeek says what it will search for, searches, and says more.
- OpenAI seals reasoning anew for the last event of a stream: `response.output_item.done` and `response.completed`
  hold two ciphertexts (and OpenRouter two ids) of the same item. Either can be given back; ours is the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from clawbench.cassettes.matching import differences
from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion
from clawbench.wires import recognise
from clawbench.wires.collect import collect, deltas_of
from clawbench.wires.openai_responses import OpenAIResponses
from clawbench.wires.openai_responses_items import TEXT_HERE
from tests.wires.made import offer, pieces_of, shown
from tests.wires.openai_recorded import Recorded, exchanges, recorded
from tests.wires.recorded_calls import numbers

WIRE = OpenAIResponses()

UNDECODED: dict[str, str] = {}
"""Recorded calls that cannot be decoded, each with its reason."""

NOT_OF_THE_CLIENTS_TYPES = {
    # Somebody wrote this answer by hand: its status is "complete".
    "test_openai_responses_verbosity.yaml#0",
}


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRE)


@pytest.fixture(scope="module")
def answers(calls: list[Recorded]) -> list[tuple[Recorded, Completion]]:
    found = ((one, one.completion(WIRE)) for one in calls)
    return [(one, completion) for one, completion in found if completion is not None]


def test_the_calls_of_this_api_are_told_by_content(shared: Path, calls: list[Recorded]) -> None:
    claimed = {one.name for one in calls}
    listed = {one.name for one in exchanges(shared) if one.row.get("endpoint") == "responses"}
    assert listed <= claimed
    assert {one.row["endpoint"] for one in calls if one.row} == {"responses"}
    assert len(calls) >= 105
    for one in calls:
        wire = recognise(one.call, one.interaction.body)
        assert wire is not None
        assert wire.name == "openai_responses", one.name


def test_nearly_every_call_is_an_answer_or_a_typed_error_with_its_status(calls: list[Recorded]) -> None:
    failed = {}
    for one in calls:
        result = one.outcome(WIRE)
        if isinstance(result, UpstreamError):
            if result.status != one.interaction.status or result.outcome == "protocol_error":
                failed[one.name] = str(result)
        elif isinstance(result, tuple) and not result[1].complete:
            failed[one.name] = "the stream has no end"
    assert failed.keys() == UNDECODED.keys()
    assert len(failed) <= 0.03 * len(calls)


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    results = [one.outcome(WIRE) for one in calls if one.interaction.status >= 400]
    seen = {(each.status, each.outcome, each.code) for each in results if isinstance(each, UpstreamError)}
    assert seen == {
        (400, "auth", None),  # xAI, for a wrong key
        (400, "model_gone", "model_not_found"),
        (400, "rejected", "context_length_exceeded"),
        (400, "rejected", "invalid_request_error"),
        (400, "rejected", "unsupported_parameter"),
        (401, "auth", "invalid_api_key"),
    }


def test_usage_is_what_the_catalogue_states(calls: list[Recorded], answers: list[tuple[Recorded, Completion]]) -> None:
    compared = 0
    for one, completion in answers:
        if not one.row.get("usage_json"):
            continue
        stated = json.loads(one.row["usage_json"])
        usage = completion.usage
        assert usage is not None, one.name
        assert numbers(stated).items() <= numbers(usage.raw).items(), one.name
        assert usage.input_tokens == stated["input_tokens"], one.name
        assert usage.output_tokens == stated["output_tokens"], one.name
        assert usage.cached_input_tokens == stated.get("input_tokens_details.cached_tokens"), one.name
        assert usage.reasoning_tokens == stated.get("output_tokens_details.reasoning_tokens"), one.name
        compared += 1
    assert compared >= 85


def test_every_recorded_request_is_read_and_sent_again_as_the_same_request(calls: list[Recorded]) -> None:
    for one in calls:
        asked = WIRE.parse(one.call)
        assert asked.messages, one.name
        assert asked.model == one.asked["model"], one.name
        assert asked.stream == bool(one.asked.get("stream")), one.name
        provider = one.row.get("provider", "openai")
        sent = WIRE.encode(asked, offer(provider, upstream_model=asked.model))
        again = WIRE.parse(sent)
        assert differences(again, asked) == [], one.name
        assert again.messages == asked.messages, one.name
        written = json.loads(sent.body)
        items = one.asked["input"] if isinstance(one.asked["input"], list) else []
        sealed = [item for item in items if item.get("encrypted_content")]
        kept = [item for item in written["input"] if item.get("encrypted_content")]
        assert [item["encrypted_content"] for item in kept] == [item["encrypted_content"] for item in sealed], one.name
        assert [item.get("id") for item in kept] == [item.get("id") for item in sealed], one.name


def test_whole_answers_are_what_the_official_client_reads(answers: list[tuple[Recorded, Completion]]) -> None:
    compared = 0
    for one, completion in answers:
        if one.streamed or one.name in NOT_OF_THE_CLIENTS_TYPES:
            continue
        assert_same(client_answer(one.interaction.body), completion, one.name)
        compared += 1
    assert compared >= 60


def test_streams_are_what_the_official_client_reads(answers: list[tuple[Recorded, Completion]]) -> None:
    compared = 0
    for one, completion in answers:
        if one.streamed:
            assert_same(client_stream(one.interaction.body), completion, one.name)
            compared += 1
    assert compared >= 25


def client_of(body: bytes, content_type: str) -> openai.OpenAI:
    """The official client in front of these bytes."""
    reply = httpx.Response(200, headers={"content-type": content_type}, content=body)
    http = httpx.Client(transport=httpx.MockTransport(lambda request: reply))
    return openai.OpenAI(api_key="k", base_url="http://h", max_retries=0, http_client=http)


def client_answer(body: bytes) -> Response:
    """What the client reads from a whole body."""
    return client_of(body, "application/json").responses.create(model="m", input="x")


def client_stream(body: bytes) -> Response:
    """The last response that the client's own stream gives for these bytes."""
    last = None
    client = client_of(body, "text/event-stream")
    for event in client.responses.create(model="m", input="x", stream=True):
        if event.type in ("response.completed", "response.incomplete"):
            last = event.response
    assert last is not None
    return last


def assert_same(official: Response, ours: Completion, name: str) -> None:
    choice = ours.choices[0]
    messages = [item for item in official.output if item.type == "message"]
    spoken = ["".join(part.text for part in each.content if part.type == "output_text") for each in messages]
    assert (choice.content or "") == "\n\n".join(spoken), name
    called = [(item.call_id, item.name, item.arguments) for item in official.output if item.type == "function_call"]
    assert [(call.id, call.name, call.arguments) for call in choice.tool_calls] == called, name
    thoughts = [part for item in official.output if item.type == "reasoning" for part in item.summary]
    texts = [part.text for part in thoughts]
    texts += [part.text for item in official.output if item.type == "reasoning" for part in item.content or ()]
    assert (choice.reasoning or "") == "\n\n".join(texts), name
    known = {"message", "function_call", "reasoning"}
    others = [item.type for item in official.output if item.type not in known]
    kept = [item["type"] for item in (choice.extra or {}).get("output_items", ()) if item != TEXT_HERE]
    assert kept == others, name
    assert (ours.id, ours.model) == (official.id, official.model), name
    assert choice.finish_reason == ("tool_calls" if called else "stop"), name
    if official.usage is not None and ours.usage is not None:
        assert ours.usage.input_tokens == official.usage.input_tokens, name


def test_a_stream_says_what_its_last_event_says(answers: list[tuple[Recorded, Completion]]) -> None:
    for one, completion in answers:
        if one.streamed:
            events = [line[5:] for line in one.interaction.body.decode().splitlines() if line.startswith("data:")]
            last = next(event for event in map(loaded, reversed(events)) if event and "response" in event)
            whole = WIRE.decode(200, {}, json.dumps(last["response"]).encode())
            assert plain(whole.choices) == plain(completion.choices), one.name
            assert whole.usage == completion.usage, one.name


def loaded(text: str) -> Any:
    return None if text.strip() == "[DONE]" else json.loads(text)


def plain(choices: Iterable[Choice]) -> Any:
    """Choices without what the provider makes anew each time it tells an item: ids and ciphertexts of reasoning."""
    value = msgspec.to_builtins(list(choices))
    for choice in value:
        for detail in (choice["extra"] or {}).get("reasoning_details", ()):
            detail.pop("id", None)
            detail.pop("data", None)
    return value


def test_what_was_read_is_written_again_for_the_official_client(answers: list[tuple[Recorded, Completion]]) -> None:
    events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for one, completion in answers:
        body = json.loads(WIRE.compose(completion).body)
        if body["usage"]:
            body["usage"]["input_tokens_details"].setdefault("cache_write_tokens", 0)  # newer than most providers
        Response.model_validate(body)
        again = WIRE.decode(200, {}, WIRE.compose(completion).body)
        assert plain(again.choices) == plain(completion.choices), one.name
        frames = list(WIRE.compose_stream(deltas_of(completion), id="resp_1", model="m", created=1))
        decoder = WIRE.stream()
        streamed = collect([delta for frame in frames for delta in decoder.feed(frame)], decoder.finish())
        for field in ("content", "reasoning", "tool_calls", "refusal", "finish_reason"):
            assert getattr(streamed.choices[0], field) == getattr(completion.choices[0], field), (one.name, field)
        for number, frame in enumerate(frames):
            event = json.loads(frame.partition(b"data: ")[2])
            assert event["sequence_number"] == number, one.name
            if "response" in event and event["response"]["usage"]:
                event["response"]["usage"]["input_tokens_details"].setdefault("cache_write_tokens", 0)
            events.validate_python(event)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Recorded], size: int) -> None:
    for one in calls:
        body = one.interaction.body
        if one.streamed and len(body) < 40_000:
            whole, split = WIRE.stream(), WIRE.stream()
            pieces = pieces_of(body, [size] * (len(body) // size))
            assert shown(delta for piece in pieces for delta in split.feed(piece)) == shown(whole.feed(body)), one.name
            assert split.finish() == whole.finish(), one.name


def test_a_recorded_stream_that_is_cut_is_never_taken_for_whole(calls: list[Recorded]) -> None:
    for one in calls:
        body = one.interaction.body
        if not one.streamed or len(body) > 20_000:
            continue
        end_of_last = body.rindex(b"sequence_number") if body.rindex(b"sequence_number") else len(body)
        for cut in range(0, end_of_last, 997):
            decoder = WIRE.stream()
            deltas = decoder.feed(body[:cut])
            assert not any(delta.error for delta in deltas), one.name
            assert not decoder.finish().complete, (one.name, cut)
