"""Parts of Gemini's contents against parts of OpenAI's messages, both ways; thought signatures among them.

Signatures are copied byte for byte. One that came with a tool call is kept as a reasoning detail with the call's id,
one of the answer's text as a detail without an id, one of a thought with its text; `format` says whose they are, so
that no other provider is sent them. Knows no request as a whole and no HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import Message, ToolCall
from clawbench.wires.media import (
    AUDIO_FORMATS,
    TYPES,
    data_url,
    image_url,
    split_data_url,
    standard_base64,
    type_of_base64,
    type_of_name,
)
from clawbench.wires.tolerant_json import dumps
from clawbench.wires.unsaid import arguments_object, is_made_up, note, part_text, refused, text_in

FORMAT: Final = "google-gemini-v1"
"""`format` of a reasoning detail whose signature Gemini accepts, as OpenRouter names it."""

CODE: Final = "code_execution"
"""Message field that holds `executableCode` and `codeExecutionResult` parts as they came."""

SKIP_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google documents as the signature of a call that another model made."""

_BESIDE: Final = ("videoMetadata", "mediaResolution")
_NATIVE: Final = frozenset({"text", "inlineData", "fileData", "executableCode", "codeExecutionResult"})


def part_of(part: Any, notes: list[str]) -> dict[str, Any]:
    """One part of a user's message as Gemini's. Raises `UpstreamError` (rejected) for what it cannot be shown."""
    if type(part) is str:
        return {"text": part}
    if type(part) is not dict:
        raise refused("a message part is no object")
    text = part_text(part)
    if text is not None:
        return {"text": text}
    kind = part.get("type")
    if kind in ("image_url", "video_url"):
        said = _of_url(image_url(part), "image" if kind == "image_url" else "video")
        held = part.get(kind)
        if type(held) is dict and held.get("detail") not in (None, "auto"):
            note(notes, "image detail left out")
    elif kind == "input_audio":
        said = _of_audio(part.get("input_audio"))
    elif kind == "file":
        said = _of_file(part.get("file"), notes)
    elif kind is None and _NATIVE.intersection(part):
        return part
    else:
        raise refused(f"parts of type {str(kind)[:40]!r} cannot be sent to this dialect")
    said.update((key, part[key]) for key in _BESIDE if key in part)
    return said


def _of_url(url: Any, kind: str) -> dict[str, Any]:
    if type(url) is not str or not url:
        raise refused(f"a part of type {kind} has no URL")
    held = split_data_url(url)
    if held is not None:
        return _inline(held[0] or type_of_base64(held[1]) or f"{kind}/{'png' if kind == 'image' else 'mp4'}", held[1])
    if url.startswith("data:"):
        raise refused(f"the data URL of a part of type {kind} is not base64")
    return _linked(url, type_of_name(url))


def _inline(media_type: str, base64: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": base64}}


def _linked(uri: str, media_type: str | None) -> dict[str, Any]:
    return {"fileData": {"mimeType": media_type, "fileUri": uri} if media_type else {"fileUri": uri}}


def _of_audio(audio: Any) -> dict[str, Any]:
    if type(audio) is not dict or type(audio.get("data")) is not str:
        raise refused("an audio part holds no data")
    named = str(audio.get("format") or "wav")
    return _inline(TYPES.get(named, named if "/" in named else f"audio/{named}"), standard_base64(audio["data"]))


def _of_file(file: Any, notes: list[str]) -> dict[str, Any]:
    if type(file) is not dict:
        raise refused("a file part holds no file")
    name, held, id = file.get("filename"), file.get("file_data"), file.get("file_id")
    if name:
        note(notes, "file name left out")
    if type(held) is str and held:
        split = split_data_url(held)
        if split is not None:
            return _inline(split[0] or type_of_name(name) or type_of_base64(split[1]) or "application/pdf", split[1])
        if "://" in held[:12]:
            return _linked(held, file.get("format") or type_of_name(held) or type_of_name(name))
        base64 = standard_base64(held)
        return _inline(type_of_name(name) or type_of_base64(base64) or "application/pdf", base64)
    if type(id) is str and "://" in id[:12]:
        return _linked(id, file.get("format") or type_of_name(id))
    raise refused("a file part holds neither data nor an address that this provider can read")


def from_part(part: dict[str, Any]) -> dict[str, Any]:
    """One of Gemini's parts as a part of a message; what OpenAI's shape has no part for stays as it is."""
    text = part.get("text")
    if type(text) is str:
        return {"type": "text", "text": text}
    inline, linked = part.get("inlineData"), part.get("fileData")
    if type(inline) is dict and type(inline.get("data")) is str:
        said = _media(str(inline.get("mimeType") or ""), inline["data"])
    elif type(linked) is dict and type(linked.get("fileUri")) is str:
        said = _link(linked["fileUri"], linked.get("mimeType"))
    else:
        return part
    said.update((key, part[key]) for key in _BESIDE if key in part)
    return said


def _media(media_type: str, base64: str) -> dict[str, Any]:
    kind = media_type.partition("/")[0]
    if kind == "audio":
        held = {"data": standard_base64(base64), "format": AUDIO_FORMATS.get(media_type, media_type)}
        return {"type": "input_audio", "input_audio": held}
    url = data_url(media_type, base64)
    if kind in ("image", "video"):
        return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url}}


