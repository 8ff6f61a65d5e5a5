"""Anthropic's models behind Bedrock's InvokeModel: Anthropic's body, Bedrock's URL, errors and event stream.

A chunk frame holds one of Anthropic's stream events as base64. Where a body states no usage, Bedrock's own counts are
taken (headers of a whole answer, `amazon-bedrock-invocationMetrics` of a stream). The text completions of the oldest
Claudes are another body: `bedrock_invoke_other.py`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer, StreamEnd
from clawbench.usage.bedrock import METRICS, normalise_noted, raw_of_headers
from clawbench.wires.anthropic_compose import events_of
from clawbench.wires.anthropic_events import AnthropicEvents
from clawbench.wires.anthropic_parse import body_value, request_of
from clawbench.wires.anthropic_reply import decode_message, message_of
from clawbench.wires.anthropic_request import BETAS, body_of
from clawbench.wires.bedrock_calls import (
    EVENT_STREAM,
    EventFrames,
    bedrock_refusal,
    call_url,
    chunk_event,
    event_frame,
    exception_frame,
    model_and_operation,
)
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import dumps

BODY_VERSION: Final = "bedrock-2023-05-31"

_OPERATIONS: Final = {False: "invoke", True: "invoke-with-response-stream"}


class BedrockAnthropic:
    """The wire."""

    name = "bedrock_anthropic"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether an InvokeModel path carries Anthropic's body: it names its version, or the model is Anthropic's."""
        found = model_and_operation(call.url)
        if call.method != "POST" or found is None or not found[1].startswith("invoke"):
            return False
        try:
            value = body_value(call.body)
        except ValueError:
            return False
        return "anthropic_version" in value or ("anthropic" in found[0] and "max_tokens" in value)

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call, unsigned. Raises `UpstreamError` (rejected) for a request that the dialect cannot say."""
        said, notes = body_of(request, offer.upstream_model, offer.max_output_tokens)
        body: dict[str, Any] = {"anthropic_version": BODY_VERSION, **said}
        betas = request.extra.get(BETAS) if request.extra else None
        if betas:
            body[BETAS] = betas if type(betas) is list else [str(betas)]
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
        completion = decode_message(status, body)
        raw = raw_of_headers(headers) if completion.usage is None else None
        if raw is None:
            return completion
        usage, notes = normalise_noted(raw)
        return replace(completion, usage=usage, notes=(*completion.notes, *notes))

    def stream(self) -> BedrockAnthropicStream:
        """A decoder for one streamed body."""
        return BedrockAnthropicStream()

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
        return ComposedReply(200, {"content-type": "application/json"}, dumps(message_of(completion)))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One frame an item; the last carries `message_stop`, or an exception."""
        failure: list[UpstreamError] = []
        for event in events_of(_until_failure(deltas, failure), id=id, model=model):
            if failure:
                yield exception_frame(failure[0])
                return
            yield event_frame("chunk", {"bytes": b64encode(dumps(event)).decode()})


def _until_failure(deltas: Iterable[Delta], failure: list[UpstreamError]) -> Iterator[Delta]:
    for delta in deltas:
        if delta.error is not None:
            failure.append(delta.error)
        yield delta


class BedrockAnthropicStream:
    """Decodes one stream. `finish` raises `UpstreamError` for a body that never was an event stream."""

    __slots__ = ("_events", "_frames", "_metrics")

    def __init__(self) -> None:
        self._frames = EventFrames()
        self._events = AnthropicEvents()
        self._metrics: Any = None

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes; a failure comes as the last one."""
        out: list[Delta] = []
        events = self._events
        if events.over:
            return out
        for kind, payload in self._frames.feed(data):
            if kind == "chunk":
                self._chunk(payload, out)
            if events.over:
                return out
        if self._frames.error is not None:
            events.fail(self._frames.error, out)
        return out

    def finish(self) -> StreamEnd:
        """What is known at the end of the body."""
        plain = self._frames.plain_error()
        if plain is not None:
            raise plain
        events = self._events
        cut = self._frames.cut and not events.done
        end = events.end(complete=events.has_ended and not events.failed and not cut)
        if end.usage is not None or self._metrics is None:
            return end
        usage, notes = normalise_noted(self._metrics)
        return replace(end, usage=usage, notes=(*end.notes, *notes))

    def _chunk(self, payload: dict[str, Any], out: list[Delta]) -> None:
        try:
            event = chunk_event(payload)
        except ValueError as error:
            self._events.fail(UpstreamError(f"Unreadable chunk: {error}"[:200], outcome="protocol_error"), out)
            return
        if METRICS in event:
            self._metrics = event[METRICS]
        self._events.take(event, out)
