"""What Anthropic's refusals mean beyond what every provider's do: its rate-limit headers, and its 400s that are none.

The judgement by status, code and text is `failures.py`'s; here stands what only Anthropic says. Reset instants are
absolute (RFC 3339) and count only against the reply's own `date` header: there is no clock here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from clawbench.errors import UpstreamError
from clawbench.types import Headers
from clawbench.wires.failures import CONTEXT_LENGTH, RETRY_AFTER_S_MAX, refusal

_PREFIX: Final = "anthropic-ratelimit-"
_CONTEXT: Final = re.compile(r"exceed context limit|prompt is too long|context window", re.IGNORECASE)
_CREDIT: Final = re.compile(r"credit balance is too low|usage limits?\b.*reached|billing", re.IGNORECASE)


def anthropic_refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a status of 400 or above, whatever the bytes are."""
    error = refusal(status, headers, body)
    if status == 400 and error.outcome == "rejected":
        if _CONTEXT.search(error.message):
            error.code, error.try_next = CONTEXT_LENGTH, True
        elif error.code == "billing_error" or _CREDIT.search(error.message):
            # Out of credit is a 400 here; it concerns our account, not the client's request.
            error.outcome, error.try_next = "auth", True
    if status == 429 and error.retry_after_s is None:
        error.retry_after_s = reset_s(headers)
    return error


def reset_s(headers: Headers) -> float | None:
    """Seconds until the exhausted limits are reset, the longest of them, at most 60; of all, if none is stated to be
    exhausted. None without a `date` header."""
    now = _http_date(headers.get("date", ""))
    if now is None:
        return None
    waits: dict[bool, list[float]] = {True: [], False: []}
    for name, value in headers.items():
        if name.startswith(_PREFIX) and name.endswith("-reset"):
            reset = _instant(value)
            if reset is not None:
                waits[headers.get(name.replace("-reset", "-remaining")) == "0"].append(max(reset - now, 0.0))
    wait = max(waits[True] or waits[False], default=None)
    return None if wait is None else min(wait, RETRY_AFTER_S_MAX)


def _instant(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
