"""Anthropic's messages API: the wire that ties its parts together.

    anthropic_request   bodies of requests, written        anthropic_parse     the same, read
    anthropic_reply     whole answers                      anthropic_stream    streamed ones: bytes
    anthropic_content   blocks and parts                   anthropic_events    streamed ones: events
    anthropic_models    what generations of Claude take    anthropic_errors    refusals
    anthropic_compose   the other side's streams

The same body behind Vertex's `rawPredict` is read too (its model stands in the URL). Keys are the transport's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.anthropic_compose import events_of
from clawbench.wires.anthropic_errors import anthropic_refusal
from clawbench.wires.anthropic_parse import body_value, request_of
from clawbench.wires.anthropic_reply import decode_message, message_of
from clawbench.wires.anthropic_request import BETAS, body_of
from clawbench.wires.anthropic_stream import AnthropicStream
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps

API_VERSION: Final = "2023-06-01"

_PATH: Final = re.compile(r"/messages/?$")
_VERTEX: Final = re.compile(r"/models/([^/:]+):(?:rawPredict|streamRawPredict)$")
_OTHER_REPLY: Final = re.compile(rb'^\s*\{[^{}]{0,200}"(?:choices|object|candidates|stopReason)"\s*:')


class AnthropicMessages:
    """The wire."""

    name = "anthropic"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the path ends in /messages (or Vertex's rawPredict) and the body holds a list of them."""
        path = _path(call.url)
        if call.method != "POST" or (not _PATH.search(path) and not _VERTEX.search(path)):
            return False
        try:
            body_value(call.body)
        except ValueError:
            return False
        return _OTHER_REPLY.match(reply_body) is None

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        said, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        body: dict[str, Any] = {"model": offer.upstream_model, **said}
        if request.stream:
            body["stream"] = True
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
            "anthropic-version": API_VERSION,
        }
        betas = request.extra.get(BETAS) if request.extra else None
        if betas:
            headers["anthropic-beta"] = ",".join(map(str, betas)) if type(betas) is list else str(betas)
        base = offer.base_url
        return HttpCall(
            method="POST",
            url=base + ("/messages" if base.endswith("/v1") else "/v1/messages"),
            headers=headers,
            body=dumps(body),
            offer_id=offer.id,
            stream=request.stream,
            notes=tuple(notes),
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise anthropic_refusal(status, headers, body)
        return decode_message(status, body)

    def stream(self) -> AnthropicStream:
        """A decoder for one streamed body."""
        return AnthropicStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success; reads `anthropic-ratelimit-*` where it asks for no wait."""
        return anthropic_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        value = body_value(call.body)
        path = _path(call.url)
        vertex = _VERTEX.search(path)
        model = value.get("model")
        if type(model) is not str or not model:
            model = unquote(vertex[1]) if vertex else "unnamed"
        streamed = value.get("stream") is True or path.endswith(":streamRawPredict")
        return request_of(value, model=model, stream=streamed, betas=call.headers.get("anthropic-beta", ""))

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return ComposedReply(200, {"content-type": "application/json"}, dumps(message_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One event an item; the last is `message_stop`, or an error event. The dialect states no creation time."""
        for event in events_of(deltas, id=id, model=model):
            yield b"event: " + event["type"].encode() + b"\ndata: " + dumps(event) + b"\n\n"


def _path(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]
