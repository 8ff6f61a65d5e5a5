"""Cassettes of Go's go-vcr: `version: 1`, as releases 1 and 2 of the library write it, and `version: 2` of later ones.

The first has the same head as vcrpy's, but for its place at the top and for `url` where vcrpy has `uri`.

`duration` is how long the recorder's inner transport took to return, and Go's returns with the headers while the body
is still to come: the time to the headers. It is Go's own notation (`1.2s`, `345.6ms`, `1m2.5s`). Nothing else in the
file reveals a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from clawbench.cassettes.formats.assembling import Draft, assembled, placed
from clawbench.cassettes.formats.fields import Unfit, address, body, halves, headers, http_status
from clawbench.cassettes.formats.yaml_safe import load
from clawbench.cassettes.interaction import Interaction, Unreadable
from clawbench.errors import CassetteError

_VERSION: Final = re.compile(rb"^version: *[2-9]\s*$", re.MULTILINE)
_FIRST: Final = re.compile(rb"\A(?:---[^\n]*\n|#[^\n]*\n|[ \t\r]*\n)*version: *1\s*\n")
_URI: Final = re.compile(rb"^ +(?:- )?uri:", re.MULTILINE)
_ROOT: Final = re.compile(rb"^interactions:", re.MULTILINE)
_DURATION_PART: Final = re.compile(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(ns|us|µs|μs|ms|s|m|h)")
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class GoVcr:
    """Reads what go-vcr writes."""

    name = "go-vcr"

    def recognises(self, head: bytes, file: str) -> bool:
        if not _ROOT.search(head):
            return False
        return bool(_VERSION.search(head)) or (bool(_FIRST.search(head)) and not _URI.search(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        document = load(data, file)
        root = document.value if isinstance(document.value, dict) else {}
        if root.get("version") not in (1, 2):
            version = str(root.get("version"))[:20]
            raise CassetteError(f"go-vcr version {version!r} is not read; 1 and 2 are", file=file)
        items = root.get("interactions")
        if not isinstance(items, list):
            raise CassetteError("holds no list of interactions", file=file)
        yield from assembled(placed(items, document.item_lines), _draft, file)


def go_duration_s(text: Any) -> float | None:
    """Seconds of a duration in Go's notation; None for none. Raises `Unfit` for what is no duration."""
    if text is None or text == "":
        return None
    if text in ("0", 0):  # the one duration that Go writes without a unit
        return 0.0
    parts = list(_DURATION_PART.finditer(text)) if isinstance(text, str) else []
    if not parts or "".join(part[0] for part in parts) != text:
        raise Unfit(f"response.duration {str(text)[:20]!r} is no duration such as 345.6ms")
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)


def _draft(item: Any) -> Draft:
    request, response = halves(item)
    method, url = address(request, "url", "uri")
    return Draft(
        method=method,
        url=url,
        request_headers=headers(request.get("headers"), "request.headers"),
        request_body=body(request.get("body"), "request.body"),
        status=http_status(response.get("code", response.get("status"))),
        headers=headers(response.get("headers"), "response.headers"),
        body=body(response.get("body"), "response.body"),
        duration_s=go_duration_s(response.get("duration")),
    )
