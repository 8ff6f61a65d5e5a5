"""The wires on bytes that Cohere really sent, both versions: every recorded call that they recognise.

There is no client of Cohere's here; the second reader is litellm's transformation, of each version. Where the two
differ, who is right:

- thinking blocks: litellm leaves them out; here they are the reasoning.
- text beside tool calls: litellm drops it; here it is kept.
- usage: litellm counts `tokens`, which includes Cohere's own preamble; here `billed_units`, which is what is paid.
- the finish reason of tool calls: litellm says stop; here tool_calls, as Cohere does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from clawbench.cassettes.matching import differences
from clawbench.cassettes.understanding import Understood
from clawbench.wires.cohere import Cohere
from clawbench.wires.cohere_v1 import CohereV1
from tests.wires.made import offer, pieces_of, shown
from tests.wires.recorded_calls import Recorded, numbers, recorded

WIRE, FIRST = Cohere(), CohereV1()


@pytest.fixture(scope="module")
def second(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRE)


@pytest.fixture(scope="module")
def calls(shared: Path, second: list[Recorded]) -> list[Recorded]:
    return [*second, *recorded(shared, FIRST)]


def test_every_call_is_decoded(calls: list[Recorded]) -> None:
    failed = {one.name: one.read.reason for one in calls if not isinstance(one.read, Understood)}
    assert failed == {}
    assert len(calls) >= 42


def test_every_success_ends_and_is_billed(calls: list[Recorded]) -> None:
    for one in calls:
        completion = one.completion
        if completion is None:
            continue
        choice = completion.choices[0]
        assert choice.finish_reason in ("stop", "length", "tool_calls"), one.name
        assert choice.content or choice.tool_calls, one.name
        assert completion.usage is not None, one.name
        assert completion.usage.input_tokens is not None, one.name
        assert completion.usage.output_tokens is not None, one.name
        assert completion.notes == (), one.name


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    seen = {
        (error.status, error.outcome, error.code) for one in calls if (error := one.understood.answer.error) is not None
    }
    assert seen <= {
        (400, "rejected", None),
        (400, "rejected", "context_length_exceeded"),
        (401, "auth", None),
        (404, "model_gone", None),
        (422, "rejected", None),
        (429, "rate_limited", None),
    }
    assert {(401, "auth", None), (404, "model_gone", None)} <= seen


def test_usage_is_what_the_catalogue_states(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        usage = one.stated_usage
        if one.usage is not None and usage is not None:
            stated = {name.removeprefix("meta."): count for name, count in one.usage.items()}
            assert numbers(usage.raw) == stated, one.name
            compared += 1
    assert compared >= 25


class Silent:
    """What litellm wants to log to."""

    def post_call(self, **_: Any) -> None:
        return None


def test_whole_answers_are_what_litellm_reads(second: list[Recorded]) -> None:
    compared = 0
    for one in second:
        answer = one.understood.answer
        if answer.completion is None:
            continue
        theirs = read_by_litellm(
            "litellm.llms.cohere.chat.v2_transformation", "CohereV2ChatConfig", one.interaction.body
        )
        message, choice = theirs.choices[0].message, answer.completion.choices[0]
        if not choice.tool_calls:
            assert (choice.content or "") == (message.content or ""), one.name
        assert [(call.id, call.name, call.arguments) for call in choice.tool_calls] == [
            (call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()
        ], one.name
        usage = json.loads(one.interaction.body)["usage"]
        assert answer.usage is not None
        assert answer.usage.input_tokens == usage["billed_units"]["input_tokens"], one.name
        assert theirs.usage.prompt_tokens == usage["tokens"]["input_tokens"], one.name
        compared += 1
    assert compared >= 10


def read_by_litellm(module: str, config: str, body: bytes) -> Any:
    """A whole body as litellm's transformation of that name reads it."""
    types = pytest.importorskip("litellm.types.utils")
    return getattr(pytest.importorskip(module), config)().transform_response(
        model="m",
        raw_response=httpx.Response(200, content=body),
        model_response=types.ModelResponse(),
        logging_obj=Silent(),
        request_data={},
        messages=[],
        optional_params={},
        litellm_params={},
        encoding=None,
    )


