"""The wire on bytes that providers really sent: every chat call of this dialect in the recorded vcrpy files.

The catalogue beside the recordings is a scanner's reading. Streams are read a second time here in the plainest way
(lines, json.loads, join) and must agree with the decoder.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.matching import differences
from clawbench.catalog.providers import base_url_of, provider_of
from clawbench.errors import UpstreamError
from clawbench.types import Completion, Delta, HttpCall, StreamEnd
from clawbench.wires import recognise
from clawbench.wires.openai_chat import OpenAIChat
from tests.wires.made import offer, pieces_of, shown

ERRORS_BEHIND_A_200 = {
    # Azure refuses a prompt, OpenRouter breaks off a stream.
    "test_prompt_content_filtering_with_events_with_no_content.yaml#0": ("error_200", "content_filter"),
    "test_openrouter_stream_error.yaml#0": ("error_event", "400"),
}


class Call(Struct, frozen=True):
    """A recorded exchange with what the catalogue says of it."""

    interaction: Interaction
    row: dict[str, str]

    @property
    def wire(self) -> OpenAIChat:
        return OpenAIChat.of(provider_of(self.interaction.url))

    @property
    def call(self) -> HttpCall:
        recorded = self.interaction
        return HttpCall(
            method=recorded.method, url=recorded.url, headers=recorded.request_headers, body=recorded.request_body
        )

    @property
    def streamed(self) -> bool:
        return b"data:" in self.interaction.body[:2000]

    @property
    def name(self) -> str:
        return f"{Path(self.interaction.file).name}#{self.interaction.index}"


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Call]:
    """Every exchange of the vcrpy files that the catalogue lists, of whatever dialect."""
    root = shared / "real-cassettes"
    rows: dict[str, dict[int, dict[str, str]]] = {}
    with (root / "CATALOGUE.csv").open(newline="") as catalogue:
        for row in csv.DictReader(catalogue):
            if row["format"] == "vcrpy":
                file = f"{row['repo'].replace('/', '__')}/{row['path']}"
                rows.setdefault(file, {})[int(row["interaction"])] = row
    found = []
    for file, known in sorted(rows.items()):
        for interaction in Vcrpy().read((root / file).read_bytes(), file):
            if isinstance(interaction, Interaction) and interaction.index in known:
                found.append(Call(interaction, known[interaction.index]))
    return found


@pytest.fixture(scope="module")
def calls(exchanges: list[Call]) -> list[Call]:
    """Those that are chat calls of OpenAI's dialect, by content."""
    return [one for one in exchanges if OpenAIChat().recognises(one.call, one.interaction.body)]


def outcome_of(one: Call) -> Completion | tuple[list[Delta], StreamEnd] | UpstreamError:
    reply = one.interaction
    if reply.status >= 400:
        return one.wire.error(reply.status, reply.headers, reply.body)
    if one.streamed:
        decoder = one.wire.stream()
        deltas = decoder.feed(reply.body)
        return deltas, decoder.finish()
    try:
        return one.wire.decode(reply.status, reply.headers, reply.body)
    except UpstreamError as error:
        return error


def test_the_dialect_is_told_by_content_and_not_by_host(exchanges: list[Call], calls: list[Call]) -> None:
    claimed = {one.name for one in calls}
    foreign = [one.name for one in calls if one.row["endpoint"] not in ("chat.completions", "cohere.chat")]
    assert foreign == []
    # Writer speaks this dialect, Cohere does not, whatever the scanner calls them.
    assert {one.row["host"] for one in calls if one.row["endpoint"] == "cohere.chat"} == {"api.writer.com"}
    assert {one.name for one in exchanges if one.row["endpoint"] == "chat.completions"} <= claimed
    assert len(calls) > 240


def test_the_registry_finds_the_wire(calls: list[Call]) -> None:
    for one in calls:
        wire = recognise(one.call, one.interaction.body)
        assert wire is not None
        assert wire.name == "openai_chat"


def test_every_recorded_request_is_read_and_sent_again_as_the_same_request(calls: list[Call]) -> None:
    for one in calls:
        asked = one.wire.parse(one.call)
        assert asked.messages, one.name
        assert asked.stream == bool(json.loads(one.interaction.request_body).get("stream")), one.name
        provider = provider_of(one.interaction.url)
        sent = one.wire.encode(asked, offer(provider, base_url=base_url_of(one.interaction.url)))
        assert differences(one.wire.parse(sent), asked) == [], one.name
        if "azure" not in provider:  # whose addresses hold versions of the API
            assert sent.url.lower() == one.interaction.url.partition("#")[0].lower()


def test_nearly_all_recorded_replies_are_answers_or_typed_errors_with_the_providers_status(calls: list[Call]) -> None:
    odd = []
    for one in calls:
        result = outcome_of(one)
        if isinstance(result, UpstreamError):
            good = result.status == one.interaction.status and result.outcome != "protocol_error"
        elif isinstance(result, Completion):
            good = bool(result.choices)
        else:
            deltas, end = result
            broke = deltas[-1].error if deltas else None
            good = end.complete or (broke is not None and broke.outcome == "error_event")
        if not good:
            odd.append(one.name)
    assert len(odd) <= 0.03 * len(calls), odd


