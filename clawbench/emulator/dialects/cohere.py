"""Cohere's ways: errors of an id and a message, processing time from the proxy before it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clawbench.emulator.dialects.manners import (
    Facts,
    Manners,
    Refusal,
    compact,
    http_date,
    milliseconds,
    one_or_all,
    whole_seconds,
)


class CohereManners(Manners):
    """Version 2 of the chat API."""

    chat_path = re.compile(r"/chat/?$")
    states_usage_unasked = True
    stream_type = "text/event-stream"
    id_prefix = ""

    def headers(self, facts: Facts) -> dict[str, str]:
        headers = {
            "date": http_date(facts.epoch_s),
            "server": "envoy",
            "x-debug-trace-id": facts.id,
            "x-envoy-upstream-service-time": milliseconds(facts.worked_s),
        }
        if facts.usage is not None and not facts.streamed:
            headers["num-chars"] = str(facts.prompt_chars)
            headers["num-tokens"] = str((facts.usage.input_tokens or 0) + (facts.usage.output_tokens or 0))
        if facts.quota.requests is not None:
            headers["x-trial-endpoint-call-limit"] = str(facts.quota.requests)
            headers["x-trial-endpoint-call-remaining"] = str(facts.quota.requests_left)
        return headers

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        status, message = _words(why, facts)
        headers = {"content-type": "application/json"}
        if why.retry_after_s is not None and status == 429:
            headers["retry-after"] = str(whole_seconds(why.retry_after_s))
        body = {"id": facts.id, "message": message}
        if why.kind == "context_length":
            body["error_type"] = "TOO_MANY_TOKENS"
        return status, headers, compact(body)

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        if not (found := re.search(r"/v1/models(/.*)?$", path)):
            return None
        entries = [
            {"name": name, "endpoints": ["chat"], "finetuned": False, "context_length": 131_072} for name in served
        ]
        return one_or_all(found[1] or "", entries, lambda entry: entry["name"], lambda all: {"models": all})


def _words(why: Refusal, facts: Facts) -> tuple[int, str]:
    """(status, message)."""
    match why.kind:
        case "rate_limited" | "tokens_limited":
            limit = facts.quota.requests or 500
            return 429, f"Please wait and try again later; your key is limited to {limit} API calls / minute."
        case "overloaded":
            return 503, "the server is currently overloaded, please try again later"
        case "unavailable":
            return 503, "service unavailable"
        case "server_error":
            return 500, "internal server error, this has been reported to our developers."
        case "unauthorized":
            return 401, "invalid api token"
        case "model_not_found":
            said = "make sure the correct model ID was used and that you have access to the model."
            return 404, f"model '{facts.model}' not found, {said}"
        case "no_route":
            return 404, "not found"
        case "context_length":
            over = why.prompt_tokens - (why.context_window or 0)
            return 400, f"too many tokens: size limit exceeded by {over} tokens. Try using shorter or fewer inputs."
        case _:
            return 400, f"invalid request: {why.text}"
