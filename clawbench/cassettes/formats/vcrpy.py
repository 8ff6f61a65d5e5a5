"""vcrpy's cassettes, YAML or JSON, as the recorders of a dozen projects wrote them.

Read are: bodies as text, `!!binary`, base64 or parsed JSON (`parsed_body`, or a mapping in place of the text),
compressed or not; headers as scalar or list under any case; status as number or mapping; the older httpx layout
(`content` and `status_code` right below `response`); and our own arrival times under `response.clawbench`.
Knows nothing of what an exchange means.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.bodies import BadBody, decoded, surviving
from clawbench.cassettes.formats.yaml_safe import MAX_DEPTH, MAX_FILE_BYTES, Document, Undecodable, load
from clawbench.cassettes.interaction import Interaction, RecordedTiming, Unreadable
from clawbench.errors import CassetteError

TIMING_KEY: Final = "clawbench"
TIMING_VERSION: Final = 1
MAX_FILE_BODY_BYTES: Final = 512 * 2**20
"""What all bodies of one file may decode to: many bodies just under the single limit are a bomb too."""

_YAML_ROOT: Final = re.compile(rb"^interactions:", re.MULTILINE)
_JSON_ROOT: Final = re.compile(rb'\A\s*\{\s*(?:"version"\s*:\s*1\s*,\s*)?"interactions"\s*:')
_OTHER_VERSION: Final = re.compile(rb"^version: [2-9]\s*$", re.MULTILINE)
_BASE64_KEYS: Final = ("base64_string", "base64")


class Vcrpy:
    """Reads what vcrpy's YAML and JSON serializers write, and what projects made of it."""

    name = "vcrpy"

    def recognises(self, head: bytes, file: str) -> bool:
        if _JSON_ROOT.search(head):
            return True
        return bool(_YAML_ROOT.search(head)) and not _OTHER_VERSION.search(head)

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        document = _json(data, file) if data.lstrip()[:1] == b"{" else load(data, file)
        root = document.value
        items = root.get("interactions") if isinstance(root, dict) else None
        if not isinstance(items, list):
            raise CassetteError("holds no list of interactions", file=file)
        if root.get("version", 1) != 1:
            raise CassetteError(f"vcrpy version {str(root['version'])[:20]!r} is not read; 1 is", file=file)
        total = 0
        lines = document.item_lines if len(document.item_lines) == len(items) else ()
        for index, item in enumerate(items):
            place = f"interaction {index}" + (f" (line {lines[index]})" if lines else "")
            try:
                interaction = _interaction(item, file=file, index=index, place=place)
            except _Unfit as unfit:
                yield Unreadable(file=file, index=index, reason=str(unfit), place=place)
                continue
            total += len(interaction.request_body) + len(interaction.body)
            if total > MAX_FILE_BODY_BYTES:
                reason = f"is a decompression bomb: its bodies decode to more than {MAX_FILE_BODY_BYTES:,} bytes"
                raise CassetteError(reason, file=file, place=place)
            yield interaction


class _Unfit(Exception):
    """One interaction makes no sense; the message says why."""


class _Timing(Struct, forbid_unknown_fields=True):
    """The mapping under `response.clawbench`."""

    version: int
    headers_s: float
    chunks: tuple[tuple[int, float], ...]


def _interaction(item: Any, *, file: str, index: int, place: str) -> Interaction:
    request = _mapping(item, "interaction").get("request")
    response = _mapping(item, "interaction").get("response")
    if request is None or response is None:
        missing = "request" if request is None else "response"
        raise _Unfit(f"has no {missing} (is the file cut short?)")
    request, response = _mapping(request, "request"), _mapping(response, "response")
    url, method = request.get("uri"), request.get("method", "GET")
    if not isinstance(url, str) or not isinstance(method, str):
        raise _Unfit("request has no uri" if url is None else "request.uri and request.method must be text")
    request_headers = _headers(request.get("headers"), "request.headers")
    headers = _headers(response.get("headers"), "response.headers")
    try:
        request_body = decoded(_request_body(request), request_headers, file=file, place=place)
        body = decoded(_response_body(response), headers, file=file, place=place)
    except BadBody as bad:
        raise _Unfit(str(bad)) from None
    return Interaction(
        file=file,
        index=index,
        method=method.upper(),
        url=url,
        request_headers=surviving(request_headers),
        request_body=request_body,
        status=_status(response),
        headers=surviving(headers),
        body=body,
        timing=_timing(response.get(TIMING_KEY), len(body)),
        place=place,
    )


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _Unfit(f"{what} is no mapping")
    return value


