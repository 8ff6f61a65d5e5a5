"""Whole answers of Gemini's generateContent: bytes of a 200 in, `Completion` out; and what streams share with them.

A blocked prompt is an answer without text whose finish reason is `content_filter` and whose note says so; a candidate
that broke (a malformed function call) is an error if it brought nothing. Enums may be numbers. Knows no requests.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, ToolCall, Usage
from clawbench.usage.gemini import normalise_noted
from clawbench.wires.failures import clean, error_in_body, read_error
from clawbench.wires.gemini_parts import CODE, call_of, detail_of, from_part
from clawbench.wires.media import joined_base64
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import made_up_id

FINISH_REASONS: Final[dict[Any, str]] = {
    **dict.fromkeys(("STOP", 1, "NO_IMAGE"), "stop"),
    **dict.fromkeys(("MAX_TOKENS", 2), "length"),
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "OTHER", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
        "content_filter",
    ),
    **dict.fromkeys(
        ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "ESCALATION"),
        "content_filter",
    ),
    **dict.fromkeys((3, 4, 5, 6, 7, 8, 9, 11), "content_filter"),
    **dict.fromkeys(
        ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"), "error"
    ),
    **dict.fromkeys(("MALFORMED_RESPONSE", 10, 12, 13), "error"),
}
"""Gemini's words (and proto numbers) → OpenAI's; `error`: the answer broke off. Others read as stop, with a note."""

PROMPT_BLOCKED: Final = "prompt blocked"
"""Begins the note of an answer to a prompt that was blocked: Google does not say whether it bills one."""

_UNSPECIFIED: Final = ("FINISH_REASON_UNSPECIFIED", 0)
_TOP_PLACED: Final = frozenset(
    {"candidates", "usageMetadata", "modelVersion", "responseId", "createTime", "promptFeedback", "error"}
)
_KEPT: Final = ("groundingMetadata", "citationMetadata", "urlContextMetadata")


def decode_reply(status: int, body: bytes) -> Completion:
    """The answer in a 2xx body.

    Raises `UpstreamError` with outcome `error_200` for an error object or a broken candidate, `protocol_error` for
    what is no answer.
    """
    try:
        value, forgiven = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    said = read_error(value) if type(value) is not dict or value.get("error") else None
    if said is not None:
        raise error_in_body(said, outcome="error_200", status=status)
    if type(value) is not dict:
        raise UpstreamError("The answer is no object.", outcome="protocol_error", status=status)
    odd = list(forgiven)
    usage = usage_of(value, odd)
    id, model = value.get("responseId"), value.get("modelVersion")
    id = id if type(id) is str else ""
    candidates = value.get("candidates")
    choices: tuple[Choice, ...]
    if type(candidates) is list and candidates:
        choices = tuple(_choice(each, place, id, odd, status) for place, each in enumerate(candidates))
    else:
        odd.append(blocked_note(value, status))
        choices = (Choice(finish_reason="content_filter"),)
    extra = {key: item for key, item in value.items() if key not in _TOP_PLACED and item is not None}
    return Completion(
        choices=choices,
        id=id,
        model=model if type(model) is str and model else None,
        created=_created(value.get("createTime")),
        usage=usage,
        service_tier=_tier(value.get("usageMetadata")),
        extra=extra or None,
        notes=tuple(odd),
    )


def usage_of(value: dict[str, Any], odd: list[str]) -> Usage | None:
    """The usage that an answer's object states, None if it states none."""
    raw = value.get("usageMetadata")
    if not raw:
        return None
    usage, notes = normalise_noted(raw)
    odd += notes
    return usage


def blocked_note(value: dict[str, Any], status: int | None) -> str:
    """The note of an answer without candidates. Raises `UpstreamError` where no block reason explains it."""
    feedback = value.get("promptFeedback")
    reason = feedback.get("blockReason") if type(feedback) is dict else None
    if not reason or type(feedback) is not dict:
        raise UpstreamError("The answer holds no candidate.", outcome="protocol_error", status=status)
    message = feedback.get("blockReasonMessage")
    return clean(f"{PROMPT_BLOCKED}: {reason}{f', {message}' if message else ''}")


