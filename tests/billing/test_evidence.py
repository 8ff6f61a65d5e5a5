"""Evidence: the usage text that stands in a reply, unchanged, however bytes were split and whatever is around it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.billing.evidence import Evidence, StreamEvidence, of_body
from clawbench.usage.admission import UsageRefused, parse
from clawbench.usage.buckets import Uses
from clawbench.wires.event_stream import encode_frame


def of_stream(dialect: str, *chunks: bytes) -> Evidence:
    stream = StreamEvidence(dialect)
    for chunk in chunks:
        stream.feed(chunk)
    return stream.evidence()


def test_the_text_of_a_usage_object_is_kept_as_it_was_written() -> None:
    body = b'{"choices": [], "usage" : {"prompt_tokens":1,  "cost": 1.50e-05}, "service_tier": "flex"}'
    found = of_body("openai_chat", body)
    assert found.usage == (b'{"prompt_tokens":1,  "cost": 1.50e-05}',)
    assert found.service_tier == "flex"


def test_usage_is_found_where_each_dialect_puts_it() -> None:
    usage = b'{"n":1}'
    assert of_body("gemini", b'{"usageMetadata":{"n":1}}').usage == (usage,)
    assert of_body("cohere_v1", b'{"meta":{"n":1}}').usage == (usage,)
    assert of_body("openai_chat", b'{"usage":null,"x_groq":{"usage":{"n":1}}}').usage == (usage,)
    assert of_body("ollama", b'{"eval_count":1}').usage == (b'{"eval_count":1}',)
    assert of_body("openai_chat", b'{"choices":[]}').usage == ()


@given(cut=st.integers(0, 400))
def test_a_stream_gives_the_same_evidence_however_it_was_split(cut: int) -> None:
    events = [
        {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 25, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 'a "usage": {"n": 2} in text'}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}},
    ]
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    found = of_stream("anthropic", data[:cut], data[cut:])
    assert [json.loads(text) for text in found.usage] == [
        {"input_tokens": 25, "output_tokens": 1},
        {"output_tokens": 15},
    ]


@given(cut=st.integers(0, 120))
def test_a_stream_that_comes_as_one_json_list_is_read_too(cut: int) -> None:
    body = b' [{"usageMetadata": {"promptTokenCount": 1}}\n,{"usageMetadata": {"promptTokenCount": 2}}]'
    assert of_stream("gemini", body[:cut], body[cut:]).usage == (b'{"promptTokenCount": 1}', b'{"promptTokenCount": 2}')
    cut_off = of_stream("gemini", body[:-1])
    assert cut_off.usage == (b'{"promptTokenCount": 2}',)


def test_usage_in_a_body_that_is_no_strict_json_is_cut_out_for_admission_to_judge() -> None:
    (text,) = of_body("openai_chat", b'{"logprobs": NaN, "usage": {"prompt_tokens": 1}, "x": 2}').usage
    assert text == b'{"prompt_tokens": 1}'
    (text,) = of_body("openai_chat", b'{"usage": {"prompt_tokens": NaN}}').usage
    with pytest.raises(UsageRefused):
        parse(text)


def test_a_usage_that_is_stated_twice_is_refused_rather_than_chosen() -> None:
    (text,) = of_body("openai_chat", b'{"usage": {"prompt_tokens": 1}, "usage": {"prompt_tokens": 2}}').usage
    with pytest.raises(UsageRefused, match="repeated"):
        parse(text)


def test_searches_are_counted_by_prompt_and_by_query() -> None:
    grounded = {"groundingMetadata": {"webSearchQueries": ["a", "b", ""]}}
    found = of_body("gemini", json.dumps({"candidates": [grounded]}).encode())
    assert found.uses == (Uses({"google_search_prompt": 1, "google_search_query": 2}),)


def test_containers_are_counted_once_however_often_code_ran_in_them() -> None:
    calls = [{"type": "code_interpreter_call", "container_id": name} for name in ("a", "a", "b")]
    assert of_body("openai_responses", json.dumps({"output": calls}).encode()).uses == (Uses({"code_interpreter": 2}),)


@given(
    body=st.binary(max_size=300), dialect=st.sampled_from(["openai_chat", "anthropic", "ollama", "bedrock_converse"])
)
def test_no_bytes_raise(body: bytes, dialect: str) -> None:
    of_body(dialect, body)
    of_stream(dialect, b"data: " + body + b"\n\n")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    *["usage", "message", "delta", "response", "output", "candidates", "choices", "x_groq", "type"],
                    *["groundingMetadata", "webSearchQueries", "executed_tools", "service_tier", "meta"],
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(value=JSON, dialect=st.sampled_from(["openai_chat", "openai_responses", "anthropic", "gemini", "cohere"]))
def test_no_json_raises(value: object, dialect: str) -> None:
    of_body(dialect, json.dumps(value).encode())


def test_invoke_model_states_its_counts_in_headers_or_in_its_last_event() -> None:
    headers = {"x-amzn-bedrock-input-token-count": "16", "x-amzn-bedrock-output-token-count": "82"}
    found = of_body("bedrock_invoke_other", b'{"completion": " Hi."}', headers)
    assert [parse(text) for text in found.usage] == [{"inputTokenCount": 16, "outputTokenCount": 82}]
    assert of_body("bedrock_invoke_other", b'{"completion": " Hi."}').usage == ()
    inner = {"outputText": "Hi.", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 2}}
    frame = encode_frame(
        {":message-type": "event", ":event-type": "chunk"},
        json.dumps({"bytes": base64.b64encode(json.dumps(inner).encode()).decode()}, separators=(",", ":")).encode(),
    )
    streamed = of_stream("bedrock_invoke_other", frame[:30], frame[30:])
    assert [parse(text) for text in streamed.usage] == [{"inputTokenCount": 5, "outputTokenCount": 2}]


def guarded(**units: object) -> dict[str, object]:
    return {"invocationMetrics": {"guardrailProcessingLatency": 5, "usage": units}, "topicPolicy": {"topics": []}}


TRACED = {
    "inputAssessment": {"g1": guarded(contentPolicyUnits=2, topicPolicyUnits=1, wordPolicyUnits=1)},
    "outputAssessments": {"g1": [guarded(contentPolicyUnits=3, sensitiveInformationPolicyFreeUnits=3)]},
}
COUNTED = {"guardrail_content": 5, "guardrail_topic": 1, "guardrail_word": 1, "guardrail_sensitive_free": 3}


def test_units_of_guardrails_are_read_from_the_trace_of_bedrock_and_of_nobody_else() -> None:
    body = {"usage": {"inputTokens": 1, "outputTokens": 2}, "trace": {"guardrail": TRACED}}
    text = json.dumps(body).encode()
    found = of_body("bedrock_converse", text)
    assert {kind: count for uses in found.uses for kind, count in uses.counts.items()} == COUNTED
    assert json.loads(found.usage[-1]) == body["usage"]
    frame = encode_frame({":event-type": "metadata", ":message-type": "event"}, text)
    assert of_stream("bedrock_converse", frame).uses == found.uses
    assert of_body("openai_chat", text).uses == ()
    invoked = {"amazon-bedrock-trace": {"guardrail": {"input": TRACED["inputAssessment"]}}, "usage": {"n": 1}}
    assert Uses({"guardrail_topic": 1}) in of_body("bedrock_anthropic", json.dumps(invoked).encode()).uses


@pytest.mark.parametrize("units", [-1, 1.5, True, "2", 10**12, [1], None])
def test_units_that_are_no_count_have_no_price(units: object) -> None:
    body = {"usage": {"n": 1}, "trace": {"guardrail": {"inputAssessment": {"g": guarded(topicPolicyUnits=units)}}}}
    found = of_body("bedrock_converse", json.dumps(body).encode())
    assert found.uses == (() if units is None else (Uses({"guardrail_unreadable": 1}),))
