"""Anthropic's streams: events to deltas in any split, cuts, errors, and streams written for its own client."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.wires.anthropic import AnthropicMessages
from clawbench.wires.collect import collect
from tests.wires.made import pieces_of, shown

WIRE = AnthropicMessages()
START_USAGE = {"input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 1}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


def start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    return event("message_start", message={**message, "stop_reason": None, "usage": {**START_USAGE, **usage}})


def block(index: int, content_block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    opened = event("content_block_start", index=index, content_block=content_block)
    pieces = b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    return opened + pieces + event("content_block_stop", index=index)


def text(*pieces: str, index: int = 0) -> bytes:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def end(stop: str = "end_turn", output: int = 15, **more: Any) -> bytes:
    delta = {"stop_reason": stop, "stop_sequence": None, **more}
    return event("message_delta", delta=delta, usage={"output_tokens": output}) + event("message_stop")


THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "h"},
    {"type": "thinking_delta", "thinking": "m"},
    {"type": "signature_delta", "signature": "Eq=="},
)
TOOL = block(
    2,
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    {"type": "input_json_delta", "partial_json": ""},
    {"type": "input_json_delta", "partial_json": '{"a":'},
    {"type": "input_json_delta", "partial_json": " 1}"},
)
NO_ARGUMENTS = block(3, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}})
BODY = start() + event("ping") + THOUGHT + text("Hé", "llo", index=1) + TOOL + NO_ARGUMENTS + end("tool_use")


def decoded(pieces: Iterable[bytes]) -> tuple[list[Delta], StreamEnd]:
    decoder = WIRE.stream()
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


def test_every_kind_of_output_comes_as_it_was_sent() -> None:
    deltas, closed = decoded([BODY])
    detail = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "signature": "Eq=="}
    assert [delta for delta in deltas if delta.has_output] == [
        Delta(reasoning="h"),
        Delta(reasoning="m"),
        Delta(extra={"reasoning_details": [detail]}),
        Delta(content="Hé"),
        Delta(content="llo"),
        Delta(tool_calls=(ToolCallDelta(0, "toolu_1", "f"),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments='{"a":'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments=" 1}"),)),
        Delta(tool_calls=(ToolCallDelta(1, "toolu_2", "g"),)),
        Delta(tool_calls=(ToolCallDelta(1, arguments="{}"),)),
    ]
    assert deltas[-1].finish_reason == "tool_calls"
    assert (closed.complete, closed.finish_reason, closed.id, closed.model) == (True, "tool_calls", "msg_1", "claude-x")
    assert closed.usage == Usage(
        input_tokens=30, cached_input_tokens=5, output_tokens=15, raw={**START_USAGE, "output_tokens": 15}
    )
    assert closed.notes == ()


def test_calls_with_the_same_id_are_passed_on_and_noted() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    deltas, closed = decoded([start() + block(0, use) + block(1, use) + end("tool_use")])
    whole = collect(deltas, closed)
    assert [call.id for call in whole.choices[0].tool_calls] == ["toolu_1", "toolu_1"]
    assert closed.notes == ("duplicate tool-call ids",)
    assert WIRE.decode(200, {}, WIRE.compose(whole).body).notes == ("duplicate tool-call ids",)


def test_usage_of_the_end_overwrites_that_of_the_start_input_included() -> None:
    usage = {"input_tokens": 10_682, "cache_read_input_tokens": 0, "output_tokens": 510}
    closing = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage) + event("message_stop")
    _, closed = decoded([start() + text("x") + closing])
    assert closed.usage is not None
    assert (closed.usage.input_tokens, closed.usage.output_tokens) == (10_682, 510)


def test_a_server_tools_blocks_are_kept_whole_at_the_end() -> None:
    use = block(
        0,
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query":'},
        {"type": "input_json_delta", "partial_json": '"q"}'},
    )
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "https://h"}]}
    page = {"type": "web_search_result_location", "url": "https://h", "title": "T"}
    cited = block(
        2,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": page},
        {"type": "text_delta", "text": "this"},
    )
    deltas, closed = decoded([start() + use + block(1, found) + cited + end()])
    choice = collect(deltas, closed).choices[0]
    assert choice.content == "this"
    assert choice.tool_calls == ()
    assert choice.extra is not None
    assert choice.extra["anthropic_content"] == [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        found,
        {"type": "text", "text": "this", "citations": [page]},
    ]
    assert choice.extra["annotations"][0]["url_citation"]["end_index"] == 4


@given(st.lists(st.integers(1, 60), max_size=40))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    assert decoded(pieces_of(BODY, sizes)) == decoded([BODY])
    assert decoded(pieces_of(BODY.replace(b"\n", b"\r\n"), sizes)) == decoded([BODY])


def test_a_cut_anywhere_is_never_taken_for_a_whole_answer_before_its_stop_reason() -> None:
    whole, _ = decoded([BODY])
    told = BODY.index(b'"stop_reason": "tool_use"') + len(b'"stop_reason": "tool_use"')
    for at in range(len(BODY)):
        deltas, closed = decoded([BODY[:at]])
        assert deltas == whole[: len(deltas)]
        if at < told:
            assert not closed.complete
            assert closed.usage is None or closed.usage.output_tokens is None


def test_a_stream_cut_after_its_start_knows_its_input_and_not_its_output() -> None:
    _, closed = decoded([start() + text("x")])
    assert not closed.complete
    assert closed.usage is not None
    assert (closed.usage.input_tokens, closed.usage.output_tokens) == (30, None)


def test_a_missing_message_stop_is_noted_only() -> None:
    _, closed = decoded([start() + text("x") + end().removesuffix(event("message_stop"))])
    assert (closed.complete, closed.notes) == (True, ("no message_stop",))


def test_an_error_event_ends_the_stream_and_keeps_the_usage() -> None:
    broken = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    deltas, closed = decoded([start() + text("x") + broken + text("y") + end()])
    assert shown(deltas[-1:]) == [("error_event", "overloaded_error", "Overloaded")]
    assert not closed.complete
    assert closed.usage is not None
    assert closed.usage.input_tokens == 30


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"type":"error","error":{"type":"api_error","message":"no"}}', "error_200"),
        (b"<html><title>Bad</title>", "protocol_error"),
        (b'{"type":"message","content":[]}', "protocol_error"),
        (b"[1,", "protocol_error"),
    ],
)
def test_a_body_that_never_was_a_stream_is_a_typed_error(body: bytes, outcome: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        decoded([body])
    assert caught.value.outcome == outcome


@pytest.mark.parametrize(
    ("piece", "outcome"),
    [(b"data: {\n\n", "protocol_error"), (b"data: 3\n\n", "protocol_error"), (b"data: " + b"x" * 300_000, "too_large")],
)
def test_an_event_that_is_none_ends_the_stream(piece: bytes, outcome: str) -> None:
    deltas, closed = decoded([start() + text("x") + piece + end()])
    assert deltas[-1].error is not None
    assert deltas[-1].error.outcome == outcome
    assert not closed.complete


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "thinking",
                    "partial_json",
                    "signature",
                    "citation",
                    "id",
                    "name",
                    "input",
                    "stop_reason",
                ]
            ),
            inner | st.sampled_from(["text_delta", "input_json_delta", "citations_delta", "tool_use", "text"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)
KINDS = ["content_block_start", "content_block_delta", "content_block_stop", "message_start", "message_delta", "x"]


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), VALUES, VALUES, VALUES), max_size=6),
)
def test_events_of_any_shape_never_raise(events: list[tuple[str, Any, Any, Any]]) -> None:
    body = b"".join(
        event(kind, index=index, delta=a, content_block=a, message=a, usage=b) for kind, index, a, b in events
    )
    decoded([body])


@given(st.binary(max_size=120), st.lists(st.integers(1, 20), max_size=8))
def test_bytes_of_any_kind_give_a_typed_error_or_an_incomplete_end(body: bytes, sizes: list[int]) -> None:
    try:
        _, closed = decoded(pieces_of(body, sizes))
    except UpstreamError:
        return
    assert not closed.complete


DELTAS = st.lists(
    st.builds(lambda piece: Delta(content=piece), st.text(min_size=1, max_size=8))
    | st.builds(lambda piece: Delta(reasoning=piece), st.text(min_size=1, max_size=8)),
    min_size=1,
    max_size=8,
)


def official(body: bytes) -> anthropic.types.Message:
    """The answer as Anthropic's own client gathers it, fed through its transport."""
    reply = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    transport = httpx2.MockTransport(lambda request: reply)
    client = anthropic.Anthropic(
        api_key="k", base_url="http://h", max_retries=0, http_client=httpx2.Client(transport=transport)
    )
    with client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()


