"""Streams: the same deltas whatever the split, every provider's way of saying things, and every way to break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.schema import OUTCOMES
from clawbench.types import Delta, StreamEnd, ToolCallDelta
from clawbench.wires.openai_chat import OpenAIChat
from clawbench.wires.openai_chat_stream import OpenAIChatStream
from tests.wires.made import DONE, LOOSE, MESSAGES, USAGE, chunk, decoded, ended, pieces_of, shown


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.content or "" for delta in deltas)


def tools_of(deltas: list[Delta]) -> list[list[str | None]]:
    calls: dict[int, list[str | None]] = {}
    for delta in deltas:
        for piece in delta.tool_calls:
            call = calls.setdefault(piece.index, [None, None, ""])
            assert piece.id is None or call[0] is None, "an id comes once"
            assert piece.name is None or call[1] is None, "a name comes once"
            call[0], call[1], call[2] = call[0] or piece.id, call[1] or piece.name, (call[2] or "") + piece.arguments
    return [calls[index] for index in sorted(calls)]


def failure(pieces: list[bytes]) -> tuple[UpstreamError, StreamEnd]:
    deltas, end = decoded(pieces)
    error = deltas[-1].error
    assert error is not None
    assert not end.complete
    assert all(delta.error is None for delta in deltas[:-1])
    return error, end


BEFORE_FINISH = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"reasoning_content": "hm"})
    + chunk({"content": "né"})
    + chunk({"content": "t"})
    + chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]})
    + chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
)
FINISH = chunk({}, finish="tool_calls")
GOOD = BEFORE_FINISH + FINISH + chunk(usage=USAGE) + DONE


def test_a_stream_gives_text_reasoning_tools_finish_reason_and_usage() -> None:
    deltas, end = decoded([GOOD])
    assert [delta.content for delta in deltas if delta.content] == ["né", "t"]
    assert [delta.reasoning for delta in deltas if delta.reasoning] == ["hm"]
    assert tools_of(deltas) == [["a", "f", "{}"]]
    assert end.complete
    assert (end.finish_reason, end.id, end.model, end.notes) == ("tool_calls", "c-1", "m-1", ())
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (11, 5)
    assert deltas[-1].usage == end.usage


def test_the_first_frame_with_a_role_alone_is_no_output() -> None:
    assert decoded([chunk({"role": "assistant", "content": ""})])[0] == []


def test_several_choices_run_side_by_side() -> None:
    body = [
        chunk({"content": "a"}, index=0),
        chunk({}, finish="stop", index=0),
        chunk({"content": "b"}, index=1),
    ]
    deltas, end = decoded(body)
    assert [(delta.index, delta.content) for delta in deltas if delta.content] == [(0, "a"), (1, "b")]
    assert not end.complete, "choice 1 has not ended"
    assert decoded([*body, chunk({}, finish="length", index=1)])[1].complete


@pytest.mark.parametrize(
    "frames",
    [
        [chunk({"content": "x"}, usage=USAGE), chunk({}, finish="stop", usage=USAGE)],
        [chunk({"content": "x"}, usage={"prompt_tokens": 1}), chunk({}, finish="stop"), chunk(usage=USAGE)],
        [chunk({"content": "x"}), chunk({}, finish="stop", x_groq={"id": "r", "usage": USAGE})],
        [chunk({"content": "x"}), chunk({}, finish="stop", usage=USAGE, x_groq={"usage": USAGE})],
        [chunk(usage=USAGE), chunk({"content": "x"}), chunk({}, finish="stop")],
        [
            chunk({"content": "x"}),
            chunk({}, finish="stop", timings={"prompt_n": 10, "cache_n": 1, "predicted_n": 5}),
        ],
    ],
)
def test_usage_is_found_in_any_chunk_and_the_last_one_wins(frames: list[bytes]) -> None:
    end = decoded([*frames, DONE])[1]
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (11, 5)


def test_a_stream_without_usage_says_so() -> None:
    assert decoded([chunk({"content": "x"}), chunk({}, finish="stop"), DONE])[1].usage is None


def piece(index: object, id: object, name: object, arguments: object) -> dict[str, Any]:
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("frames", "calls"),
    [
        # Whole calls without a number (Mistral).
        ([[{"id": "a", "function": {"name": "f", "arguments": "{}"}}]], [["a", "f", "{}"]]),
        # Id and name repeated in every piece.
        ([[piece(0, "a", "f", "{")], [piece(0, "a", "f", "}")]], [["a", "f", "{}"]]),
        # Null and empty words instead of absent ones.
        ([[piece(0, "a", "f", None)], [piece(0, "", None, "{}")], [piece(0, None, "", "")]], [["a", "f", "{}"]]),
        # Every call numbered 0.
        ([[piece(0, "a", "f", "1")], [piece(0, "b", "g", "2")]], [["a", "f", "1"], ["b", "g", "2"]]),
        # Calls that take turns, numbers that begin at 1.
        (
            [
                [piece(1, "a", "f", "")],
                [piece(2, "b", "g", "")],
                [piece(1, None, None, "1")],
                [piece(2, None, None, "2")],
            ],
            [["a", "f", "1"], ["b", "g", "2"]],
        ),
        # Neither number nor id in later pieces.
        ([[{"id": "a", "function": {"name": "f"}}], [{"function": {"arguments": "1"}}]], [["a", "f", "1"]]),
        # No ids at all.
        ([[piece(0, None, "f", "1"), piece(1, None, "g", "2")]], [[None, "f", "1"], [None, "g", "2"]]),
        # Arguments as an object; the name after the id.
        ([[piece(0, "a", None, "")], [piece(0, None, "f", {"x": 1})]], [["a", "f", '{"x":1}']]),
    ],
)
def test_tool_calls_are_put_together_whatever_a_provider_leaves_out(
    frames: list[list[dict[str, Any]]], calls: list[list[str | None]]
) -> None:
    deltas, _ = decoded([chunk({"tool_calls": pieces}) for pieces in frames])
    assert tools_of(deltas) == calls


def test_text_in_parts_is_split_into_text_and_reasoning() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, {"type": "text", "text": "hi"}]
    assert decoded([chunk({"content": parts})])[0] == [Delta(content="hi", reasoning="so")]


def test_media_are_output_and_chatter_of_providers_is_not() -> None:
    deltas, _ = decoded(
        [
            chunk({"audio": {"data": "AAAA"}}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted"}]}),
            chunk({"channel": "analysis", "graph_data": {"x": None}, "token_id": 7, "annotations": []}),
        ]
    )
    assert [delta.extra for delta in deltas] == [
        {"audio": {"data": "AAAA"}},
        {"reasoning_details": [{"type": "reasoning.encrypted"}]},
    ]
    assert all(delta.has_output for delta in deltas)


def test_a_message_in_place_of_a_delta_is_read_and_beside_one_is_not() -> None:
    body = b'data: {"choices":[{"index":0,"message":{"content":"whole"}%b}]}\n\n'
    assert text_of(decoded([body % b""])[0]) == "whole"
    assert text_of(decoded([body % b',"delta":{"content":"piece"}'])[0]) == "piece"


def test_a_missing_end_marker_is_noted_only() -> None:
    end = decoded([chunk({"content": "x"}), chunk({}, finish="stop")])[1]
    assert (end.complete, end.notes) == (True, ("no [DONE]",))


def test_an_end_marker_without_a_finish_reason_is_noted_only() -> None:
    end = decoded([chunk({"content": "x"}), DONE])[1]
    assert (end.complete, end.finish_reason, end.notes) == (True, None, ("no finish reason",))


def test_output_after_the_finish_reason_is_passed_on_and_noted() -> None:
    deltas, end = decoded([chunk({}, finish="stop"), chunk({"content": "late"}), DONE])
    assert text_of(deltas) == "late"
    assert end.complete
    assert end.notes == ("output after the finish reason",)


def test_nothing_after_the_end_marker_is_read() -> None:
    assert text_of(decoded([GOOD + chunk({"content": "late"})])[0]) == "nét"


def test_a_stream_cut_within_its_usage_is_a_complete_answer_without_usage() -> None:
    end = decoded([BEFORE_FINISH + FINISH + chunk(usage=USAGE)[:-20]])[1]
    assert (end.complete, end.usage) == (True, None)
    assert end.notes == ("cut within an event", "no [DONE]")


def test_a_stream_that_stops_before_its_finish_reason_is_not_complete() -> None:
    assert not decoded([chunk({"content": "x"})])[1].complete
    assert not decoded([b""])[1].complete


def test_a_last_event_without_its_blank_line_still_ends_the_stream() -> None:
    frames = [chunk({"content": "x"}), chunk({}, finish="stop")]
    end = decoded([*frames, b"data: [DONE]"])[1]
    assert (end.complete, end.notes) == (True, ("last event without its blank line",))


@pytest.mark.parametrize("mark", [b"data: [DONE] \n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]\t\n\n"])
def test_the_end_marker_may_carry_space(mark: bytes) -> None:
    end = decoded([chunk({"content": "x"}), chunk({}, finish="stop"), mark])[1]
    assert (end.complete, end.notes) == (True, ())


def test_output_in_a_last_event_without_its_blank_line_is_lost_and_the_stream_therefore_cut() -> None:
    end = decoded([chunk({"content": "x"}), chunk({"content": "y"}, finish="stop").rstrip()])[1]
    assert not end.complete


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (
            b'data: {"error":{"message":"Failed to call a function.","type":"invalid_request_error",'
            b'"code":"tool_use_failed","failed_generation":"x","status_code":400}}\n\n',
            "tool_use_failed",
        ),
        (b'event: error\ndata: {"error":{"message":"m","code":"c"}}\n\n', "c"),
        (chunk(error={"code": 400, "message": "Provider returned error"}), "400"),
        (chunk({"content": ""}, error={"code": 400, "message": "Token limit"}, usage=USAGE), "400"),
        (
            b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"m"}\n\n',
            "InvalidParameter",
        ),
        (b'data: {"code":"Throttling","message":"m","request_id":"r"}\n\n', "Throttling"),
        (b'error: {"detail":"m","error":{"message":"failed to decode"}}\n\n', None),
        (b'data: {"error":{"message":"The model produced invalid audio.","type":"server_error"}}\n\n', "server_error"),
        (b'data: {"error":"text"}\n\n', None),
        (b"event: error\ndata: gone\n\n", None),
        (b'data: {"choices":[{"index":0,"delta":{},"error":{"message":"m","code":502}}]}\n\n', "502"),
        (chunk({}, finish="error"), None),
        (chunk({}, finish="stop", x_groq={"id": "r", "error": "over_capacity"}), None),
        (b'data: {"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}\n\n', "1002"),
    ],
)
def test_an_error_in_mid_stream_is_the_last_delta(event: bytes, code: str | None) -> None:
    error, _ = failure([chunk({"content": "x"}), event, chunk({"content": "late"}), DONE])
    if event.endswith(b"gone\n\n"):
        assert error.outcome == "protocol_error"
        return
    assert (error.outcome, error.code, error.status) == ("error_event", code, None)


def test_usage_beside_an_error_is_kept() -> None:
    _, end = failure([chunk({"content": ""}, error={"code": 400, "message": "Token limit"}, usage=USAGE)])
    assert end.usage is not None
    assert end.usage.input_tokens == 11


@pytest.mark.parametrize("event", [b'data: {"choices":\n\n', b"data: hello\n\n", b"data: 3\n\n", b"data: [1]\n\n"])
def test_an_event_that_is_no_chunk_is_a_protocol_error(event: bytes) -> None:
    assert failure([chunk({"content": "x"}), event])[0].outcome == "protocol_error"


def test_an_event_above_256_kib_is_too_large() -> None:
    error, _ = failure([chunk({"content": "x"}), chunk({"content": "y" * (256 * 1024)})])
    assert error.outcome == "too_large"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"error":{"message":"m","code":"c"}}', "error_200"),
        (b' \n[{"error":{"message":"m"}}]', "error_200"),
        (b"<!DOCTYPE html><p>", "protocol_error"),
        (b'{"choices":[{"message":{"content":"whole"}}]}', "protocol_error"),
        (b"{", "protocol_error"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_body_that_never_was_a_stream_is_named_at_its_end(body: bytes, outcome: str, size: int) -> None:
    decoder = OpenAIChatStream()
    assert not any(decoder.feed(body[start : start + size]) for start in range(0, len(body), size))
    with pytest.raises(UpstreamError) as raised:
        decoder.finish()
    assert raised.value.outcome == outcome


def test_a_variant_decides_what_usage_means() -> None:
    raw = {"prompt_tokens": 758, "completion_tokens": 102, "total_tokens": 1725}
    decoder = OpenAIChat.of("gemini").stream()
    decoder.feed(chunk({"content": "x"}) + chunk({}, finish="stop") + chunk(usage=raw))
    usage = decoder.finish().usage
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (967, 865)


FRAMES = st.one_of(
    st.builds(
        lambda delta, finish, usage: chunk(delta, finish=finish, **({"usage": usage} if usage else {})),
        MESSAGES,
        st.sampled_from([None, None, None, "stop", "length", "", "odd"]),
        st.sampled_from([None, USAGE, {"prompt_tokens": -1}]),
    ),
    st.sampled_from([DONE, b": keep-alive\n\n", b"event: error\n", b"\r\n", b"data: {\n\n", chunk(usage=USAGE)]),
    st.binary(max_size=20),
)
BODIES = st.lists(FRAMES, max_size=8).map(b"".join)


@given(BODIES, st.lists(st.integers(0, 40), max_size=40))
def test_any_split_gives_the_same_deltas_and_the_same_end(body: bytes, sizes: list[int]) -> None:
    whole, split = OpenAIChatStream(), OpenAIChatStream()
    expected = shown(whole.feed(body))
    assert shown(delta for piece in pieces_of(body, sizes) for delta in split.feed(piece)) == expected
    assert ended(split) == ended(whole)


@given(BODIES | st.binary(max_size=200))
def test_any_bytes_give_deltas_and_an_end_and_no_other_exception(body: bytes) -> None:
    decoder = OpenAIChatStream()
    deltas = decoder.feed(body)
    assert all(delta.error is None for delta in deltas[:-1])
    end = ended(decoder)
    if isinstance(end, StreamEnd):
        assert not (end.complete and deltas and deltas[-1].error is not None)
    else:
        assert end[0] in OUTCOMES
        assert not deltas


@given(st.integers(0, len(GOOD)))
def test_a_stream_cut_anywhere_gives_a_beginning_of_the_same_deltas(place: int) -> None:
    expected = shown(decoded([GOOD])[0])
    deltas, end = decoded([GOOD[:place]])
    assert shown(deltas) == expected[: len(deltas)]
    assert end.complete == (place >= len(BEFORE_FINISH + FINISH) - len(b"\n\n"))


@given(LOOSE, LOOSE)
def test_chunks_of_any_shape_do_no_harm(choices: Any, usage: Any) -> None:
    decoded([chunk(None, choices=choices, usage=usage), chunk({"content": "x"}, finish="stop")])


def test_pieces_of_tool_calls_are_values() -> None:
    deltas, _ = decoded([chunk({"tool_calls": [piece(0, "a", "f", "1")]})])
    assert deltas == [Delta(tool_calls=(ToolCallDelta(0, "a", "f", "1"),))]
