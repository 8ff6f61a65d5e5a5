"""The chat surface: `POST /v1/chat/completions`, streamed and not, in OpenAI's shapes.

A stream's headers leave with its first output: until then the gateway may change offers unseen.
"""

from __future__ import annotations

import asyncio

from msgspec import structs

from clawbench.clock import Clock
from clawbench.errors import RequestError
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import RequestContext
from clawbench.gateway.reply import CompletionReply, Served, StreamReply
from clawbench.money import usd_text
from clawbench.server.asgi import Receive, Scope, Send, read_body, send_json
from clawbench.wires.openai_chat import OpenAIChat, parse_body
from clawbench.wires.openai_chat_compose import StreamEncoder

_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Chat:
    """`epoch_s` is the Unix time at the clock's zero; answers are stamped with it."""

    def __init__(self, gateway: Gateway, clock: Clock, *, epoch_s: int) -> None:
        self._gateway, self._clock, self._epoch_s = gateway, clock, epoch_s
        self._wire = OpenAIChat()

    async def post(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        """One chat request. Raises `RequestError` as long as nothing has been sent."""
        try:
            request = parse_body(await read_body(scope, receive))
        except RequestError as error:
            self._gateway.rejected(error, context)
            raise
        reply = await self._gateway.handle(request, context)
        created = self._epoch_s + int(self._clock.now())
        completion_id = f"chatcmpl-{context.request_id}"
        if isinstance(reply, CompletionReply):
            completion = structs.replace(
                reply.completion, id=completion_id, created=created, model=reply.served.offer.model
            )
            composed = self._wire.compose(completion)
            await send_json(send, composed.body, headers=_headers(reply.served, cost_known=True))
            return
        encoder = StreamEncoder(
            id=completion_id,
            model=reply.served.offer.model,
            created=created,
            include_usage=request.include_usage,
        )
        await _stream(reply, encoder, context, receive, send, watch=not _in_process(scope))


def _in_process(scope: Scope) -> bool:
    return "clawbench" in (scope.get("extensions") or ())


async def _stream(
    reply: StreamReply, encoder: StreamEncoder, context: RequestContext, receive: Receive, send: Send, *, watch: bool
) -> None:
    """Headers, frames, end; a stream that breaks ends with an error frame, never with silence."""
    watcher = asyncio.create_task(_until_gone(receive, asyncio.current_task())) if watch else None
    try:
        headers = _STREAM_HEADERS + _headers(reply.served, cost_known=False)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        held = encoder.open()
        try:
            async for deltas in reply.batches():
                frames = encoder.feed(deltas)
                if frames or held:
                    await send({"type": "http.response.body", "body": held + frames, "more_body": True})
                held = b""
        except RequestError as error:
            last = encoder.fail(error.message, code=error.code, type=error.type, request_id=context.request_id)
        else:
            last = encoder.finish(reply.end)
        await send({"type": "http.response.body", "body": held + last})
    except (asyncio.CancelledError, OSError) as gone:
        await reply.abandon(gone)
        raise
    finally:
        if watcher is not None:
            watcher.cancel()


async def _until_gone(receive: Receive, task: asyncio.Task[None] | None) -> None:
    """Stops the request when its client leaves: what nobody reads need not be fetched."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


def _headers(served: Served, *, cost_known: bool) -> list[tuple[bytes, bytes]]:
    request_id = served.request_id.encode()
    headers = [
        (b"x-request-id", request_id),
        (b"x-clawbench-request-id", request_id),
        (b"x-clawbench-offer", served.offer.id.encode()),
        (b"x-clawbench-strategy", served.strategy.encode()),
        (b"x-clawbench-attempts", str(served.attempts).encode()),
    ]
    if cost_known and served.cost_pico_usd is not None:
        headers.append((b"x-clawbench-cost-usd", usd_text(served.cost_pico_usd, places=12).encode()))
    return headers
