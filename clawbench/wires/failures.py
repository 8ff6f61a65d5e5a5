"""What an upstream's refusal means: outcome, whether another offer may succeed, and how long to wait.

Reads the error bodies of OpenAI's dialect in all the shapes that its imitators send, and judges by status first,
by code and text second. Knows no offers and
no clock: an absolute reset time counts only against the reply's own `date` header. Nothing of a body is repeated
beyond 200 characters, and no control character survives.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from msgspec import Struct

from clawbench.errors import UpstreamError
from clawbench.types import Headers
from clawbench.wires.tolerant_json import NotJson, loads

MESSAGE_CHARS_MAX = 200
RETRY_AFTER_S_MAX = 60.0

CONTEXT_LENGTH = "context_length_exceeded"

_CONTEXT = re.compile(
    r"context.?length|context.?window|exceed.{0,40}context.?size|maximum context|max context|too_many_prompt_tokens"
    r"|(prompt|input|messages?) (is |are )?too long|too many (input )?tokens"
    r"|reduce the length of the (messages|input|prompt)",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content.?filter|content.?policy|content management policy|content.?moderation|moderation_blocked|was flagged"
    r"|responsible.?ai|safety system|data.?inspection.?failed|inappropriate content",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(invalid|wrong|incorrect|expired|missing).{0,12}api.?key|api.?key.{0,12}(not valid|invalid|expired)",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model_not_|model_decommissioned|invalid.model|not a valid model|not supported model|supported api model names"
    r"|model.{0,80}(does not exist|not exist\b|not found|has been (decommissioned|deprecated|removed))"
    r"|requested model .{0,80} not supported",
    re.IGNORECASE,
)
_CAPABILITY = re.compile(r"no endpoints found that|_not_enabled\b", re.IGNORECASE)
_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|exceeded your current quota|per.day"
    r"|insufficient.{0,10}(balance|credit)|余额不足",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,9})?")
_TRY_AGAIN = re.compile(
    r"(?:(?:try again|retry)[^.]{0,20} (?:in|after)|\bwait(?: for)?) (?:about )?(\d[\d.hms]*)"
    r"(?: (milli|min|hour|day))?",
    re.IGNORECASE,
)
_UNITS_S = {"milli": 0.001, "min": 60.0, "hour": 3600.0, "day": 86400.0}


class ErrorText(Struct, frozen=True):
    """What an error body says; "" and None where it does not."""

    message: str = ""
    code: str | None = None
    status: int | None = None  # a status that the body itself names
    raw: Any = None


def clean(text: str) -> str:
    """At most 200 characters, control characters and lone surrogates escaped."""
    short = text[:MESSAGE_CHARS_MAX]
    if not short.isprintable():
        short = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
    return short if len(short) <= MESSAGE_CHARS_MAX and len(text) <= MESSAGE_CHARS_MAX else short[:199] + "…"


def read_error(value: Any) -> ErrorText | None:
    """What a decoded body says of an error, None if it is no error object of a known shape."""
    if type(value) is list:
        return read_error(value[0]) if value else None
    if type(value) is str:
        return ErrorText(value) if value else None
    if type(value) is not dict:
        return None
    for key in ("error", "errors"):
        if value.get(key) and value[key] is not True:
            return _inner(value[key], value)
    if type(value.get("detail")) is list:
        return ErrorText(_complaints(value["detail"]), "validation_error")
    for key in ("detail", "message", "Message", "error_msg"):
        if value.get(key):
            return _inner({**value, "message": value[key]})
    return _elsewhere(value)


def _elsewhere(value: dict[str, Any]) -> ErrorText | None:
    """What MiniMax and API gateways of Apigee's kind say of an error, None if they say nothing."""
    stated, fault = value.get("base_resp"), value.get("fault")
    if type(stated) is dict and stated.get("status_code"):  # 0 is a success
        return _inner({"message": stated.get("status_msg"), "code": stated["status_code"]})
    if type(fault) is dict and fault.get("faultstring"):
        detail = fault.get("detail")
        code = detail.get("errorcode") if type(detail) is dict else None
        return _inner({"message": fault["faultstring"], "code": code})
    return None


