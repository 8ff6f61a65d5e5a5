"""What both versions of Cohere's chat API share: the words for an answer's end, refusals, usage, and bodies."""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Headers, Usage
from clawbench.usage.cohere import normalise_noted
from clawbench.wires.failures import clean, error_in_body, read_error, refusal
from clawbench.wires.tolerant_json import NotJson, loads

FINISH_REASONS: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
    "ERROR": "error",
    "TIMEOUT": "error",
    "USER_CANCEL": "error",
}
"""Cohere's words, of both versions → OpenAI's; `error`: the answer broke off. Others read as stop, with a note."""

_TRY_ANOTHER: Final = re.compile(r"not supported|no valid response generated|does not support", re.IGNORECASE)


def cohere_refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a reply that is no success, whatever its bytes are."""
    error = refusal(status, headers, body)
    if error.outcome == "rejected" and _TRY_ANOTHER.search(error.message):
        error.try_next = True
    return error


def no_answer(value: Any, status: int) -> UpstreamError:
    """The error for a 200 without a message."""
    said = read_error(value)
    if said is not None:
        return error_in_body(said, outcome="error_200", status=status)
    return UpstreamError("The answer holds no message.", outcome="protocol_error", status=status)


def broke_off(reason: Any, said: Any, outcome: str, status: int | None) -> UpstreamError:
    """The error of an answer whose finish reason says that it is broken."""
    text = f"{reason}: {said}" if type(said) is str and said else f"The model ended with {reason}."
    return UpstreamError(clean(text), outcome=outcome, status=status, code=clean(str(reason)))


def usage_of(raw: Any, odd: list[str]) -> Usage | None:
    """The usage of a `usage` or `meta` object, None where there is none."""
    if not raw:
        return None
    usage, notes = normalise_noted(raw)
    odd += notes
    return usage


def finish_reason(stated: Any, odd: list[str]) -> str | None:
    """OpenAI's word, `error` for a broken answer; None while there is none."""
    if type(stated) is not str or not stated:
        return None
    known = FINISH_REASONS.get(stated.upper())
    if known is None:
        odd.append(clean(f"finish reason {stated[:40]!r} read as stop"))
        return "stop"
    return known


def body_value(body: bytes) -> dict[str, Any]:
    """The body's object. Raises `ValueError` for anything else."""
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(str(error)) from None
    if type(value) is not dict:
        raise ValueError("the body is no JSON object")
    return value
