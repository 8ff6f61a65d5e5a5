"""Stub mappings of WireMock, one to a file or many under `mappings`.

The request is told by what it is matched with: `url` or `urlPath`, and the first body pattern that holds a whole body
(`equalToJson`, `equalTo`, `binaryEqualTo`). A mapping that matches by a pattern alone names no request and is
unreadable; so is one whose body lies in another file. The host is the `Host` header, if that is matched. Reveals
nothing of its times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.fields import Unfit, body, from_base64, halves, headers, http_status, json_bytes
from clawbench.cassettes.formats.json_outline import object_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_MARKS: Final = (b'"urlPath"', b'"urlPattern"', b'"urlPathPattern"', b'"bodyPatterns"', b'"jsonBody"', b'"base64Body"')


class WireMock:
    """Reads what WireMock records and exports."""

    name = "wiremock"

    def recognises(self, head: bytes, file: str) -> bool:
        names = object_names(head)
        return "mappings" in names or ("request" in names and any(mark in head for mark in _MARKS))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        root = load_json(data, file)
        stubs = root.get("mappings", [root]) if isinstance(root, dict) else None
        if not isinstance(stubs, list):
            raise CassetteError("holds no list of mappings", file=file)
        yield from assembled(placed(stubs), _draft, file)


def _draft(stub: Any) -> Draft:
    request, response = halves(stub)
    path, method = request.get("url", request.get("urlPath")), request.get("method", "GET")
    if not isinstance(path, str) or not isinstance(method, str):
        raise Unfit("request has no url: it is matched by a pattern")
    asked = headers(_matched(request.get("headers")), "request.headers")
    host = asked.get("host", "")
    return Draft(
        method=method.upper(),
        url=f"//{host}{path}" if host and path.startswith("/") else path,
        request_headers=asked,
        request_body=_asked(request.get("bodyPatterns")),
        status=http_status(response.get("status")),
        headers=headers(response.get("headers"), "response.headers"),
        body=_answered(response),
    )


def _matched(value: Any) -> Any:
    """Headers that are matched with a whole value."""
    if not isinstance(value, dict):
        return value
    return {name: how["equalTo"] for name, how in value.items() if isinstance(how, dict) and "equalTo" in how}


def _asked(patterns: Any) -> bytes:
    for pattern in patterns if isinstance(patterns, list) else ():
        if not isinstance(pattern, dict):
            continue
        if "binaryEqualTo" in pattern:
            return from_base64(pattern["binaryEqualTo"], "request.bodyPatterns")
        for how in ("equalToJson", "equalTo"):
            if how in pattern:
                return body(pattern[how], "request.bodyPatterns")
    return b""


def _answered(response: dict[Any, Any]) -> bytes:
    if "bodyFileName" in response:
        raise Unfit(f"response.body lies in another file ({str(response['bodyFileName'])[:80]!r})")
    if "base64Body" in response:
        return from_base64(response["base64Body"], "response.base64Body")
    if "jsonBody" in response:
        return json_bytes(response["jsonBody"])
    return body(response.get("body"), "response.body")
