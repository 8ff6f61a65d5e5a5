"""The ASGI app: finds the route, gives every request an id, turns errors into answers.

With and without `/v1`, doubled slashes and a trailing slash mean the same, because clients are given either base.
A caller in the same process (the bench) hands its `RequestContext` over in the scope's extensions, as ASGI provides.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from clawbench.errors import RequestError, did_you_mean
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import RequestContext
from clawbench.server.asgi import ClientGone, Receive, Scope, Send, header, send_json
from clawbench.server.chat import Chat
from clawbench.server.errors import internal, send_error
from clawbench.server.models import Models

EXTENSION = "clawbench"
"""Key of the scope's extensions under which a caller in the same process hands over a `RequestContext`."""

SESSION_CHARS = 200
"""Of a session's name; what is longer is cut."""

Handler = Callable[[Scope, Receive, Send, RequestContext], Awaitable[None]]

_SLASHES = re.compile("/{2,}")
_log = logging.getLogger(__name__)


class App:
    """One gateway behind ASGI.

    `ids` gives a fresh request id a call; `epoch_s` is the Unix time at the clock's zero. `hosts` are the values of the
    Host header that are answered, in lower case; None: any. A name that a foreign page has bound to this machine is
    not among them. Calls from web pages (with an Origin) are refused.
    """

    def __init__(self, gateway: Gateway, *, ids: Callable[[], str], epoch_s: int) -> None:
        self._ids, self.gateway = ids, gateway
        self.hosts: frozenset[str] | None = None
        self._numbered = 0
        self._chat = Chat(gateway, gateway.clock, epoch_s=epoch_s)
        self._models = Models(gateway.router.catalog, created=epoch_s)
        self._routes: dict[str, tuple[str, Handler]] = {
            "/chat/completions": ("POST", self._chat.post),
            "/models": ("GET", self._list_models),
            "/health": ("GET", _health),
            "/healthz": ("GET", _health),
            "/readyz": ("GET", _health),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        context = self._context(scope)
        started = False

        async def watched(event: dict[str, object]) -> None:
            nonlocal started
            started = True
            await send(event)

        try:
            self._check_origin(scope)
            handler = self._route(scope["method"], scope["path"])
            await handler(scope, receive, watched, context)  # type: ignore[arg-type]
        except ClientGone:
            return
        except RequestError as error:
            await send_error(send, error, context.request_id)
        except Exception:
            # A mistake of ours: the log has the trace, the client gets none of it.
            _log.exception("request %s", context.request_id)
            if started:
                raise
            await send_error(send, internal(), context.request_id)

    def _check_origin(self, scope: Scope) -> None:
        if self.hosts is None:
            return
        host, origin = header(scope, b"host") or "", header(scope, b"origin")
        if host.lower() not in self.hosts:
            raise RequestError(
                f"The host {host[:100]!r} is not served here.", status=400, code="bad_request",
                type="invalid_request_error",
            )  # fmt: skip
        if origin is not None:
            raise RequestError(
                "Calls from web pages are not served.", status=403, code="forbidden", type="permission_error"
            )

    def _context(self, scope: Scope) -> RequestContext:
        extensions = scope.get("extensions") or {}
        context = extensions.get(EXTENSION)
        if isinstance(context, RequestContext):
            return context
        # Draws go by the order of requests, not by their ids: a server started anew gives the same answers again.
        self._numbered += 1
        session = header(scope, b"x-session-id") or header(scope, b"x-session-affinity")
        return RequestContext(
            request_id=self._ids(), draw_key=str(self._numbered), session=session[:SESSION_CHARS] if session else None
        )

    def _route(self, method: str, path: str) -> Handler:
        found = self._routes.get(path.removeprefix("/v1"))
        if found is None:
            path = normal_path(path)
            found = self._routes.get(path)
        if found is None and path.startswith("/models/"):
            found = ("GET", self._one_model)
        if found is None:
            routes = [f"/v1{route}" for route in self._routes]
            raise RequestError(
                f'There is no route "{path[:200]}".{did_you_mean("/v1" + path, routes)}',
                status=404,
                code="not_found",
                type="invalid_request_error",
            )
        allowed, handler = found
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            raise RequestError(
                f"{method} is not allowed here; use {allowed}.",
                status=405,
                code="method_not_allowed",
                type="invalid_request_error",
                param=allowed,
            )
        return handler

    async def _list_models(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        await self._models.list(send)

    async def _one_model(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        name = normal_path(unquote(scope["path"])).removeprefix("/models/")
        await self._models.one(name, send)


def normal_path(path: str) -> str:
    """A path without `/v1` prefixes, doubled slashes and a trailing slash."""
    path = _SLASHES.sub("/", path).rstrip("/")
    while path.startswith("/v1/") or path == "/v1":
        path = path[3:]
    return path or "/"


async def _health(scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
    await send_json(send, b'{"status":"ok"}')


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
