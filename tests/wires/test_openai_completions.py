"""Legacy completions: read whole and streamed, never spoken; and every recorded call of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Choice, Completion, Delta, HttpCall
from clawbench.wires import recognise
from clawbench.wires.collect import collect
from clawbench.wires.openai_completions import OpenAICompletions
from tests.wires.made import LOOSE, answer, offer, pieces_of, shown
from tests.wires.openai_recorded import Recorded, exchanges, recorded

WIRE = OpenAICompletions()
URL = "https://h/v1/completions"


def called(asked: dict[str, Any], url: str = URL) -> HttpCall:
    return HttpCall(method="POST", url=url, headers={}, body=json.dumps(asked).encode())


def body(*texts: str, **top: Any) -> bytes:
    choices = [{"index": place, "text": text, "finish_reason": "stop"} for place, text in enumerate(texts)]
    return json.dumps(
        {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "choices": choices, **top}
    ).encode()


def frames(*values: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)


def test_a_prompt_is_a_user_message_and_several_are_its_parts() -> None:
    request = WIRE.parse(
        called(
            {"model": "m", "prompt": "hi", "max_tokens": 5, "stop": "x", "logprobs": 2, "best_of": 3, "seed": None}
            | {"temperature": 0.5, "n": 2, "stream": True, "stream_options": {"include_usage": True}}
        )
    )
    assert request == ChatRequest(
        model="m",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        include_usage=True,
        max_output_tokens=5,
        stop=["x"],
        logprobs=True,
        top_logprobs=2,
        temperature=0.5,
        n=2,
        extra={"best_of": 3},
    )
    assert WIRE.parse(called({"prompt": ["hi"]})).messages == [{"role": "user", "content": "hi"}]
    several = WIRE.parse(called({"prompt": ["a", "b"]}, "https://h/openai/deployments/d/completions"))
    assert several.messages[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert several.model == "d"


@pytest.mark.parametrize("asked", [{}, {"prompt": []}, {"prompt": [1, 2]}, {"prompt": [[1]]}, {"prompt": 3}])
def test_what_holds_no_text_is_a_value_error(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="prompt is no text"):
        WIRE.parse(called(asked))


def test_chat_calls_are_never_claimed() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert not WIRE.recognises(called(asked, "https://h/v1/chat/completions"), answer())
    assert not WIRE.recognises(called({"prompt": "x"}, "https://h/v1/chat/completions"), answer())
    assert not WIRE.recognises(called({**asked, "prompt": "x"}), body("a"))
    assert not WIRE.recognises(called({"prompt": "x"}, "http://h/api/generate"), b'{"response":"a","done":true}')
    assert WIRE.recognises(called({"prompt": "x"}), b"")
    assert WIRE.recognises(called({"prompt": "x"}, "https://h/proxy"), body("a"))


def test_a_whole_answer_has_a_choice_a_prompt() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    read = WIRE.decode(200, {}, body("a", "b", usage=usage))
    assert read.choices == (
        Choice(content="a", finish_reason="stop"),
        Choice(index=1, content="b", finish_reason="stop"),
    )
    assert (read.id, read.model, read.created) == ("cmpl-1", "m", 7)
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens, read.usage.raw) == (3, 4, usage)


def test_logprobs_are_given_in_chats_shape() -> None:
    stated = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5, "b": -1.0}], "text_offset": [0]}
    choice = {"text": "a", "finish_reason": "length", "logprobs": stated}
    read = WIRE.decode(200, {}, json.dumps({"choices": [choice]}).encode()).choices[0]
    assert read.finish_reason == "length"
    assert read.logprobs is not None
    (token,) = read.logprobs["content"]
    assert (token["token"], token["logprob"]) == ("a", -0.5)
    assert [(top["token"], top["logprob"]) for top in token["top_logprobs"]] == [("a", -0.5), ("b", -1.0)]


def test_errors_are_typed() -> None:
    for value, outcome in (
        (b'{"error":{"message":"no"}}', "error_200"),
        (b'{"choices":[]}', "protocol_error"),
        (b"<html>", "protocol_error"),
        (b'{"choices":[3]}', "protocol_error"),
    ):
        with pytest.raises(UpstreamError) as error:
            WIRE.decode(200, {}, value)
        assert error.value.outcome == outcome
    assert WIRE.error(429, {}, b"").outcome == "rate_limited"


def test_it_is_only_read() -> None:
    with pytest.raises(UpstreamError, match="only read") as refused:
        WIRE.encode(ChatRequest(model="m", messages=[]), offer())
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose(Completion(choices=()))
    with pytest.raises(ValueError, match="only read"):
        WIRE.compose_stream([], id="", model="", created=0)


STREAM = frames(
    {"id": "c", "model": "m", "choices": [{"index": 0, "text": "hé"}]},
    {"id": "c", "model": "m", "choices": [{"index": 1, "text": "x", "finish_reason": "stop"}]},
    {"id": "c", "model": "m", "choices": [{"index": 0, "text": "y", "finish_reason": "length"}]},
    {"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
)


def test_a_stream_gives_the_pieces_of_each_choice() -> None:
    decoder = WIRE.stream()
    deltas = decoder.feed(STREAM + b"data: [DONE]\n\n")
    end = decoder.finish()
    read = collect(deltas, end)
    assert [(choice.content, choice.finish_reason) for choice in read.choices] == [("héy", "length"), ("x", "stop")]
    assert (end.complete, end.id, end.model, end.notes) == (True, "c", "m", ())
    assert end.usage is not None
    assert end.usage.output_tokens == 2


def test_a_stream_without_its_marker_is_whole_once_every_choice_has_ended() -> None:
    decoder = WIRE.stream()
    decoder.feed(STREAM)
    assert decoder.finish().notes == ("no [DONE]",)
    cut = WIRE.stream()
    cut.feed(STREAM[: STREAM.index(b'"length"') - 40])
    assert not cut.finish().complete


def test_bare_values_are_read_as_text() -> None:
    decoder = WIRE.stream()
    assert decoder.feed(frames({"value": "Su"}, {"value": "re"})) == [Delta(content="Su"), Delta(content="re")]
    assert decoder.finish().notes == ("no [DONE]", "no finish reason")


def test_an_error_event_is_the_last_delta() -> None:
    decoder = WIRE.stream()
    deltas = decoder.feed(
        frames({"choices": [{"text": "a"}]}, {"error": {"message": "broke", "code": "c"}}, {"value": "b"})
    )
    assert deltas[0].content == "a"
    assert deltas[-1].error is not None
    assert (deltas[-1].error.outcome, deltas[-1].error.code) == ("error_event", "c")
    assert not decoder.finish().complete


@given(st.lists(st.integers(1, 60), max_size=30))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    whole, split = WIRE.stream(), WIRE.stream()
    pieces = [delta for piece in pieces_of(STREAM, sizes) for delta in split.feed(piece)]
    assert shown(pieces) == shown(whole.feed(STREAM))
    assert split.finish() == whole.finish()


VALUES = st.recursive(
    LOOSE,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "text", "usage", "error", "value", "index", "finish_reason", "logprobs", "delta"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(VALUES, st.sampled_from(["", "error"]))
def test_any_shape_is_read_or_a_typed_error(value: Any, name: str) -> None:
    decoder = WIRE.stream()
    deltas = decoder.feed(f"event: {name}\n".encode() + frames(value))
    assert sum(delta.error is not None for delta in deltas) <= 1
    decoder.finish()
    try:
        WIRE.decode(200, {}, json.dumps({"choices": [value, {"text": "a"}], "usage": value}).encode())
    except UpstreamError as error:
        assert error.outcome == "protocol_error" or error.status == 200  # noqa: PT017 - either way it is typed


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[Recorded]:
    return recorded(shared, WIRE)


def test_recorded_calls_are_told_by_content(shared: Path, calls: list[Recorded]) -> None:
    listed = {one.name for one in exchanges(shared) if one.row.get("endpoint") == "completions"}
    assert listed <= {one.name for one in calls}
    assert {one.row["endpoint"] for one in calls if one.row} == {"completions"}
    assert len(calls) >= 24
    for one in calls:
        wire = recognise(one.call, one.interaction.body)
        assert wire is not None
        assert wire.name == "openai_completions", one.name


def test_recorded_calls_are_what_the_official_client_reads(calls: list[Recorded]) -> None:
    streams = 0
    for one in calls:
        request = WIRE.parse(one.call)
        assert request.stream == bool(one.asked.get("stream")), one.name
        read = one.completion(WIRE)
        assert read is not None, one.name
        texts = client_texts(one)
        assert {choice.index: choice.content for choice in read.choices} == texts, one.name
        streams += one.streamed
        if one.row.get("usage_json"):
            stated = json.loads(one.row["usage_json"])
            assert read.usage is not None, one.name
            assert read.usage.input_tokens == stated["prompt_tokens"], one.name
            assert read.usage.output_tokens == stated["completion_tokens"], one.name
    assert streams >= 10


def client_texts(one: Recorded) -> dict[int, str]:
    """Text by choice, as OpenAI's client reads these bytes; Writer's bare values have no choices for it."""
    kind = "text/event-stream" if one.streamed else "application/json"
    reply = httpx.Response(200, headers={"content-type": kind}, content=one.interaction.body)
    http = httpx.Client(transport=httpx.MockTransport(lambda request: reply))
    client = openai.OpenAI(api_key="k", base_url="http://h", max_retries=0, http_client=http)
    texts: dict[int, str] = {}
    if not one.streamed:
        whole = client.completions.create(model="m", prompt="x")
        return {getattr(choice, "index", None) or 0: choice.text for choice in whole.choices}
    for chunk in client.completions.create(model="m", prompt="x", stream=True):
        for choice in chunk.choices or ():
            chat = (choice.model_extra or {}).get("delta") or {}  # one server sends chat chunks here
            index = choice.index or 0
            texts[index] = texts.get(index, "") + (choice.text or chat.get("content") or "")
        value = getattr(chunk, "value", None)
        if value:
            texts[0] = texts.get(0, "") + value
    return texts