def _created(text: Any) -> int | None:
    try:
        stamp = datetime.fromisoformat(text)
        return int((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _tier(raw: Any) -> str | None:
    tier = (raw.get("serviceTier") or raw.get("trafficType")) if type(raw) is dict else None
    return tier if type(tier) is str else None


def finish_reason(stated: Any, odd: list[str]) -> str | None:
    """OpenAI's word for a finish reason, `error` for a broken answer; None while there is none."""
    if type(stated) not in (str, int) or stated in ("", *_UNSPECIFIED):
        return None
    known = FINISH_REASONS.get(stated.upper() if type(stated) is str else stated)
    if known is None:
        odd.append(clean(f"finish reason {str(stated)[:40]!r} read as stop"))
        return "stop"
    return known


def broke_off(candidate: dict[str, Any], outcome: str, status: int | None) -> UpstreamError:
    """The error of a candidate whose finish reason says that it is broken."""
    message, reason = candidate.get("finishMessage"), str(candidate.get("finishReason"))
    said = f"{reason}: {message}" if type(message) is str and message else f"The model ended with {reason}."
    return UpstreamError(clean(said), outcome=outcome, status=status, code=clean(reason))


def parts_of(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a candidate's content, [] if it has none."""
    content = candidate.get("content")
    parts = content.get("parts") if type(content) is dict else None
    return [part for part in parts if type(part) is dict] if type(parts) is list else []


def _choice(candidate: Any, place: int, reply_id: str, odd: list[str], status: int) -> Choice:
    if type(candidate) is not dict:
        raise UpstreamError("A candidate is no object.", outcome="protocol_error", status=status)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    extra: dict[str, Any] = {}
    for part in parts_of(candidate):
        text = part.get("text")
        call_id = None
        if type(text) is str:
            (thoughts if part.get("thought") is True else texts).append(text)
        elif type(part.get("functionCall")) is dict:
            calls.append(call_of(part, made_up_id(len(calls), reply_id)))
            call_id = calls[-1].id
        else:
            add_extra(extra, other_part(part))
            continue
        signature = part.get("thoughtSignature")
        if type(signature) is str and signature:
            extra.setdefault("reasoning_details", []).append(detail_of(part, signature, call_id))
    content = "".join(texts) if texts else None
    reason = finish_reason(candidate.get("finishReason"), odd)
    if reason == "error" and not content and not calls:
        raise broke_off(candidate, "error_200", status)
    if reason == "stop" and calls:
        reason = "tool_calls"
    if reason in ("content_filter", "error"):
        odd.append(clean(f"finish reason {candidate.get('finishReason')}"))
    extra.update(sources_of(candidate, content or ""))
    index = candidate.get("index")
    return Choice(
        index=index if type(index) is int and index >= 0 else place,
        content=content,
        reasoning="".join(thoughts) or None,
        tool_calls=tuple(calls),
        finish_reason=reason,
        logprobs=logprobs_of(candidate.get("logprobsResult")),
        extra=extra or None,
    )


def add_extra(extra: dict[str, Any], more: dict[str, Any]) -> None:
    """Adds message fields: lists are lengthened, pieces of sound joined."""
    for key, item in more.items():
        if key == "audio" and key in extra:
            extra[key] = {**item, "data": joined_base64(extra[key]["data"], item["data"])}
        elif key in extra and type(item) is list:
            extra[key] = extra[key] + item
        else:
            extra[key] = item


def other_part(part: dict[str, Any]) -> dict[str, Any]:
    """A part that is neither text nor a call, as message fields: images, audio, code; {} if unknown."""
    if "executableCode" in part or "codeExecutionResult" in part:
        return {CODE: [part]}
    signature = part.get("thoughtSignature")
    said = from_part({key: item for key, item in part.items() if key not in ("thoughtSignature", "thought")})
    if said.get("type") == "image_url" and part.get("thought") is not True:
        return {"images": [{**said, "thought_signature": signature} if signature else said]}
    if said.get("type") == "input_audio":
        return {"audio": said["input_audio"]}
    return {}


def sources_of(candidate: dict[str, Any], text: str) -> dict[str, Any]:
    """Grounding and citations: url_citation annotations over `text`, and Google's own objects under their names."""
    kept = {key: candidate[key] for key in _KEPT if candidate.get(key)}
    if not kept:
        return {}
    annotations = [*_grounded(kept.get("groundingMetadata"), text), *_cited(kept.get("citationMetadata"), text)]
    return {"annotations": annotations, **kept} if annotations else kept


def _grounded(metadata: Any, text: str) -> list[dict[str, Any]]:
    chunks = metadata.get("groundingChunks") if type(metadata) is dict else None
    supports = metadata.get("groundingSupports") if type(metadata) is dict else None
    found: list[dict[str, Any]] = []
    for support in supports if type(supports) is list else ():
        segment = support.get("segment") if type(support) is dict else None
        places = support.get("groundingChunkIndices") if type(support) is dict else None
        if type(segment) is not dict or type(places) is not list or type(chunks) is not list:
            continue
        for place in places:
            chunk = chunks[place] if type(place) is int and 0 <= place < len(chunks) else None
            web = (chunk.get("web") or chunk.get("retrievedContext")) if type(chunk) is dict else None
            if type(web) is dict and web.get("uri"):
                found.append(_citation(web["uri"], web.get("title"), segment, text))
    return found


def _cited(metadata: Any, text: str) -> list[dict[str, Any]]:
    """AI Studio says `citationSources`, Vertex `citations`."""
    sources = (metadata.get("citationSources") or metadata.get("citations")) if type(metadata) is dict else None
    return [
        _citation(source["uri"], source.get("title"), source, text)
        for source in (sources if type(sources) is list else ())
        if type(source) is dict and source.get("uri")
    ]


def _citation(uri: Any, title: Any, segment: dict[str, Any], text: str) -> dict[str, Any]:
    start, end = _place(segment.get("startIndex"), text), _place(segment.get("endIndex"), text)
    shown = segment.get("text")
    if type(shown) is str and shown and text[start:end] != shown and shown in text:
        start = text.index(shown)
        end = start + len(shown)
    place = {"start_index": start, "end_index": end, "url": str(uri), "title": title if type(title) is str else ""}
    return {"type": "url_citation", "url_citation": place}


def _place(offset: Any, text: str) -> int:
    """Characters before a byte offset; Google leaves a zero out."""
    if type(offset) is not int or offset <= 0:
        return 0
    return (
        min(offset, len(text))
        if text.isascii()
        else len(text.encode("utf-8", "replace")[:offset].decode("utf-8", "ignore"))
    )


def logprobs_of(result: Any) -> dict[str, Any] | None:
    """Log probabilities in OpenAI's shape, None where there are none."""
    chosen = result.get("chosenCandidates") if type(result) is dict else None
    if type(chosen) is not list or not chosen:
        return None
    tops = result.get("topCandidates")
    tops = tops if type(tops) is list else []
    content = []
    for place, each in enumerate(chosen):
        top = tops[place].get("candidates") if place < len(tops) and type(tops[place]) is dict else None
        token = _token(each)
        token["top_logprobs"] = [_token(one) for one in top] if type(top) is list else []
        content.append(token)
    return {"content": content, "refusal": None}


def _token(candidate: Any) -> dict[str, Any]:
    said = candidate if type(candidate) is dict else {}
    token, logprob = said.get("token"), said.get("logProbability")
    text = token if type(token) is str else ""
    return {
        "token": text,
        "logprob": float(logprob) if isinstance(logprob, (int, float)) else 0.0,
        "bytes": list(text.encode("utf-8", "replace")),
    }
