"""Emulated providers over HTTP: a raw ASGI app with one path prefix a provider, answering at the profiles' pace.

`/swiftsilicon/v1/chat/completions` is the provider `swiftsilicon`, asked at `/v1/chat/completions`; `GET /` says which
there are. The clock is handed in; luck is keyed by a call's bytes and how often they came before, so that the order in
which other calls come changes none of it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from clawbench.clock import Clock
from clawbench.emulator.offer import EmulatedReply
from clawbench.emulator.provider import EmulatedProvider
from clawbench.errors import did_you_mean
from clawbench.rng import draws
from clawbench.types import HttpCall

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
CALLS_COUNTED: Final = 100_000  # different ones; beyond that counting begins anew

_JSON: Final = (b"content-type", b"application/json")


class EmulatorApp:
    """All providers behind one address. `epoch_s` is the Unix time at the clock's zero, `seed` keys every draw."""

    def __init__(self, providers: Sequence[EmulatedProvider], clock: Clock, *, seed: int, epoch_s: int) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._clock, self._seed, self._epoch_s = clock, seed, epoch_s
        self._seen: Counter[bytes] = Counter()
        self.answered: Counter[str] = Counter()
        """Calls answered, by provider."""
        self.energy_j: defaultdict[str, float] = defaultdict(float)
        """Joules that the answers took, by provider."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        path: str = scope["path"]
        name = path.lstrip("/").partition("/")[0]
        provider = self._providers.get(name)
        if provider is None:
            await self._say(send, name)
            return
        body = await _body(receive)
        if body is None:
            return
        if len(body) > BODY_BYTES_MAX:
            message = f"the body is over {BODY_BYTES_MAX} bytes".encode()
            await _send_whole(send, 413, [(b"content-type", b"text/plain")], message)
            return
        call = _call(scope, body)
        sent_s = self._clock.now()
        reply = self._answer(provider, call, sent_s)
        await self._deliver(reply, sent_s, send)

    def index(self) -> dict[str, Any]:
        """What is served, and what has been answered so far."""
        providers = {
            name: {
                "dialects": list(provider.spoken),
                "models": list(provider.offers),
                "answered": self.answered[name],
                "energy_j": round(self.energy_j[name], 3),
            }
            for name, provider in self._providers.items()
        }
        return {"emulator": "clawbench", "providers": providers}

    def _answer(self, provider: EmulatedProvider, call: HttpCall, at_s: float) -> EmulatedReply:
        digest = blake2b(call.url.encode() + b"\0" + call.body, digest_size=16).digest()
        times = self._seen[digest] = self._seen[digest] + 1
        if len(self._seen) > CALLS_COUNTED:
            self._seen.clear()
        luck = draws(self._seed, provider.name, digest.hex(), str(times))
        reply = provider.answer(call, luck, at_s=at_s, epoch_s=self._epoch_s + int(at_s))
        self.answered[provider.name] += 1
        self.energy_j[provider.name] += reply.energy_j
        return reply

    async def _deliver(self, reply: EmulatedReply, sent_s: float, send: Send) -> None:
        clock = self._clock
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers.items()]
        if len(reply.chunks) == 1:
            data, t_s = reply.chunks[0]
            if t_s:
                await clock.sleep_until(sent_s + t_s)
            await _send_whole(send, reply.status, headers, data)
            return
        await clock.sleep_until(sent_s + reply.headers_s)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        due: list[bytes] = []
        for index, (data, t_s) in enumerate(reply.chunks):
            due.append(data)
            if index + 1 < len(reply.chunks) and reply.chunks[index + 1][1] <= t_s:
                continue  # what is due at one instant leaves in one piece
            await clock.sleep_until(sent_s + t_s)
            await send({"type": "http.response.body", "body": b"".join(due), "more_body": True})
            due.clear()
        await send({"type": "http.response.body", "body": b""})

    async def _say(self, send: Send, name: str) -> None:
        """The index, or that there is no such provider."""
        if not name:
            await _send_whole(send, 200, [_JSON], json.dumps(self.index(), indent=2).encode())
            return
        known = ", ".join(self._providers)
        message = f'There is no provider "{name[:100]}".{did_you_mean(name, self._providers)} Known: {known}.'
        error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": "not_found"}}
        await _send_whole(send, 404, [_JSON], json.dumps(error).encode())


def _call(scope: MutableMapping[str, Any], body: bytes) -> HttpCall:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    # The path as it was sent: a model's name in it may hold encoded slashes.
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else scope["path"]
    url = f"{scope.get('scheme', 'http')}://{headers.get('host', 'localhost')}{path}"
    return HttpCall(method=scope["method"], url=f"{url}?{query}" if query else url, headers=headers, body=body)


async def _body(receive: Receive) -> bytes | None:
    """The body, or as much of it as is too much; None where the client has gone."""
    event = await receive()
    if event["type"] == "http.disconnect":
        return None
    body: bytes = event.get("body", b"")
    while event.get("more_body", False) and len(body) <= BODY_BYTES_MAX:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
    return body


async def _send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
