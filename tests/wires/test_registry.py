"""Which wire an exchange or an offer gets."""

from __future__ import annotations

import json

import pytest

from clawbench.types import HttpCall
from clawbench.usage.openai_chat import VARIANTS
from clawbench.wires import WIRES, recognise, wire_for
from clawbench.wires.openai_quirks import QUIRKS, quirks_of
from clawbench.wires.protocol import Wire
from tests.wires.made import answer, chunk, offer

ASKED = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()


def name_of(url: str, reply: bytes, asked: bytes = ASKED) -> str | None:
    wire = recognise(HttpCall(method="POST", url=url, headers={}, body=asked), reply)
    return wire.name if wire is not None else None


@pytest.mark.parametrize(
    ("url", "reply"),
    [
        ("https://h/v1/chat/completions", answer()),
        ("https://h/v1/chat/completions", chunk({"content": "x"})),
        ("https://h/v1/chat/completions#stream", answer()),
        ("https://h/openai/deployments/m/chat/completions?api-version=1", answer()),
        ("https://h/v1/chat/completions", b'{"error":"no"}'),
        ("https://h/v1/chat/completions", b'{"object":"error","message":"no"}'),
        ("https://h/v1/chat/completions", b"<html>"),
        ("https://h/v1/chat/completions", b""),
        ("<OLLAMA_API_BASE>/chat/completions", answer()),
        ("https://api.writer.com/v1/chat", answer()),
    ],
)
def test_a_chat_call_is_told_by_its_content(url: str, reply: bytes) -> None:
    assert name_of(url, reply) == "openai_chat"


@pytest.mark.parametrize(
    ("url", "reply", "asked"),
    [
        (
            "https://api.cohere.com/v2/chat",
            b'{"id":"x","message":{"role":"assistant"},"finish_reason":"COMPLETE"}',
            ASKED,
        ),
        ("https://api.anthropic.com/v1/messages", b'{"type":"message","content":[]}', ASKED),
        ("http://localhost:11434/api/chat", b'{"message":{"role":"assistant","content":"x"},"done":true}', ASKED),
        ("https://h/model/mistral/invoke", b'{"choices":[{"message":{"content":"x"}}]}', ASKED),
        ("https://h/v1/chat/completions", b'{"type":"message","content":[]}', ASKED),
        ("https://h/v1/completions", answer(), b'{"prompt":"x"}'),
        ("https://h/v1/chat/completions", answer(), b""),
        ("https://h/v1/chat/completions", answer(), b"\xff"),
    ],
)
def test_other_dialects_and_calls_without_messages_are_not_claimed(url: str, reply: bytes, asked: bytes) -> None:
    wire = WIRES["openai_chat"]
    assert not wire.recognises(HttpCall(method="POST", url=url, headers={}, body=asked), reply)


def test_an_offer_gets_the_wire_that_reads_its_provider() -> None:
    raw = {"prompt_tokens": 33, "completion_tokens": 10, "total_tokens": 43, "reasoning_tokens": 7}
    read = {
        provider: wire_for(offer(provider)).decode(200, {}, answer(usage=raw)).usage
        for provider in ("perplexity", "openai")
    }
    assert {provider: usage and usage.output_tokens for provider, usage in read.items()} == {
        "perplexity": 17,
        "openai": 10,
    }
    assert wire_for(offer("openai")) is wire_for(offer("openai", id="another"))


def test_an_unknown_dialect_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        wire_for(offer(dialect="morse"))


def test_every_wire_stands_under_its_name_and_every_row_of_quirks_names_a_variant() -> None:
    wires: dict[str, Wire] = WIRES
    assert all(wire.name == name for name, wire in wires.items())
    assert {quirks.usage for quirks in QUIRKS.values()} <= VARIANTS.keys()
    assert quirks_of("never.heard.of").usage in VARIANTS
