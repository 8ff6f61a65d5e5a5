"""What a wire is: one provider dialect, turned into bytes and back, without a socket, a clock or chance.

The gateway calls `encode` once an attempt, then either `decode` (whole body), or `stream().feed` chunk by chunk
and `finish` once, or `error` for a status of 400 and above. The other side (`parse`, `compose`, `compose_stream`)
serves the emulator, the readers of cassettes and the gateway's own surface.
Every method raises `UpstreamError` for what a provider did wrong, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer, StreamEnd


class StreamDecoder(Protocol):
    """Bytes of one streamed body in, deltas out. Any split of the bytes into chunks gives the same deltas."""

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas completed by these bytes. A failure comes as the last delta (`error`); later bytes are ignored."""
        ...

    def finish(self) -> StreamEnd:
        """Call once, when the body has ended; `complete` is False when it was cut."""
        ...


class TextDecoder(StreamDecoder, Protocol):
    """A decoder that can read many events of plain text at once; who has no `texts` is fed every chunk."""

    def texts(self, data: bytes) -> tuple[list[str], int]:
        """The pieces of text that `data` begins with, one an event, and how many bytes they take: feed it the others.

        As many as are nothing but text of choice 0, which may be none of them: ([], 0).
        """
        ...


class ComposedReply(Struct, frozen=True):
    """A whole response as bytes, made by a wire's other side."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire(Protocol):
    """One dialect. Stateless; one object serves all requests."""

    name: str

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether a recorded exchange is a chat call of this dialect, judged by URL path and content, not by host."""
        ...

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call for this request at this offer; what the dialect cannot say is left out."""
        ...

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. An error object inside a 200 raises `UpstreamError(outcome="error_200")`."""
        ...

    def stream(self) -> StreamDecoder: ...

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a status of 400 or above; any bytes are accepted, none are echoed beyond 200 chars."""
        ...

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in an upstream call's body and URL. Raises `ValueError` saying why for a body that is none."""
        ...

    def compose(self, completion: Completion) -> ComposedReply: ...

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One item an event, each a complete frame, the dialect's end marker last."""
        ...
