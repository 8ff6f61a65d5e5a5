"""The network transport: upstream calls over HTTP, to hosts that the configuration names and to no others.

A call's key is added here, bound to its host. Redirects are never followed, proxy variables and cookies are ignored.
Whatever goes wrong becomes an `UpstreamError` of ours that repeats nothing of the provider's and keeps no reference to
the library's exception, which holds the request's headers.

The client is aiohttp. Measured against pyreqwest 0.15 (CPU of the whole process, two cores, server in another process):
a call that is not streamed costs both about 0.1 ms among 32 at once, but a stream of 50 chunks 1.2 ms here and 2.3 ms
there, where each chunk crosses a thread once nothing is held back; TLS changes neither. A call cancelled before its
headers is closed here and ran on to its end there, at the caller's cost. And bytes arrive in the loop itself, so that
an instant is that of their arrival.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct
from yarl import URL

from clawbench.clock import Clock
from clawbench.errors import UpstreamError
from clawbench.transports.network_auth import CREDENTIAL_HEADERS, HostAccess
from clawbench.transports.network_body import body_of
from clawbench.types import LIVE, Chunk, Headers, HttpCall

USER_AGENT: Final = "clawbench"
HEADER_BYTES_MAX: Final = 32 * 1024
"""One header line of a reply; aiohttp bounds their number too."""

_KEEPALIVE_S: Final = 30.0
_OURS: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "user-agent", "te", "upgrade"}
)
"""Headers of a call that are not the wire's to set."""

_FAILURES: Final = (aiohttp.ClientError, OSError, ValueError)
"""What the client raises for what a provider or the network did."""

_SPENT: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class NetworkLimits(Struct, frozen=True, kw_only=True):
    """How long the network may take, in seconds, beside each call's own deadline."""

    connect_timeout_s: float = 10.0  # name look-up, connection and TLS together
    idle_timeout_s: float | None = (
        None  # between two pieces of a stream; None: whoever reads watches, as the gateway does
    )


class NetworkTransport:
    """Calls over HTTP. `hosts` by origin (`https://api.openai.com`), each with how it is entered.

    `utc_now` dates signatures. Connections are opened when the first call is made, in its loop, and kept for more.
    """

    def __init__(
        self,
        hosts: Mapping[str, HostAccess],
        clock: Clock,
        *,
        utc_now: Callable[[], datetime],
        limits: NetworkLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: None trusts what the system trusts."""
        self._hosts, self._clock, self._utc_now, self._tls = dict(hosts), clock, utc_now, tls
        self._limits = limits or NetworkLimits()
        self._session: aiohttp.ClientSession | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key in use, for whoever keeps them out of what is written."""
        return tuple(text for access in self._hosts.values() for text in access.secrets)

    async def send(self, call: HttpCall, *, deadline_s: float) -> NetworkReply:
        """The reply once its headers have come. Raises `UpstreamError`; see `_translated` for which."""
        headers = self._headers(call)
        left_s = deadline_s - self._clock.now()
        failure: UpstreamError
        try:
            async with asyncio.timeout(left_s):
                response = await self._client().request(
                    call.method, URL(call.url, encoded=True), data=call.body, headers=headers, allow_redirects=False
                )
        except TimeoutError as error:
            failure = _translated(error, begun=False)
        except _FAILURES as error:
            failure = _translated(error, begun=False)
        else:
            return self._reply(call, response, deadline_s)
        # Raised out here, so that the library's exception and the headers in it are not chained to ours.
        raise failure

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _reply(self, call: HttpCall, response: aiohttp.ClientResponse, deadline_s: float) -> NetworkReply:
        try:
            if 300 <= response.status < 400:
                raise UpstreamError(
                    "The provider redirects; redirects are not followed.", outcome="redirect", status=response.status
                )
            if response.status < 200:
                raise UpstreamError("The provider switched protocols.", outcome="protocol_error")
            return NetworkReply(
                response, self._clock, deadline_s, is_stream=call.stream, idle_s=self._limits.idle_timeout_s
            )
        except UpstreamError:
            response.close()
            raise

    def _headers(self, call: HttpCall) -> dict[str, str]:
        """What goes to the provider: ours, the wire's, the host's key."""
        parts = urlsplit(call.url)
        access = self._hosts.get(f"{parts.scheme}://{parts.netloc}".lower())
        if access is None:
            raise UpstreamError("The host is not among those of the configuration.", outcome="connect_error")
        headers = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": USER_AGENT}
        if call.body:
            headers["content-type"] = "application/json"
        for name, value in call.headers.items():
            lower = name.lower()
            if lower not in _OURS and lower not in CREDENTIAL_HEADERS:
                headers[lower] = value
        return headers | access.headers(call.method, call.url, call.body, at=self._utc_now())

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connect_s = self._limits.connect_timeout_s
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # what is under way is the gateway's to bound
                    ssl=self._tls or True,
                    use_dns_cache=False,  # resolved for each connection
                    keepalive_timeout=_KEEPALIVE_S,
                ),
                timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s, sock_read=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # bounds are ours to keep
                trust_env=False,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
            )
        return self._session


