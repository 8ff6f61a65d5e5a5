"""Bodies and frames in OpenAI's shape, made by hand for the tests of the wires."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from clawbench.errors import UpstreamError
from clawbench.types import Delta, Offer, StreamEnd
from clawbench.wires.openai_chat_stream import OpenAIChatStream

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def offer(provider: str = "openai", **more: Any) -> Offer:
    values = {
        "id": f"{provider}/m",
        "provider": provider,
        "model": "m",
        "upstream_model": "m-1",
        "base_url": "https://host/v1",
    }
    return Offer(**{**values, **more})


def answer(message: dict[str, Any] | None = None, *, finish: str | None = "stop", **top: Any) -> bytes:
    """A whole completion with one choice."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_748_764_800,
        "model": "m-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi", **(message or {})}, "finish_reason": finish}
        ],
        "usage": USAGE,
    }
    return json.dumps({**body, **top}).encode()


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, index: int = 0, **top: Any) -> bytes:
    """One stream frame; without a delta, one without choices."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    body = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": choices, **top}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def decoded(pieces: Iterable[bytes], variant: str = "compatible") -> tuple[list[Delta], StreamEnd]:
    decoder = OpenAIChatStream(variant)
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


def ended(decoder: OpenAIChatStream) -> StreamEnd | tuple[str, str]:
    """What a stream ends with: its end, or the outcome and message of its error."""
    try:
        return decoder.finish()
    except UpstreamError as error:
        return error.outcome, error.message


def shown(deltas: Iterable[Delta]) -> list[Any]:
    """Deltas in a form that compares by value, errors included."""
    return [
        (delta.error.outcome, delta.error.code, delta.error.message) if delta.error is not None else delta
        for delta in deltas
    ]


def pieces_of(body: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(body[start : start + size])
        start += size
    return [*pieces, body[start:]]


TEXT = st.text(max_size=12)
LOOSE: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 3) | TEXT | st.lists(st.none() | TEXT, max_size=2) | st.just({})
)
"""Values of a type that does not belong where it stands."""

MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT | LOOSE | st.just([{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}, 3]),
        "reasoning_content": TEXT | LOOSE,
        "reasoning": TEXT | LOOSE,
        "refusal": TEXT | LOOSE,
        "annotations": LOOSE,
        "tool_calls": LOOSE
        | st.lists(
            LOOSE
            | st.fixed_dictionaries(
                {},
                optional={
                    "index": st.integers(-1, 3) | LOOSE,
                    "id": st.sampled_from(["a", "b", ""]) | LOOSE,
                    "function": LOOSE
                    | st.fixed_dictionaries(
                        {}, optional={"name": TEXT | LOOSE, "arguments": TEXT | LOOSE | st.just({"x": 1})}
                    ),
                },
            ),
            max_size=3,
        ),
    },
)
"""Messages and deltas of any shape that a provider might come up with."""
