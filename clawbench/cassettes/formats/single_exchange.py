"""One exchange as a JSON object, `request` beside `response`, as Datadog's test agent writes it.

Reveals nothing of its times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from clawbench.cassettes.formats.assembling import Draft, assembled
from clawbench.cassettes.formats.fields import address, body, halves, headers, http_status
from clawbench.cassettes.formats.json_safe import load_json
from clawbench.cassettes.interaction import Interaction, Unreadable

_ROOT: Final = re.compile(rb'\A\s*\{\s*"(?:request|response)"\s*:\s*\{')


class SingleExchange:
    """Reads a file that is one request and its response."""

    name = "single-exchange"

    def recognises(self, head: bytes, file: str) -> bool:
        return bool(_ROOT.search(head))

    def read(self, data: bytes, file: str) -> Iterator[Interaction | Unreadable]:
        yield from assembled([("interaction 0", load_json(data, file))], _draft, file)


def _draft(item: Any) -> Draft:
    request, response = halves(item)
    method, url = address(request, "url")
    return Draft(
        method=method,
        url=url,
        request_headers=headers(request.get("headers"), "request.headers"),
        request_body=body(request.get("body"), "request.body"),
        status=http_status(response.get("status")),
        headers=headers(response.get("headers"), "response.headers"),
        body=body(response.get("body"), "response.body"),
    )