def test_errors_behind_a_200_are_errors(calls: list[Call]) -> None:
    found = {}
    for one in calls:
        if one.interaction.status == 200:
            result = outcome_of(one)
            if isinstance(result, tuple) and result[0]:
                result = result[0][-1].error or result
            if isinstance(result, UpstreamError):
                found[one.name] = (result.outcome, result.code)
    assert found == ERRORS_BEHIND_A_200


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """Numeric leaves by dotted path: the catalogue's way of writing usage."""
    if type(value) is dict:
        return {name: leaf for key, item in value.items() for name, leaf in numbers(item, f"{path}.{key}").items()}
    return {path.removeprefix("."): value} if type(value) in (int, float) else {}


def test_usage_is_what_the_catalogue_states(calls: list[Call]) -> None:
    compared = 0
    for one in calls:
        if not one.row["usage_json"]:
            continue
        stated = json.loads(one.row["usage_json"])
        result = outcome_of(one)
        assert not isinstance(result, UpstreamError), one.name
        usage = result.usage if isinstance(result, Completion) else result[1].usage
        assert usage is not None, one.name
        assert numbers(usage.raw) == numbers(stated), one.name
        assert usage.input_tokens == stated["prompt_tokens"], one.name
        reasoning = stated.get("completion_tokens_details.reasoning_tokens", 0)
        beside = stated["prompt_tokens"] + stated["completion_tokens"] + reasoning == stated["total_tokens"]
        generated = stated["completion_tokens"] + (reasoning if beside else 0)
        if one.row["provider"] == "gemini":  # hides its reasoning in the total
            generated = stated["total_tokens"] - stated["prompt_tokens"]
        assert usage.output_tokens == generated, one.name
        compared += 1
    assert compared > 150


def plain_reading(body: bytes) -> tuple[dict[int, str], dict[int, str], list[tuple[str, str, str]]]:
    """(text, reasoning, tool calls) of a stream, up to its end marker or its first error."""
    text: dict[int, str] = {}
    reasoning: dict[int, str] = {}
    tools: dict[Any, list[str]] = {}
    for line in body.decode().splitlines():
        if not line.startswith("data:") or line.strip() == "data:":
            continue
        if line[5:].strip() == "[DONE]":
            break
        event = json.loads(line[5:])
        if event.get("error"):
            break
        for choice in event.get("choices") or []:
            index, delta = choice["index"], choice.get("delta") or {}
            content = delta.get("content") or ""
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if isinstance(content, list):
                thought = "".join(bit["text"] for part in content for bit in part.get("thinking", []))
                content = "".join(part.get("text", "") for part in content)
            text[index] = text.get(index, "") + content
            reasoning[index] = reasoning.get(index, "") + thought
            for call in delta.get("tool_calls") or []:
                known = tools.setdefault((index, call.get("index", call.get("id"))), ["", "", ""])
                function = call.get("function") or {}
                known[0] = known[0] or call.get("id") or ""
                known[1] = known[1] or function.get("name") or ""
                known[2] += function.get("arguments") or ""
    called = [(id, name, arguments) for id, name, arguments in tools.values()]
    return {key: value for key, value in text.items() if value}, {k: v for k, v in reasoning.items() if v}, called


def gathered(deltas: Iterable[Delta]) -> tuple[dict[int, str], dict[int, str], list[tuple[str, str, str]]]:
    text: dict[int, str] = {}
    reasoning: dict[int, str] = {}
    tools: dict[tuple[int, int], list[str]] = {}
    for delta in deltas:
        if delta.content:
            text[delta.index] = text.get(delta.index, "") + delta.content
        if delta.reasoning:
            reasoning[delta.index] = reasoning.get(delta.index, "") + delta.reasoning
        for piece in delta.tool_calls:
            known = tools.setdefault((delta.index, piece.index), ["", "", ""])
            known[0], known[1], known[2] = (
                known[0] + (piece.id or ""),
                known[1] + (piece.name or ""),
                known[2] + piece.arguments,
            )
    return text, reasoning, [(id, name, arguments) for id, name, arguments in tools.values()]


def test_streams_agree_with_a_plain_reading_of_the_same_bytes(calls: list[Call]) -> None:
    compared = 0
    for one in calls:
        if one.interaction.status == 200 and one.streamed:
            result = outcome_of(one)
            assert isinstance(result, tuple)
            assert gathered(result[0]) == plain_reading(one.interaction.body), one.name
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("size", [1, 7, 64])
def test_recorded_streams_give_the_same_deltas_in_pieces(calls: list[Call], size: int) -> None:
    for one in calls:
        body = one.interaction.body
        if one.interaction.status != 200 or not one.streamed or len(body) > 60_000:
            continue
        whole, split = one.wire.stream(), one.wire.stream()
        pieces = pieces_of(body, [size] * (len(body) // size))
        assert shown(delta for piece in pieces for delta in split.feed(piece)) == shown(whole.feed(body)), one.name
        assert split.finish() == whole.finish(), one.name
