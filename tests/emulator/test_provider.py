"""What an emulated provider sends: bytes that its wire and the official client read, and times of its profile."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from clawbench.emulator.profiles import (
    EVENKEEL,
    GUSTLINE,
    QUICKSTART,
    ProviderProfile,
    overloaded,
    rate_limit,
    server_error,
)
from clawbench.emulator.provider import EmulatedProvider, EmulatedReply
from clawbench.emulator.quickstart import MODEL, offer_of
from clawbench.emulator.text import answer
from clawbench.emulator.tokens import count_prompt
from clawbench.rng import draws
from clawbench.types import ChatRequest, Delta, HttpCall, StreamEnd
from clawbench.wires import WIRES
from clawbench.workloads.prompts import Prompt, read_prompts

WIRE = WIRES["openai_chat"]
PROMPTS = read_prompts(Path(__file__).parents[2] / "cassettes" / "prompts.jsonl")
FAULTLESS = msgspec.structs.replace(EVENKEEL, failures=())

prompts = st.sampled_from(PROMPTS)
profiles = st.sampled_from([msgspec.structs.replace(profile, failures=()) for profile in QUICKSTART])
keys = st.integers(min_value=0, max_value=2**32)


def call_of(profile: ProviderProfile, request: ChatRequest, *, stream: bool) -> HttpCall:
    flagged = msgspec.structs.replace(request, model=MODEL, stream=stream, include_usage=stream)
    return WIRE.encode(flagged, offer_of(profile))


def ask(profile: ProviderProfile, request: ChatRequest, *, stream: bool, key: int = 0) -> EmulatedReply:
    provider = EmulatedProvider(profile, models={offer_of(profile).upstream_model: MODEL})
    return provider.answer(call_of(profile, request, stream=stream), draws(key, "test"))


def read_stream(reply: EmulatedReply) -> tuple[list[tuple[Delta, float]], StreamEnd]:
    decoder = WIRE.stream()
    timed = [(delta, t_s) for data, t_s in reply.chunks for delta in decoder.feed(data)]
    return timed, decoder.finish()


def said_in(deltas: list[Delta]) -> tuple[str, list[tuple[str, str, str]]]:
    """Text and (id, name, arguments) of the tool calls of a stream."""
    calls: dict[int, list[str]] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        call = calls.setdefault(piece.index, ["", "", ""])
        for place, text in enumerate((piece.id, piece.name, piece.arguments)):
            call[place] += text or ""
    text = "".join(delta.content or "" for delta in deltas)
    return text, [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]


@given(prompts, profiles, keys)
def test_a_streamed_and_a_whole_answer_decode_to_the_text_that_was_composed(
    prompt: Prompt, profile: ProviderProfile, key: int
) -> None:
    said = answer(prompt.request, MODEL)
    calls = [(call.id, call.name, call.arguments) for call in said.tool_calls]
    whole = ask(profile, prompt.request, stream=False, key=key)
    (choice,) = WIRE.decode(whole.status, whole.headers, whole.body).choices
    assert choice.content == said.content
    assert [(call.id, call.name, call.arguments) for call in choice.tool_calls] == calls
    timed, end = read_stream(ask(profile, prompt.request, stream=True, key=key))
    assert said_in([delta for delta, _ in timed]) == (said.content or "", calls)
    assert choice.finish_reason == end.finish_reason == said.finish_reason
    assert end.complete
    assert end.notes == ()


@given(prompts, profiles, keys)
def test_both_ways_state_the_same_usage_and_it_is_that_of_the_rule(
    prompt: Prompt, profile: ProviderProfile, key: int
) -> None:
    whole = ask(profile, prompt.request, stream=False, key=key)
    usage = WIRE.decode(whole.status, whole.headers, whole.body).usage
    assert usage is not None
    assert usage.input_tokens == count_prompt(prompt.request)
    assert usage.output_tokens == answer(prompt.request, MODEL).output_tokens
    assert 0 <= (usage.cached_input_tokens or 0) < usage.input_tokens
    assert read_stream(ask(profile, prompt.request, stream=True, key=key))[1].usage == usage


@given(prompts, profiles, keys, st.booleans())
def test_the_same_luck_gives_the_same_bytes_and_times(
    prompt: Prompt, profile: ProviderProfile, key: int, stream: bool
) -> None:
    first, second = (ask(profile, prompt.request, stream=stream, key=key) for _ in range(2))
    assert first == second


@given(prompts, profiles, keys)
def test_times_never_go_back_and_the_last_token_of_both_ways_is_near(
    prompt: Prompt, profile: ProviderProfile, key: int
) -> None:
    streamed = ask(profile, prompt.request, stream=True, key=key)
    instants = [streamed.headers_s, *(t_s for _, t_s in streamed.chunks)]
    assert instants == sorted(instants)
    assert instants[0] >= profile.network_s
    assert len(streamed.chunks) == streamed.body.count(b"\n\n")
    first_s = next(t_s for delta, t_s in read_stream(streamed)[0] if delta.has_output)
    whole = ask(profile, prompt.request, stream=False, key=key)
    assert whole.headers_s >= first_s
    assert whole.headers_s == whole.chunks[-1][1]


@pytest.mark.parametrize("profile", QUICKSTART, ids=lambda profile: profile.name)
def test_first_tokens_and_token_rates_follow_the_profile(profile: ProviderProfile) -> None:
    steady = msgspec.structs.replace(profile, failures=(), ttft_s_per_1k_prompt_tokens=0.0)
    (request,) = (prompt.request for prompt in PROMPTS if prompt.id == "long-api-1")
    ttfts, rates = [], []
    for key in range(400):
        timed, end = read_stream(ask(steady, request, stream=True, key=key))
        out = [t_s for delta, t_s in timed if delta.has_output]
        assert end.usage is not None
        ttfts.append(out[0])
        rates.append(((end.usage.output_tokens or 0) - 1) / (out[-1] - out[0]))
    # The standard error of a log-normal's median over 400 draws is sigma / 16.
    assert median(ttfts) == pytest.approx(profile.ttft_s_median, rel=0.2 * profile.ttft_s_sigma + 0.02)
    assert median(rates) == pytest.approx(profile.token_rate_median, rel=0.2 * profile.token_rate_sigma + 0.06)


def test_a_long_prompt_is_slower_to_the_first_token_and_a_cached_one_less_so() -> None:
    (request,) = (prompt.request for prompt in PROMPTS if prompt.id == "long-lease-1")
    short = ChatRequest(model="", messages=[{"role": "user", "content": "May I paint the bedroom dark green?"}])
    never = msgspec.structs.replace(FAULTLESS, cache_hit_share=0.0)
    always = msgspec.structs.replace(FAULTLESS, cache_hit_share=1.0)

    def ttft_s(profile: ProviderProfile, asked: ChatRequest) -> float:
        timed, _ = read_stream(ask(profile, asked, stream=True))
        return next(t_s for delta, t_s in timed if delta.has_output)

    assert ttft_s(never, short) < ttft_s(always, request) < ttft_s(never, request)


def test_a_prompt_cache_knows_whole_blocks_of_a_long_prefix_and_nothing_of_a_short_one() -> None:
    always = msgspec.structs.replace(FAULTLESS, cache_hit_share=1.0)
    cached = {}
    for prompt in PROMPTS:
        reply = ask(always, prompt.request, stream=False)
        usage = WIRE.decode(reply.status, reply.headers, reply.body).usage
        assert usage is not None
        cached[prompt.id] = usage.cached_input_tokens
    assert cached["long-lease-1"] == cached["long-lease-2"]
    assert (cached["long-lease-1"] or 0) >= 512
    assert (cached["long-lease-1"] or 0) % 64 == 0
    assert cached["short-01"] == 0


@pytest.mark.parametrize(
    ("failure", "outcome", "retry_after_s"),
    [
        (rate_limit(1.0, retry_after_s=4), "rate_limited", 4.0),
        (server_error(1.0), "upstream_5xx", None),
        (overloaded(1.0), "upstream_5xx", None),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_failures_are_typed_by_the_wire(failure: Any, outcome: str, retry_after_s: float | None, stream: bool) -> None:
    failing = msgspec.structs.replace(EVENKEEL, failures=(failure,))
    reply = ask(failing, PROMPTS[0].request, stream=stream)
    error = WIRE.error(reply.status, reply.headers, reply.body)
    assert (error.status, error.outcome, error.retry_after_s) == (failure.status, outcome, retry_after_s)
    assert error.try_next
    assert "{" not in error.message


def test_failures_are_as_frequent_as_the_profile_says_and_the_same_streamed_or_not() -> None:
    stormy = msgspec.structs.replace(EVENKEEL, failures=(server_error(0.2), overloaded(0.1)))
    request = PROMPTS[0].request
    whole = [ask(stormy, request, stream=False, key=key).status for key in range(1000)]
    assert whole == [ask(stormy, request, stream=True, key=key).status for key in range(1000)]
    # Four standard errors of a share over 1000 draws are about 0.05.
    assert whole.count(500) / 1000 == pytest.approx(0.2, abs=0.05)
    assert whole.count(503) / 1000 == pytest.approx(0.1, abs=0.04)


def test_a_model_that_is_not_served_and_a_body_that_is_no_request_are_refused() -> None:
    provider = EmulatedProvider(FAULTLESS, models={"other": MODEL})
    call = call_of(FAULTLESS, PROMPTS[0].request, stream=False)
    gone = provider.answer(call, draws(0, "test"))
    assert WIRE.error(gone.status, gone.headers, gone.body).outcome == "model_gone"
    for body in (b"", b"[]", b'{"model":"other"}', b'{"model":"other","messages":"hi"}'):
        refused = provider.answer(msgspec.structs.replace(call, body=body), draws(0, "test"))
        assert (refused.status, json.loads(refused.body)["error"]["type"]) == (400, "invalid_request_error")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("tools", "tool_choice", "response_format", "max_tokens", "stop", "n")
BODIES = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": ANYTHING})),
    },
    optional=dict.fromkeys(FIELDS, ANYTHING),
)


@given(BODIES, st.booleans())
def test_any_body_gets_an_answer_or_a_refusal(body: dict[str, Any], stream: bool) -> None:
    # Lone surrogates go out as escapes, as clients send them.
    sent = json.dumps(body | {"stream": stream}).encode()
    call = HttpCall(method="POST", url="https://x.example/v1/chat/completions", headers={}, body=sent)
    reply = EmulatedProvider(FAULTLESS, models={"m": MODEL}).answer(call, draws(0, "test"))
    assert reply.status in (200, 400)
    assert reply.body


def test_a_stream_states_usage_only_if_it_was_asked_to() -> None:
    call = call_of(FAULTLESS, PROMPTS[0].request, stream=True)
    body = {key: value for key, value in json.loads(call.body).items() if key != "stream_options"}
    provider = EmulatedProvider(FAULTLESS, models={body["model"]: MODEL})
    unasked = provider.answer(msgspec.structs.replace(call, body=json.dumps(body).encode()), draws(0, "test"))
    assert b'"usage"' not in unasked.body
    assert read_stream(unasked)[1].usage is None


def test_the_official_client_accepts_what_is_sent() -> None:
    for prompt in PROMPTS[::5]:
        whole = ask(FAULTLESS, prompt.request, stream=False)
        completion = ChatCompletion.model_validate_json(whole.body)
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
        *frames, last = ask(FAULTLESS, prompt.request, stream=True).chunks
        assert last[0] == b"data: [DONE]\n\n"
        chunks = [ChatCompletionChunk.model_validate_json(data.removeprefix(b"data: ")) for data, _ in frames]
        assert chunks[0].choices[0].delta.role == "assistant"
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == (completion.choices[0].message.content or "")


@given(st.text(max_size=40), keys)
def test_any_text_is_carried_whole(text: str, key: int) -> None:
    request = ChatRequest(model="", messages=[{"role": "user", "content": text}])
    whole = ask(GUSTLINE, request, stream=False, key=key)
    if whole.status == 200:
        (choice,) = WIRE.decode(200, whole.headers, whole.body).choices
        timed, _ = read_stream(ask(GUSTLINE, request, stream=True, key=key))
        assert said_in([delta for delta, _ in timed])[0] == choice.content


def test_headers_say_how_long_the_provider_worked() -> None:
    whole = ask(FAULTLESS, PROMPTS[0].request, stream=False)
    stated_s = int(whole.headers["openai-processing-ms"]) / 1000
    assert stated_s + FAULTLESS.network_s == pytest.approx(whole.headers_s, abs=0.001)
    assert int(whole.headers["x-ratelimit-remaining-requests"]) <= int(whole.headers["x-ratelimit-limit-requests"])