def test_whole_answers_of_the_first_version_are_what_litellm_reads(shared: Path) -> None:
    compared = 0
    for one in recorded(shared, FIRST):
        answer = one.understood.answer
        if answer.completion is None:
            continue
        theirs = read_by_litellm("litellm.llms.cohere.chat.transformation", "CohereChatConfig", one.interaction.body)
        choice, said = answer.completion.choices[0], theirs.choices[0]
        assert (choice.content, choice.finish_reason) == (said.message.content, said.finish_reason), one.name
        called = [(call.function.name, call.function.arguments) for call in said.message.tool_calls or ()]
        assert [(call.name, call.arguments) for call in choice.tool_calls] == called, one.name
        assert answer.usage is not None
        tokens = (theirs.usage.prompt_tokens, theirs.usage.completion_tokens)
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == tokens, one.name
        compared += 1
    assert compared >= 10


def test_what_was_read_is_written_again_for_litellm_and_for_us(second: list[Recorded]) -> None:
    compared = 0
    for one in second:
        completion = one.completion
        if completion is None:
            continue
        composed = WIRE.compose(completion)
        choice, again = completion.choices[0], WIRE.decode(200, {}, composed.body).choices[0]
        assert (again.content or "", again.reasoning) == (choice.content or "", choice.reasoning), one.name
        assert (again.tool_calls, again.finish_reason) == (choice.tool_calls, choice.finish_reason), one.name
        theirs = read_by_litellm("litellm.llms.cohere.chat.v2_transformation", "CohereV2ChatConfig", composed.body)
        message = theirs.choices[0].message
        if not choice.tool_calls:
            assert (message.content or "") == (choice.content or ""), one.name
        called = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        assert [(call.id, call.name, call.arguments) for call in choice.tool_calls] == called, one.name
        compared += 1
    assert compared >= 20


def test_streams_are_the_text_of_their_events(calls: list[Recorded]) -> None:
    """The plainest second reading: each event's own JSON."""
    compared = 0
    for one in calls:
        completion, answer = one.completion, one.understood.answer
        if completion is None or answer.end is None:
            continue
        rows = [row.removeprefix(b"data:").strip() for row in one.interaction.body.splitlines()]
        values = [json.loads(row) for row in rows if row.startswith(b"{")]
        held = [(value.get("delta") or {}).get("message") or {} for value in values]
        contents = [each["content"] for each in held if type(each.get("content")) is dict]
        texts = [each.get("text") or "" for each in contents]
        texts += [value["text"] for value in values if value.get("event_type") == "text-generation"]
        choice = completion.choices[0]
        assert (choice.content or "") == "".join(texts), one.name
        assert (choice.reasoning or "") == "".join(each.get("thinking") or "" for each in contents), one.name
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Recorded], size: int) -> None:
    for one in calls:
        body = one.interaction.body
        if one.understood.answer.end is not None and len(body) <= 30_000:
            split = one.understood.wire.stream()
            deltas = [delta for piece in pieces_of(body, [size] * (len(body) // size)) for delta in split.feed(piece)]
            assert shown(deltas) == shown(one.understood.answer.deltas), one.name
            assert split.finish() == one.understood.answer.end, one.name


def test_recorded_requests_are_written_back_as_what_they_were(second: list[Recorded]) -> None:
    for one in second:
        asked = one.understood.request
        again = WIRE.encode(asked, offer("cohere", upstream_model=asked.model, base_url="https://h"))
        assert differences(asked, WIRE.parse(again)) == [], one.name
        assert again.notes == (), one.name
        before, after = json.loads(one.interaction.request_body), json.loads(again.body)
        for name in ("model", "stream", "temperature", "stop_sequences", "logprobs", "strict_tools"):
            assert before.get(name) == after.get(name), (one.name, name)
        roles = [[turn["role"] for turn in body["messages"]] for body in (before, after)]
        assert roles[0] == roles[1], one.name
        assert before.get("tools") == after.get("tools"), one.name


def test_the_history_of_a_first_version_call_is_a_conversation(shared: Path) -> None:
    for one in recorded(shared, FIRST):
        body = json.loads(one.interaction.request_body)
        messages = one.understood.request.messages
        history = body.get("chat_history") or []
        assert len(messages) == len(history) + 1, one.name
        assert messages[-1]["content"] == body["message"], one.name
        assert [message["content"] for message in messages[:-1]] == [turn["message"] for turn in history], one.name
