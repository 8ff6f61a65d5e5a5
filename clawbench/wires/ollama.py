"""Ollama's native API: `/api/chat`, spoken both ways, and `/api/generate`, which is only read.

    ollama_request   requests, written and read     ollama_reply   answers, whole and streamed, read and written

Ollama also speaks OpenAI's dialect below `/v1`; that is the other dialect's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.ollama_reply import (
    GENERATE_LINE_BYTES_MAX,
    OllamaStream,
    decode_reply,
    lines_of,
    ollama_refusal,
    reply_of,
)
from clawbench.wires.ollama_request import body_of, body_value, generate_request_of, request_of
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import NotJson, dumps, loads


class Ollama:
    """The wire of `/api/chat`."""

    name = "ollama"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the body holds messages, and the path is /api/chat or the reply has a message and `done`."""
        return _asks(call, "messages", list) and (
            _path(call.url).endswith("/api/chat") or _is_answer(reply_body, "message", dict)
        )

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        body, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        base = offer.base_url.removesuffix("/v1").removesuffix("/api")
        return HttpCall(
            method="POST",
            url=f"{base}/api/chat",
            headers={
                "content-type": "application/json",
                "accept": "application/x-ndjson" if request.stream else "application/json",
            },
            body=dumps(body),
            offer_id=offer.id,
            stream=request.stream,
            notes=tuple(notes),
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise ollama_refusal(status, headers, body)
        return decode_reply(status, body)

    def stream(self) -> OllamaStream:
        """A decoder for one streamed body."""
        return OllamaStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return ollama_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        return request_of(body_value(call.body))

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return ComposedReply(200, {"content-type": "application/json; charset=utf-8"}, dumps(reply_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One line an item; the last has `done: true`, or is an error. The dialect has no ids of answers."""
        for line in lines_of(deltas, model=model, created=created):
            yield dumps(line) + b"\n"


class OllamaGenerate:
    """The wire of `/api/generate`: recorded calls are read, new ones are not made."""

    name = "ollama_generate"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the body holds a prompt, and the path is /api/generate or the reply has a response and `done`."""
        return _asks(call, "prompt", str) and (
            _path(call.url).endswith("/api/generate") or _is_answer(reply_body, "response", str)
        )

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """Always raises `UpstreamError`."""
        raise UpstreamError("Calls of /api/generate are only read, not made; use ollama.", outcome="rejected")

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise ollama_refusal(status, headers, body)
        return decode_reply(status, body)

    def stream(self) -> OllamaStream:
        """A decoder for one streamed body."""
        return OllamaStream(event_bytes_max=GENERATE_LINE_BYTES_MAX)

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return ollama_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        return generate_request_of(body_value(call.body))

    def compose(self, completion: Completion) -> ComposedReply:
        """Always raises `ValueError`."""
        raise ValueError("answers of /api/generate are only read")

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """Always raises `ValueError`."""
        raise ValueError("answers of /api/generate are only read")


def _asks(call: HttpCall, field: str, kind: type) -> bool:
    if call.method != "POST":
        return False
    try:
        return type(body_value(call.body).get(field)) is kind
    except ValueError:
        return False


def _is_answer(reply_body: bytes, field: str, kind: type) -> bool:
    """Whether a reply's first line, or the whole of it, is an answer of this API."""
    if b'"done"' not in reply_body:
        return False
    for text in (reply_body.lstrip().partition(b"\n")[0], reply_body):
        try:
            value = loads(text)[0]
        except NotJson:
            continue
        return type(value) is dict and type(value.get(field)) is kind and "done" in value
    return False


def _path(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0].rstrip("/")
