"""Anthropic's content blocks and OpenAI's message parts, each turned into the other.

Shared by every wire whose inside is Anthropic's body (the API itself, Bedrock's InvokeModel). Blocks that OpenAI's
shape has no place for (server tools, their results, citations, text between thoughts) are kept as they came, the whole
list under `anthropic_content`, so that a follow-up hands them back in order and unchanged. Knows neither HTTP nor
streams nor models.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from clawbench.types import Message, ToolCall
from clawbench.wires.media import data_url, image_url, split_data_url, type_of_base64
from clawbench.wires.tolerant_json import dumps
from clawbench.wires.unsaid import arguments_object, note, refused

FORMAT: Final = "anthropic-claude-v1"
"""`format` of a reasoning detail whose signature Anthropic's models accept, as OpenRouter names it."""

WHOLE: Final = "anthropic_content"
"""Message field that holds all blocks of an answer, where OpenAI's fields cannot."""

INVALID: Final = "INVALID_JSON"
"""Where the arguments of a tool call are no JSON object, Anthropic's documentation wants the text under this key."""

_NATIVE: Final = frozenset(
    {"document", "image", "search_result", "container_upload", "tool_reference", "server_tool_use", "thinking"}
)
_TEXT_PLACED: Final = frozenset({"type", "text", "citations"})
_TOOL_PLACED: Final = frozenset({"type", "id", "name", "input", "caller"})


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
    if len(blocks) == 1 and type(blocks[0]) is dict and _is_plain_text(blocks[0]):
        return Blocks(text=blocks[0]["text"])
    reader = BlockReader()
    for block in blocks:
        reader.add(block)
    return reader.blocks(blocks)


class BlockReader:
    """Gathers blocks one by one; a stream adds each when it is complete."""

    __slots__ = (
        "_annotations",
        "_calls",
        "_citations",
        "_details",
        "_length",
        "_place",
        "_special",
        "_texts",
        "_thoughts",
    )

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: list[ToolCall] = []
        self._annotations: list[dict[str, Any]] = []
        self._citations: list[dict[str, Any]] = []
        self._length = 0  # characters of text so far
        self._place = 0  # 0 thinking, 1 text, 2 tools: blocks in this order can be rebuilt from OpenAI's fields
        self._special = False

    @property
    def special(self) -> bool:
        """Whether some block has no place in OpenAI's shape."""
        return self._special

    @property
    def calls(self) -> Sequence[ToolCall]:
        """The tool calls so far."""
        return self._calls

    def add(self, block: Any) -> dict[str, Any] | None:
        """Adds a complete block; the message fields that it alone brings (reasoning_details, annotations, …)."""
        kind = block.get("type") if type(block) is dict else None
        if kind == "text" and type(block.get("text")) is str:
            return self._text(block)
        if kind == "tool_use":
            self._at(2)
            self._special = self._special or not _TOOL_PLACED.issuperset(block) or not _is_direct(block)
            self._calls.append(call_of(block))
            return None
        if kind == "thinking" or kind == "redacted_thinking":
            self._at(0)
            detail = detail_of(block)
            self._details.append(detail)
            if detail.get("text"):
                self._thoughts.append(detail["text"])
            return {"reasoning_details": [detail]}
        self._special = True
        return None

    def blocks(self, whole: list[Any]) -> Blocks:
        """All that was added; `whole` are the blocks themselves."""
        return Blocks(
            text="".join(self._texts) if self._texts else None,
            reasoning="".join(self._thoughts) or None,
            details=self._details,
            calls=tuple(self._calls),
            annotations=self._annotations,
            citations=self._citations,
            whole=whole if self._special else None,
        )

    def _at(self, place: int) -> None:
        if place < self._place:
            self._special = True
        self._place = place

    def _text(self, block: dict[str, Any]) -> dict[str, Any] | None:
        self._at(1)
        text = block["text"]
        start, self._length = self._length, self._length + len(text)
        self._texts.append(text)
        cited = block.get("citations")
        if type(cited) is not list or not cited:
            self._special = self._special or not _TEXT_PLACED.issuperset(block)
            return None
        self._special = True  # a follow-up needs the citations' encrypted index
        links = [link for link in (_link(each, start, self._length) for each in cited) if link is not None]
        self._annotations += links
        others = [each for each in cited if _link(each, 0, 0) is None]
        self._citations += others
        fields = {"annotations": links, "citations": others}
        return {name: item for name, item in fields.items() if item}


