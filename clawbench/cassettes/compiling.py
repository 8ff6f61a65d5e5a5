"""One cassette file made into entries and the bytes that stand behind them.

Everything that a replay would otherwise work out again and again is worked out here once: dialect, canonical key,
outcome, token counts, times, the ends of events. Knows wires and formats, not where the result is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.entry import Entry, Leftover, pack_ends, pack_timing
from clawbench.cassettes.formats import Opened
from clawbench.cassettes.framing import event_ends
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.cassettes.matching import features, key
from clawbench.cassettes.timings import revealed
from clawbench.cassettes.understanding import NotUnderstood, Understood, understand
from clawbench.catalog.providers import host_of
from clawbench.wires.protocol import Wire

_ADDRESS: Final = re.compile(r"(?:(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?//)?[^/?#]*(?P<path>[^?#]*)")


class Rest(Struct, frozen=True, array_like=True):
    """What stands behind an entry's body: rarely needed, decoded on demand."""

    headers: dict[str, str]
    method: str
    url: str
    request_headers: dict[str, str]
    request_body: bytes


class CompiledFile(Struct, frozen=True):
    """The entries of a file, each with its blob (body, then `Rest` as msgpack); offsets are not set yet."""

    entries: list[Entry]
    leftovers: list[Leftover]
    blobs: list[bytes]


def compile_file(opened: Opened, wires: Mapping[str, Wire]) -> CompiledFile:
    """Compiles a file. Raises `CassetteError` for a broken one."""
    file = opened.file
    found = CompiledFile([], [], [])
    for item in opened.read():
        if isinstance(item, Unreadable):
            reason = f"{item.place}: {item.reason}" if item.place else item.reason
            found.leftovers.append(Leftover(file=file, index=item.index, kind="unreadable", reason=reason))
            continue
        read = understand(item, wires)
        if isinstance(read, NotUnderstood):
            found.leftovers.append(_leftover(item, read))
            continue
        rest = Rest(item.headers, item.method, item.url, item.request_headers, item.request_body)
        packed = msgspec.msgpack.encode(rest)
        found.entries.append(_entry(item, read, len(packed)))
        found.blobs.append(item.body + packed)
    return found


def address_of(url: str) -> tuple[str, str, str]:
    """Scheme, host (with port, lower case) and path; a placeholder in place of scheme and host counts as the host."""
    match = _ADDRESS.match(url)
    scheme, path = (match["scheme"] or "", match["path"]) if match else ("", "")
    return scheme.lower(), host_of(url), path.rstrip("/")


def _entry(item: Interaction, read: Understood, rest_length: int) -> Entry:
    scheme, host, path = address_of(item.url)
    shape = features(read.request)
    streamed = read.framing != ""
    usage = read.answer.usage
    told = (
        None
        if item.timing
        else revealed(item.headers, item.body, streamed=streamed, duration_s=item.duration_s, e2e_s=item.e2e_s)
    )
    return Entry(
        file=item.file,
        index=item.index,
        scheme=scheme,
        host=host,
        path=path,
        upstream_model=read.request.model,
        dialect=read.wire.name,
        stream=read.request.stream,
        framing=read.framing,
        key=key(read.request),
        has_tools=shape.has_tools,
        prompt_chars=shape.prompt_chars,
        status=item.status,
        outcome=read.answer.outcome,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        revealed=told,
        offset=0,
        length=len(item.body),
        rest_length=rest_length,
        checksum=0,
        packed_ends=pack_ends(event_ends(item.body, read.framing)) if streamed else b"",
        packed_timing=pack_timing(item.timing),
    )


def _leftover(item: Interaction, read: NotUnderstood) -> Leftover:
    scheme, host, path = address_of(item.url)
    return Leftover(
        file=item.file,
        index=item.index,
        kind=read.kind,
        reason=read.reason,
        url=f"{scheme}://{host}{path}" if scheme else host + path,
        status=item.status,
    )
