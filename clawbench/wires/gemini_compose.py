"""Gemini's answers, written: whole bodies and the events of `alt=sse`. The other side of the wire.

A tool call leaves whole, as Gemini sends it, once its last piece is there. Knows no request and no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, ToolCall, Usage
from clawbench.wires.gemini_parts import FORMAT, model_parts
from clawbench.wires.gemini_reply import PROMPT_BLOCKED

_FINISH: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_MESSAGE_FIELDS: Final = ("reasoning_details", "images", "code_execution")
_KEPT: Final = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


def usage_body(usage: Usage) -> dict[str, int]:
    """`usageMetadata` of these counts; unknown ones are absent."""
    thoughts = usage.reasoning_tokens
    candidates = None if usage.output_tokens is None else usage.output_tokens - (thoughts or 0)
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    said = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": candidates,
        "cachedContentTokenCount": usage.cached_input_tokens,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": total,
    }
    return {name: count for name, count in said.items() if count is not None}


def reply_of(completion: Completion) -> dict[str, Any]:
    """The body of a whole answer."""
    body: dict[str, Any] = {}
    if any(note.startswith(PROMPT_BLOCKED) for note in completion.notes):
        body["promptFeedback"] = {"blockReason": "SAFETY"}
    else:
        body["candidates"] = [_candidate(choice) for choice in completion.choices]
    if completion.usage is not None:
        body["usageMetadata"] = usage_body(completion.usage)
        if completion.service_tier:
            body["usageMetadata"]["serviceTier"] = completion.service_tier
    return {**body, **_head(completion.id, completion.model or "", completion.created), **(completion.extra or {})}


def _head(id: str, model: str, created: int | None) -> dict[str, Any]:
    head: dict[str, Any] = {"modelVersion": model} if model else {}
    if created:
        head["createTime"] = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return {**head, "responseId": id} if id else head


def _candidate(choice: Choice) -> dict[str, Any]:
    parts = _parts(choice.reasoning, choice.content, choice.tool_calls, choice.extra or {})
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    finish = _FINISH.get(choice.finish_reason or "stop", "MALFORMED_RESPONSE")
    said: dict[str, Any] = {"content": content, "finishReason": finish, "index": choice.index}
    said.update((key, choice.extra[key]) for key in _KEPT if choice.extra and key in choice.extra)
    if choice.logprobs:
        said["logprobsResult"] = _logprobs(choice.logprobs)
    return said


def _parts(
    reasoning: str | None, content: str | None, calls: Iterable[ToolCall], extra: dict[str, Any]
) -> list[dict[str, Any]]:
    message: dict[str, Any] = {key: extra[key] for key in _MESSAGE_FIELDS if key in extra}
    message["content"] = content
    message["tool_calls"] = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}} for call in calls
    ]
    parts = model_parts(message, [], signed=False)
    unsigned = _unsigned(reasoning, extra.get("reasoning_details"))
    audio = extra.get("audio")
    if type(audio) is dict and audio.get("data"):
        parts.append({"inlineData": {"mimeType": _audio_type(audio.get("format")), "data": audio["data"]}})
    return [{"text": unsigned, "thought": True}, *parts] if unsigned else parts


def _audio_type(named: Any) -> str:
    text = named if type(named) is str and named else "wav"
    return text if "/" in text else f"audio/{text}"


def _unsigned(reasoning: str | None, details: Any) -> str | None:
    """The reasoning that no detail repeats with its signature."""
    signed = "".join(
        str(detail.get("text") or "")
        for detail in (details if type(details) is list else ())
        if type(detail) is dict and detail.get("type") == "reasoning.text" and detail.get("format", FORMAT) == FORMAT
    )
    return reasoning.removesuffix(signed) if reasoning else None


def _logprobs(logprobs: dict[str, Any]) -> dict[str, Any]:
    tokens = logprobs.get("content")
    tokens = tokens if type(tokens) is list else []
    return {
        "chosenCandidates": [_token(each) for each in tokens],
        "topCandidates": [{"candidates": [_token(one) for one in each.get("top_logprobs") or ()]} for each in tokens],
    }


def _token(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token") or "", "logProbability": token.get("logprob") or 0.0}


class _Held:
    """What of one candidate is kept back until its end: tool calls, their signatures, the finish reason."""

    def __init__(self) -> None:
        self.calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self.details: list[Any] = []
        self.finish_reason: str | None = None

    def take(self, delta: Delta) -> dict[str, Any]:
        """Keeps what is to be kept; the extra fields that may leave at once."""
        self.finish_reason = delta.finish_reason or self.finish_reason
        for piece in delta.tool_calls:
            gathered = self.calls.setdefault(piece.index, ([], [], []))
            for text, into in zip((piece.id, piece.name, piece.arguments), gathered, strict=True):
                if text:
                    into.append(text)
        extra = delta.extra or {}
        details = extra.get("reasoning_details")
        if type(details) is not list:
            return extra
        of_calls = [each for each in details if type(each) is dict and each.get("id")]
        self.details += of_calls
        return {**extra, "reasoning_details": [each for each in details if each not in of_calls]}

    def candidate(self, index: int) -> dict[str, Any]:
        """The last candidate object."""
        calls = [
            ToolCall("".join(ids[:1]), "".join(names[:1]), "".join(arguments))
            for _, (ids, names, arguments) in sorted(self.calls.items())
        ]
        parts = _parts(None, None, calls, {"reasoning_details": self.details})
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        finish = _FINISH.get(self.finish_reason or "stop", "MALFORMED_RESPONSE")
        return {"content": content, "finishReason": finish, "index": index}


def chunks_of(deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[dict[str, Any]]:
    """The objects of a stream: text as it comes, then for every candidate its calls, finish reason and the usage."""
    head = _head(id, model, created)
    held: dict[int, _Held] = {}
    usage: Usage | None = None
    for delta in deltas:
        if delta.error is not None:
            yield error_body(delta.error)
            return
        usage = delta.usage or usage
        if not delta.has_output and not delta.finish_reason and not delta.logprobs:
            continue
        extra = held.setdefault(delta.index, _Held()).take(delta)
        parts = _parts(delta.reasoning, delta.content or delta.refusal, (), extra)
        said: dict[str, Any] = {key: extra[key] for key in _KEPT if key in extra}
        if delta.logprobs:
            said["logprobsResult"] = _logprobs(delta.logprobs)
        if parts or said:
            content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
            yield {"candidates": [{"content": content, "index": delta.index, **said}], **head}
    stated = {"usageMetadata": usage_body(usage)} if usage is not None else {}
    for index, kept in sorted((held or {0: _Held()}).items()):
        yield {"candidates": [kept.candidate(index)], **stated, **head}


def error_body(error: UpstreamError) -> dict[str, Any]:
    """An error as Google writes one."""
    return {"error": {"code": error.status or 500, "message": error.message, "status": error.code or "INTERNAL"}}