def _is_plain_text(block: dict[str, Any]) -> bool:
    return block.get("type") == "text" and type(block.get("text")) is str and len(block) == 2


def _is_direct(block: dict[str, Any]) -> bool:
    caller = block.get("caller")
    return caller is None or (type(caller) is dict and caller.get("type") == "direct")


def _link(citation: Any, start: int, end: int) -> dict[str, Any] | None:
    """A citation of a web page as OpenAI's url_citation over these characters of the text; None for any other."""
    if type(citation) is not dict or type(citation.get("url")) is not str:
        return None
    place = {"start_index": start, "end_index": end, "url": citation["url"], "title": citation.get("title") or ""}
    return {"type": "url_citation", "url_citation": place}


def call_of(block: dict[str, Any]) -> ToolCall:
    """A tool_use block as a call; its input is written in one line."""
    given = block.get("input")
    arguments = given if type(given) is str else "{}" if given is None else dumps(given).decode()
    return ToolCall(str(block.get("id") or ""), str(block.get("name") or ""), arguments)


def note_duplicates(calls: Sequence[ToolCall], notes: list[str]) -> None:
    """Notes that two calls of one answer have the same id; they are passed on as they are."""
    if len(calls) > 1 and len({call.id for call in calls}) < len(calls):
        note(notes, "duplicate tool-call ids")


def detail_of(block: dict[str, Any]) -> dict[str, Any]:
    """A thinking or redacted_thinking block as a reasoning detail; the signature stays as it is."""
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block.get("data") or "", "format": FORMAT}
    thought = block.get("thinking")
    detail = {"type": "reasoning.text", "text": thought if type(thought) is str else "", "format": FORMAT}
    if block.get("signature"):
        detail["signature"] = block["signature"]
    return detail


def thoughts_of(details: Any, notes: list[str]) -> list[dict[str, Any]]:
    """Reasoning details as blocks; without another provider's and text that nobody signed, which would be refused."""
    blocks: list[dict[str, Any]] = []
    for detail in details if type(details) is list else ():
        kind = detail.get("type") if type(detail) is dict else None
        ours = kind is not None and detail.get("format", FORMAT) == FORMAT
        if ours and kind == "reasoning.encrypted" and type(detail.get("data")) is str and not detail.get("id"):
            blocks.append({"type": "redacted_thinking", "data": detail["data"]})
        elif ours and kind == "reasoning.text" and detail.get("signature"):
            thought = {"type": "thinking", "thinking": detail.get("text") or "", "signature": detail["signature"]}
            blocks.append(thought)
        else:
            note(notes, "reasoning of another provider left out")
    return blocks


def input_of(arguments: Any, notes: list[str]) -> Any:
    """A tool call's arguments as the object that a tool_use block wants."""
    value = arguments_object(arguments)
    if value is not None:
        return value
    note(notes, f"tool arguments that are no JSON object sent under {INVALID}")
    return {INVALID: arguments}


def assistant_blocks(message: Message, notes: list[str]) -> list[Any]:
    """The blocks of an assistant's turn: those that came from Anthropic if they are still there, else built anew."""
    content, whole = message.get("content"), message.get(WHOLE)
    if type(whole) is list and whole and (read_blocks(whole).text or "") == (content or ""):
        return whole
    blocks: list[Any] = thoughts_of(message["reasoning_details"], notes) if "reasoning_details" in message else []
    if type(content) is str:
        if content.strip():
            blocks.append({"type": "text", "text": content})
    elif type(content) is list:
        blocks += [block for block in map(block_of, content) if block.get("text") != ""]
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        blocks.append({
            "type": "tool_use",
            "id": call.get("id") or f"call_{place}",
            "name": function.get("name") or "",
            "input": input_of(function.get("arguments"), notes),
        })  # fmt: skip
    if "cache_control" in message and blocks:
        blocks[-1] = {**blocks[-1], "cache_control": message["cache_control"]}
    return blocks


