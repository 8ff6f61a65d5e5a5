"""What Google's refusals mean beyond what `failures` can tell: waits in the body's details, words of its own.

A 429 names its wait as `RetryInfo.retryDelay` and its quota as `QuotaFailure`; a quota of a day is not worth a retry.
Several 400s mean that this model cannot do what another may. Knows no requests.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Headers
from clawbench.wires.failures import CONTEXT_LENGTH, RETRY_AFTER_S_MAX, refusal
from clawbench.wires.tolerant_json import NotJson, loads

_TOO_LONG: Final = re.compile(
    r"token count.{0,60}exceeds? the maximum|exceeds the maximum number of tokens", re.IGNORECASE
)
_CANNOT: Final = re.compile(
    r"(is|are) not (enabled|supported)|does not support|not supported (for|by|in) |only supported|unsupported mime",
    re.IGNORECASE,
)
_OUR_ACCOUNT: Final = re.compile(r"user location|billing|has not been used in project|is disabled", re.IGNORECASE)
_DELAY: Final = re.compile(r"(\d{1,9}(?:\.\d{0,9})?)s")


def gemini_refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a reply that is no success, whatever its bytes are."""
    error = refusal(status, headers, body)
    details = _details(body)
    if error.status == 429:
        delay_s = _delay_s(details)
        per_day = _is_per_day(details)
        error.retry_after_s = error.retry_after_s if delay_s is None else delay_s
        error.retry_same = not per_day and (error.retry_same or delay_s is not None)
    elif error.outcome == "rejected":
        if _TOO_LONG.search(error.message):
            error.code, error.try_next = CONTEXT_LENGTH, True
        elif error.code == "FAILED_PRECONDITION" or _OUR_ACCOUNT.search(error.message):
            error.outcome, error.try_next = "auth", True
        elif _CANNOT.search(error.message):
            error.try_next = True
    return error


def _details(body: bytes) -> list[dict[str, Any]]:
    try:
        value = loads(body)[0]
    except NotJson:
        return []
    if type(value) is list:
        value = value[0] if value else None
    error = value.get("error") if type(value) is dict else None
    details = error.get("details") if type(error) is dict else None
    return [each for each in details if type(each) is dict] if type(details) is list else []


def _delay_s(details: list[dict[str, Any]]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        if type(delay) is dict:  # the long form of a duration
            delay = f"{delay.get('seconds', 0)}s"
        stated = _DELAY.fullmatch(delay) if type(delay) is str else None
        if stated:
            return min(float(stated[1]), RETRY_AFTER_S_MAX)
    return None


def _is_per_day(details: list[dict[str, Any]]) -> bool:
    listed = [detail["violations"] for detail in details if type(detail.get("violations")) is list]
    violations = [each for violations in listed for each in violations if type(each) is dict]
    return any("PerDay" in str(each.get("quotaId", "")) for each in violations)
