"""Anthropic's ways: typed errors with a request id, 529 for overload, limits with the instants of their resets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from clawbench.emulator.dialects.manners import (
    Facts,
    Manners,
    Quota,
    Refusal,
    compact,
    http_date,
    milliseconds,
    one_or_all,
    rfc3339,
    whole_seconds,
)
from clawbench.wires.anthropic_reply import usage_body


class AnthropicManners(Manners):
    """The messages API."""

    chat_path = re.compile(r"/messages/?$")
    states_usage_unasked = True
    id_prefix = "msg_"
    tool_call_prefix = "toolu_"

    def headers(self, facts: Facts) -> dict[str, str]:
        return {
            "date": http_date(facts.epoch_s),
            "request-id": f"req_{facts.id}",
            "x-envoy-upstream-service-time": milliseconds(facts.worked_s),
        } | _limits(facts.quota, facts.epoch_s)

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        if why.kind == "unavailable":
            # What stands before the API answers for it, in no JSON.
            text = b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
            return 503, {"content-type": "text/plain"}, text
        status, kind, message = _words(why, facts)
        headers = {"content-type": "application/json"}
        if status in (401, 400, 404):
            headers["x-should-retry"] = "false"
        elif status in (429, 529, 500):
            headers["x-should-retry"] = "true"
        if why.retry_after_s is not None and status == 429:
            headers["retry-after"] = str(whole_seconds(why.retry_after_s))
        error = {"type": kind, "message": message}
        return status, headers, compact({"type": "error", "error": error, "request_id": f"req_{facts.id}"})

    def frame(self, frame: bytes, facts: Facts, *, at_s: float) -> bytes:
        """The first event states the prompt's tokens already, which the wire knows at the end only."""
        if facts.usage is None or not frame.startswith(b"event: message_start"):
            return frame
        head, _, data = frame.partition(b"data: ")
        event = json.loads(data)
        event["message"]["usage"] = usage_body(
            msgspec.structs.replace(facts.usage, output_tokens=1, reasoning_tokens=None)
        )
        return head + b"data: " + compact(event) + b"\n\n"

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        if not (found := re.search(r"/v1/models(/.*)?$", path)):
            return None
        entries = [
            {"type": "model", "id": name, "display_name": name, "created_at": rfc3339(created)} for name in served
        ]
        ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]} if entries else {}
        return one_or_all(
            found[1] or "", entries, lambda entry: entry["id"], lambda all: {"data": all, "has_more": False, **ends}
        )


def _limits(quota: Quota, epoch_s: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, limit, left, reset_s in (
        ("requests", quota.requests, quota.requests_left, quota.requests_reset_s),
        ("tokens", quota.tokens, quota.tokens_left, quota.tokens_reset_s),
    ):
        if limit is not None:
            # Tokens are stated in whole thousands, as the real API rounds them.
            shown = left if name == "requests" else left // 1000 * 1000
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(shown)
            headers[f"anthropic-ratelimit-{name}-reset"] = rfc3339(epoch_s + whole_seconds(reset_s))
    return headers


def _words(why: Refusal, facts: Facts) -> tuple[int, str, str]:
    """(status, type, message)."""
    match why.kind:
        case "rate_limited":
            limit = f"{facts.quota.requests or 50:,} requests per minute"
            return 429, "rate_limit_error", f"This request would exceed your organization's rate limit of {limit}."
        case "tokens_limited":
            limit = f"{facts.quota.tokens or 30_000:,} input tokens per minute"
            return 429, "rate_limit_error", f"This request would exceed your organization's rate limit of {limit}."
        case "overloaded":
            return 529, "overloaded_error", "Overloaded"
        case "server_error":
            return 500, "api_error", "Internal server error"
        case "unauthorized":
            return 401, "authentication_error", "invalid x-api-key"
        case "model_not_found":
            return 404, "not_found_error", f"model: {facts.model}"
        case "no_route":
            return 404, "not_found_error", "Not Found"
        case "context_length":
            said = f"prompt is too long: {why.prompt_tokens} tokens > {why.context_window} maximum"
            return 400, "invalid_request_error", said
        case _:
            return 400, "invalid_request_error", why.text