class NetworkReply:
    """A reply whose headers have come; see `types.HttpReply`. What one wake-up of the loop brings is one chunk."""

    provenance = LIVE

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        clock: Clock,
        deadline_s: float,
        *,
        is_stream: bool,
        idle_s: float | None,
    ) -> None:
        """`idle_s`: longest gap between two pieces of a stream."""
        self.t_headers_s = clock.now()
        self._response, self._clock, self._deadline_s = response, clock, deadline_s
        self._is_stream, self._idle_s = is_stream, idle_s
        self._last_s: float | None = None  # when the latest bytes came
        self.status = response.status
        headers = _joined(response.raw_headers)
        self._body = body_of(headers)
        self.headers: Headers = {name: value for name, value in headers.items() if name not in _SPENT}
        self._forget = _ends_with_its_connection(response)

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        """The body, content encoding undone. Raises `UpstreamError` only."""
        feed, now = self._body.feed, self._clock.now
        while data := await self._next():
            t_s = self._last_s = now()
            piece = feed(data)
            if piece:
                yield (Chunk(piece, t_s),)
        self._body.finish()

    def batch_rest(self) -> bool:
        """Never: what comes is told when it comes."""
        return False

    async def aclose(self) -> None:
        """Gives the connection back if the body was read to its end, closes it otherwise."""
        self._forget()
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    async def _next(self) -> bytes:
        """The next bytes, b"" at the end."""
        failure: UpstreamError
        content = self._response.content
        try:
            data = content.read_nowait()
            if data or content.at_eof():
                return data
            async with asyncio.timeout(self._patience_s()):
                return await content.readany()
        except TimeoutError:
            failure = self._late()
        except (*_FAILURES, HttpProcessingError) as error:
            failure = _translated(error, begun=self._has_begun, empty=self._last_s is None)
        raise failure

    @property
    def _has_begun(self) -> bool:
        """Whether a part of a stream has come; of a body that is not streamed, no part is of use."""
        return self._is_stream and self._last_s is not None

    def _patience_s(self) -> float:
        now_s = self._clock.now()
        left_s = self._deadline_s - now_s
        if self._idle_s is None or self._last_s is None or not self._is_stream:
            return left_s
        return min(left_s, self._last_s + self._idle_s - now_s)

    def _late(self) -> UpstreamError:
        if not self._is_stream:
            return UpstreamError("The answer did not end in time.", outcome="timeout_total")
        if self._last_s is None:
            return _nothing_in_time()
        if self._clock.now() < self._deadline_s:
            return UpstreamError("The stream stood still for too long.", outcome="timeout_idle")
        return UpstreamError("The stream did not end in time.", outcome="timeout_total")


def _ends_with_its_connection(response: aiohttp.ClientResponse) -> Callable[[], object]:
    """Breaks the body off when its connection is lost; what is returned undoes this.

    aiohttp 3.14 leaves the reader of a body waiting for ever whose chunked framing breaks in the middle: it closes the
    connection and tells only whoever waits for headers.
    """
    content, connection = response.content, response.connection
    protocol = None if connection is None else connection.protocol
    closed = None if protocol is None else protocol.closed
    if protocol is None or closed is None:
        return lambda: None  # the whole body is here already

    def lost(_: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            told = protocol.exception()
            content.set_exception(told if isinstance(told, HttpProcessingError) else aiohttp.ClientPayloadError())

    closed.add_done_callback(lost)
    return lambda: closed.remove_done_callback(lost)


def _joined(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case, repeated headers joined by ', '; bytes that are no ASCII as they would be in Latin-1."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _nothing_in_time() -> UpstreamError:
    return UpstreamError("Nothing of the answer came in time.", outcome="timeout_first")


def _translated(error: Exception, *, begun: bool, empty: bool = True) -> UpstreamError:
    """Our error for one of the client library's; `begun`: part of the answer has been given on; `empty`: no byte came.

    connect_error: name, connection, TLS. timeout_first: no headers by the deadline. reset_early, reset_mid: closed by
    the provider. protocol_error: what came is no HTTP.
    """
    if isinstance(error, (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError)):
        return UpstreamError("No connection to the provider.", outcome="connect_error")
    if isinstance(error, TimeoutError):
        return _nothing_in_time()
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError)):
        if begun:
            return UpstreamError("The provider broke the stream off.", outcome="reset_mid")
        told = "The provider closed the connection before it answered."
        return UpstreamError(told, outcome="reset_early", retry_same=empty)
    return UpstreamError("What the provider sent is no HTTP.", outcome="protocol_error")
