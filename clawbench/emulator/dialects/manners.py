"""What a dialect's providers send beside what its wire writes: ids, headers, refusals in their own words, model lists.

One file a dialect overrides what differs from OpenAI, whose ways most imitate. No clock, no chance: what is told
comes in as `Facts`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, ClassVar, Literal

from msgspec import Struct

from clawbench.types import Usage

RefusalKind = Literal[
    "rate_limited",
    "tokens_limited",
    "overloaded",
    "server_error",
    "unavailable",
    "bad_request",
    "context_length",
    "unauthorized",
    "model_not_found",
    "no_route",
]
"""Why a call gets no answer. The first five are the provider's doing, the others the caller's."""


class Quota(Struct, frozen=True, kw_only=True):
    """What is left of an offer's limits per minute once this call is counted. None: there is no such limit.

    `*_reset_s`: seconds until the whole limit is there again.
    """

    requests: int | None = None
    requests_left: int = 0
    requests_reset_s: float = 0.0
    tokens: int | None = None
    tokens_left: int = 0
    tokens_reset_s: float = 0.0


NO_QUOTA = Quota()


class Facts(Struct, frozen=True, kw_only=True):
    """What a reply's headers and its dialect's own fields may tell."""

    id: str  # ten hexadecimal digits
    model: str = ""  # as the call named it
    epoch_s: int = 0  # Unix time of the reply
    worked_s: float = 0.0  # the provider's own time until the headers; of a whole answer, until its end
    first_s: float = 0.0  # the provider's own time until the first token
    end_s: float = 0.0  # the provider's own time until the last token
    streamed: bool = False
    quota: Quota = NO_QUOTA
    usage: Usage | None = None
    prompt_chars: int = 0


class Refusal(Struct, frozen=True, kw_only=True):
    """Why there is no answer. `text` says what is wrong with a call that is refused as `bad_request`."""

    kind: RefusalKind
    text: str = ""
    retry_after_s: float | None = None
    context_window: int | None = None
    prompt_tokens: int = 0


class Manners:
    """OpenAI's ways; the base of all others."""

    chat_path: ClassVar[re.Pattern[str]] = re.compile(r"/chat/completions/?$")
    """Which paths are chat calls, POSTed."""
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    id_prefix: ClassVar[str] = "chatcmpl-"
    tool_call_prefix: ClassVar[str] = "call_"
    states_usage_unasked: ClassVar[bool] = False
    """Whether streams state usage where the call did not ask for it."""

    def headers(self, facts: Facts) -> dict[str, str]:
        """Headers beside the content type, of an answer and of a refusal alike."""
        return {
            "date": http_date(facts.epoch_s),
            "openai-processing-ms": milliseconds(facts.worked_s),
            "openai-version": "2020-10-01",
            "x-request-id": f"req_{facts.id}",
        } | ratelimit_headers(facts.quota)

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        """(status, headers beside those of `headers`, body)."""
        status, kind, code, message = _openai_words(why, facts)
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        headers = {"content-type": "application/json"}
        if why.retry_after_s is not None:
            headers |= retry_headers(why.retry_after_s)
        if status == 401:
            headers["www-authenticate"] = 'Bearer realm="OpenAI API"'
        return status, headers, json.dumps(body, indent=2, ensure_ascii=False).encode()

    def whole(self, body: bytes, facts: Facts) -> bytes:
        """The wire's body with what the dialect's servers add to it."""
        return body

    def frame(self, frame: bytes, facts: Facts, *, at_s: float) -> bytes:
        """One frame of a stream with what servers add to it; `at_s` is its instant by the provider's own clock."""
        return frame

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        """The body for a GET of this path (below the provider's prefix); None where there is nothing.

        `served` maps the names of models to whose they are.
        """
        rest = path.partition("/models")[2] if "/models" in path else None
        if rest is None:
            return None
        entries = [
            {"id": name, "object": "model", "created": created, "owned_by": owner} for name, owner in served.items()
        ]
        return one_or_all(rest, entries, lambda entry: entry["id"], lambda all: {"object": "list", "data": all})


