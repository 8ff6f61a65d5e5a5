"""Converse's content blocks and OpenAI's message parts, each turned into the other.

A block of Converse is an object with one key that says what it is. Blocks that OpenAI's shape has no place for are
kept as they came, the whole list under `bedrock_content`, so that a follow-up hands them back unchanged. Bytes stand
in JSON as base64. Knows neither HTTP nor streams.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

from clawbench.types import Message, ToolCall
from clawbench.wires.anthropic_content import FORMAT, input_of
from clawbench.wires.media import image_url, split_data_url
from clawbench.wires.tolerant_json import dumps
from clawbench.wires.unsaid import note, refused

WHOLE: Final = "bedrock_content"
"""Message field that holds all blocks of an answer, where OpenAI's fields cannot."""

_NATIVE: Final = frozenset({"audio", "document", "guardContent", "image", "searchResult", "video"})
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_MEDIA_TYPES: Final = {kind: media for media, kind in _DOCUMENTS.items()}
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_NATIVE_BY_PART: Final = {"image_url": "image", "video_url": "video"}


class Blocks(Struct, frozen=True, kw_only=True):
    """What a list of blocks says, in OpenAI's terms. `whole` is set where these terms cannot say all of it."""

    text: str | None = None
    reasoning: str | None = None
    details: list[dict[str, Any]] = []
    calls: tuple[ToolCall, ...] = ()
    annotations: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    whole: list[Any] | None = None

    def extra(self) -> dict[str, Any]:
        """The message fields beyond text, reasoning and calls; only those that say something."""
        fields = {
            "reasoning_details": self.details,
            "annotations": self.annotations,
            "citations": self.citations,
            WHOLE: self.whole,
        }
        return {name: item for name, item in fields.items() if item}


def read_blocks(blocks: list[Any]) -> Blocks:
    """Takes an answer's content apart."""
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    links: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    special, place, length = False, 0, 0
    for block in blocks:
        if block == {"text": ""}:
            continue  # gpt-oss opens its answers with one
        kind, held = _kind(block)
        rank = {"reasoningContent": 0, "text": 1, "citationsContent": 1, "toolUse": 2}.get(kind, place)
        special, place = special or rank < place, rank
        if kind == "text" and type(held) is str:
            texts.append(held)
            length += len(held)
        elif kind == "toolUse" and type(held) is dict and held.get("type") != "server_tool_use":
            calls.append(call_of(held))
        elif kind == "reasoningContent" and type(held) is dict:
            detail = detail_of(held)
            details.append(detail)
            if detail.get("text"):
                thoughts.append(detail["text"])
        elif kind == "citationsContent" and type(held) is dict:
            text, special = cited_text(held), True
            texts.append(text)
            cited = held.get("citations")
            for each in cited if type(cited) is list else ():
                link = link_of(each, length, length + len(text))
                (citations if link is None else links).append(each if link is None else link)
            length += len(text)
        else:
            special = True
    return Blocks(
        text="".join(texts) if texts else None,
        reasoning="".join(thoughts) or None,
        details=details,
        calls=tuple(calls),
        annotations=links,
        citations=citations,
        whole=blocks if special else None,
    )


def _kind(block: Any) -> tuple[str, Any]:
    if type(block) is not dict or not block:
        return "", None
    for kind in ("text", "toolUse", "reasoningContent", "citationsContent"):
        if kind in block:
            return kind, block[kind]
    return next(iter(block.items()))


def call_of(held: dict[str, Any]) -> ToolCall:
    """A toolUse block as a call; its input is written in one line."""
    given = held.get("input")
    arguments = given if type(given) is str else "{}" if given is None else dumps(given).decode()
    return ToolCall(str(held.get("toolUseId") or ""), str(held.get("name") or ""), arguments)


def detail_of(held: dict[str, Any]) -> dict[str, Any]:
    """A reasoningContent block as a reasoning detail; the signature stays as it is. Only Claude signs."""
    if "redactedContent" in held:
        return {"type": "reasoning.encrypted", "data": held["redactedContent"] or "", "format": FORMAT}
    stated = held.get("reasoningText")
    inner = stated if type(stated) is dict else {}
    text = inner.get("text")
    detail = {"type": "reasoning.text", "text": text if type(text) is str else ""}
    if inner.get("signature"):
        detail["format"] = FORMAT
        detail["signature"] = inner["signature"]
    return detail


def cited_text(held: dict[str, Any]) -> str:
    """The text that a citationsContent block generated."""
    content = held.get("content")
    pieces = [each.get("text") for each in content if type(each) is dict] if type(content) is list else []
    return "".join(piece for piece in pieces if type(piece) is str)


def link_of(citation: Any, start: int, end: int) -> dict[str, Any] | None:
    """A citation of a web page as OpenAI's url_citation over these characters of the text; None for any other."""
    location = citation.get("location") if type(citation) is dict else None
    web = location.get("web") if type(location) is dict else None
    if type(web) is not dict or type(web.get("url")) is not str:
        return None
    place = {"start_index": start, "end_index": end, "url": web["url"], "title": citation.get("title") or ""}
    return {"type": "url_citation", "url_citation": place}


def thoughts_of(details: Any, notes: list[str]) -> list[dict[str, Any]]:
    """Reasoning details as blocks; without another provider's and text that nobody signed, which would be refused."""
    blocks: list[dict[str, Any]] = []
    for detail in details if type(details) is list else ():
        kind = detail.get("type") if type(detail) is dict else None
        ours = kind is not None and detail.get("format", FORMAT) == FORMAT
        if ours and kind == "reasoning.encrypted" and type(detail.get("data")) is str and not detail.get("id"):
            blocks.append({"reasoningContent": {"redactedContent": detail["data"]}})
        elif ours and kind == "reasoning.text" and detail.get("signature"):
            thought = {"text": detail.get("text") or "", "signature": detail["signature"]}
            blocks.append({"reasoningContent": {"reasoningText": thought}})
        else:
            note(notes, "reasoning without a signature of this provider left out")
    return blocks


