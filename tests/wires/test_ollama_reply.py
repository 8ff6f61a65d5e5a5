"""Answers of Ollama's native API: whole ones, streams of lines, refusals, and the other side."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.schema import OUTCOMES
from clawbench.types import Choice, Completion, Delta, StreamEnd, ToolCall, Usage
from clawbench.wires.collect import collect, deltas_of
from clawbench.wires.ollama import Ollama, OllamaGenerate
from clawbench.wires.ollama_reply import OllamaStream
from tests.wires.made import pieces_of, shown
from tests.wires.made_requests import IDS, TEXT

WIRE, GENERATE = Ollama(), OllamaGenerate()


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


COUNTS = {"total_duration": 9, "prompt_eval_count": 11, "eval_count": 5}


def answer(message: Any = None, **top: Any) -> bytes:
    said = {"role": "assistant", "content": "hi"} if message is None else message
    return json.dumps(
        {"model": "m", "created_at": "2026-05-04T22:49:22.028173123Z", "message": said, "done": True,
         "done_reason": "stop", **COUNTS, **top}
    ).encode()  # fmt: skip


def decode(data: bytes) -> Completion:
    return WIRE.decode(200, {}, data)


def test_a_whole_answer() -> None:
    calls = [{"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}, {"function": {"name": "g"}}]
    said = {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": calls}
    completion = decode(answer(said))
    assert completion.choices == (
        Choice(
            reasoning="hm",
            tool_calls=(ToolCall("x", "f", '{"a":1}'), ToolCall("call_1", "g", "{}")),
            finish_reason="tool_calls",
        ),
    )
    assert completion.usage == Usage(input_tokens=11, output_tokens=5, raw=COUNTS)
    assert (completion.model, completion.created, completion.notes) == ("m", 1777934962, ())
    assert decode(answer(done_reason="length")).choices[0].finish_reason == "length"
    assert decode(answer(done_reason="odd")).notes == ("done_reason 'odd' read as stop",)


def test_an_older_server_ends_without_a_reason() -> None:
    completion = WIRE.decode(200, {}, b'{"message":{"content":"a"},"done":true}')
    assert completion.choices[0].finish_reason == "stop"
    completion = WIRE.decode(200, {}, b'{"message":{"content":"a"},"done":false}')
    assert completion.choices[0].finish_reason is None


def test_log_probabilities_keep_their_shape() -> None:
    tokens = [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}]
    assert decode(answer(logprobs=tokens)).choices[0].logprobs == {"content": tokens, "refusal": None}


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "protocol_error"),
        (b"<html>", "protocol_error"),
        (b"{}", "protocol_error"),
        (b"7", "protocol_error"),
        (b'{"message":7}', "protocol_error"),
        (b'{"message":{"content":', "protocol_error"),
        (b'{"error":"model runner has stopped"}', "error_200"),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        decode(data)
    assert (caught.value.outcome, caught.value.status) == (outcome, 200)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (404, "model 'x' not found", ("model_gone", True)),
        (400, "registry.ollama.ai/library/gemma does not support tools", ("rejected", True)),
        (400, "invalid options: temperature", ("rejected", False)),
        (500, "Failed to create new sequence: failed to process inputs: image: unknown format", ("rejected", True)),
        (500, "llama runner process has terminated", ("upstream_5xx", True)),
        (401, "unauthorized", ("auth", True)),
        (503, "server busy, please try again.  maximum pending requests exceeded", ("upstream_5xx", True)),
    ],
)
def test_refusals(status: int, said: str, expected: tuple[str, bool]) -> None:
    error = WIRE.error(status, {}, json.dumps({"error": said}).encode())
    assert (error.outcome, error.try_next, error.status) == (*expected, status)


@given(st.integers(400, 599), st.binary(max_size=60))
def test_any_bytes_of_a_refusal_give_a_typed_error(status: int, data: bytes) -> None:
    assert WIRE.error(status, {}, data).outcome in OUTCOMES


def lines(*values: Any, end: bytes = b"\n") -> bytes:
    return b"".join(json.dumps(value).encode() + end for value in values)


def piece(content: str = "", **more: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": content, **more}, "done": False}


LAST = {**piece(), "done": True, "done_reason": "stop", **COUNTS}


CALL = {"function": {"name": "f", "arguments": {"a": "\n"}}}


STREAM = (piece(thinking="hm"), piece("he"), piece("llo"), piece(tool_calls=[CALL]), piece(tool_calls=[CALL]), LAST)


EXPECTED = Completion(
    choices=(
        Choice(
            content="hello",
            reasoning="hm",
            tool_calls=(ToolCall("call_0", "f", '{"a":"\\n"}'), ToolCall("call_1", "f", '{"a":"\\n"}')),
            finish_reason="tool_calls",
        ),
    ),
    model="m",
    usage=Usage(input_tokens=11, output_tokens=5, raw=COUNTS),
)


def decoded(pieces: Iterable[bytes], wire: Ollama | OllamaGenerate = WIRE) -> tuple[list[Delta], StreamEnd]:
    decoder = wire.stream()
    deltas = [delta for one in pieces for delta in decoder.feed(one)]
    return deltas, decoder.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
def test_a_stream_of_lines(end: bytes) -> None:
    deltas, told = decoded([lines(*STREAM, end=end)])
    assert collect(deltas, told) == EXPECTED
    assert (told.complete, told.notes) == (True, ())


def test_a_stream_of_generate() -> None:
    said = [{"model": "m", "response": text, "done": False} for text in ("he", "llo")]
    deltas, told = decoded(
        [lines(*said, {"model": "m", "response": "", "done": True, "context": [7] * 200_000, **COUNTS})], GENERATE
    )
    assert collect(deltas, told).choices == (Choice(content="hello", finish_reason="stop"),)
    assert told.usage is not None
    assert told.usage.output_tokens == 5


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    data = lines(*STREAM)
    whole, split = decoded([data]), decoded(pieces_of(data, sizes))
    assert (shown(whole[0]), whole[1]) == (shown(split[0]), split[1])


def test_a_cut_anywhere_is_told() -> None:
    data = lines(*STREAM)
    for length in range(1, len(data) - 1):
        deltas, told = decoded([data[:length]])
        assert not told.complete, length
        assert all(delta.error is None for delta in deltas)
    _, told = decoded([data[:-1]])
    assert (told.complete, told.usage is not None) == (True, True)


@pytest.mark.parametrize(
    ("bad", "outcome"),
    [
        (b'{"error":"an error was encountered while running the model"}', "error_event"),
        (b'{"strange":1}', "protocol_error"),
        (b"nonsense", "protocol_error"),
        (b"[" * 1000, "protocol_error"),
    ],
)
def test_a_failing_line_is_the_last_delta(bad: bytes, outcome: str) -> None:
    deltas, told = decoded([lines(piece("a")) + bad + b"\n" + lines(piece("b"), LAST)])
    assert [delta.content for delta in deltas[:-1]] == ["a"]
    assert deltas[-1].error is not None
    assert (deltas[-1].error.outcome, told.complete) == (outcome, False)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [(b'{"error":"no"}', "error_200"), (b"<html>502", "protocol_error")],
)
def test_a_body_that_is_no_stream_is_an_error_at_its_end(data: bytes, outcome: str) -> None:
    for size in (1, 100):
        decoder = WIRE.stream()
        assert [delta for one in pieces_of(data, [size] * (len(data) // size)) for delta in decoder.feed(one)] == []
        with pytest.raises(UpstreamError) as caught:
            decoder.finish()
        assert caught.value.outcome == outcome


def test_a_line_beyond_the_limit_is_too_large_wherever_it_is_cut() -> None:
    data = lines(piece("a"), piece("b" * 5000))
    for size in (1, 7, 100_000):
        decoder = OllamaStream(event_bytes_max=2000)
        deltas = [delta for one in pieces_of(data, [size] * (len(data) // size)) for delta in decoder.feed(one)]
        assert [delta.content for delta in deltas] == ["a", None]
        assert deltas[-1].error is not None
        assert deltas[-1].error.outcome == "too_large"


@given(st.binary(max_size=200), st.sampled_from([b"", b"{", lines(piece("a"))]))
def test_no_bytes_make_it_raise_anything_but_an_upstream_error(noise: bytes, start: bytes) -> None:
    decoder = WIRE.stream()
    decoder.feed(start + noise)
    try:
        ended = decoder.finish().complete
    except UpstreamError:
        ended = False
    assert not ended


LOOSE: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5) | st.just([])


VALUES = LOOSE | st.fixed_dictionaries(
    {},
    optional={
        "model": LOOSE,
        "created_at": LOOSE,
        "message": LOOSE
        | st.fixed_dictionaries(
            {},
            optional={
                "role": LOOSE,
                "content": LOOSE,
                "thinking": LOOSE,
                "images": LOOSE | st.just([1, "AAAA"]),
                "tool_calls": LOOSE
                | st.lists(LOOSE | st.just({"function": 1}) | st.just({"function": {"name": 1, "arguments": 2}})),
            },
        ),
        "response": LOOSE,
        "done": LOOSE,
        "done_reason": LOOSE,
        "eval_count": LOOSE,
        "logprobs": LOOSE,
        "error": LOOSE,
    },
)


def outcome(value: Any) -> str:
    try:
        decode(json.dumps(value).encode())
    except UpstreamError as error:
        return error.outcome
    return "ok"


@given(st.lists(VALUES, max_size=4))
def test_no_value_makes_reading_raise(values: list[Any]) -> None:
    assert {outcome(value) for value in values} <= {"ok", "error_200", "protocol_error"}
    deltas, told = decoded([lines(*values)])
    failed = [place for place, delta in enumerate(deltas) if delta.error is not None]
    assert failed in ([], [len(deltas) - 1])
    assert not (failed and told.complete)


@given(
    st.builds(
        Completion,
        choices=st.tuples(
            st.builds(
                Choice,
                content=st.none() | TEXT,
                reasoning=st.none() | TEXT,
                tool_calls=st.lists(st.builds(ToolCall, IDS, TEXT, st.just('{"x":1}')), max_size=2).map(tuple),
                finish_reason=st.sampled_from(["stop", "length"]),
            )
        ),
        model=st.just("m"),
        created=st.integers(1, 2**31),
        usage=st.none() | st.builds(Usage, input_tokens=st.integers(0, 99), output_tokens=st.integers(0, 99)),
    )
)
def test_what_is_composed_is_read_back_the_same(completion: Completion) -> None:
    [one] = completion.choices
    expected = "tool_calls" if one.tool_calls and one.finish_reason == "stop" else one.finish_reason
    streamed = decoded(WIRE.compose_stream(deltas_of(completion), id="r", model="m", created=1))
    for again in (decode(WIRE.compose(completion).body), collect(*streamed)):
        [got] = again.choices
        assert (got.content or None, got.reasoning, got.tool_calls, got.finish_reason) == (
            one.content, one.reasoning, one.tool_calls, expected,
        )  # fmt: skip
        counts = [usage and (usage.input_tokens, usage.output_tokens) for usage in (again.usage, completion.usage)]
        assert counts[0] == counts[1]
    assert streamed[1].complete


def test_a_broken_stream_is_composed_as_one() -> None:
    broken = [Delta(content="a"), Delta(error=UpstreamError("gone", outcome="error_event"))]
    deltas, _ = decoded(WIRE.compose_stream(broken, id="r", model="g", created=0))
    assert deltas[0].content == "a"
    assert deltas[1].error is not None
    assert deltas[1].error.message == "gone"
