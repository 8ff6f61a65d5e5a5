"""Ollama's ways: errors of one sentence, no ids, no limits, and durations in the last object of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from clawbench.emulator.dialects.manners import Facts, Manners, Refusal, compact, http_date, rfc3339

_NANO = 10**9


class OllamaManners(Manners):
    """The native chat API."""

    chat_path = re.compile(r"/api/chat/?$")
    states_usage_unasked = True
    stream_type = "application/x-ndjson"
    id_prefix = ""

    def headers(self, facts: Facts) -> dict[str, str]:
        return {"date": http_date(facts.epoch_s)}

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        status, message = _words(why, facts)
        return status, {"content-type": "application/json; charset=utf-8"}, compact({"error": message})

    def whole(self, body: bytes, facts: Facts) -> bytes:
        return compact({**json.loads(body), **_durations(facts)})

    def frame(self, frame: bytes, facts: Facts, *, at_s: float) -> bytes:
        value = json.loads(frame)
        if "created_at" in value:
            stamp = rfc3339(facts.epoch_s + at_s).removesuffix("Z")
            value["created_at"] = f"{stamp}.{int(at_s % 1 * 1e6):06d}Z"
        if value.get("done"):
            value |= _durations(facts)
        return compact(value) + b"\n"

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        if path.endswith("/api/version"):
            return compact({"version": "0.12.0"})
        if not path.endswith("/api/tags"):
            return None
        entries: list[dict[str, Any]] = [
            {
                "name": name,
                "model": name,
                "modified_at": rfc3339(created),
                "size": 0,
                "digest": "",
                "details": {"format": "gguf", "family": owner},
            }
            for name, owner in served.items()
        ]
        return compact({"models": entries})


def _durations(facts: Facts) -> dict[str, int]:
    """In nanoseconds; loading is over before the first token, whatever of that time was no prompt evaluation."""
    first, end = int(facts.first_s * _NANO), int(facts.end_s * _NANO)
    return {
        "total_duration": end,
        "load_duration": first // 10,
        "prompt_eval_duration": first - first // 10,
        "eval_duration": max(0, end - first),
    }


def _words(why: Refusal, facts: Facts) -> tuple[int, str]:
    """(status, message)."""
    match why.kind:
        case "rate_limited" | "tokens_limited":
            return 429, "too many requests, please slow down"
        case "overloaded":
            return 503, "server busy, please try again.  maximum pending requests exceeded"
        case "unavailable":
            return 503, "service unavailable"
        case "server_error":
            return 500, "llama runner process has terminated: exit status 2"
        case "unauthorized":
            return 401, "unauthorized"
        case "model_not_found":
            return 404, f"model '{facts.model}' not found"
        case "no_route":
            return 404, "404 page not found"
        case "context_length":
            return 400, f"prompt too long; exceeded max context length by {why.prompt_tokens} tokens"
        case _:
            return 400, why.text