def _inner(error: Any, whole: dict[str, Any] | None = None) -> ErrorText:
    if type(error) is list:
        error = error[0] if error else ""
    if type(error) is not dict:
        said, more = error if type(error) is str else "unspecified error", (whole or {}).get("error_description")
        return ErrorText(f"{said}: {more}" if type(more) is str and more else said, raw=whole)
    message = error.get("message")
    if type(message) is dict:  # Mistral's complaints about fields
        nested = read_error(message)
        message = nested.message if nested is not None else None
    parts = [message] if type(message) is str and message else []
    metadata = error.get("metadata")
    reason = metadata.get("raw") if type(metadata) is dict else None
    for detail in (reason, error.get("param")):
        # Xiaomi puts the cause into `param`, OpenRouter the upstream's own words into `metadata.raw`.
        if type(detail) is str and " " in detail:
            parts.append(detail)
    return ErrorText(": ".join(parts), *_code_and_status(error), error)


def _code_and_status(error: dict[str, Any]) -> tuple[str | None, int | None]:
    status = None
    for key in ("status_code", "status", "code"):
        stated = error.get(key)
        if type(stated) is str and stated.isascii() and stated.isdigit() and len(stated) == 3:
            stated = int(stated)
        if type(stated) is int and 400 <= stated <= 599:
            status = stated
            break
    words = (error.get(key) for key in ("code", "error_code", "type", "reason", "status"))
    named = (word for word in words if type(word) is str and word and not word.isdigit())
    code = next(named, None)
    number = error.get("code", error.get("error_code"))
    if code is None and type(number) in (int, str):
        code = str(number)[:64]
    return (clean(code) if code else None), status


def _complaints(detail: list[Any]) -> str:
    """A validation error in FastAPI's form, without the `input` that repeats what the client sent."""
    lines = []
    for item in detail[:5]:
        if type(item) is dict:
            place = item.get("loc")
            where = ".".join(map(str, place[:8])) if type(place) is list else ""
            lines.append(f"{where}: {item.get('msg', '')}"[:MESSAGE_CHARS_MAX])
    return "; ".join(lines)


def refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a reply that is no success, whatever its bytes are."""
    try:
        value = loads(body)[0]
    except NotJson:
        value = None
    said = read_error(value) or ErrorText(_of_no_json(status, body))
    outcome, code, try_next = _judge(status, said)
    limited = status in (408, 409, 429) or status >= 500
    return UpstreamError(
        clean(said.message) or f"HTTP {status} without a message",
        outcome=outcome,
        status=status,
        code=code,
        retry_after_s=retry_after_s(status, headers, said) if limited else None,
        try_next=try_next,
        retry_same=status == 429 and not _QUOTA.search(f"{said.code} {said.message}"),
    )


def _of_no_json(status: int, body: bytes) -> str:
    if not body.strip():
        return f"HTTP {status} with an empty body"
    text = body[:4096].decode("utf-8", "replace")
    if "<html" in text.lower() or "<!doctype" in text.lower():
        title = re.search(r"<title[^>]*>([^<]{1,150})", text, re.IGNORECASE)
        return f"HTTP {status} with an HTML page" + (f": {title[1].strip()}" if title else "")
    return text.strip()


def _judge(status: int, said: ErrorText) -> tuple[str, str | None, bool]:
    """(outcome, code, another offer may succeed)."""
    text = f"{said.code or ''} {said.message[:2000]}"
    if status in (408, 409) or status >= 500:
        return "upstream_5xx", said.code, True
    if status == 429:
        return "rate_limited", said.code, True
    if status < 400:
        return "redirect" if status >= 300 else "protocol_error", said.code, True
    if _FILTER.search(text):
        return "filtered", said.code or "content_filter", False
    if status in (401, 402):
        return "auth", said.code, True
    if status in (403, 404, 405, 410):
        if _CAPABILITY.search(text):
            return "rejected", said.code, True
        return "auth" if status == 403 else "model_gone", said.code, True
    if status in (424, 425, 498, 499):
        return "upstream_5xx", said.code, True
    if _CONTEXT.search(text):
        return "rejected", CONTEXT_LENGTH, True
    if _KEY.search(text):
        return "auth", said.code, True
    if _MODEL.search(text):
        return "model_gone", said.code, True
    return "rejected", said.code, status == 413


def error_in_body(said: ErrorText, *, outcome: str, status: int | None) -> UpstreamError:
    """The error that a 200 turned out to be. `status` is HTTP's; the one that the body names is a code at most."""
    text = f"{said.code or ''} {said.message[:2000]}"
    if _CONTEXT.search(text) and said.status in (None, 400, 413, 422):
        said = ErrorText(said.message, CONTEXT_LENGTH, said.status, said.raw)
    return UpstreamError(
        clean(said.message) or "an error without a message",
        outcome=outcome,
        status=status,
        code=said.code or (None if said.status is None else str(said.status)),
        retry_after_s=retry_after_s(said.status, {}, said) if said.status == 429 else None,
        try_next=not _FILTER.search(text),
    )


