"""HTTP archives, as Polly.js and browsers write them, JSON or (some of Polly.js's persisters) YAML.

Bodies are text, base64, or (Polly.js) a JSON list of base64 chunks, each of which is decoded by itself; older releases
of Polly.js wrote hexadecimal instead, with `_isBinary` and no encoding. An entry whose content was left out when the
archive was saved is unreadable, not empty.

Times are `timings` in milliseconds, or -1 where unknown. `send` and `wait` run to the first byte, `receive` from there
to the end: the time to the headers and the time to the end. Connecting stands in fields of its own and is left out.
Polly.js measures one figure only, to the end, and writes it as `wait` with a `receive` of 0: without a `receive` the
time is taken to run to the end, which also holds for a browser's reply that came at once. Where there is no `wait`,
`time` is that figure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.fields import (
    Unfit,
    add_header,
    address,
    from_base64,
    halves,
    http_status,
    mapping,
    utf8,
)
from clawbench.cassettes.formats.json_outline import object_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.formats.yaml_safe import load
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_YAML_ROOT: Final = re.compile(rb"^log: *\r?\n(?: [^\n]*\n)*? +entries:", re.MULTILINE)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")


class Har:
    """Reads HTTP archives 1.2."""

    name = "har"

    def recognises(self, head: bytes, file: str) -> bool:
        return "log" in object_names(head) or bool(_YAML_ROOT.search(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        root = load_json(data, file) if data.lstrip()[:1] == b"{" else load(data, file).value
        log = root.get("log") if isinstance(root, dict) else None
        entries = log.get("entries") if isinstance(log, dict) else None
        if not isinstance(entries, list):
            raise CassetteError("holds no list of entries in its log", file=file)
        yield from assembled(placed(entries), _draft, file)


def _draft(entry: Any) -> Draft:
    request, response = halves(entry)
    method, url = address(request, "url")
    headers_s, e2e_s = _times(entry)
    return Draft(
        method=method,
        url=url,
        request_headers=_headers(request.get("headers"), "request.headers"),
        request_body=_posted(request.get("postData")),
        status=http_status(response.get("status")),
        headers=_headers(response.get("headers"), "response.headers"),
        body=_content(response.get("content")),
        duration_s=headers_s,
        e2e_s=e2e_s,
    )


def _headers(value: Any, what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if not isinstance(value, list) and value is not None:
        raise Unfit(f"{what} is no list")
    for pair in value or ():
        pair = mapping(pair, f"an item of {what}")
        add_header(found, pair.get("name"), pair.get("value"), what)
    return found


def _posted(value: Any) -> bytes:
    if value is None:
        return b""
    posted = mapping(value, "request.postData")
    params = posted.get("params")
    if posted.get("text") or not params:
        return _text(posted.get("text"), posted.get("encoding"), "request.postData")
    if not isinstance(params, list):
        raise Unfit("request.postData.params is no list")
    pairs = [mapping(param, "an item of request.postData.params") for param in params]
    return urlencode([(str(pair.get("name", "")), str(pair.get("value", ""))) for pair in pairs]).encode()


def _content(value: Any) -> bytes:
    if value is None:
        return b""
    content = mapping(value, "response.content")
    size = content.get("size")
    if "text" not in content and isinstance(size, (int, float)) and size > 0:
        raise Unfit(f"response.content of {size:,} bytes was saved without its text")
    if content.get("_isBinary") is True and not content.get("encoding") and content.get("text"):
        return _from_hex(content["text"])
    return _text(content.get("text"), content.get("encoding"), "response.content")


def _from_hex(text: Any) -> bytes:
    """What hexadecimal text holds, or a JSON list of such texts. Raises `Unfit`."""
    if not isinstance(text, str):
        raise Unfit("response.content.text is no text")
    try:
        chunks = msgspec.json.decode(text, type=list[str]) if text.lstrip().startswith("[") else [text]
    except (msgspec.MsgspecError, UnicodeError):
        chunks = [""]
    if not all(_HEX.fullmatch(chunk) for chunk in chunks):
        raise Unfit("response.content.text is said to be binary, and is neither base64 nor hexadecimal")
    return bytes.fromhex("".join(chunks))


def _text(text: Any, encoding: Any, what: str) -> bytes:
    if text is None:
        return b""
    if not isinstance(text, str):
        raise Unfit(f"{what}.text is no text")
    if encoding in (None, "", "utf8", "utf-8", "UTF-8"):
        return utf8(text, what)
    if encoding != "base64":
        raise Unfit(f"{what}.encoding {str(encoding)[:20]!r} is not read; base64 is")
    if not text.lstrip().startswith("["):
        return from_base64(text, f"{what}.text")
    try:
        chunks = msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unfit(f"{what}.text is neither base64 nor a list of base64 chunks ({error})") from None
    return b"".join(from_base64(chunk, f"chunk {index} of {what}.text") for index, chunk in enumerate(chunks))


def _times(entry: dict[Any, Any]) -> tuple[float | None, float | None]:
    """Seconds to the headers and to the end; None where unknown."""
    timings = entry.get("timings") or {}
    told = mapping(timings, "timings")
    wait_s, receive_s = _seconds(told, "wait"), _seconds(told, "receive")
    if wait_s is None:
        return None, _seconds(entry, "time")
    sent_s = wait_s + (_seconds(told, "send") or 0.0)
    return (sent_s, sent_s + receive_s) if receive_s else (None, sent_s)


def _seconds(told: dict[Any, Any], name: str) -> float | None:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return value / 1000
