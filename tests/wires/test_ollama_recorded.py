"""The wires on bytes that Ollama really sent: every recorded call that they recognise, in every format that is read.

There is no client of Ollama's here; the second reader is litellm's transformation of `/api/chat`. Where the two
differ, who is right:

- a stop that follows tool calls: litellm says tool_calls too since 1.106, as here.
- the ids of calls: litellm drops those that Ollama gives and makes up new ones; Ollama's are kept here.
- text with <think> marks inside: litellm takes it apart; here it stays as the model wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from clawbench.cassettes.matching import differences
from clawbench.cassettes.understanding import Understood
from clawbench.errors import UpstreamError
from clawbench.wires.ollama import Ollama, OllamaGenerate
from tests.wires.made import offer, pieces_of, shown
from tests.wires.recorded_calls import Recorded, recorded

WIRE, GENERATE = Ollama(), OllamaGenerate()


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRE)


@pytest.fixture(scope="module")
def calls(shared: Path, chats: list[Recorded]) -> list[Recorded]:
    return [*chats, *recorded(shared, GENERATE)]


def test_every_call_is_decoded(calls: list[Recorded]) -> None:
    failed = {one.name: one.read.reason for one in calls if not isinstance(one.read, Understood)}
    assert failed == {}
    assert len(calls) >= 27


def test_every_success_ends_and_states_its_output(calls: list[Recorded]) -> None:
    for one in calls:
        completion = one.completion
        if completion is None:
            continue
        choice = completion.choices[0]
        assert choice.finish_reason in ("stop", "length", "tool_calls"), one.name
        assert choice.content or choice.tool_calls, one.name
        assert completion.usage is not None, one.name
        assert completion.usage.output_tokens, one.name
        assert completion.notes == (), one.name


def test_refusals_are_typed(calls: list[Recorded]) -> None:
    seen = {
        (error.status, error.outcome, error.try_next)
        for one in calls
        if (error := one.understood.answer.error) is not None
    }
    assert seen <= {(404, "model_gone", True), (500, "rejected", True), (500, "upstream_5xx", True)}
    assert len(seen) >= 2


def test_usage_is_what_the_last_object_says(calls: list[Recorded]) -> None:
    """The catalogue states no usage for Ollama."""
    for one in calls:
        if one.completion is None:
            continue
        last = json.loads(one.interaction.body.strip().splitlines()[-1])
        usage = one.stated_usage
        assert usage is not None, one.name
        assert usage.raw is not None, one.name
        assert (usage.input_tokens, usage.output_tokens) == (last.get("prompt_eval_count"), last["eval_count"]), (
            one.name
        )
        assert usage.raw.items() <= last.items(), one.name
        assert usage.raw["total_duration"] == last["total_duration"], one.name


def read_by_litellm(module: str, config: str, body: bytes) -> Any:
    """A whole body as litellm's transformation of that name reads it."""
    types = pytest.importorskip("litellm.types.utils")
    return getattr(pytest.importorskip(module), config)().transform_response(
        model="m",
        raw_response=httpx.Response(200, content=body),
        model_response=types.ModelResponse(),
        logging_obj=Silent(),
        request_data={"prompt": ""},
        messages=[],
        optional_params={},
        litellm_params={},
        encoding=None,
    )


def test_whole_answers_of_generate_are_what_litellm_reads(calls: list[Recorded]) -> None:
    compared = 0
    for one in calls:
        answer = one.understood.answer
        if answer.completion is None or one.understood.wire.name != "ollama_generate":
            continue
        theirs = read_by_litellm("litellm.llms.ollama.completion.transformation", "OllamaConfig", one.interaction.body)
        choice, said = answer.completion.choices[0], theirs.choices[0]
        assert (choice.content, choice.finish_reason) == (said.message.content, said.finish_reason), one.name
        assert answer.usage is not None
        assert (answer.usage.input_tokens or 0) == theirs.usage.prompt_tokens, one.name
        assert answer.usage.output_tokens == theirs.usage.completion_tokens, one.name
        compared += 1
    assert compared >= 3


def test_what_was_read_is_written_again_for_litellm_and_for_us(chats: list[Recorded]) -> None:
    compared = 0
    for one in chats:
        completion = one.completion
        if completion is None:
            continue
        composed = WIRE.compose(completion)
        choice, again = completion.choices[0], WIRE.decode(200, {}, composed.body).choices[0]
        assert (again.content or "", again.reasoning) == (choice.content or "", choice.reasoning), one.name
        assert (again.tool_calls, again.finish_reason) == (choice.tool_calls, choice.finish_reason), one.name
        theirs = read_by_litellm("litellm.llms.ollama.chat.transformation", "OllamaChatConfig", composed.body)
        message = theirs.choices[0].message
        assert (message.content or "") == (choice.content or ""), one.name
        assert getattr(message, "reasoning_content", None) == choice.reasoning, one.name
        called = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
        assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == called, one.name
        assert theirs.choices[0].finish_reason == choice.finish_reason, one.name
        compared += 1
    assert compared >= 14


def test_whole_answers_are_what_litellm_reads(chats: list[Recorded]) -> None:
    compared = 0
    for one in chats:
        answer = one.understood.answer
        if answer.completion is None:
            continue
        theirs = read_by_litellm("litellm.llms.ollama.chat.transformation", "OllamaChatConfig", one.interaction.body)
        message, choice = theirs.choices[0].message, answer.completion.choices[0]
        assert (choice.content or "") == (message.content or ""), one.name
        assert choice.reasoning == getattr(message, "reasoning_content", None), one.name
        assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
            (call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()
        ], one.name
        assert choice.finish_reason == theirs.choices[0].finish_reason, one.name
        usage = answer.usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (
            theirs.usage.prompt_tokens,
            theirs.usage.completion_tokens,
        ), one.name
        compared += 1
    assert compared >= 5


class Silent:
    """What litellm wants to log to."""

    def post_call(self, **_: Any) -> None:
        return None


def test_streams_are_the_text_of_their_lines(calls: list[Recorded]) -> None:
    """The plainest second reading: each line's own JSON."""
    compared = 0
    for one in calls:
        completion, answer = one.completion, one.understood.answer
        if completion is None or answer.end is None:
            continue
        values = [json.loads(line) for line in one.interaction.body.splitlines() if line.strip()]
        said = [value.get("message", {"content": value.get("response")}) for value in values]
        choice = completion.choices[0]
        assert (choice.content or "") == "".join(each.get("content") or "" for each in said), one.name
        assert (choice.reasoning or "") == "".join(each.get("thinking") or "" for each in said), one.name
        calls_said = [call for each in said for call in each.get("tool_calls") or ()]
        assert [(call.id, call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [
            (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls_said
        ], one.name
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


def test_recorded_requests_are_written_back_as_what_they_were(chats: list[Recorded]) -> None:
    for one in chats:
        asked = one.understood.request
        try:
            again = WIRE.encode(asked, offer("ollama", upstream_model=asked.model, base_url="http://h"))
        except UpstreamError as refused:
            pytest.fail(f"{one.name}: {refused}")
        assert differences(asked, WIRE.parse(again)) == [], one.name
        before, after = json.loads(one.interaction.request_body), json.loads(again.body)
        assert (before["model"], before.get("stream", True)) == (after["model"], after["stream"]), one.name
        assert [turn.get("images") for turn in before["messages"]] == [
            turn.get("images") for turn in after["messages"]
        ], one.name
        assert bool(before.get("tools")) == bool(after.get("tools")), one.name
        assert (before.get("options") or None) == after.get("options"), one.name
