"""Gemini's ways: Google's error objects with details, the wait in the body, processing time in `server-timing`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from clawbench.emulator.dialects.manners import (
    Facts,
    Manners,
    Refusal,
    http_date,
    milliseconds,
    one_or_all,
    whole_seconds,
)

_RPC: Final = "type.googleapis.com/google.rpc."
_GET: Final = re.compile(r"/v1(?:beta)?/models(/.*)?$")


class GeminiManners(Manners):
    """`generateContent` on AI Studio. Streams are events: `alt=sse` is assumed, the array form is not written."""

    chat_path = re.compile(r":(?:stream)?generateContent/?$", re.IGNORECASE)
    states_usage_unasked = True
    stream_type = "text/event-stream"
    id_prefix = ""

    def headers(self, facts: Facts) -> dict[str, str]:
        return {
            "date": http_date(facts.epoch_s),
            "server": "scaffolding on HTTPServer2",
            "server-timing": f"gfet4t7; dur={milliseconds(facts.worked_s)}",
            "vary": "Origin, X-Origin, Referer",
        }

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        code, status, message = _words(why, facts)
        error: dict[str, Any] = {"code": code, "message": message, "status": status}
        if details := _details(why, facts):
            error["details"] = details
        body = json.dumps({"error": error}, indent=2, ensure_ascii=False) + "\n"
        return code, {"content-type": "application/json; charset=UTF-8"}, body.encode()

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        if not (found := _GET.search(path)):
            return None
        entries = [
            {
                "name": f"models/{name}",
                "version": "001",
                "displayName": name,
                "inputTokenLimit": 131_072,
                "outputTokenLimit": 8_192,
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
            }
            for name in served
        ]
        return one_or_all(
            found[1] or "",
            entries,
            lambda entry: str(entry["name"]).removeprefix("models/"),
            lambda all: {"models": all},
        )


def _words(why: Refusal, facts: Facts) -> tuple[int, str, str]:
    """(code, status, message)."""
    match why.kind:
        case "rate_limited" | "tokens_limited":
            metric = "generate_content_requests" if why.kind == "rate_limited" else "generate_content_input_token_count"
            limit = (facts.quota.requests if why.kind == "rate_limited" else facts.quota.tokens) or 60
            said = (
                "You exceeded your current quota, please check your plan and billing details.\n"
                f"* Quota exceeded for metric: generativelanguage.googleapis.com/{metric}, limit: {limit}\n"
                f"Please retry in {why.retry_after_s or 1.0:g}s."
            )
            return 429, "RESOURCE_EXHAUSTED", said
        case "overloaded":
            return 503, "UNAVAILABLE", "The model is overloaded. Please try again later."
        case "unavailable":
            return 503, "UNAVAILABLE", "The service is currently unavailable."
        case "server_error":
            return 500, "INTERNAL", "An internal error has occurred. Please retry."
        case "unauthorized":
            return 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."
        case "model_not_found":
            said = (
                f"models/{facts.model} is not found for API version v1beta, or is not supported for generateContent. "
                "Call ListModels to see the list of available models and their supported methods."
            )
            return 404, "NOT_FOUND", said
        case "no_route":
            return 404, "NOT_FOUND", "Requested entity was not found."
        case "context_length":
            said = (
                f"The input token count ({why.prompt_tokens}) exceeds the maximum number of tokens allowed "
                f"({why.context_window})."
            )
            return 400, "INVALID_ARGUMENT", said
        case _:
            return 400, "INVALID_ARGUMENT", why.text


def _details(why: Refusal, facts: Facts) -> list[dict[str, Any]]:
    if why.kind == "unauthorized":
        return [{"@type": f"{_RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    if why.kind not in ("rate_limited", "tokens_limited"):
        return []
    what = "Requests" if why.kind == "rate_limited" else "InputTokens"
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/generate_content_{what.lower()}",
        "quotaId": f"GenerateContent{what}PerMinutePerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": facts.model},
    }
    details: list[dict[str, Any]] = [{"@type": f"{_RPC}QuotaFailure", "violations": [violation]}]
    if why.retry_after_s is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{whole_seconds(why.retry_after_s)}s"})
    return details
