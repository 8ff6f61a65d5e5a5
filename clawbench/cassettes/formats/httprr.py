"""Traces of Go's httprr: requests and replies as they stood on the wire, each pair after a line with its two lengths.

    httprr trace v1
    589 342
    POST https://… HTTP/1.1 …                   589 bytes of request, 342 of reply, then the next line of lengths

The lengths are believed, a `Content-Length` inside is not: traces are scrubbed by hand. Chunked transfer encoding is
undone; chunks of a trace are no arrivals, and nothing in it reveals a time. Lines may end in CRLF or LF, mixed.
Where a line of lengths makes no sense, reading goes on at the next place that can only be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from clawbench.cassettes.formats.assembling import Draft, assembled
from clawbench.cassettes.formats.fields import Unfit
from clawbench.cassettes.formats.yaml_safe import MAX_FILE_BYTES
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_ROOT: Final = re.compile(rb"\Ahttprr trace v\d")
_FIRST_LINE: Final = re.compile(rb"\Ahttprr trace v1\r?\n")
_LENGTHS: Final = re.compile(rb"(\d{1,12}) (\d{1,12})\r?\n")
_PLAUSIBLE: Final = re.compile(rb"(\d{1,9}) (\d{1,9})\r?\n(?=[A-Z]{3,10} \S+ HTTP/1\.\d\r?\n)")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE_END: Final = re.compile(r"\r?\n")
_REQUEST_LINE: Final = re.compile(r"([A-Za-z]+) (\S+) HTTP/\d(?:\.\d)?")
_STATUS_LINE: Final = re.compile(r"HTTP/\d(?:\.\d)? ([1-5]\d\d)(?: .*)?")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Httprr:
    """Reads httprr's traces, version 1."""

    name = "httprr"

    def recognises(self, head: bytes, file: str) -> bool:
        return bool(_ROOT.search(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        if len(data) > MAX_FILE_BYTES:
            raise CassetteError(f"the file has {len(data):,} bytes; the limit is {MAX_FILE_BYTES:,}", file=file)
        first = _FIRST_LINE.match(data)
        if first is None:
            line = data[:40].partition(b"\n")[0].decode("latin-1").strip()
            raise CassetteError(f"is a trace of another version ({line!r}); v1 is read", file=file, place="line 1")
        yield from assembled(_pairs(data, first.end()), _draft, file)


class _Pair(Struct, frozen=True):
    """The bytes of an exchange and where in the file they begin; `problem` says why there is none."""

    at: int
    request: bytes = b""
    reply: bytes = b""
    problem: str = ""


def _pairs(data: bytes, at: int) -> Iterator[tuple[str, _Pair]]:
    index = 0
    while data[at : at + 1].strip() or data[at:].strip():
        lengths = _LENGTHS.match(data, at)
        pair = _cut(data, at, lengths)
        yield f"interaction {index} (byte {at:,})", pair
        index += 1
        if lengths is not None and not pair.problem:
            at = lengths.end() + len(pair.request) + len(pair.reply)
        else:
            at = _resumed(data, at + 1)


def _cut(data: bytes, at: int, lengths: re.Match[bytes] | None) -> _Pair:
    if lengths is None:
        return _Pair(at, problem=f"no line with two lengths stands at byte {at:,}")
    of_request, of_reply = int(lengths[1]), int(lengths[2])
    start = lengths.end()
    left = len(data) - start
    if of_request + of_reply > left:
        told = f"its lengths of {of_request:,} and {of_reply:,} bytes run past the end of the file, {left:,} bytes on"
        return _Pair(at, problem=f"{told} (is it cut short?)")
    middle = start + of_request
    return _Pair(start, data[start:middle], data[middle : middle + of_reply])


def _resumed(data: bytes, at: int) -> int:
    """Where the next exchange begins whose lengths fit what stands there; the end of the file if none does."""
    for found in _PLAUSIBLE.finditer(data, at):
        reply_at = found.end() + int(found[1])
        if reply_at + int(found[2]) <= len(data) and data.startswith(b"HTTP/", reply_at):
            return found.start()
    return len(data)


def _draft(pair: _Pair) -> Draft:
    if pair.problem:
        raise Unfit(pair.problem)
    first, request_headers, request_body = _message(pair.request, pair.at, "request")
    asked = _REQUEST_LINE.fullmatch(first)
    if asked is None:
        raise Unfit(f"request line {first[:40]!r} at byte {pair.at:,} is none of HTTP/1")
    reply_at = pair.at + len(pair.request)
    first, headers, body = _message(pair.reply, reply_at, "reply")
    answered = _STATUS_LINE.fullmatch(first)
    if answered is None:
        raise Unfit(f"status line {first[:40]!r} at byte {reply_at:,} is none of HTTP")
    url = asked[2]
    if url.startswith("/"):  # origin form: the scheme is not told
        url = f"//{request_headers.get('host', '')}{url}"
    return Draft(
        method=asked[1].upper(),
        url=url,
        request_headers=request_headers,
        request_body=request_body,
        status=int(answered[1]),
        headers=headers,
        body=body,
    )


def _message(raw: bytes, at: int, what: str) -> tuple[str, dict[str, str], bytes]:
    """First line, headers and body of an HTTP/1 message that stands at byte `at`. Raises `Unfit`."""
    end = _HEAD_END.search(raw)
    if end is None:
        raise Unfit(f"the headers of the {what} at byte {at:,} have no end")
    first, *lines = _LINE_END.split(raw[: end.start()].decode("latin-1"))
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise Unfit(f"the {what} at byte {at:,} has a header line without a name: {line[:40]!r}")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    body = raw[end.end() :]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _unchunked(body, at + end.end())
    return first, headers, body


def _unchunked(body: bytes, at: int) -> bytes:
    """What chunks hold; trailers are left out. Raises `Unfit`, naming the byte of the file."""
    parts: list[bytes] = []
    here = 0
    while True:
        line = _CHUNK_LINE.match(body, here)
        if line is None:
            raise Unfit(f"no chunk size stands at byte {at + here:,} (is the body cut short?)")
        length, here = int(line[1], 16), line.end()
        if not length:
            return b"".join(parts)
        if here + length > len(body):
            raise Unfit(
                f"the chunk at byte {at + here:,} is cut short: {length:,} bytes told, {len(body) - here:,} there"
            )
        parts.append(body[here : here + length])
        here += length
        here += 2 if body.startswith(b"\r\n", here) else body.startswith(b"\n", here)
