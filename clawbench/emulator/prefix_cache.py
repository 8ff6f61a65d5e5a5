"""A prompt cache: which part of a prompt a provider has seen lately, from the beginning on.

Prompts are chained block by block (tool definitions, then messages; long texts are cut every 64 tokens), each block
named by all before it, as providers' caches do it. Kept for a time after the last use. No clock: instants come in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from clawbench.emulator.tokens import CHARS_PER_TOKEN, count_message, count_tools, text_of
from clawbench.types import ChatRequest

CACHE_MIN_TOKENS: Final = 512
"""A prompt cache takes no shorter prefix."""

CACHE_BLOCK_TOKENS: Final = 64
"""Cached tokens are whole blocks."""

BLOCKS_MAX: Final = 200_000
_BLOCK_CHARS: Final = CACHE_BLOCK_TOKENS * CHARS_PER_TOKEN

_encode = msgspec.json.Encoder(order="sorted").encode


class PrefixCache:
    """What one offer remembers. Blocks live `ttl_s` seconds from their last use; when it is full the oldest go."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._used_s: OrderedDict[bytes, float] = OrderedDict()

    def known(self, request: ChatRequest, at_s: float) -> int:
        """Tokens at the beginning of this prompt that are cached: whole blocks, 0 below the minimum."""
        known = 0
        for name, tokens in blocks(request):
            used_s = self._used_s.get(name)
            if used_s is None or at_s - used_s > self._ttl_s:
                break
            known = tokens
        return whole_blocks(known)

    def remember(self, request: ChatRequest, at_s: float, *, up_to: int | None = None) -> None:
        """Keep the prompt, or its first `up_to` tokens."""
        for name, tokens in blocks(request):
            if up_to is not None and tokens > up_to:
                break
            self._used_s[name] = at_s
            self._used_s.move_to_end(name)
        while len(self._used_s) > BLOCKS_MAX:
            self._used_s.popitem(last=False)


def blocks(request: ChatRequest) -> Iterator[tuple[bytes, int]]:
    """(name, tokens from the beginning to the block's end) of each block of a prompt; tokens never fall."""
    chain, tokens = blake2b(digest_size=12), 0
    if request.tools:
        chain.update(_encode(request.tools))
        tokens += count_tools(request)
        yield chain.digest(), tokens
    for message in request.messages:
        text, end = text_of(message), tokens + count_message(message)
        chain.update(_encode([message.get("role"), message.get("tool_calls"), _media(message)]))
        for start in range(0, len(text), _BLOCK_CHARS):
            piece = text[start : start + _BLOCK_CHARS]
            chain.update(piece.encode("utf-8", "replace"))
            tokens += len(piece) // CHARS_PER_TOKEN
            if len(piece) == _BLOCK_CHARS:
                yield chain.digest(), tokens
        tokens = end
        chain.update(b"\0")
        yield chain.digest(), tokens


def marked_tokens(request: ChatRequest) -> int:
    """Tokens up to the last mark (`cache_control`) in the prompt; 0 where nothing is marked."""
    tokens = count_tools(request)
    marked = tokens if any("cache_control" in tool for tool in request.tools or ()) else 0
    for message in request.messages:
        tokens += count_message(message)
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        if "cache_control" in message or any("cache_control" in part for part in parts if isinstance(part, dict)):
            marked = tokens
    return whole_blocks(marked)


def whole_blocks(tokens: int) -> int:
    """Rounded down to whole blocks; 0 below the minimum."""
    return tokens // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS if tokens >= CACHE_MIN_TOKENS else 0


def _media(message: dict[str, Any]) -> Any:
    content = message.get("content")
    if not isinstance(content, list):
        return None
    return [part for part in content if isinstance(part, dict) and "text" not in part]