def _link(uri: str, media_type: Any) -> dict[str, Any]:
    known = type_of_name(uri)
    kind = str(media_type or known or "").partition("/")[0]
    if kind == "video" or (kind == "image" and media_type in (None, known)):
        return {"type": f"{kind}_url", f"{kind}_url": {"url": uri}}
    if not media_type and not known:
        return {"type": "image_url", "image_url": {"url": uri}}
    return {"type": "file", "file": {"file_id": uri, "format": media_type or known}}


def model_parts(message: Message, notes: list[str], *, signed: bool) -> list[dict[str, Any]]:
    """The parts of an assistant's turn. `signed`: the model refuses calls of a history without a signature."""
    thoughts, of_calls, of_text = _signatures(message, notes)
    parts: list[dict[str, Any]] = list(thoughts)
    content = message.get("content")
    if type(content) is str:
        if content:
            parts.append({"text": content})
    elif type(content) is list:
        parts += [part_of(part, notes) for part in content]
    for at_end, signature in of_text:
        last = parts[-1] if parts and "thoughtSignature" not in parts[-1] else None
        if last is not None and "text" in last and not last.get("thought") and not at_end:
            parts[-1] = {**last, "thoughtSignature": signature}
        else:
            parts.append({"text": "", "thoughtSignature": signature})
    code = message.get(CODE)
    parts += [part for part in code if type(part) is dict] if type(code) is list else []
    images = message.get("images")
    for image in images if type(images) is list else ():
        part = part_of(image, notes)
        signed_by = text_in(image.get("thought_signature")) if type(image) is dict else None
        parts.append({**part, "thoughtSignature": signed_by} if signed_by else part)
    calls = message.get("tool_calls")
    if not calls and type(message.get("function_call")) is dict:
        calls = [{"function": message["function_call"]}]
    if calls:
        parts += _calls(calls, of_calls, notes, signed=signed)
    return parts


def _signatures(
    message: Message, notes: list[str]
) -> tuple[list[dict[str, Any]], dict[str, str], list[tuple[bool, str]]]:
    """(thought parts, signature by call id, signatures of the text with whether they stood behind it)."""
    thoughts: list[dict[str, Any]] = []
    of_calls: dict[str, str] = {}
    of_text: list[tuple[bool, str]] = []
    details = message.get("reasoning_details")
    for detail in details if type(details) is list else ():
        kind = detail.get("type") if type(detail) is dict else None
        if kind is None or detail.get("format", FORMAT) != FORMAT:
            note(notes, "reasoning of another provider left out")
        elif kind == "reasoning.encrypted" and type(detail.get("data")) is str:
            if type(detail.get("id")) is str:
                of_calls[detail["id"]] = detail["data"]
            else:
                of_text.append((detail.get("at") == "end", detail["data"]))
        elif kind == "reasoning.text" and type(detail.get("text")) is str:
            thought = {"text": detail["text"], "thought": True}
            if type(detail.get("signature")) is str:
                thought["thoughtSignature"] = detail["signature"]
            thoughts.append(thought)
    return thoughts, of_calls, of_text


def _calls(calls: Any, signatures: dict[str, str], notes: list[str], *, signed: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    any_signed = False
    for call in calls if type(calls) is list else ():
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict:
            continue
        arguments = arguments_object(function.get("arguments"))
        if arguments is None:
            note(notes, "tool arguments that are no JSON object sent as text")
            arguments = {"arguments": function.get("arguments")}
        said: dict[str, Any] = {"name": text_in(function.get("name")) or "", "args": arguments}
        id = text_in(call.get("id"))
        if not is_made_up(id):
            said = {"id": id, **said}
        part: dict[str, Any] = {"functionCall": said}
        signature = signatures.get(id or "") or _google_signature(call)
        if signature:
            part["thoughtSignature"] = signature
            any_signed = True
        parts.append(part)
    if signed and parts and not any_signed:
        parts[0]["thoughtSignature"] = SKIP_SIGNATURE
        note(notes, "tool calls of another model sent without their thoughts")
    return parts


def _google_signature(call: dict[str, Any]) -> str | None:
    """The signature where Google's own OpenAI-compatible endpoint puts it."""
    extra = call.get("extra_content")
    google = extra.get("google") if type(extra) is dict else None
    signature = google.get("thought_signature") if type(google) is dict else None
    return signature if type(signature) is str else None


def call_of(part: dict[str, Any], id: str) -> ToolCall:
    """A functionCall part as a call; `id` is for one that has none. Arguments are written in one line."""
    call = part["functionCall"]
    arguments = call.get("args")
    name = call.get("name")
    stated = call.get("id")
    return ToolCall(
        stated if type(stated) is str and stated else id,
        name if type(name) is str else "",
        "{}" if arguments is None else dumps(arguments).decode(),
    )


def detail_of(part: dict[str, Any], signature: str, call_id: str | None) -> dict[str, Any]:
    """The reasoning detail that keeps a part's signature."""
    text = part.get("text")
    if part.get("thought") is True:
        return {
            "type": "reasoning.text",
            "text": text if type(text) is str else "",
            "signature": signature,
            "format": FORMAT,
        }
    detail = {"type": "reasoning.encrypted", "data": signature, "format": FORMAT}
    if call_id is not None:
        detail["id"] = call_id
    elif not text:
        detail["at"] = "end"
    return detail