def block_of(part: Any) -> dict[str, Any]:
    """One part of a message as a block. Raises `UpstreamError` for what Anthropic's models cannot be shown."""
    if type(part) is str:
        return {"type": "text", "text": part}
    if type(part) is not dict:
        raise refused("a message part is no object")
    kind = part.get("type")
    if kind == "text" and len(part) == 2:
        return part
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("text", part.get("input_text", part.get("refusal", "")))
        block: dict[str, Any] = {"type": "text", "text": text if type(text) is str else ""}
    elif kind == "image_url":
        block = {"type": "image", "source": _source(image_url(part), "image")}
    elif kind == "file":
        block = _document(part.get("file"))
    elif type(kind) is str and (kind in _NATIVE or kind.endswith("_tool_result")):
        return part
    else:
        raise refused(f"parts of type {str(kind)[:40]!r} cannot be sent to this dialect")
    if "cache_control" in part:
        block["cache_control"] = part["cache_control"]
    return block


def part_of(block: Any) -> dict[str, Any]:
    """One block of a prompt as a message part; what OpenAI's shape has no part for stays as it is."""
    if type(block) is not dict:
        raise ValueError("a content block is no object")
    kind = block.get("type")
    source = block.get("source")
    if kind not in ("image", "document") or type(source) is not dict:
        return block
    part: dict[str, Any]
    if kind == "image" and source.get("type") in ("base64", "url"):
        url = source.get("url") or _data_url(source, "image/png")
        part = {"type": "image_url", "image_url": {"url": url}}
    elif source.get("type") == "base64" and set(block) <= {"type", "source", "title", "cache_control"}:
        held = {"file_data": _data_url(source, "application/pdf")}
        if block.get("title"):
            held["filename"] = block["title"]
        part = {"type": "file", "file": held}
    elif kind == "document" and source.get("type") == "file" and set(block) <= {"type", "source", "cache_control"}:
        part = {"type": "file", "file": {"file_id": source.get("file_id") or ""}}
    else:
        return block
    if block.get("cache_control"):
        part["cache_control"] = block["cache_control"]
    return part


def _data_url(source: dict[str, Any], media_type: str) -> str:
    return data_url(str(source.get("media_type") or media_type), str(source.get("data") or ""))


def _source(url: Any, what: str) -> dict[str, Any]:
    if type(url) is not str or not url:
        raise refused(f"a part of type {what} has no URL")
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    held = split_data_url(url)
    if held is None:
        raise refused(f"the data URL of a part of type {what} is not base64")
    return {"type": "base64", "media_type": held[0] or type_of_base64(held[1]) or "image/png", "data": held[1]}


def _document(file: Any) -> dict[str, Any]:
    if type(file) is not dict:
        raise refused("a file part holds no file")
    name, held, id = file.get("filename"), file.get("file_data"), file.get("file_id")
    if type(held) is str and held:
        source = _source(
            held if held.startswith(("data:", "https://", "http://")) else data_url("application/pdf", held), "file"
        )
        if source.get("media_type") == "text/plain":
            source = {"type": "text", "media_type": "text/plain", "data": _text(source["data"])}
        elif source.get("media_type", "").startswith("image/"):
            return {"type": "image", "source": source}
        elif source["type"] == "base64" and source["media_type"] != "application/pdf":
            raise refused(f"files of type {source['media_type'][:40]!r} cannot be sent to this dialect")
    elif type(id) is str and id.startswith("file_"):
        source = {"type": "file", "file_id": id}
    else:
        raise refused("a file part holds neither data nor a file of this provider")
    block = {"type": "document", "source": source}
    if type(name) is str and name:
        block["title"] = name
    return block


def _text(held: str) -> str:
    try:
        return b64decode(held, validate=True).decode("utf-8", "replace")
    except (BadBase64, ValueError):
        raise refused("a text file is not base64") from None
