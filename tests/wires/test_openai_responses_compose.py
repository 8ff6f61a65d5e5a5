"""What clients of the Responses API are sent: exact bodies and events, and that the official client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
import openai
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.wires.collect import collect, deltas_of
from clawbench.wires.openai_responses import OpenAIResponses
from clawbench.wires.openai_responses_compose import compose_response
from clawbench.wires.openai_responses_events import ResponsesEncoder

WIRE = OpenAIResponses()
SPENT = Usage(input_tokens=18, output_tokens=15, cached_input_tokens=4, cache_write_tokens=0, reasoning_tokens=5)
SEALED = {"type": "reasoning.encrypted", "data": "gA==", "id": "rs_up"}


def events_of(deltas: Iterable[Delta]) -> list[dict[str, Any]]:
    found = []
    for frame in WIRE.compose_stream(deltas, id="1", model="m", created=7):
        name, _, data = frame.decode().partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert frame.endswith(b"\n\n")
        assert name == f"event: {event['type']}"
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_whole_answer_has_exactly_the_documented_shape() -> None:
    choice = Choice(content="hi", finish_reason="stop")
    completion = Completion(choices=(choice,), id="resp_1", model="m", created=1_771_324_200, usage=SPENT)
    reply = WIRE.compose(completion)
    assert (reply.status, reply.headers) == (200, {"content-type": "application/json"})
    assert json.loads(reply.body) == {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_771_324_200,
        "status": "completed",
        "model": "m",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "hi", "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1,
        "top_p": 1,
        "metadata": {},
        "previous_response_id": None,
        "usage": {
            "input_tokens": 18,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
            "output_tokens": 15,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 33,
        },
    }


def test_what_a_response_repeats_of_its_request_is_handed_in() -> None:
    completion = Completion(choices=(Choice(content="hi", finish_reason="stop"),), id="1")
    repeated = {"instructions": "Be brief.", "temperature": 0.2, "store": False, "id": "no", "output": "no"}
    body = json.loads(compose_response(completion, repeated=repeated).body)
    assert (body["instructions"], body["temperature"], body["store"]) == ("Be brief.", 0.2, False)
    assert (body["id"], body["usage"]) == ("resp_1", None)
    assert len(body["output"]) == 1


def test_an_answer_that_was_cut_is_incomplete() -> None:
    for reason, word in (("length", "max_output_tokens"), ("content_filter", "content_filter")):
        body = json.loads(WIRE.compose(Completion(choices=(Choice(content="h", finish_reason=reason),))).body)
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": word})
        assert body["output"][-1]["status"] == "incomplete"
        events = events_of([Delta(content="h"), Delta(finish_reason=reason)])
        assert names(events)[-1] == "incomplete"
        assert events[-1]["response"]["incomplete_details"] == {"reason": word}


def test_a_text_streams_in_the_documented_order() -> None:
    events = events_of([Delta(content="he"), Delta(content="y"), Delta(finish_reason="stop", usage=SPENT)])
    assert names(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    where = {"item_id": "msg_1_0", "output_index": 0, "content_index": 0}
    assert events[0]["response"]["status"] == "in_progress"
    assert (events[0]["response"]["output"], events[0]["response"]["usage"]) == ([], None)
    assert events[4] == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        **where,
        "delta": "he",
        "logprobs": [],
    }
    assert events[6] == {
        "type": "response.output_text.done",
        "sequence_number": 6,
        **where,
        "text": "hey",
        "logprobs": [],
    }
    item = events[8]["item"]
    assert item["content"] == [{"type": "output_text", "text": "hey", "annotations": []}]
    assert events[9]["response"]["output"] == [item]
    assert events[9]["response"]["usage"]["total_tokens"] == 33


def test_reasoning_text_and_calls_stream_one_after_the_other() -> None:
    events = events_of(
        [
            Delta(reasoning="hm"),
            Delta(reasoning="m"),
            Delta(extra={"reasoning_details": [SEALED]}),
            Delta(content="hey"),
            Delta(
                extra={"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}], "phase": "commentary"}
            ),
            Delta(tool_calls=(ToolCallDelta(0, "call_a", "f"),)),
            Delta(tool_calls=(ToolCallDelta(0, arguments='{"a"'),)),
            Delta(tool_calls=(ToolCallDelta(0, arguments=":1}"),)),
            Delta(tool_calls=(ToolCallDelta(1, "call_b", "g", "{}"),)),
            Delta(finish_reason="tool_calls"),
        ]
    )
    assert names(events) == [
        "created",
        "in_progress",
        *("output_item.added", "reasoning_summary_part.added"),
        *["reasoning_summary_text.delta"] * 2,
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.annotation.added"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    thought, text, first, second = events[-1]["response"]["output"]
    assert thought == {
        "type": "reasoning",
        "id": "rs_1_0",
        "summary": [{"type": "summary_text", "text": "hmm"}],
        "encrypted_content": "gA==",
    }
    assert (text["phase"], text["content"][0]["annotations"]) == ("commentary", [{"type": "url_citation", "url": "u"}])
    assert (first["call_id"], first["arguments"], first["name"]) == ("call_a", '{"a":1}', "f")
    assert (second["call_id"], second["id"]) == ("call_b", "fc_1_3")
    assert {event["item_id"] for event in events if event.get("output_index") == 2 and "item_id" in event} == {"fc_1_2"}


def test_calls_whose_pieces_alternate_stay_open() -> None:
    events = events_of(
        [
            Delta(tool_calls=(ToolCallDelta(0, "a", "f", "["), ToolCallDelta(1, "b", "g", "{"))),
            Delta(tool_calls=(ToolCallDelta(0, arguments="]"), ToolCallDelta(1, arguments="}"))),
        ]
    )
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ["[]", "{}"]


def test_a_failure_is_told_by_response_failed() -> None:
    for code, shown in (
        ("context_length_exceeded",) * 2,
        ("boom", "server_error"),
        ("rate_limited", "rate_limit_exceeded"),
    ):
        error = UpstreamError("try again in 5s", outcome="error_event", code=code)
        events = events_of([Delta(content="h"), Delta(usage=SPENT), Delta(error=error), Delta(content="never")])
        assert names(events)[-2:] == ["output_text.delta", "failed"]
        response = events[-1]["response"]
        assert (response["status"], response["error"]) == ("failed", {"code": shown, "message": "try again in 5s"})
        assert response["usage"]["total_tokens"] == 33


def test_the_official_clients_stream_helper_follows() -> None:
    deltas = [
        Delta(reasoning="hm"),
        Delta(content="he"),
        Delta(content="y"),
        Delta(tool_calls=(ToolCallDelta(0, "call_a", "f", '{"a":1}'),)),
        Delta(refusal="no"),
        Delta(finish_reason="tool_calls", usage=SPENT),
    ]
    body = b"".join(WIRE.compose_stream(deltas, id="1", model="m", created=7))
    reply = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    http = httpx.Client(transport=httpx.MockTransport(lambda request: reply))
    client = openai.OpenAI(api_key="k", base_url="http://h", max_retries=0, http_client=http)
    with client.responses.stream(model="m", input="x") as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert texts == ["he", "y"]
    assert final.output_text == "hey"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "message"]


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    assert names(events_of([])) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert json.loads(WIRE.compose(Completion(choices=())).body)["output"][0]["content"][0]["text"] == ""


def test_items_of_other_tools_pass_through() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    events = events_of([Delta(extra={"output_items": [search]}), Delta(content="x")])
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["web_search_call", "message"]
    assert events[3]["item"] == search


def test_lone_surrogates_do_not_break_a_stream() -> None:
    encoder = ResponsesEncoder(id="1", model="m", created=1)
    frames = encoder.open() + encoder.feed([Delta(content="\ud800")]) + encoder.finish(StreamEnd(complete=True))
    assert "�" in frames.decode()


NAMES = st.sampled_from(["f", "g"])
TEXTS = st.text(min_size=1, max_size=12)
COUNTS = st.integers(0, 10**6)
CHOICES = st.builds(
    Choice,
    content=st.none() | TEXTS,
    reasoning=st.none() | TEXTS,
    refusal=st.none() | TEXTS,
    tool_calls=st.lists(
        st.builds(ToolCall, st.sampled_from(["a", "b", "c"]), NAMES, st.sampled_from(["{}", '{"x":1}'])),
        max_size=2,
        unique_by=lambda call: call.id,
    ).map(tuple),
    finish_reason=st.just("length"),
)
COMPLETIONS = st.builds(
    Completion,
    choices=CHOICES.map(lambda choice: (choice,)),
    id=st.just("resp_1"),
    model=st.just("m"),
    created=COUNTS,
    usage=st.none()
    | st.builds(
        Usage, input_tokens=COUNTS, output_tokens=COUNTS, cached_input_tokens=st.just(0), reasoning_tokens=st.just(0)
    ),
)


@given(COMPLETIONS)
def test_what_is_written_reads_as_the_same_answer(completion: Completion) -> None:
    choice = completion.choices[0]
    body = json.loads(WIRE.compose(completion).body)
    if body["usage"]:
        body["usage"]["input_tokens_details"]["cache_write_tokens"] = 0
    Response.model_validate(body)
    again = WIRE.decode(200, {}, WIRE.compose(completion).body)
    assert same(again) == same(completion)
    decoder = WIRE.stream()
    frames = WIRE.compose_stream(deltas_of(completion), id="resp_1", model="m", created=1)
    streamed = collect([delta for frame in frames for delta in decoder.feed(frame)], decoder.finish())
    assert streamed.choices[0].tool_calls == choice.tool_calls
    assert streamed.choices[0].reasoning == choice.reasoning
    assert (streamed.choices[0].content or "") == (choice.content or "")


def same(completion: Completion) -> Any:
    """An answer without what the API adds: an empty text, the provider's own usage object, reasoning as an item."""
    value = msgspec.to_builtins(completion)
    for choice in value["choices"]:
        choice["content"] = choice["content"] or None
        choice["extra"] = None
    if value["usage"]:
        value["usage"]["raw"] = None
    return value
