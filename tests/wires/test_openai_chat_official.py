"""Every recorded answer of OpenAI's chat dialect, of all formats and providers, beside what the official client reads.

The client takes the same bytes through its own HTTP layer, whole or streamed. Where the two differ, who is right:

- arguments that are null (OpenRouter, of a call without any): the client keeps null, here they are "", text as always;
- an empty finish reason (Snowflake): the client keeps "", here it is none;
- providers' own words for a finish reason: the client keeps them, here they are OpenAI's (`FINISH_REASONS`);
- content that is a list of parts (Mistral): the client hands the list on, here its text and its thoughts are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.store import cassette_files
from clawbench.cassettes.understanding import Understood, understand
from clawbench.catalog.providers import provider_of
from clawbench.types import Completion
from clawbench.wires import WIRES
from clawbench.wires.collect import collect
from clawbench.wires.openai_chat import OpenAIChat
from clawbench.wires.openai_chat_reply import FINISH_REASONS, split_parts

Answer = list[tuple[str, str | None, list[tuple[str, str, str]]]]
"""For each choice its text, how it ended, and its calls: id, name, arguments."""


@pytest.fixture(scope="module")
def answers(shared: Path) -> list[tuple[str, Interaction, Understood]]:
    """Every recorded success of the dialect, with a name for messages."""
    root, files = cassette_files(shared / "real-cassettes")
    found = []
    for file in files:
        for item in opened((root / file).read_bytes(), file).read():
            if isinstance(item, Interaction):
                read = understand(item, WIRES)
                if isinstance(read, Understood) and read.wire.name == "openai_chat" and read.answer.error is None:
                    found.append((f"{file}#{item.index}", item, read))
    return found


def ours_of(read: Understood) -> Completion:
    if read.answer.completion is not None:
        return read.answer.completion
    assert read.answer.end is not None
    return collect(read.answer.deltas, read.answer.end)


def told(completion: Completion) -> Answer:
    return [
        (
            choice.content or "",
            choice.finish_reason,
            [(call.id, call.name, call.arguments) for call in choice.tool_calls],
        )
        for choice in completion.choices
    ]


def client_of(body: bytes, content_type: str) -> openai.OpenAI:
    """The official client in front of these bytes."""
    reply = httpx.Response(200, headers={"content-type": content_type}, content=body)
    http = httpx.Client(transport=httpx.MockTransport(lambda request: reply))
    return openai.OpenAI(api_key="k", base_url="http://h", max_retries=0, http_client=http)


def text_in(content: Any) -> str:
    return (content if isinstance(content, str) else split_parts(content)[0]) or ""


def in_openais_words(reason: Any) -> str | None:
    return FINISH_REASONS[reason.lower()] if reason else None


def whole(body: bytes) -> Answer:
    """A whole answer as the client reads it."""
    completion = client_of(body, "application/json").chat.completions.create(model="m", messages=[])
    found: Answer = []
    for choice in completion.choices:
        calls: Any = choice.message.tool_calls or ()
        found.append(
            (
                text_in(choice.message.content),
                in_openais_words(choice.finish_reason),
                [(call.id or "", call.function.name, call.function.arguments or "") for call in calls],
            )
        )
    return found


def streamed(body: bytes) -> Answer:
    """A streamed answer as the client hands it out, put together."""
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    calls: dict[tuple[int, int], tuple[str, str, str]] = {}
    client = client_of(body, "text/event-stream")
    for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
        for choice in chunk.choices or ():
            index = choice.index
            delta: Any = choice.delta  # None where a provider leaves it out
            texts[index] = texts.get(index, "") + text_in(delta.content if delta else None)
            reasons[index] = in_openais_words(choice.finish_reason) or reasons.get(index)
            for piece in (delta.tool_calls if delta else None) or ():
                id, name, arguments = calls.get((index, piece.index), ("", "", ""))
                held = piece.function
                calls[index, piece.index] = (
                    id or piece.id or "",
                    name or (held.name if held else None) or "",
                    arguments + ((held.arguments if held else None) or ""),
                )
    return [
        (texts[index], reasons[index], [call for (of, _), call in sorted(calls.items()) if of == index])
        for index in sorted(texts)
    ]


def test_whole_answers_are_what_the_official_client_reads(answers: list[tuple[str, Interaction, Understood]]) -> None:
    compared = 0
    for name, item, read in answers:
        if not read.framing:
            assert told(ours_of(read)) == whole(item.body), name
            compared += 1
    assert compared >= 340


def test_streams_are_what_the_official_client_reads(answers: list[tuple[str, Interaction, Understood]]) -> None:
    compared = 0
    for name, item, read in answers:
        if read.framing:
            assert told(ours_of(read)) == streamed(item.body), name
            compared += 1
    assert compared >= 250


def as_written(answer: Answer, *, nameless: bool) -> Answer:
    """How an answer is written: it always says how it ended, and gives an id to calls that came without any."""
    return [
        (
            text,
            reason or ("tool_calls" if calls else "stop"),
            [("" if nameless else id, name, arguments) for id, name, arguments in calls],
        )
        for text, reason, calls in answer
    ]


def test_what_was_read_is_written_again_for_the_official_client(
    answers: list[tuple[str, Interaction, Understood]],
) -> None:
    for name, item, read in answers:
        ours = ours_of(read)
        wire = OpenAIChat.of(provider_of(item.url))
        nameless = {call.id for choice in ours.choices for call in choice.tool_calls} == {""}
        expected = as_written(told(ours), nameless=nameless)
        assert as_written(whole(wire.compose(ours).body), nameless=nameless) == expected, name
        if read.framing:
            frames = wire.compose_stream(read.answer.deltas, id="1", model="m", created=1)
            assert as_written(streamed(b"".join(frames)), nameless=nameless) == expected, name
