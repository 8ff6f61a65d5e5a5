"""Errors in OpenAI's shape: what clients of any SDK understand."""

from __future__ import annotations

from math import ceil

import msgspec

from clawbench.errors import RequestError
from clawbench.server.asgi import Send, send_json

RETRIED_STATUSES = (502, 504)
"""Statuses that SDKs would repeat although the gateway has already tried every offer."""


def body(error: RequestError, request_id: str) -> bytes:
    """`{"error": {message, type, param, code, request_id}}`."""
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
                "request_id": request_id,
                **error.extra,
            }
        }
    )


async def send_error(send: Send, error: RequestError, request_id: str) -> None:
    """The whole error response."""
    headers = [(b"x-request-id", request_id.encode()), (b"x-clawbench-request-id", request_id.encode())]
    if error.status in RETRIED_STATUSES:
        headers.append((b"x-should-retry", b"false"))
    if error.retry_after_s is not None or error.status in (429, 503):
        headers.append((b"retry-after", str(max(1, ceil(error.retry_after_s or 1))).encode()))
    if error.status == 405:
        headers.append((b"allow", (error.param or "").encode()))
    await send_json(send, body(error, request_id), status=error.status, headers=headers)


def internal() -> RequestError:
    """What a client is told about a mistake of ours: nothing but that it happened."""
    return RequestError("Internal error.", status=500, code="internal", type="server_error")
