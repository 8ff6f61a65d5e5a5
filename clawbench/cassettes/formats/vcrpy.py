"""vcrpy's cassettes, YAML or JSON, as the recorders of a dozen projects wrote them.

Read are: bodies as text, `!!binary`, base64 or parsed JSON (`parsed_body`, or a mapping in place of the text),
compressed or not; headers as scalar or list under any case; status as number or mapping; the older httpx layout
(`content` and `status_code` right below `response`); a list of requests and one of responses instead of pairs; and our
own times under `response.clawbench`:

    {version: 1, headers_s: …, chunks: [[bytes, seconds], …]}    arrival times, in seconds since the request was sent
    {version: 1, duration_s: …, e2e_s: …}                        what another recorder measured: to headers, to the end

One may stand without the other, and `duration_s` without `e2e_s`. Apart from these, vcrpy reveals nothing of its
times. Knows nothing of what an exchange means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

import msgspec
from msgspec import Struct

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.fields import Unfit, address, body, halves, headers, http_status, json_bytes
from clawbench.cassettes.formats.json_outline import object_names
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.formats.yaml_safe import Document, load
from clawbench.cassettes.interaction import Interaction, RecordedTiming, Unreadable
from clawbench.errors import CassetteError

TIMING_KEY: Final = "clawbench"
TIMING_VERSION: Final = 1

_YAML_ROOT: Final = re.compile(rb"^interactions:", re.MULTILINE)
_PAIRED_ROOT: Final = re.compile(rb"^requests:\s*\n *- ", re.MULTILINE)
_OTHER_VERSION: Final = re.compile(rb"^version: [2-9]\s*$", re.MULTILINE)


class Vcrpy:
    """Reads what vcrpy's YAML and JSON serializers write, and what projects made of it."""

    name = "vcrpy"

    def recognises(self, head: bytes, file: str) -> bool:
        if "interactions" in object_names(head) or _PAIRED_ROOT.search(head):
            return True
        return bool(_YAML_ROOT.search(head)) and not _OTHER_VERSION.search(head)

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        document = Document(load_json(data, file), ()) if data.lstrip()[:1] == b"{" else load(data, file)
        root = document.value
        items = _items(root) if isinstance(root, dict) else None
        if not isinstance(items, list):
            raise CassetteError("holds no list of interactions", file=file)
        if root.get("version", 1) != 1:
            raise CassetteError(f"vcrpy version {str(root['version'])[:20]!r} is not read; 1 is", file=file)
        last: Interaction | Unreadable | None = None
        for last in assembled(placed(items, document.item_lines), _draft, file):
            yield last
        # Serializers write the version last: where it is missing, and the last item makes no sense, the file was cut.
        # LangChain's, which keeps requests and responses apart, writes none.
        if "interactions" in root and "version" not in root and isinstance(last, Unreadable):
            reason = f"is cut off: it ends within its last interaction ({last.reason}) and has no version line"
            raise CassetteError(reason, file=file, place=last.place)


def _items(root: dict[Any, Any]) -> Any:
    """The interactions of a file, or those made of the requests and responses that LangChain's serializer writes."""
    if "interactions" in root or "requests" not in root:
        return root.get("interactions")
    asked, answered = root["requests"], root.get("responses")
    if not isinstance(asked, list) or not isinstance(answered, list):
        return None
    pairs = zip_longest(asked, answered)
    return [{"request": request, "response": response} for request, response in pairs]


class _Times(Struct, forbid_unknown_fields=True):
    """The mapping under `response.clawbench`."""

    version: int
    headers_s: float | None = None
    chunks: tuple[tuple[int, float], ...] | None = None
    duration_s: float | None = None
    e2e_s: float | None = None


def _draft(item: Any) -> Draft:
    request, response = halves(item)
    method, url = address(request, "uri", "url")
    times = _times(response.get(TIMING_KEY))
    return Draft(
        method=method,
        url=url,
        request_headers=headers(request.get("headers"), "request.headers"),
        request_body=_request_body(request),
        status=http_status(response.get("status", response.get("status_code"))),
        headers=headers(response.get("headers"), "response.headers"),
        body=_response_body(response),
        timing=lambda length: _arrivals(times, length),
        duration_s=times.duration_s,
        e2e_s=times.e2e_s,
    )


def _request_body(request: dict[Any, Any]) -> bytes:
    if request.get("parsed_body") is not None:
        return json_bytes(request["parsed_body"])
    return body(request.get("body"), "request.body")


def _response_body(response: dict[Any, Any]) -> bytes:
    if response.get("parsed_body") is not None:
        return json_bytes(response["parsed_body"])
    if "body" in response:
        return body(response["body"], "response.body")
    return body(response.get("content"), "response.content")


def _times(value: Any) -> _Times:
    if value is None:
        return _Times(TIMING_VERSION)
    where = f"response.{TIMING_KEY}"
    if isinstance(value, dict) and value.get("version") != TIMING_VERSION:
        raise Unfit(f"{where} has version {str(value.get('version'))[:20]!r}; {TIMING_VERSION} is read")
    try:
        times = msgspec.convert(value, _Times)
    except msgspec.ValidationError as error:
        raise Unfit(f"{where}: {error}") from None
    if (times.headers_s is None) != (times.chunks is None):
        raise Unfit(f"{where}: headers_s and chunks belong together, one is missing")
    if times.chunks is None and times.duration_s is None and times.e2e_s is None:
        raise Unfit(f"{where}: holds no times (headers_s and chunks, or duration_s, or e2e_s)")
    for name, seconds in (("duration_s", times.duration_s), ("e2e_s", times.e2e_s)):
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise Unfit(f"{where}.{name} must be finite and not negative")
    return times


def _arrivals(times: _Times, body_length: int) -> RecordedTiming | None:
    if times.headers_s is None or times.chunks is None:
        return None
    where = f"response.{TIMING_KEY}"
    instants = [times.headers_s, *(t_s for _, t_s in times.chunks)]
    if not all(math.isfinite(t_s) and t_s >= 0 for t_s in instants) or instants != sorted(instants):
        raise Unfit(f"{where}: instants must be finite, not negative and never go back")
    total = sum(length for length, _ in times.chunks)
    if any(length < 0 for length, _ in times.chunks) or total != body_length:
        raise Unfit(
            f"{where}: its chunks hold {total:,} bytes, the body {body_length:,}; remove it if you edited the body"
        )
    return RecordedTiming(times.headers_s, times.chunks)
