"""The bench's client: calls the ASGI app in the same process, with no HTTP client between.

The instants that matter are recorded by the gateway; the client checks that a whole answer came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import structs

from clawbench.gateway.recorder import RequestContext
from clawbench.server.app import EXTENSION
from clawbench.server.asgi import Event, Receive, Scope, Send
from clawbench.types import ChatRequest, Offer
from clawbench.wires.openai_chat import OpenAIChat

_PATH = "/v1/chat/completions"
_CLIENT = OpenAIChat()
_NOBODY = Offer(id="client", provider="openai", model="", upstream_model="", base_url="")

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Answer:
    """What came back: `status` 0 until headers come; `complete` once the last byte is there."""

    __slots__ = ("body", "complete", "headers", "keep", "status")

    def __init__(self, *, keep: bool) -> None:
        self.status, self.complete, self.keep = 0, False, keep
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def send(self, event: Event) -> None:
        """The app's side of ASGI."""
        if event["type"] == "http.response.start":
            self.status = event["status"]
            if self.keep:
                self.headers = list(event["headers"])
            return
        if self.keep:
            self.body += event["body"]
        self.complete = not event.get("more_body", False)


def client_body(request: ChatRequest, model: str) -> bytes:
    """The bytes that a client would send for this request, asking for `model`; streams ask for usage."""
    return _CLIENT.encode(request, structs.replace(_NOBODY, upstream_model=model)).body


async def ask(
    app: Asgi, body: bytes, context: RequestContext, *, keep: bool = False, headers: Mapping[str, str] | None = None
) -> Answer:
    """One chat request, with further `headers`; `keep` holds on to headers and body, for whoever wants to read them."""
    answer = Answer(keep=keep)
    sent = False

    async def receive() -> Event:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    scope = _scope(context)
    if headers:
        scope["headers"] += [(name.encode(), value.encode()) for name, value in headers.items()]
    await app(scope, receive, answer.send)
    return answer


def _scope(context: RequestContext) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "extensions": {EXTENSION: context},
    }
