"""Bedrock's Converse and ConverseStream: the wire that ties its parts together.

    bedrock_converse_request   bodies of requests, written    bedrock_converse_parse     the same, read
    bedrock_converse_reply     whole answers                  bedrock_converse_stream    streamed ones
    bedrock_converse_content   blocks and parts               bedrock_calls              URL, errors, frames

Signatures and keys are the transport's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.bedrock_calls import (
    EVENT_STREAM,
    bedrock_refusal,
    call_url,
    event_frame,
    exception_frame,
    model_and_operation,
)
from clawbench.wires.bedrock_converse_parse import body_value, request_of
from clawbench.wires.bedrock_converse_reply import answer_of, decode_answer
from clawbench.wires.bedrock_converse_request import body_of
from clawbench.wires.bedrock_converse_stream import ConverseStream, events_of
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps

_OPERATIONS: Final = {False: "converse", True: "converse-stream"}


class BedrockConverse:
    """The wire."""

    name = "bedrock_converse"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the path is /model/{id}/converse or its stream, and the body holds a list of messages."""
        found = model_and_operation(call.url)
        if call.method != "POST" or found is None or found[1] not in _OPERATIONS.values():
            return False
        try:
            body_value(call.body)
        except ValueError:
            return False
        return True

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call, unsigned. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        body, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        return HttpCall(
            method="POST",
            url=call_url(offer.base_url, offer.upstream_model, _OPERATIONS[request.stream]),
            headers={
                "content-type": "application/json",
                "accept": EVENT_STREAM if request.stream else "application/json",
            },
            body=dumps(body),
            offer_id=offer.id,
            stream=request.stream,
            notes=tuple(notes),
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise bedrock_refusal(status, headers, body)
        return decode_answer(status, headers, body)

    def stream(self) -> ConverseStream:
        """A decoder for one streamed body."""
        return ConverseStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return bedrock_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call; the model stands in its URL. Raises `ValueError` for what is none."""
        value = body_value(call.body)
        found = model_and_operation(call.url)
        if found is None:
            raise ValueError("the URL names no model and operation of Bedrock's runtime")
        return request_of(value, model=found[0], stream=found[1] == _OPERATIONS[True])

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        headers = {"content-type": "application/json"}
        if completion.id:
            headers["x-amzn-requestid"] = completion.id
        return ComposedReply(200, headers, dumps(answer_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One frame an item; the last is `metadata`, or an exception. The dialect names neither id nor model."""
        failure: list[UpstreamError] = []
        for kind, event in events_of(deltas, failure):
            yield event_frame(kind, event)
        if failure:
            yield exception_frame(failure[0])
