"""Emulated offers for tests, in any dialect, and what a client of that dialect reads of their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from clawbench.emulator.making import as_asked
from clawbench.emulator.offer import EmulatedReply
from clawbench.emulator.profiles import Profile
from clawbench.emulator.provider import EmulatedProvider
from clawbench.emulator.specs import OfferSpec, ProviderSpec, drawn_provider
from clawbench.rng import draws
from clawbench.types import ChatRequest, Delta, HttpCall, Offer, Usage
from clawbench.wires import wire_for
from clawbench.workloads.prompts import Prompt, read_prompts

MODEL = "llama-4-scout"
ORIGIN = "http://127.0.0.1:1430"
PROMPTS = read_prompts(Path(__file__).parents[2] / "cassettes" / "prompts.jsonl")

PLAIN = Profile(
    ttft_s_median=0.4,
    ttft_s_sigma=0.3,
    ttft_s_per_1k_prompt_tokens=0.1,
    token_rate_median=120,
    token_rate_sigma=0.2,
    requests_per_minute=600,
    tokens_per_minute=200_000,
)
"""Neither fails nor caches."""


class Read(Struct):
    """What a client has of an answer: text, thoughts, tool calls as (name, arguments), usage, finish reason."""

    text: str
    reasoning: str
    calls: list[tuple[str, Any]]
    usage: Usage | None
    finish_reason: str | None
    deltas: list[tuple[Delta, float]] = []


def spec(dialect: str, profile: Profile = PLAIN, *, thinks: bool = False, window: int | None = None) -> ProviderSpec:
    """A provider `p` with one offer of the model, `m-up` by its own name."""
    served = OfferSpec(model=MODEL, upstream_model="m-up", profile=profile, thinks=thinks, context_window=window)
    return ProviderSpec(name="p", dialects=(dialect,), offers=(served,))


def offer(dialect: str) -> Offer:
    """The same as a gateway sees it."""
    made = spec(dialect)
    return made.offer(made.offers[0], ORIGIN)


def prompt(id: str) -> ChatRequest:
    """The request of a prompt of the file."""
    return next(prompt.request for prompt in PROMPTS if prompt.id == id)


def call(dialect: str, request: ChatRequest, *, stream: bool) -> HttpCall:
    """The request as the gateway sends it."""
    asked = as_asked(Prompt("", "", request), MODEL, stream=stream)
    return wire_for(offer(dialect)).encode(asked, offer(dialect))


def ask(
    dialect: str, request: ChatRequest, *, stream: bool, profile: Profile = PLAIN, key: int = 0, thinks: bool = False
) -> EmulatedReply:
    """What a provider that nothing has happened to answers."""
    provider = drawn_provider(spec(dialect, profile, thinks=thinks))
    return provider.answer(call(dialect, request, stream=stream), draws(key, "test"))


def post(provider: EmulatedProvider, dialect: str, text: str, *, at_s: float = 0.0, key: int = 0) -> EmulatedReply:
    """Ask a provider something, whole, at an instant."""
    request = ChatRequest(model="", messages=[{"role": "user", "content": text}])
    return provider.answer(call(dialect, request, stream=False), draws(key, text), at_s=at_s)


def read(dialect: str, reply: EmulatedReply, *, stream: bool) -> Read:
    """Reads a success as the dialect's wire does; arguments of tool calls as values."""
    return read_stream(dialect, reply) if stream else read_whole(dialect, reply)


def read_whole(dialect: str, reply: EmulatedReply) -> Read:
    wire = wire_for(offer(dialect))
    completion = wire.decode(reply.status, reply.headers, reply.body)
    assert completion.notes == ()
    (choice,) = completion.choices
    calls = [(each.name, json.loads(each.arguments)) for each in choice.tool_calls]
    return Read(choice.content or "", choice.reasoning or "", calls, completion.usage, choice.finish_reason)


def read_stream(dialect: str, reply: EmulatedReply) -> Read:
    decoder = wire_for(offer(dialect)).stream()
    timed = [(delta, t_s) for data, t_s in reply.chunks for delta in decoder.feed(data)]
    end = decoder.finish()
    assert end.complete
    assert end.notes == ()
    gathered: dict[int, list[str]] = {}
    for piece in (piece for delta, _ in timed for piece in delta.tool_calls):
        parts = gathered.setdefault(piece.index, ["", ""])
        parts[0] += piece.name or ""
        parts[1] += piece.arguments
    calls = [(name, json.loads(arguments or "{}")) for _, (name, arguments) in sorted(gathered.items())]
    text = "".join(delta.content or "" for delta, _ in timed)
    reasoning = "".join(delta.reasoning or "" for delta, _ in timed)
    return Read(text, reasoning, calls, end.usage, end.finish_reason, timed)


def without_raw(usage: Usage | None) -> Usage | None:
    """The counts alone."""
    return None if usage is None else msgspec.structs.replace(usage, raw=None)