def one_or_all(rest: str, entries: Sequence[dict[str, Any]], name: Any, listed: Any) -> bytes | None:
    """A list of models for an empty rest of the path, one entry for `/name`, None for a name that is not there."""
    wanted = rest.strip("/")
    if not wanted:
        return compact(listed(list(entries)))
    return next((compact(entry) for entry in entries if name(entry) == wanted), None)


def compact(value: Any) -> bytes:
    """JSON in one line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def http_date(epoch_s: int) -> str:
    """An instant as HTTP dates are written."""
    return formatdate(epoch_s, usegmt=True)


def rfc3339(epoch_s: float) -> str:
    """An instant as RFC 3339 writes it, in whole seconds."""
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat().replace("+00:00", "Z")


def milliseconds(seconds: float) -> str:
    """Whole milliseconds."""
    return str(round(seconds * 1000))


def span(seconds: float) -> str:
    """A duration as OpenAI writes it: '120ms', '6.2s', '1m12s'."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    tail = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{tail}" if minutes else tail


def ratelimit_headers(quota: Quota) -> dict[str, str]:
    """OpenAI's rate limit headers; of a limit that is not set, nothing."""
    headers: dict[str, str] = {}
    for name, limit, left, reset_s in (
        ("requests", quota.requests, quota.requests_left, quota.requests_reset_s),
        ("tokens", quota.tokens, quota.tokens_left, quota.tokens_reset_s),
    ):
        if limit is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(left)
            headers[f"x-ratelimit-reset-{name}"] = span(reset_s)
    return headers


def retry_headers(retry_after_s: float) -> dict[str, str]:
    """Retry-After in whole seconds, rounded up, and OpenAI's finer one."""
    return {"retry-after": str(whole_seconds(retry_after_s)), "retry-after-ms": milliseconds(retry_after_s)}


def whole_seconds(seconds: float) -> int:
    """Rounded up, at least 1."""
    return max(1, int(-(-seconds // 1)))


def _openai_words(why: Refusal, facts: Facts) -> tuple[int, str, str | None, str]:
    """(status, type, code, message)."""
    model, wait = facts.model, span(why.retry_after_s or 1.0)
    match why.kind:
        case "rate_limited":
            limit = facts.quota.requests or 500
            said = f"on requests per min (RPM): Limit {limit}, Used {limit}, Requested 1. Please try again in {wait}."
            return 429, "requests", "rate_limit_exceeded", f"Rate limit reached for {model} {said}"
        case "tokens_limited":
            limit = facts.quota.tokens or 30_000
            used = limit - facts.quota.tokens_left
            said = f"on tokens per min (TPM): Limit {limit}, Used {used}, Requested {why.prompt_tokens}."
            message = f"Rate limit reached for {model} {said} Please try again in {wait}."
            return 429, "tokens", "rate_limit_exceeded", message
        case "overloaded":
            message = "The engine is currently overloaded, please try again later"
            return 503, "server_error", None, message
        case "unavailable":
            return (
                503,
                "server_error",
                "service_unavailable",
                "Service temporarily unavailable. Please try again later.",
            )
        case "server_error":
            message = "The server had an error while processing your request. Sorry about that!"
            return 500, "server_error", None, message
        case "unauthorized":
            return 401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."
        case "model_not_found":
            message = f"The model `{model}` does not exist or you do not have access to it."
            return 404, "invalid_request_error", "model_not_found", message
        case "context_length":
            message = (
                f"This model's maximum context length is {why.context_window} tokens. However, your messages resulted "
                f"in {why.prompt_tokens} tokens. Please reduce the length of the messages."
            )
            return 400, "invalid_request_error", "context_length_exceeded", message
        case "no_route":
            return 404, "invalid_request_error", None, f"Invalid URL ({why.text})"
        case _:
            return 400, "invalid_request_error", None, why.text
