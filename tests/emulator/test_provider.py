"""What an emulated provider sends in every dialect: bytes its wire reads, text of the prompt, times of its profile."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from clawbench.emulator.dialects import EMULATED, MANNERS
from clawbench.emulator.profiles import Failure, Profile
from clawbench.emulator.specs import drawn_provider
from clawbench.emulator.text import answer
from clawbench.emulator.tokens import count_prompt
from clawbench.rng import draws
from clawbench.types import ChatRequest, HttpCall, Message
from clawbench.wires import READ_ONLY, WIRES, wire_for
from clawbench.workloads.prompts import Prompt
from tests.emulator.invented import GUSTLINE, INVENTED
from tests.emulator.made import MODEL, PLAIN, PROMPTS, ask, call, offer, prompt, read, read_stream, spec, without_raw

DIALECTS = sorted(EMULATED)
CACHING = msgspec.structs.replace(PLAIN, cache="automatic", cache_hit_share=1.0)
LOSSY = {"ollama", "cohere"}
"""Dialects whose usage has no place for cached tokens."""

dialects = st.sampled_from(DIALECTS)
prompts = st.sampled_from(PROMPTS)
keys = st.integers(min_value=0, max_value=2**32)
profiles = st.sampled_from([msgspec.structs.replace(profile, failures=()) for profile in INVENTED])


def test_every_dialect_that_is_not_read_only_is_emulated_and_has_manners_of_its_own() -> None:
    assert set(EMULATED) == set(WIRES) - READ_ONLY
    assert set(MANNERS) == set(EMULATED)


@given(dialects, prompts, keys)
def test_a_streamed_and_a_whole_answer_decode_to_the_text_that_was_composed(
    dialect: str, asked: Prompt, key: int
) -> None:
    said = answer(wire_for(offer(dialect)).parse(call(dialect, asked.request, stream=False)), MODEL)
    calls = [(each.name, json.loads(each.arguments)) for each in said.tool_calls]
    for stream in (False, True):
        heard = read(dialect, ask(dialect, asked.request, stream=stream, key=key), stream=stream)
        assert heard.text == (said.content or "")
        assert heard.calls == calls
        assert heard.finish_reason == said.finish_reason


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_says_the_same_in_every_dialect(dialect: str) -> None:
    for asked in PROMPTS[::2]:
        if asked.request.tool_choice is not None:
            continue  # not every dialect can say it
        said, same = (
            answer(WIRES[d].parse(call(d, asked.request, stream=False)), MODEL) for d in ("openai_chat", dialect)
        )
        assert said == same, asked.id


@given(dialects, prompts, keys)
def test_both_ways_state_the_same_usage_and_it_is_that_of_the_rule(dialect: str, asked: Prompt, key: int) -> None:
    request = wire_for(offer(dialect)).parse(call(dialect, asked.request, stream=False))
    whole, streamed = (
        read(dialect, ask(dialect, asked.request, stream=stream, key=key, profile=CACHING), stream=stream).usage
        for stream in (False, True)
    )
    assert whole is not None
    assert whole.input_tokens == count_prompt(request)
    assert whole.output_tokens == answer(request, MODEL).output_tokens
    assert 0 <= (whole.cached_input_tokens or 0) < whole.input_tokens
    assert without_raw(streamed) == without_raw(whole)


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - LOSSY))
def test_cached_tokens_of_a_long_prefix_are_stated_in_every_dialect_that_can(dialect: str) -> None:
    heard = read(dialect, ask(dialect, prompt("long-lease-1"), stream=True, profile=CACHING), stream=True)
    assert heard.usage is not None
    assert (heard.usage.cached_input_tokens or 0) >= 512


@pytest.mark.parametrize("dialect", ["anthropic", "bedrock_anthropic", "bedrock_converse"])
def test_a_marked_prefix_is_written_at_a_miss_and_read_at_a_hit(dialect: str) -> None:
    text = "The lease begins in May and ends in June. " * 80
    marked = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
    question: Message = {"role": "user", "content": "When does it end?"}
    messages: list[Message] = [{"role": "system", "content": [marked]}, question]
    request = ChatRequest(model="", messages=messages, max_output_tokens=300)
    counts = []
    for share in (0.0, 1.0):
        profile = msgspec.structs.replace(PLAIN, cache="marked", cache_hit_share=share)
        usage = read(dialect, ask(dialect, request, stream=True, profile=profile), stream=True).usage
        assert usage is not None
        counts.append((usage.cached_input_tokens, usage.cache_write_tokens))
    written = counts[0][1]
    assert written is not None
    assert written >= 512
    assert counts == [(0, written), (written, 0)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_thinks_says_so_and_its_thoughts_are_counted(dialect: str, stream: bool) -> None:
    request = prompt("short-01")
    heard = read(dialect, ask(dialect, request, stream=stream, thinks=True), stream=stream)
    said = answer(wire_for(offer(dialect)).parse(call(dialect, request, stream=stream)), MODEL, thinks=True)
    assert heard.reasoning == said.reasoning
    assert heard.usage is not None
    assert heard.usage.output_tokens == said.output_tokens > said.reasoning_tokens > 0
    assert heard.usage.reasoning_tokens in (said.reasoning_tokens, None)


@given(dialects, prompts, keys, st.booleans())
def test_the_same_luck_gives_the_same_bytes_and_times(dialect: str, asked: Prompt, key: int, stream: bool) -> None:
    first, second = (ask(dialect, asked.request, stream=stream, key=key) for _ in range(2))
    assert first == second


@given(dialects, prompts, keys)
def test_times_never_go_back_and_the_last_token_of_both_ways_is_near(dialect: str, asked: Prompt, key: int) -> None:
    streamed = ask(dialect, asked.request, stream=True, key=key)
    instants = [streamed.headers_s, *(t_s for _, t_s in streamed.chunks)]
    assert instants == sorted(instants)
    assert instants[0] >= PLAIN.network_s
    first_s = next(t_s for delta, t_s in read_stream(dialect, streamed).deltas if delta.has_output)
    whole = ask(dialect, asked.request, stream=False, key=key)
    assert whole.headers_s == whole.chunks[-1][1]
    if first_s < instants[-1]:  # some dialects send a tool call whole, with its last token
        assert whole.headers_s >= first_s


@pytest.mark.parametrize("profile", INVENTED, ids=lambda profile: profile.name)
def test_first_tokens_and_token_rates_follow_the_profile(profile: Profile) -> None:
    steady = msgspec.structs.replace(profile, failures=(), ttft_s_per_1k_prompt_tokens=0.0)
    ttfts, rates = [], []
    for key in range(300):
        heard = read_stream("anthropic", ask("anthropic", prompt("long-api-1"), stream=True, key=key, profile=steady))
        out = [t_s for delta, t_s in heard.deltas if delta.has_output]
        assert heard.usage is not None
        ttfts.append(out[0])
        rates.append(((heard.usage.output_tokens or 0) - 1) / (out[-1] - out[0]))
    # The standard error of a log-normal's median over 300 draws is sigma / 14.
    assert median(ttfts) == pytest.approx(profile.ttft_s_median, rel=0.25 * profile.ttft_s_sigma + 0.02)
    assert median(rates) == pytest.approx(profile.token_rate_median, rel=0.25 * profile.token_rate_sigma + 0.06)


def test_a_long_prompt_is_slower_to_the_first_token_and_to_each_further_one() -> None:
    slowing = msgspec.structs.replace(PLAIN, token_rate_loss_per_1k_prompt_tokens=0.5)
    (long_ttft, long_rate), (short_ttft, short_rate) = (
        (slowing.ttft_s(tokens), slowing.token_rate(tokens)) for tokens in (4000, 10)
    )
    assert long_ttft > short_ttft
    assert long_rate < short_rate / 2
    never, always = (
        ask("openai_chat", prompt("long-lease-1"), stream=True, profile=profile) for profile in (PLAIN, CACHING)
    )
    assert always.headers_s < never.headers_s, "what the cache knows need not be read again"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "server_error", "unavailable"])
def test_failures_are_typed_by_the_wire(dialect: str, stream: bool, kind: Any) -> None:
    failing = msgspec.structs.replace(PLAIN, failures=(Failure(share=1.0, kind=kind, at="door", retry_after_s=4),))
    reply = ask(dialect, prompt("short-01"), stream=stream, profile=failing)
    error = wire_for(offer(dialect)).error(reply.status, reply.headers, reply.body)
    assert error.outcome == ("rate_limited" if kind == "rate_limited" else "upstream_5xx")
    assert error.try_next
    assert "{" not in error.message
    assert reply.headers_s < 0.1, "nobody waited for a model"


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic", "gemini", "cohere"])
def test_a_rate_limit_says_how_long_to_wait_where_the_dialect_can(dialect: str) -> None:
    limited = msgspec.structs.replace(
        PLAIN, failures=(Failure(share=1.0, kind="rate_limited", at="door", retry_after_s=4),)
    )
    reply = ask(dialect, prompt("short-01"), stream=False, profile=limited)
    assert wire_for(offer(dialect)).error(reply.status, reply.headers, reply.body).retry_after_s == 4


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_may_end_in_an_error_event_after_some_output(dialect: str) -> None:
    failing = msgspec.structs.replace(PLAIN, failures=(Failure(share=1.0, kind="overloaded", at="stream"),))
    reply = ask(dialect, prompt("long-api-1"), stream=True, profile=failing)
    assert reply.status == 200
    decoder = wire_for(offer(dialect)).stream()
    deltas = [delta for data, _ in reply.chunks for delta in decoder.feed(data)]
    assert any(delta.has_output for delta in deltas)
    assert deltas[-1].error is not None
    assert deltas[-1].error.outcome == "error_event"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_may_break_off_without_an_end(dialect: str) -> None:
    failing = msgspec.structs.replace(PLAIN, failures=(Failure(share=1.0, kind="server_error", at="cut"),))
    reply = ask(dialect, prompt("long-api-1"), stream=True, profile=failing)
    decoder = wire_for(offer(dialect)).stream()
    deltas = [delta for data, _ in reply.chunks for delta in decoder.feed(data)]
    assert any(delta.has_output for delta in deltas)
    assert not any(delta.finish_reason or delta.error for delta in deltas)
    assert not decoder.finish().complete
    assert ask(dialect, prompt("long-api-1"), stream=False, profile=failing).status == 500


def test_failures_are_as_frequent_as_the_profile_says_and_the_same_streamed_or_not() -> None:
    stormy = msgspec.structs.replace(
        PLAIN, failures=(Failure(share=0.2, kind="server_error"), Failure(share=0.1, kind="overloaded", at="door"))
    )
    request = prompt("short-01")
    whole = [ask("openai_chat", request, stream=False, key=key, profile=stormy).status for key in range(1000)]
    assert whole == [ask("openai_chat", request, stream=True, key=key, profile=stormy).status for key in range(1000)]
    # Four standard errors of a share over 1000 draws are about 0.05.
    assert whole.count(500) / 1000 == pytest.approx(0.2, abs=0.05)
    assert whole.count(503) / 1000 == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_that_is_not_served_is_refused_as_gone(dialect: str) -> None:
    provider = drawn_provider(spec(dialect))
    sent = call(dialect, prompt("short-01"), stream=False)
    other = msgspec.structs.replace(
        sent, url=sent.url.replace("m-up", "m-none"), body=sent.body.replace(b'"m-up"', b'"m-none"')
    )
    reply = provider.answer(other, draws(0, "test"))
    assert wire_for(offer(dialect)).error(reply.status, reply.headers, reply.body).outcome == "model_gone"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_prompt_beyond_the_context_window_is_refused_with_the_reason(dialect: str) -> None:
    provider = drawn_provider(spec(dialect, window=100))
    reply = provider.answer(call(dialect, prompt("long-lease-1"), stream=False), draws(0, "test"))
    error = wire_for(offer(dialect)).error(reply.status, reply.headers, reply.body)
    assert (error.outcome, error.code, error.try_next) == ("rejected", "context_length_exceeded", True)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"model":"m-up","messages":"hi","contents":7,"input":7}'])
def test_a_body_that_is_no_request_is_refused(dialect: str, body: bytes) -> None:
    sent = msgspec.structs.replace(call(dialect, prompt("short-01"), stream=False), body=body)
    reply = drawn_provider(spec(dialect)).answer(sent, draws(0, "test"))
    assert reply.status == 400
    assert wire_for(offer(dialect)).error(reply.status, reply.headers, reply.body).outcome == "rejected"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("tools", "tool_choice", "response_format", "temperature", "stop", "n", "reasoning_effort", "system")
BODIES = st.fixed_dictionaries(
    {
        "model": st.just("m-up"),
        "max_tokens": st.just(100),
        "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": ANYTHING})),
        "contents": st.lists(st.fixed_dictionaries({"role": st.just("user"), "parts": ANYTHING})),
        "input": ANYTHING,
    },
    optional=dict.fromkeys(FIELDS, ANYTHING),
)


@given(dialects, BODIES, st.booleans())
def test_any_body_gets_an_answer_or_a_refusal(dialect: str, body: dict[str, Any], stream: bool) -> None:
    # Lone surrogates go out as escapes, as clients send them.
    sent = msgspec.structs.replace(
        call(dialect, prompt("short-01"), stream=stream), body=json.dumps(body | {"stream": stream}).encode()
    )
    reply = drawn_provider(spec(dialect, thinks=True)).answer(sent, draws(0, "test"))
    assert reply.status in (200, 400)
    assert reply.body


def test_a_stream_states_usage_only_if_it_was_asked_to_in_the_dialect_where_clients_ask() -> None:
    sent = call("openai_chat", prompt("short-01"), stream=True)
    body = {key: value for key, value in json.loads(sent.body).items() if key != "stream_options"}
    unasked = msgspec.structs.replace(sent, body=json.dumps(body).encode())
    reply = drawn_provider(spec("openai_chat")).answer(unasked, draws(0, "test"))
    assert b'"usage"' not in reply.body


def test_the_official_types_accept_what_is_sent() -> None:
    for asked in PROMPTS[::5]:
        whole = ask("openai_chat", asked.request, stream=False)
        completion = ChatCompletion.model_validate_json(whole.body)
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
        *frames, last = ask("openai_chat", asked.request, stream=True).chunks
        assert last[0] == b"data: [DONE]\n\n"
        chunks = [ChatCompletionChunk.model_validate_json(data.removeprefix(b"data: ")) for data, _ in frames]
        assert chunks[0].choices[0].delta.role == "assistant"
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == (completion.choices[0].message.content or "")


@given(dialects, st.text(max_size=40), keys)
def test_any_text_is_carried_whole(dialect: str, text: str, key: int) -> None:
    request = ChatRequest(model="", messages=[{"role": "user", "content": "? " + text}], max_output_tokens=500)
    steady = msgspec.structs.replace(GUSTLINE, failures=())
    whole, streamed = (
        read(dialect, ask(dialect, request, stream=stream, key=key, profile=steady), stream=stream)
        for stream in (False, True)
    )
    assert whole.text == streamed.text != ""


def test_calls_without_a_model_are_found_by_path() -> None:
    provider = drawn_provider(spec("openai_chat"))
    wrong = HttpCall(method="POST", url="http://127.0.0.1:1430/p/v1/embeddings", headers={}, body=b"{}")
    assert provider.answer(wrong, draws(0, "test")).status == 404
    wrong_method = HttpCall(method="PUT", url="http://127.0.0.1:1430/p/v1/chat/completions", headers={}, body=b"{}")
    assert provider.answer(wrong_method, draws(0, "test")).status == 404


def test_a_provider_with_several_dialects_tells_them_apart_by_path() -> None:
    both = msgspec.structs.replace(spec("openai_chat"), dialects=("openai_chat", "openai_responses", "anthropic"))
    provider = drawn_provider(both)
    for dialect in both.dialects:
        reply = provider.answer(call(dialect, prompt("short-01"), stream=True), draws(0, "test"))
        assert read(dialect, reply, stream=True).text == answer(prompt("short-01"), MODEL).content


def test_the_same_call_is_answered_alike_however_often_it_came() -> None:
    provider = drawn_provider(spec("gemini"))
    sent = call("gemini", prompt("tools-01"), stream=True)
    assert provider.answer(sent, draws(3, "x")) == provider.answer(sent, draws(3, "x"))
