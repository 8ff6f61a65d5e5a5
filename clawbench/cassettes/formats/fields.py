"""The parts of an exchange that the layouts have in common: headers, bodies and status, under whatever dress.

Knows no layout as a whole. What cannot be read raises `Unfit`, which concerns one interaction alone.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Final

import msgspec

from clawbench.cassettes.formats.yaml_safe import Undecodable

_BASE64_KEYS: Final = (
    "base64_string",
    "base64",
    "raw_gzip",
)  # the last is R's; what it packs is unpacked with all bodies


class Unfit(Exception):
    """One interaction makes no sense; the message says why."""


def mapping(value: Any, what: str) -> dict[Any, Any]:
    """The value as a mapping. Raises `Unfit`."""
    if not isinstance(value, dict):
        raise Unfit(f"{what} is no mapping")
    return value


def halves(item: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Request and response of an item that holds them under these names. Raises `Unfit`."""
    request = mapping(item, "interaction").get("request")
    response = mapping(item, "interaction").get("response")
    if request is None or response is None:
        missing = "request" if request is None else "response"
        raise Unfit(f"has no {missing} (is the file cut short?)")
    return mapping(request, "request"), mapping(response, "response")


def address(request: dict[Any, Any], key: str, *others: str) -> tuple[str, str]:
    """Method, in upper case, and URL, which stands under `key` or one of the `others`. Raises `Unfit`."""
    url = next((request[name] for name in (key, *others) if request.get(name) is not None), None)
    method = request.get("method", "GET")
    if not isinstance(url, str) or not isinstance(method, str):
        raise Unfit(f"request has no {key}" if url is None else f"request.{key} and request.method must be text")
    return method.upper(), url


def headers(value: Any, what: str) -> dict[str, str]:
    """Headers from a mapping of names to a scalar or a list; None gives none. Raises `Unfit`."""
    found: dict[str, str] = {}
    if value is not None:
        for name, values in mapping(value, what).items():
            parts = values if isinstance(values, list) else [values]
            add_header(found, name, ", ".join(_header_text(part, what) for part in parts), what)
    return found


def add_header(found: dict[str, str], name: Any, value: Any, what: str) -> None:
    """Adds one header: its name in lower case, its value joined by ', ' to one that is there. Raises `Unfit`."""
    name, text = _header_text(name, what).lower(), _header_text(value, what)
    found[name] = f"{found[name]}, {text}" if name in found else text


def _header_text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise Unfit(f"{what} hold a value that is no text")


def body(value: Any, what: str) -> bytes:
    """A body as text, bytes, base64 under a key that says so, parsed JSON, or nothing. Raises `Unfit`."""
    if isinstance(value, dict):
        for key in _BASE64_KEYS:
            if key in value:
                return from_base64(value[key], what)
        if set(value) <= {"string", "encoding"}:
            return body(value.get("string"), what)
        if set(value) == {"on_disk"}:
            raise Unfit(f"{what} lies in another file ({str(value['on_disk'])[:80]!r})")
        return json_bytes(value)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return utf8(value, what)
    if isinstance(value, Undecodable):
        raise Unfit(f"{what}, line {value.line}: {value.reason}")
    if isinstance(value, list):
        return json_bytes(value)
    raise Unfit(f"{what} is a {type(value).__name__}, not text, bytes or JSON")


def utf8(text: str, what: str) -> bytes:
    """Text as the bytes that it stands for. Raises `Unfit` for half a surrogate pair, which JSON can hold."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{what} holds half a surrogate pair, which no bytes stand for") from None


def from_base64(value: Any, what: str) -> bytes:
    """What base64 text holds; line breaks in it are left out. Raises `Unfit`."""
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    try:
        return b64decode("".join(str(value).split()), validate=True)
    except (Base64Error, ValueError) as error:
        raise Unfit(f"{what} is not base64 ({error})") from None


def json_bytes(value: Any) -> bytes:
    """A parsed body written as JSON again. Raises `Unfit`."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Unfit(f"a parsed body cannot be written as JSON: {error}") from None


def http_status(status: Any) -> int:
    """A status as number, text ("200", "200 OK") or mapping with `code`. Raises `Unfit`."""
    if isinstance(status, dict):
        status = status.get("code")
    if isinstance(status, str) and status[:3].isdecimal() and status[:3].isascii():
        status = int(status[:3])
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
        raise Unfit(f"status {str(status)[:20]!r} is no HTTP status")
    return status