def assistant_blocks(message: Message, notes: list[str]) -> list[Any]:
    """The blocks of an assistant's turn: those that came from Converse if they are still there, else built anew."""
    content, whole = message.get("content"), message.get(WHOLE)
    if type(whole) is list and whole and (read_blocks(whole).text or "") == (content or ""):
        return whole
    blocks: list[Any] = thoughts_of(message["reasoning_details"], notes) if "reasoning_details" in message else []
    if type(content) is str:
        if content.strip():
            blocks.append({"text": content})
    elif type(content) is list:
        blocks += [block for part in content for block in blocks_of(part) if block.get("text") != ""]
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        use = {
            "toolUseId": call.get("id") or f"call_{place}",
            "name": function.get("name") or "",
            "input": input_of(function.get("arguments"), notes),
        }
        blocks.append({"toolUse": use})
    if "cache_control" in message and blocks:
        blocks.append(cache_point(message["cache_control"]))
    return blocks


def blocks_of(part: Any) -> list[dict[str, Any]]:
    """One part of a message as a block, a cache point after it where it carries a cache mark.

    Raises `UpstreamError` for what Converse cannot be shown.
    """
    if type(part) is str:
        return [{"text": part}]
    if type(part) is not dict:
        raise refused("a message part is no object")
    kind = part.get("type")
    block: dict[str, Any]
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("text", part.get("input_text", part.get("refusal", "")))
        block = {"text": text if type(text) is str else ""}
    elif kind == "image_url" or kind == "video_url":
        block = _media(_NATIVE_BY_PART[kind], image_url(part))
    elif kind == "input_audio":
        sound = part.get("input_audio")
        sound = sound if type(sound) is dict else {}
        block = {"audio": {"format": sound.get("format") or "wav", "source": {"bytes": sound.get("data") or ""}}}
    elif kind == "file":
        block = _document(part.get("file"))
    elif kind is None and len(part) == 1 and _NATIVE.issuperset(part):
        block = part
    else:
        raise refused(f"parts of type {str(kind)[:40]!r} cannot be sent to this dialect")
    mark = part.get("cache_control")
    return [block] if mark is None else [block, cache_point(mark)]


def cache_point(mark: Any) -> dict[str, Any]:
    """A cache mark as Converse's block."""
    ttl = mark.get("ttl") if type(mark) is dict else None
    return {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}


def parts_of(blocks: Any) -> list[dict[str, Any]]:
    """Blocks of a prompt as parts; a cache point becomes the mark of the part before it."""
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if type(block) is not dict:
            raise ValueError("a content block is no object")
        if "cachePoint" in block:
            if parts:
                parts[-1] = {**parts[-1], "cache_control": mark_of(block["cachePoint"])}
        else:
            parts.append(_part(block))
    return parts


def mark_of(point: Any) -> dict[str, Any]:
    """A cache point as OpenAI's cache mark."""
    ttl = point.get("ttl") if type(point) is dict else None
    return {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}


def _part(block: dict[str, Any]) -> dict[str, Any]:
    if "text" in block:
        return {"type": "text", "text": str(block["text"])}
    kind, held = next(iter(block.items()), ("", None))
    source = held.get("source") if type(held) is dict else None
    if type(held) is not dict or type(source) is not dict or type(source.get("bytes")) is not str:
        return block
    form, content = str(held.get("format") or ""), source["bytes"]
    if kind in ("image", "video"):
        url = f"data:{kind}/{'3gpp' if form == 'three_gp' else form};base64,{content}"
        return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": content, "format": form}}
    if kind == "document" and set(held) <= {"format", "name", "source"}:
        media = _MEDIA_TYPES.get(form, "application/octet-stream")
        file = {"file_data": f"data:{media};base64,{content}", "filename": str(held.get("name") or "document")}
        return {"type": "file", "file": file}
    return block


def _media(kind: str, url: Any) -> dict[str, Any]:
    if type(url) is str and url.startswith("s3://"):
        form = url.rpartition(".")[2].lower()
        source: dict[str, Any] = {"s3Location": {"uri": url}}
    else:
        media, content = _of_data_url(url, kind)
        form, source = media.partition("/")[2], {"bytes": content}
    form = {"jpg": "jpeg", "quicktime": "mov", "3gpp": "three_gp", "x-matroska": "mkv"}.get(form, form)
    return {kind: {"format": form, "source": source}}


def _of_data_url(url: Any, kind: str) -> tuple[str, str]:
    """(media type, base64)."""
    if type(url) is not str or not url.startswith("data:"):
        raise refused(f"a part of type {kind} is no data URL: links cannot be sent to this dialect")
    held = split_data_url(url)
    if held is None:
        raise refused(f"the data URL of a part of type {kind} is not base64")
    return held


def _document(file: Any) -> dict[str, Any]:
    held = file.get("file_data") if type(file) is dict else None
    if type(held) is not str or not held:
        raise refused("a file part holds no data")
    media, content = _of_data_url(held if held.startswith("data:") else f"data:application/pdf;base64,{held}", "file")
    form = _DOCUMENTS.get(media)
    if form is None:
        raise refused(f"files of type {media[:40]!r} cannot be sent to this dialect")
    # Only letters, digits, single spaces, hyphens and brackets are taken in a name.
    name = " ".join(_NOT_IN_NAMES.sub(" ", str(file.get("filename") or "")).split())
    return {"document": {"format": form, "name": name or "document", "source": {"bytes": content}}}
