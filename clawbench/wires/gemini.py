"""Gemini's generateContent, on AI Studio and on Vertex: the wire that ties its parts together.

    gemini_request   bodies of requests, written      gemini_parse     the same, read
    gemini_parts     parts of messages, both ways     gemini_models    what generations of Gemini take
    gemini_reply     whole answers                    gemini_stream    streamed ones
    gemini_errors    refusals                         gemini_compose   the other side: answers, written

The model and whether to stream stand in the URL. Keys are the transport's matter, and so is Anthropic's API on Vertex
(`rawPredict`), which is another dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.gemini_compose import chunks_of, reply_of
from clawbench.wires.gemini_errors import gemini_refusal
from clawbench.wires.gemini_parse import body_value, request_of
from clawbench.wires.gemini_reply import decode_reply
from clawbench.wires.gemini_request import body_of
from clawbench.wires.gemini_stream import GeminiStream
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps

_METHOD: Final = re.compile(r"([^/]+):(stream)?generateContent/?$", re.IGNORECASE)
_ANSWER: Final = re.compile(rb'"(?:candidates|promptFeedback)"\s*:')


class Gemini:
    """The wire."""

    name = "gemini"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the body holds contents, and the path names the method or the reply holds candidates."""
        if call.method != "POST":
            return False
        try:
            body_value(call.body)
        except ValueError:
            return False
        return _METHOD.search(_path(call.url)) is not None or _ANSWER.search(reply_body) is not None

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        body, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        return HttpCall(
            method="POST",
            url=_url(offer, stream=request.stream),
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if request.stream else "application/json",
            },
            body=dumps(body),
            offer_id=offer.id,
            stream=request.stream,
            notes=tuple(notes),
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise gemini_refusal(status, headers, body)
        return decode_reply(status, body)

    def stream(self) -> GeminiStream:
        """A decoder for one streamed body, events or one array."""
        return GeminiStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success; reads RetryInfo."""
        return gemini_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        value = body_value(call.body)
        method = _METHOD.search(_path(call.url))
        stated = value.get("model")
        model = unquote(method[1]) if method else stated if type(stated) is str and stated else "unnamed"
        return request_of(value, model=model, stream=method is not None and method[2] is not None)

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return ComposedReply(200, {"content-type": "application/json; charset=UTF-8"}, dumps(reply_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One event an item; the dialect has no end marker, the last event holds the finish reason."""
        for chunk in chunks_of(deltas, id=id, model=model, created=created):
            yield b"data: " + dumps(chunk) + b"\r\n\r\n"


def _path(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


def _url(offer: Offer, *, stream: bool) -> str:
    """AI Studio has models right below the version, Vertex below a project and a publisher."""
    base, model = offer.base_url, offer.upstream_model
    if base.endswith("/openai"):
        base = base.removesuffix("/openai")  # the address of the compatible endpoint
    if "/" in model:
        place = ""
    elif base.endswith("/models"):
        base, place = base.removesuffix("/models"), "models/"
    elif "/projects/" in base and "/publishers/" not in base:
        place = "publishers/google/models/"
    else:
        place = "models/"
    if not urlsplit(base).path:
        base += "/v1beta"
    method = ":streamGenerateContent?alt=sse" if stream else ":generateContent"
    return f"{base}/{place}{quote(model, safe='/@')}{method}"
