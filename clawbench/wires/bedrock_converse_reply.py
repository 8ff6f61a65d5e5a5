"""Answers of Bedrock's Converse, whole: a body read as a `Completion`, and written from one.

What is shared with streams is here too: stop reasons, and the usage object written. Knows no requests.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Headers, Usage
from clawbench.usage.bedrock import normalise_noted, raw_of_headers
from clawbench.wires.anthropic_content import input_of, note_duplicates
from clawbench.wires.bedrock_converse_content import WHOLE, read_blocks, thoughts_of
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import note

STOP_REASONS: Final[dict[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Converse's words → OpenAI's. Others (malformed_model_output, malformed_tool_use) read as stop, with a note."""

_BACK: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
_TOP_PLACED: Final = frozenset({"output", "stopReason", "usage", "serviceTier"})


def decode_answer(status: int, headers: Headers, body: bytes) -> Completion:
    """The answer in a 2xx body.

    Raises `UpstreamError` with outcome `error_200` for an error object, `protocol_error` for what is no answer.
    """
    try:
        value, notes = loads(body)
    except NotJson as error:
        why = "the body is empty" if not body.strip() else str(error)
        raise UpstreamError(clean(f"Unreadable answer: {why}"), outcome="protocol_error", status=status) from None
    output = value.get("output") if type(value) is dict else None
    message = output.get("message") if type(output) is dict else None
    content = message.get("content") if type(message) is dict else None
    if type(value) is not dict or type(content) is not list:
        said = read_error(value)
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
        raise UpstreamError("The answer holds no message.", outcome="protocol_error", status=status)
    return _completion(value, content, headers, list(notes))


def _completion(value: dict[str, Any], content: list[Any], headers: Headers, odd: list[str]) -> Completion:
    blocks = read_blocks(content)
    note_duplicates(blocks.calls, odd)
    usage = None
    raw = value.get("usage") or raw_of_headers(headers)
    if raw is not None:
        usage, notes = normalise_noted(raw)
        odd += notes
    extra = blocks.extra()
    reason = stop_reason(value.get("stopReason"), extra, odd)
    top = {name: item for name, item in value.items() if name not in _TOP_PLACED and item is not None}
    choice = Choice(
        content=blocks.text,
        reasoning=blocks.reasoning,
        tool_calls=blocks.calls,
        finish_reason=reason,
        extra=extra or None,
    )
    return Completion(
        choices=(choice,),
        id=headers.get("x-amzn-requestid", ""),
        model=routed_model(value),
        usage=usage,
        service_tier=tier_of(value),
        extra=top or None,
        notes=tuple(odd),
    )


def routed_model(value: dict[str, Any]) -> str | None:
    """The model that a prompt router chose; Converse does not name the model otherwise."""
    trace = value.get("trace")
    router = trace.get("promptRouter") if type(trace) is dict else None
    model = router.get("invokedModelId") if type(router) is dict else None
    return model if type(model) is str and model else None


def tier_of(value: dict[str, Any]) -> str | None:
    """The service tier that was billed."""
    tier = value.get("serviceTier")
    name = tier.get("type") if type(tier) is dict else None
    return name if type(name) is str else None


def stop_reason(stated: Any, extra: dict[str, Any], odd: list[str]) -> str | None:
    """OpenAI's word for a stop reason; a word that it does not give back is added to `extra`."""
    if type(stated) is not str or not stated:
        return None
    known = STOP_REASONS.get(stated)
    if known is None:
        note(odd, f"stop reason {clean(stated[:40])!r} read as stop")
    if _BACK.get(known or "") != stated:
        extra["stop_reason"] = stated
    return known or "stop"


def answer_of(completion: Completion) -> dict[str, Any]:
    """The body of an answer. Of several choices the first is written: the dialect has one."""
    choice = completion.choices[0] if completion.choices else Choice(finish_reason="stop")
    body: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": _content(choice)}},
        "stopReason": stop_word(choice.finish_reason, choice.extra or {}),
        "usage": usage_body(completion.usage),
    }
    if completion.service_tier is not None:
        body["serviceTier"] = {"type": completion.service_tier}
    return {"metrics": {"latencyMs": 0}, **(completion.extra or {}), **body}


def stop_word(finish_reason: str | None, extra: dict[str, Any]) -> str:
    """Converse's word for a finish reason."""
    return extra.get("stop_reason") or _BACK.get(finish_reason or "stop", "end_turn")


def usage_body(usage: Usage | None) -> dict[str, Any]:
    """Converse's usage object; its own where the counts came from there. Unknown primary counts are written as 0."""
    if usage is None:
        return {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    if usage.raw is not None and "inputTokens" in usage.raw and "outputTokens" in usage.raw:
        return dict(usage.raw)
    read, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    body = {
        "inputTokens": max((usage.input_tokens or 0) - read - written, 0),
        "outputTokens": usage.output_tokens or 0,
        "totalTokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
    }
    if usage.cached_input_tokens is not None or usage.cache_write_tokens is not None:
        body.update(cacheReadInputTokens=read, cacheWriteInputTokens=written)
    return body


def _content(choice: Choice) -> list[Any]:
    extra = choice.extra or {}
    whole = extra.get(WHOLE)
    if type(whole) is list and whole:
        return whole
    blocks: list[Any] = thoughts_of(extra.get("reasoning_details"), [])
    if choice.reasoning and not any("reasoningText" in block["reasoningContent"] for block in blocks):
        blocks.insert(0, {"reasoningContent": {"reasoningText": {"text": choice.reasoning}}})
    text = choice.content or choice.refusal
    if text is not None:
        blocks.append({"text": text})
    for place, call in enumerate(choice.tool_calls):
        use = {"toolUseId": call.id or f"tooluse_{place}", "name": call.name, "input": input_of(call.arguments, [])}
        blocks.append({"toolUse": use})
    return blocks