def _headers(value: Any, what: str) -> dict[str, str]:
    if value is None:
        return {}
    headers: dict[str, str] = {}
    for name, values in _mapping(value, what).items():
        parts = values if isinstance(values, list) else [values]
        text = ", ".join(_header_text(part, what) for part in parts)
        name = _header_text(name, what).lower()
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _header_text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise _Unfit(f"{what} hold a value that is no text")


def _request_body(request: dict[Any, Any]) -> bytes:
    if request.get("parsed_body") is not None:
        return _json_bytes(request["parsed_body"])
    return _body(request.get("body"), "request.body")


def _response_body(response: dict[Any, Any]) -> bytes:
    if response.get("parsed_body") is not None:
        return _json_bytes(response["parsed_body"])
    if "body" in response:
        return _body(response["body"], "response.body")
    return _body(response.get("content"), "response.content")


def _body(value: Any, what: str) -> bytes:
    if isinstance(value, dict):
        for key in _BASE64_KEYS:
            if key in value:
                return _from_base64(value[key], what)
        if set(value) <= {"string", "encoding"}:
            return _body(value.get("string"), what)
        return _json_bytes(value)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Undecodable):
        raise _Unfit(f"{what}, line {value.line}: {value.reason}")
    if isinstance(value, list):
        return _json_bytes(value)
    raise _Unfit(f"{what} is a {type(value).__name__}, not text, bytes or JSON")


def _from_base64(value: Any, what: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return b64decode("".join(str(value).split()), validate=True)
    except (Base64Error, ValueError) as error:
        raise _Unfit(f"{what} is not base64 ({error})") from None


def _json_bytes(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise _Unfit(f"a parsed body cannot be written as JSON: {error}") from None


def _status(response: dict[Any, Any]) -> int:
    status = response.get("status", response.get("status_code"))
    if isinstance(status, dict):
        status = status.get("code")
    if isinstance(status, str) and status[:3].isdecimal():
        status = int(status[:3])  # "200", "200 OK"
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
        raise _Unfit(f"status {str(status)[:20]!r} is no HTTP status")
    return status


def _timing(value: Any, body_length: int) -> RecordedTiming | None:
    if value is None:
        return None
    where = f"response.{TIMING_KEY}"
    if isinstance(value, dict) and value.get("version") != TIMING_VERSION:
        raise _Unfit(f"{where} has version {str(value.get('version'))[:20]!r}; {TIMING_VERSION} is read")
    try:
        timing = msgspec.convert(value, _Timing)
    except msgspec.ValidationError as error:
        raise _Unfit(f"{where}: {error}") from None
    instants = [timing.headers_s, *(t_s for _, t_s in timing.chunks)]
    if not all(math.isfinite(t_s) and t_s >= 0 for t_s in instants) or instants != sorted(instants):
        raise _Unfit(f"{where}: instants must be finite, not negative and never go back")
    if any(length < 0 for length, _ in timing.chunks) or sum(n for n, _ in timing.chunks) != body_length:
        total = sum(length for length, _ in timing.chunks)
        raise _Unfit(
            f"{where}: its chunks hold {total:,} bytes, the body {body_length:,}; remove it if you edited the body"
        )
    return RecordedTiming(timing.headers_s, timing.chunks)


def _json(data: bytes, file: str) -> Document:
    if len(data) > MAX_FILE_BYTES:
        raise CassetteError(f"the file has {len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}", file=file)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        byte = re.search(r"byte (\d+)", str(error))
        place = f"line {data.count(bytes([10]), 0, int(byte[1])) + 1}" if byte else ""
        raise CassetteError(f"is not valid JSON: {error}", file=file, place=place) from None
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise CassetteError(f"is nested more than {MAX_DEPTH} deep", file=file)
    return Document(value, ())
