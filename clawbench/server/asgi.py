"""The ASGI moves that every surface makes: read a body within bounds, answer with JSON.

Raw ASGI, because a framework costs several times what routing a request does (see ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from clawbench.errors import RequestError

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

BODY_BYTES_MAX = 32 * 1024 * 1024
JSON_TYPE = (b"content-type", b"application/json")


class ClientGone(Exception):
    """The client has closed the connection."""


def header(scope: Scope, name: bytes) -> str | None:
    """A request header by its lower-case name; None if absent."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The request's JSON body, as bytes.

    Raises `RequestError` 415 for another content type, 413 above 32 MiB, 400 for an encoded body; `ClientGone`.
    """
    content_type = header(scope, b"content-type") or ""
    if not content_type.lower().startswith("application/json"):
        raise _refused(415, f"content-type must be application/json, got {content_type[:100]!r}", "bad_request")
    if (encoding := header(scope, b"content-encoding")) not in (None, "identity"):
        raise _refused(400, f"content-encoding {encoding!r} is not accepted; send the body as it is", "bad_request")
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > BODY_BYTES_MAX:
        raise _too_large(int(declared))
    event = await receive()
    body: bytes = event.get("body", b"")
    if event["type"] == "http.disconnect":
        raise ClientGone
    while event.get("more_body", False):
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        body += event.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise _too_large(len(body))
    return body


async def send_json(
    send: Send, body: bytes, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """A whole JSON answer."""
    await send({"type": "http.response.start", "status": status, "headers": json_headers(body, headers or [])})
    await send({"type": "http.response.body", "body": body})


def json_headers(body: bytes, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """All headers of a JSON answer, from those that are its own."""
    return [JSON_TYPE, (b"content-length", str(len(body)).encode()), *headers]


def _refused(status: int, message: str, code: str) -> RequestError:
    return RequestError(message, status=status, code=code, type="invalid_request_error")


def _too_large(length: int) -> RequestError:
    return _refused(413, f"The body has {length} bytes or more; the limit is {BODY_BYTES_MAX}.", "too_large")
