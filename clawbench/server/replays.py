"""Answers to requests that their clients have named (Idempotency-Key), kept for a while: asked again, sent again.

Only what was charged, or is kept for somebody to judge, is never run again, so only that is kept. Bounded in time,
number and bytes; what has been dropped is answered with 409 by the ledger, which forgets nothing.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clawbench.clock import Clock
from clawbench.gateway.recorder import RequestContext
from clawbench.server.asgi import Send

KEPT_S: Final = 600.0
ANSWERS_MAX: Final = 4096
BYTES_MAX: Final = 64 * 1024 * 1024
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""A longer answer is not kept."""

REPLAYED: Final = (b"idempotent-replayed", b"true")
"""The header of an answer that is sent again."""


class Kept(Struct, frozen=True):
    """One whole answer with the status 200, and the hash of the request's body."""

    body_sha256: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    until_s: float

    async def send(self, send: Send) -> None:
        """The same headers and bytes as the first time, and one header more; a stream comes in one piece."""
        await send({"type": "http.response.start", "status": 200, "headers": [*self.headers, REPLAYED]})
        await send({"type": "http.response.body", "body": self.body})


class Replays:
    """The answers of one server. Requests without a name of their client's are none of its business."""

    def __init__(self, clock: Clock, *, answers_max: int = ANSWERS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._clock, self._answers_max, self._bytes_max = clock, answers_max, bytes_max
        self._kept: dict[tuple[str, str], Kept] = {}  # the oldest first
        self._bytes = 0

    def find(self, context: RequestContext) -> Kept | None:
        """The answer to the same request; None also where another body came under its name."""
        if not context.body_sha256:
            return None
        self._drop_old()
        kept = self._kept.get((context.account, context.request_id))
        return kept if kept is not None and kept.body_sha256 == context.body_sha256 else None

    def keep(self, context: RequestContext, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """An answer whose request will not run again."""
        if len(body) > ANSWER_BYTES_MAX:
            return
        self._drop_old()
        name = (context.account, context.request_id)
        self._forget(name)
        self._kept[name] = Kept(context.body_sha256, headers, body, self._clock.now() + KEPT_S)
        self._bytes += len(body)
        while len(self._kept) > self._answers_max or self._bytes > self._bytes_max:
            self._forget(next(iter(self._kept)))

    def _drop_old(self) -> None:
        now_s = self._clock.now()
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if kept.until_s > now_s:
                return
            self._forget(name)

    def _forget(self, name: tuple[str, str]) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._bytes -= len(kept.body)


class Gathered:
    """The body of an answer as it goes out; given up once it is too long to be kept."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def add(self, part: bytes) -> None:
        self._bytes += len(part)
        if self._bytes <= ANSWER_BYTES_MAX:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def body(self) -> bytes | None:
        """None: it was too long."""
        return b"".join(self._parts) if self._bytes <= ANSWER_BYTES_MAX else None
