"""What traffic does to an offer: limits per minute, places and a queue, a prompt cache, the hour of the day."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.emulator.conditions import Chances, Drawn, Live
from clawbench.emulator.limits import Allowance, Places
from clawbench.emulator.prefix_cache import PrefixCache, blocks, marked_tokens
from clawbench.emulator.profiles import Profile, factor_at, probability_of
from clawbench.emulator.specs import live_provider
from clawbench.emulator.tokens import count_prompt
from clawbench.types import ChatRequest
from clawbench.wires import wire_for
from tests.emulator.made import MODEL, PLAIN, PROMPTS, offer, post, read, spec

ANY = Chances(0.5, 0.5)
LONG = "The tenant pays on the first of each month. " * 100


def asking(*texts: str, **more: object) -> ChatRequest:
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return ChatRequest(model="m", messages=messages, **more)  # type: ignore[arg-type]


def test_a_limit_lets_a_minutes_worth_through_at_once_and_the_rest_as_it_refills() -> None:
    allowance = Allowance(60)
    for _ in range(60):
        assert allowance.wait_s(1, 0.0) == 0
        allowance.take(1, 0.0)
    assert allowance.wait_s(1, 0.0) == pytest.approx(1.0)
    assert allowance.wait_s(1, 1.0) == pytest.approx(0.0, abs=1e-9)
    assert allowance.reset_s(0.0) == pytest.approx(59.0)


def test_more_than_a_minutes_worth_waits_for_the_full_minute_and_no_longer() -> None:
    allowance = Allowance(1000)
    allowance.take(1000, 0.0)
    assert allowance.wait_s(5000, 0.0) == 60
    assert allowance.wait_s(5000, 60.0) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), max_size=60))
def test_no_minute_sees_more_than_two_minutes_worth(steps: list[tuple[float, int]]) -> None:
    allowance, at_s, taken = Allowance(100), 0.0, []
    for gap_s, units in steps:
        at_s += gap_s
        if not allowance.wait_s(units, at_s):
            allowance.take(units, at_s)
            taken.append((at_s, units))
    for start_s, _ in taken:
        assert sum(units for at_s, units in taken if start_s <= at_s < start_s + 60) <= 200


def test_who_finds_all_places_taken_waits_for_the_first_that_becomes_free() -> None:
    places = Places(2, queue_max=1)
    waits = []
    for at_s in (0.0, 1.0, 2.0):
        wait_s = places.wait_s(at_s)
        assert wait_s is not None
        waits.append(wait_s)
        places.take(at_s, wait_s, 10.0)
    assert waits == [0.0, 0.0, 8.0]
    assert places.wait_s(3.0) is None, "one waits already, and there is room for one"
    assert places.wait_s(10.5) == 0.5, "the one that waited is being served, until 20; the other place is free at 11"


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.floats(0.001, 2), st.floats(0.001, 5)), min_size=1, max_size=60),
)
def test_never_are_more_served_at_once_than_there_are_places_and_nobody_overtakes(
    slots: int, calls: list[tuple[float, float]]
) -> None:
    places, at_s, served = Places(slots, None), 0.0, []
    for gap_s, service_s in calls:
        at_s += gap_s
        wait_s = places.wait_s(at_s)
        assert wait_s is not None
        places.take(at_s, wait_s, service_s)
        served.append((at_s + wait_s, at_s + wait_s + service_s))
    starts = [start_s for start_s, _ in served]
    assert all(earlier <= later + 1e-9 for earlier, later in pairwise(starts))
    for start_s in starts:
        assert sum(begin - 1e-9 <= start_s < end - 1e-9 for begin, end in served) <= slots


def test_load_makes_an_offer_slower_and_at_last_refuses() -> None:
    narrow = msgspec.structs.replace(PLAIN, slots=2, queue_max=3, requests_per_minute=None, tokens_per_minute=None)
    provider = live_provider(spec("openai_chat", narrow))
    replies = [post(provider, "openai_chat", f"Why {index}?", at_s=1.0) for index in range(7)]
    answered = [reply.headers_s for reply in replies if reply.status == 200]
    assert len(answered) == 5
    assert max(answered[:2]) < min(answered[2:])
    assert [reply.status for reply in replies[5:]] == [503, 503]
    assert post(provider, "openai_chat", "Why at last?", at_s=60.0).headers_s < min(answered[2:])


def test_contention_slows_down_those_who_are_served_together() -> None:
    shared = msgspec.structs.replace(PLAIN, slots=10, contention=1.0, requests_per_minute=None, tokens_per_minute=None)
    conditions = Live(shared)
    slowness = []
    for _ in range(5):
        slowness.append(conditions.slowness(0.0))
        conditions.enter(100.0, 0.0)
    assert slowness == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])


def test_a_limit_refuses_in_the_dialects_words_with_a_wait_that_is_long_enough() -> None:
    limited = msgspec.structs.replace(PLAIN, requests_per_minute=3, tokens_per_minute=None)
    provider = live_provider(spec("anthropic", limited))
    replies = [post(provider, "anthropic", f"Why {index}?", at_s=0.0) for index in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert replies[2].headers["anthropic-ratelimit-requests-remaining"] == "0"
    error = wire_for(offer("anthropic")).error(replies[3].status, replies[3].headers, replies[3].body)
    assert error.retry_after_s == 20
    assert post(provider, "anthropic", "Why now?", at_s=error.retry_after_s).status == 200


def test_tokens_are_limited_apart_from_requests() -> None:
    limited = msgspec.structs.replace(PLAIN, requests_per_minute=1000, tokens_per_minute=300)
    provider = live_provider(spec("openai_chat", limited))
    replies = [post(provider, "openai_chat", f"Why is that so, {index}?", at_s=0.0) for index in range(12)]
    refused = [reply for reply in replies if reply.status == 429]
    assert 0 < len(refused) < 12
    assert b"tokens per min (TPM): Limit 300" in refused[0].body


def test_the_next_turn_of_a_conversation_finds_the_turns_before_in_the_cache() -> None:
    cache = PrefixCache(ttl_s=300)
    first, second = asking(LONG), asking(LONG, "Yes.", "And in July?")
    assert cache.known(first, 0.0) == 0
    cache.remember(first, 0.0)
    assert cache.known(second, 1.0) == cache.known(first, 1.0) >= 512
    assert cache.known(second, 1.0) % 64 == 0
    assert cache.known(second, 302.0) == 0, "it lives five minutes after its last use"
    other = asking("Another lease. " + LONG)
    assert cache.known(other, 1.0) == 0


def test_a_long_text_that_begins_the_same_is_known_up_to_where_it_differs() -> None:
    cache = PrefixCache(ttl_s=300)
    cache.remember(asking(LONG + "What is the rent?"), 0.0)
    known = cache.known(asking(LONG + "May I paint it?"), 0.0)
    assert 0.9 * len(LONG) / 4 < known <= len(LONG) / 4


@given(st.sampled_from(PROMPTS), st.sampled_from(PROMPTS))
def test_never_is_more_known_than_the_prompt_has_tokens(first: object, second: object) -> None:
    cache = PrefixCache(ttl_s=300)
    asked, other = first.request, second.request  # type: ignore[attr-defined]
    cache.remember(other, 0.0)
    assert cache.known(asked, 0.0) <= count_prompt(asked)
    ends = [tokens for _, tokens in blocks(asked)]
    assert ends == sorted(ends)
    assert ends[-1] == count_prompt(asked) - 3


def test_only_what_is_marked_is_kept_where_prefixes_have_to_be_marked() -> None:
    part = {"type": "text", "text": LONG}
    plain = ChatRequest(model="m", messages=[{"role": "user", "content": [part]}])
    marked = ChatRequest(
        model="m",
        messages=[
            {"role": "system", "content": [part | {"cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": "Why?"},
        ],
    )
    conditions = Live(msgspec.structs.replace(PLAIN, cache="marked"))
    assert conditions.cached(plain, ANY, 0.0) == conditions.cached(plain, ANY, 1.0)
    first, second = (conditions.cached(marked, ANY, at_s) for at_s in (2.0, 3.0))
    tokens = marked_tokens(marked)
    assert (first.read, first.written) == (0, tokens)
    assert (second.read, second.written) == (tokens, 0)


def test_cached_tokens_come_out_of_the_running_provider() -> None:
    provider = live_provider(spec("gemini", msgspec.structs.replace(PLAIN, cache="automatic")))
    usages = [
        read("gemini", post(provider, "gemini", LONG, at_s=at_s), stream=False).usage for at_s in (0.0, 5.0, 1000.0)
    ]
    cached = [(usage.cached_input_tokens or 0) if usage else None for usage in usages]
    assert cached[0] == cached[2] == 0
    assert (cached[1] or 0) >= 512


def test_the_day_has_slow_and_quick_hours() -> None:
    busy_at_noon = tuple(2.0 if hour == 12 else 1.0 for hour in range(24))
    conditions = Live(msgspec.structs.replace(PLAIN, hourly=busy_at_noon), hour_at_zero=11.0)
    assert [conditions.slowness(at_s) for at_s in (0.0, 1800.0, 3600.0, 7200.0, 86_400.0 + 3600.0)] == [1, 1.5, 2, 1, 2]


@given(st.floats(0.001, 0.999), st.floats(0.05, 2.0), st.sampled_from([(), (0.2, 0.5, 1.0, 1.5, 4.0)]))
def test_the_probability_of_a_factor_is_the_one_that_it_was_drawn_at(
    probability: float, sigma: float, table: tuple[float, ...]
) -> None:
    assert probability_of(factor_at(probability, sigma, table), sigma, table) == pytest.approx(probability, abs=1e-6)


def test_where_no_traffic_decides_nobody_waits_and_no_limit_refuses() -> None:
    tight = msgspec.structs.replace(PLAIN, requests_per_minute=1, slots=1, queue_max=0)
    drawn = Drawn(tight)
    for _ in range(5):
        assert drawn.quota(10, ANY, 0.0)[1] is None
        assert drawn.enter(100.0, 0.0) == 0.0


def test_energy_is_of_the_tokens_that_had_to_be_computed() -> None:
    profile: Profile = msgspec.structs.replace(PLAIN, joules_per_input_token=0.1, joules_per_output_token=2.0)
    reply = post(live_provider(spec("openai_chat", profile)), "openai_chat", "Why?")
    usage = read("openai_chat", reply, stream=False).usage
    assert usage is not None
    assert reply.energy_j == pytest.approx(0.1 * (usage.input_tokens or 0) + 2 * (usage.output_tokens or 0))
    assert MODEL