def composed(deltas: Iterable[Delta]) -> bytes:
    return b"".join(WIRE.compose_stream(deltas, id="msg_9", model="claude-x", created=1))


def test_a_written_stream_is_read_back_the_same() -> None:
    deltas, closed = decoded([BODY])
    again, end_again = decoded([composed(deltas)])
    before, after = collect(deltas, closed), collect(again, end_again)
    assert after.choices == before.choices
    assert after.usage == before.usage
    message = official(composed(deltas))
    assert [each.type for each in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.usage.output_tokens == 15


@given(DELTAS, st.sampled_from(["stop", "length", "content_filter"]))
def test_written_streams_are_read_by_us_and_by_the_official_client(deltas: list[Delta], finish: str) -> None:
    usage = Usage(input_tokens=9, cached_input_tokens=4, cache_write_tokens=0, output_tokens=3)
    body = composed([*deltas, Delta(finish_reason=finish), Delta(usage=usage)])
    read, closed = decoded([body])
    answer = collect(read, closed).choices[0]
    said = "".join(delta.content or "" for delta in deltas)
    assert (answer.content or "", answer.finish_reason) == (said, finish)
    assert (answer.reasoning or "") == "".join(delta.reasoning or "" for delta in deltas)
    assert closed.usage is not None
    assert (closed.usage.input_tokens, closed.usage.cached_input_tokens, closed.usage.output_tokens) == (9, 4, 3)
    message = official(body)
    assert "".join(each.text for each in message.content if each.type == "text") == said


def test_a_failure_is_written_as_an_error_event() -> None:
    body = composed([Delta(content="x"), Delta(error=UpstreamError("gone", outcome="reset_mid")), Delta(content="y")])
    deltas, closed = decoded([body])
    assert shown(deltas) == [Delta(content="x"), ("error_event", "api_error", "gone")]
    assert not closed.complete
