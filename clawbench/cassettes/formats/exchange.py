"""An exchange of plain JSON or YAML, whatever its recorder calls the parts: what the layouts without a standard share.

Read are, in the request, `url` or `uri`; in the response, `status`, `status_code`, `statusCode` or `code`; in both,
`body`, `content`, `text` or `json`; headers as a mapping, as pairs, or as objects with a name and a value. Knows no
file as a whole, and reveals nothing of times.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.cassettes.formats.assembling import Draft
from clawbench.cassettes.formats.fields import Unfit, add_header, address, body, halves, headers, http_status, mapping

_STATUS: Final = ("status", "status_code", "statusCode", "code")
_BODY: Final = ("body", "content", "text", "json")
_NAME: Final = ("name", "key")


def draft(item: Any) -> Draft:
    """What an item with a `request` and a `response` holds. Raises `Unfit`."""
    request, response = halves(item)
    if response.get("binary") is True:
        raise Unfit("response.body is an Erlang term, which is not read")  # ExVCR's way with bodies that are no text
    method, url = address(request, "url", "uri")
    return Draft(
        method=method,
        url=url,
        request_headers=listed_headers(request.get("headers"), "request.headers"),
        request_body=body(_first(request, _BODY), "request.body"),
        status=http_status(_first(response, _STATUS)),
        headers=listed_headers(response.get("headers"), "response.headers"),
        body=body(_first(response, _BODY), "response.body"),
    )


def listed_headers(value: Any, what: str) -> dict[str, str]:
    """Headers as a mapping, as a list of pairs or of objects, or as names and values in turn. Raises `Unfit`."""
    if not isinstance(value, list):
        return headers(value, what)
    found: dict[str, str] = {}
    if value and all(isinstance(part, str) for part in value):
        if len(value) % 2:
            raise Unfit(f"{what} hold a name without a value")
        value = list(zip(value[::2], value[1::2], strict=True))
    for pair in value:
        if isinstance(pair, (list, tuple)):
            if len(pair) != 2:
                raise Unfit(f"an item of {what} is no pair")
            add_header(found, pair[0], pair[1], what)
        else:
            held = mapping(pair, f"an item of {what}")
            add_header(found, _first(held, _NAME), held.get("value"), what)
    return found


def _first(held: dict[Any, Any], names: tuple[str, ...]) -> Any:
    return next((held[name] for name in names if held.get(name) is not None), None)
