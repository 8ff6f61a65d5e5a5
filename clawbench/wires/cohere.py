"""Cohere's chat API, version 2: the wire that ties its parts together.

cohere_request   requests, written and read     cohere_reply     answers, whole and streamed
cohere_compose   the other side: answers        cohere_v1        version 1, a dialect of its own, only read
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.cohere_compose import events_of, reply_of
from clawbench.wires.cohere_reply import CohereStream, decode_reply
from clawbench.wires.cohere_request import body_of, request_of
from clawbench.wires.cohere_terms import body_value, cohere_refusal
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps


class Cohere:
    """The wire of `/v2/chat`."""

    name = "cohere"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the body holds messages, and the path is /v2/chat or the reply counts billed units."""
        if call.method != "POST":
            return False
        try:
            value = body_value(call.body)
        except ValueError:
            return False
        path = re.split(r"[?#]", call.url, maxsplit=1)[0].rstrip("/")
        return type(value.get("messages")) is list and (path.endswith("/v2/chat") or b'"billed_units"' in reply_body)

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        body, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        base = offer.base_url.removesuffix("/compatibility/v1").removesuffix("/v1").removesuffix("/v2")
        return HttpCall(
            method="POST",
            url=f"{base}/v2/chat",
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
            raise cohere_refusal(status, headers, body)
        return decode_reply(status, body)

    def stream(self) -> CohereStream:
        """A decoder for one streamed body."""
        return CohereStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return cohere_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none."""
        return request_of(body_value(call.body))

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return ComposedReply(200, {"content-type": "application/json"}, dumps(reply_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One event an item, `data: [DONE]` last; the dialect states neither model nor creation time."""
        for event in events_of(deltas, id=id):
            yield b"event: " + event["type"].encode() + b"\ndata: " + dumps(event) + b"\n\n"
        yield b"data: [DONE]\n\n"