def retry_after_s(status: int, headers: Headers, said: ErrorText) -> float | None:
    """Seconds that the provider asks to wait, at most 60; None if it says nothing that can be read."""
    raw = said.raw if type(said.raw) is dict else {}
    metadata = raw["metadata"] if type(raw.get("metadata")) is dict else {}
    inner = metadata["headers"] if type(metadata.get("headers")) is dict else {}
    inner = {str(name).lower(): str(value) for name, value in inner.items()}
    again = _TRY_AGAIN.search(said.message)
    candidates = [
        _seconds(headers.get("retry-after-ms"), headers, unit_s=0.001),
        _seconds(headers.get("retry-after"), headers),
        _seconds(_text(metadata.get("retry_after_seconds", raw.get("retry_after"))), headers),
        _seconds(inner.get("retry-after"), headers),
        _seconds(again[1].rstrip("."), headers, unit_s=_UNITS_S.get((again[2] or "").lower(), 1.0)) if again else None,
        _seconds(_text(raw.get("estimated_time")), headers),  # Hugging Face, while a model is loaded
    ]
    if status == 429:
        candidates += [_reset_s(headers, headers), _reset_s(inner, headers)]
    stated = [seconds for seconds in candidates if seconds is not None]
    # Azure sends `retry-after-ms: 0` beside `retry-after: 1`: a zero says nothing while another says more.
    wait = next((seconds for seconds in stated if seconds > 0), stated[0] if stated else None)
    return None if wait is None else min(wait, RETRY_AFTER_S_MAX)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _reset_s(limits: Headers, headers: Headers) -> float | None:
    """The longest reset among exhausted limits; among all, if none is stated to be exhausted."""
    resets: dict[bool, list[float]] = {True: [], False: []}
    for name, value in limits.items():
        if name.startswith(("x-ratelimit-reset", "ratelimit-reset")):
            seconds = _seconds(value, headers)
            if seconds is not None:
                resets[limits.get(name.replace("reset", "remaining"), "") in ("0", "0.0")].append(seconds)
    return max(resets[True] or resets[False], default=None)


def _seconds(text: str | None, headers: Headers, *, unit_s: float = 1.0) -> float | None:
    """Seconds from '7', '2m59.5s', '120ms', an HTTP date or an epoch time; the last two need a `date` header."""
    text = (text or "").strip()
    if not text or len(text) > 64:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text) * unit_s
        if number < 1e8:
            return number
        return _until(number / 1000 if number >= 1e11 else number, headers)
    match = _DURATION.fullmatch(text)
    if match:
        days, hours, minutes, seconds, millis = (float(group or 0) for group in match.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + seconds + millis / 1000
        return total if isfinite(total) else None
    stamp = _stamp(text)
    return None if stamp is None else _until(stamp, headers)


def _until(stamp: float, headers: Headers) -> float | None:
    now = _stamp(headers.get("date", ""))
    return None if now is None else max(stamp - now, 0.0)


def _stamp(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp()  # HTTP dates are always GMT
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
