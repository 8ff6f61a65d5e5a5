"""What the tests of this room are made of: a small dialect of their own, and interactions spoken in it.

The wire is a real one in everything but ambition: JSON with `ask` and `say`, streams as server-sent events. It keeps
these tests free of any provider's dialect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Choice, Completion, Delta, Headers, HttpCall, Offer, StreamEnd, Usage
from clawbench.wires.protocol import ComposedReply, Wire

HOST = "https://api.plain.test"
BASE_URL = f"{HOST}/v1"
URL = f"{BASE_URL}/ask"


class PlainDecoder:
    """`data: {"say": …}` events; `{"end": true}` completes."""

    def __init__(self) -> None:
        self._rest = b""
        self._end = StreamEnd(complete=False)

    def feed(self, data: bytes) -> list[Delta]:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        deltas = []
        for event in events:
            value = msgspec.json.decode(event.removeprefix(b"data: "))
            if "error" in value:
                deltas.append(Delta(error=UpstreamError(value["error"], outcome="error_event")))
                break
            if value.get("end"):
                usage = Usage(input_tokens=3, output_tokens=value.get("tokens"))
                self._end = StreamEnd(complete=True, finish_reason="stop", usage=usage)
            else:
                deltas.append(Delta(content=value["say"]))
        return deltas

    def finish(self) -> StreamEnd:
        return self._end


class PlainWire:
    """The dialect: POST …/ask with `{"model", "ask", …}`."""

    name = "plain"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        return call.url.partition("?")[0].endswith("/ask") and b'"ask"' in call.body

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        body = {"model": offer.upstream_model, "ask": request.messages, "stream": request.stream, **request.extra}
        return HttpCall(method="POST", url=f"{offer.base_url}/ask", headers={}, body=msgspec.json.encode(body))

    def parse(self, call: HttpCall) -> ChatRequest:
        try:
            body: dict[str, Any] = msgspec.json.decode(call.body)
        except msgspec.DecodeError as error:
            raise ValueError(f"the request is not JSON: {error}") from error
        ask, model = body.pop("ask"), body.pop("model")
        messages = [{"role": "user", "content": ask}] if isinstance(ask, str) else ask
        known = {name: body.pop(name) for name in ("stream", "tools", "temperature") if name in body}
        return ChatRequest(model=model, messages=messages, extra=body, **known)

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"not JSON: {error}", outcome="protocol_error") from error
        if "error" in value:
            raise UpstreamError(value["error"], outcome="error_200")
        usage = Usage(input_tokens=3, output_tokens=value["tokens"]) if "tokens" in value else None
        return Completion(choices=(Choice(content=value["say"], finish_reason="stop"),), usage=usage)

    def stream(self) -> PlainDecoder:
        return PlainDecoder()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        outcome = "rate_limited" if status == 429 else "upstream_5xx" if status >= 500 else "rejected"
        return UpstreamError(f"status {status}", outcome=outcome, status=status)

    def compose(self, completion: Completion) -> ComposedReply:
        return ComposedReply(200, {}, msgspec.json.encode({"say": completion.choices[0].content}))

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        for delta in deltas:
            yield b"data: " + msgspec.json.encode({"say": delta.content}) + b"\n\n"


WIRES: dict[str, Wire] = {"plain": PlainWire()}


def offer(model: str = "m1", *, id: str = "plain/m1", base_url: str = BASE_URL, dialect: str = "plain") -> Offer:
    return Offer(id=id, provider="plain", model=model, upstream_model=model, base_url=base_url, dialect=dialect)


def exchange(
    ask: Any = "hello",
    *,
    say: str = "hi",
    model: str = "m1",
    stream: bool = False,
    status: int = 200,
    tools: list[dict[str, Any]] | None = None,
    url: str = URL,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timing: RecordedTiming | None = None,
    index: int = 0,
    file: str = "plain.yaml",
    **extra: Any,
) -> Interaction:
    """One recorded exchange in the plain dialect."""
    asked = {"model": model, "ask": ask, "stream": stream, **({"tools": tools} if tools else {}), **extra}
    if body is None and stream and status < 400:
        events = [{"say": word} for word in say.split(" ")] + [{"end": True, "tokens": len(say.split(" "))}]
        body = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events)
    elif body is None:
        told = {"say": say, "tokens": len(say.split(" "))} if status < 400 else {"error": "no"}
        body = msgspec.json.encode(told)
    return Interaction(
        file=file,
        index=index,
        method="POST",
        url=url,
        request_headers={"content-type": "application/json"},
        request_body=msgspec.json.encode(asked),
        status=status,
        headers={"content-type": "text/event-stream" if stream else "application/json", **(headers or {})},
        body=body,
        timing=timing,
    )
