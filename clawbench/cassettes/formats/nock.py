"""Recordings of nock for Node: a JSON list of scope, method, path and body with the status and response to them.

A JSON response stands as a value, text as text. A response that was compressed, or sent in pieces that are no text, is
a list of its chunks, each in hexadecimal (`responseIsBinary` says so of a single text). Headers of the response are
`rawHeaders`, names and values in turn, or a mapping; older ones are `headers`. Reveals nothing of its times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.exchange import listed_headers
from clawbench.cassettes.formats.fields import Unfit, body, headers, http_status, mapping
from clawbench.cassettes.formats.json_outline import item_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_STANDARD_PORTS: Final = re.compile(r"(?<=://)([^/]*):(?:443|80)\Z")


class Nock:
    """Reads what nock's recorder writes."""

    name = "nock"

    def recognises(self, head: bytes, file: str) -> bool:
        return {"scope", "method", "path"} <= item_names(head)

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        root = load_json(data, file)
        if not isinstance(root, list):
            raise CassetteError("holds no list of calls", file=file)
        yield from assembled(placed(root), _draft, file)


def _draft(item: Any) -> Draft:
    call = mapping(item, "interaction")
    scope, path, method = call.get("scope"), call.get("path"), call.get("method", "GET")
    if not (isinstance(scope, str) and isinstance(path, str) and isinstance(method, str)):
        raise Unfit("scope, path and method must be text")
    if "status" not in call:
        raise Unfit("has no status (is the file cut short?)")
    return Draft(
        method=method.upper(),
        url=_STANDARD_PORTS.sub(r"\1", scope) + path,
        request_headers=headers(call.get("reqheaders"), "reqheaders"),
        request_body=body(call.get("body"), "body"),
        status=http_status(call["status"]),
        headers=listed_headers(call.get("rawHeaders", call.get("headers")), "rawHeaders"),
        body=_response(call),
    )


def _response(call: dict[Any, Any]) -> bytes:
    value = call.get("response")
    if isinstance(value, list) and value and all(isinstance(chunk, str) and _HEX.fullmatch(chunk) for chunk in value):
        return bytes.fromhex("".join(value))
    if call.get("responseIsBinary") is True and isinstance(value, str):
        if not _HEX.fullmatch(value):
            raise Unfit("response is said to be binary and is not hexadecimal")
        return bytes.fromhex(value)
    return body(value, "response")
