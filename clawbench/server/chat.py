"""The chat surface: `POST /v1/chat/completions`, streamed and not, in OpenAI's shapes.

A stream's headers leave with its first output: until then the gateway may change offers unseen.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from hashlib import sha256

from msgspec import structs

from clawbench.clock import Clock
from clawbench.errors import RequestError
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import RequestContext
from clawbench.gateway.reply import CompletionReply, Served, StreamReply
from clawbench.money import usd_text
from clawbench.server.asgi import Receive, Scope, Send, header, json_headers, read_body, send_json
from clawbench.server.replays import Gathered, Replays
from clawbench.wires.openai_chat import OpenAIChat, parse_body
from clawbench.wires.openai_chat_compose import StreamEncoder

_NAME = re.compile(r"[!-.0-~]{1,255}")
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
        self._replays = Replays(clock)

    async def post(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        """One chat request. Raises `RequestError` as long as nothing has been sent."""
        try:
            body = await read_body(scope, receive)
            context = _named(scope, body, context)
            kept = self._replays.find(context)
            if kept is not None:  # nothing is held, called, charged or recorded
                await kept.send(send)
                return
            request = parse_body(body)
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
            composed, headers = self._wire.compose(completion), _headers(reply.served, cost_known=True)
            if context.body_sha256 and reply.served.hold.is_final:
                self._replays.keep(context, json_headers(composed.body, headers), composed.body)
            await send_json(send, composed.body, headers=headers)
            return
        encoder = StreamEncoder(
            id=completion_id,
            model=reply.served.offer.model,
            created=created,
            include_usage=request.include_usage,
        )
        replays = self._replays if context.body_sha256 else None
        await _stream(reply, encoder, context, receive, send, watch=not _in_process(scope), replays=replays)


def _named(scope: Scope, body: bytes, context: RequestContext) -> RequestContext:
    """The context under the name that the client gave its request: the same one is never charged twice.

    Raises `RequestError` for a name that is none.
    """
    name = header(scope, b"idempotency-key") or header(scope, b"x-idempotency-key")
    if name is None:
        return context
    if not _NAME.fullmatch(name):
        raise RequestError(
            "An idempotency key has 1 to 255 printable ASCII characters and no slash.",
            status=400,
            code="bad_request",
            type="invalid_request_error",
            param="idempotency-key",
        )
    return structs.replace(context, request_id=name, body_sha256=sha256(body).hexdigest())


def _in_process(scope: Scope) -> bool:
    return "clawbench" in (scope.get("extensions") or ())


async def _stream(
    reply: StreamReply,
    encoder: StreamEncoder,
    context: RequestContext,
    receive: Receive,
    send: Send,
    *,
    watch: bool,
    replays: Replays | None,
) -> None:
    """Headers, frames, end; a stream that breaks ends with an error frame, never with silence.

    When the client leaves, the rest of the answer is read for its bill, as long as there is place and time for it.
    Where `replays` are to keep the answer, it is composed to its end, so that a client which lost it gets all of it.
    """
    watcher, gathered = None, None if replays is None else Gathered()
    try:
        async with asyncio.timeout(None) if watch else nullcontext() as until:
            if until is not None:
                watcher = asyncio.create_task(_until_gone(receive, reply, until))
            headers = _STREAM_HEADERS + _headers(reply.served, cost_known=False)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            held = encoder.open()
            try:
                while (deltas := await reply.batch()) is not None:
                    if reply.is_gone and gathered is None:
                        continue
                    frames = held + encoder.feed(deltas)
                    held = b""
                    if gathered is not None:
                        gathered.add(frames)
                    if frames and not reply.is_gone:
                        await send({"type": "http.response.body", "body": frames, "more_body": True})
            except RequestError as error:
                last = encoder.fail(
                    error.message, code=error.code, type=error.type, request_id=context.request_id, usage=reply.usage
                )
            else:
                last = encoder.finish(structs.replace(reply.end, usage=reply.usage))
            if replays is not None and gathered is not None and reply.served.hold.is_final:
                gathered.add(held + last)
                if gathered.body is not None:
                    replays.keep(context, headers, gathered.body)
            if not reply.is_gone:
                await send({"type": "http.response.body", "body": held + last})
    except TimeoutError:
        await reply.abandon(asyncio.CancelledError())
    except (asyncio.CancelledError, OSError) as gone:
        await reply.abandon(gone)
        raise
    finally:
        reply.close()
        if watcher is not None:
            watcher.cancel()


async def _until_gone(receive: Receive, reply: StreamReply, until: asyncio.Timeout) -> None:
    """Notes when the client leaves, and from when on its answer is not read any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
    until.reschedule(asyncio.get_running_loop().time() + reply.leave())


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
