"""When the parts of an answer came that vcrpy records: noted below vcrpy, as the client's transport hands them out.

vcrpy reads an answer to its end before anybody sees it, and keeps no times. With httpx (and httpx2) the transport under
vcrpy can be watched, so every chunk has its instant. Other clients (requests, urllib3, aiohttp) give vcrpy the body in
one piece: of them only the time to the end is known, which `block.py` takes itself.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from vcr.stubs.httpx_stubs import vcr_handle_async_request, vcr_handle_request

from clawbench.cassettes.interaction import RecordedTiming
from clawbench.errors import UpstreamError
from clawbench.transports.network_body import body_of

DECIMALS: Final = 6
_CLIENTS: Final = ("httpx", "httpx2")


class Arrivals:
    """One answer's instants, in seconds of the stopwatch."""

    __slots__ = ("chunks", "headers_s", "sent_s")

    def __init__(self, sent_s: float) -> None:
        self.sent_s = self.headers_s = sent_s
        self.chunks: list[tuple[bytes, float]] = []

    def timing(self, headers: dict[str, str], body: bytes) -> RecordedTiming | None:
        """The instants as those of this decoded body; None where they cannot be (an encoding other than gzip)."""
        try:
            decoder = body_of(headers)
            lengths = [(len(decoder.feed(data)), t_s) for data, t_s in self.chunks]
        except UpstreamError:
            return None
        if sum(length for length, _ in lengths) != len(body):
            return None
        return RecordedTiming(
            round(self.headers_s - self.sent_s, DECIMALS),
            tuple((length, round(t_s - self.sent_s, DECIMALS)) for length, t_s in lengths if length),
        )


latest: ContextVar[Arrivals | None] = ContextVar("latest", default=None)
"""The arrivals of the answer that this task or thread is reading; vcrpy records an answer right where it was read."""


@contextmanager
def watched(cassette: Any, stopwatch: Callable[[], float]) -> Iterator[None]:
    """While entered, the HTTP transports of httpx note when parts of answers come, and vcrpy records above them.

    Enter inside of vcrpy's own context, whose patches of the same two methods come back afterwards.
    """
    before: list[tuple[type, str, Any]] = []
    try:
        for client in (sys.modules[name] for name in _CLIENTS if name in sys.modules):
            for owner, name, record, timed in (
                (client.HTTPTransport, "handle_request", vcr_handle_request, _timed),
                (client.AsyncHTTPTransport, "handle_async_request", vcr_handle_async_request, _timed_async),
            ):
                patched = getattr(owner, name)
                # vcrpy wraps what it found, so what it found is under its wrapper.
                original = patched.__wrapped__
                before.append((owner, name, patched))
                setattr(owner, name, record(cassette, timed(original, stopwatch), client))
        yield
    finally:
        for owner, name, patched in reversed(before):
            setattr(owner, name, patched)


def _timed(original: Callable[[Any, Any], Any], stopwatch: Callable[[], float]) -> Callable[[Any, Any], Any]:
    def handle_request(transport: Any, request: Any) -> Any:
        arrivals = Arrivals(stopwatch())
        response = original(transport, request)
        arrivals.headers_s = stopwatch()
        response.stream = _Noted(response.stream, arrivals, stopwatch)
        latest.set(arrivals)
        return response

    return handle_request


def _timed_async(original: Callable[[Any, Any], Any], stopwatch: Callable[[], float]) -> Callable[[Any, Any], Any]:
    async def handle_async_request(transport: Any, request: Any) -> Any:
        arrivals = Arrivals(stopwatch())
        response = await original(transport, request)
        arrivals.headers_s = stopwatch()
        response.stream = _Noted(response.stream, arrivals, stopwatch)
        latest.set(arrivals)
        return response

    return handle_async_request


class _Noted:
    """A response's stream, noting when its parts come; vcrpy iterates and closes it, and puts one of its own there."""

    def __init__(self, inner: Any, arrivals: Arrivals, stopwatch: Callable[[], float]) -> None:
        self._inner, self._note, self._stopwatch = inner, arrivals.chunks.append, stopwatch

    def __iter__(self) -> Iterator[bytes]:
        for data in self._inner:
            self._note((data, self._stopwatch()))
            yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._inner:
            self._note((data, self._stopwatch()))
            yield data

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()
