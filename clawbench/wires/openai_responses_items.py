"""Chat messages written as items of OpenAI's Responses API: messages, reasoning, tool calls, tool outputs.

A turn of the assistant is several items there and one message here. What has no place in a chat message goes along in
two of its fields and comes back unchanged and in its old order: `reasoning_details` (with the item's `id`, its `index`
in the output and `format` FORMAT) and `output_items` (every other item as it came: web searches, MCP calls, …).
Knows no offers and nothing of the rest of a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Message

FORMAT: Final = "openai-responses-v1"
"""OpenRouter's name for reasoning that this API gave."""

_FORMATS: Final = frozenset({FORMAT, "azure-openai-responses-v1", "xai-responses-v1"})

Item = dict[str, Any]

TEXT_HERE: Final[Item] = {"type": "message"}
"""Stands among `output_items` where the turn's text stood, if items came after it."""


class ItemWriter:
    """Writes the items of one request. `notes` gathers what could not be said."""

    __slots__ = ("_custom", "_custom_ids", "_developer", "_made_up", "_open_ids", "has_encrypted", "notes")

    def __init__(self, *, developer: bool, custom: frozenset[str] = frozenset()) -> None:
        self._developer = developer  # whether the provider knows the role
        self._custom = custom  # names of the tools whose input is plain text
        self._custom_ids: set[str] = set()
        self._made_up = 0
        self._open_ids: list[str] = []  # calls that have no result yet
        self.has_encrypted = False
        self.notes: list[str] = []

    def items(self, messages: Iterable[Message]) -> list[Item]:
        """Raises `UpstreamError` (rejected) for content that this API cannot take."""
        out: list[Item] = []
        for message in messages:
            role = message.get("role")
            content = message.get("content")
            if role == "assistant":
                out += self._turn(message)
            elif role == "tool" or role == "function":
                out.append(self._result(message))
            else:
                if role == "developer" and not self._developer:
                    role = "system"
                out.append({"role": role, "content": content if type(content) is str else self._parts(content)})
            if "name" in message and role != "function" and role != "tool":
                self.note("name left out")
        return out

    def note(self, note: str) -> None:
        """Notes it once."""
        if note not in self.notes:
            self.notes.append(note)

    def _turn(self, message: Message) -> list[Item]:
        rest: list[Item] = []
        content = message.get("content")
        parts = _spoken(content) if type(content) is list else content
        if message.get("refusal") and not parts:
            parts = [{"type": "refusal", "refusal": message["refusal"]}]
        if parts:
            said: Item = {"role": "assistant", "content": parts}
            if message.get("phase"):
                said["phase"] = message["phase"]
            rest.append(said)
        others = message.get("output_items")
        if others and type(others) is list:
            rest = around([item for item in others if type(item) is dict], rest)
        calls = message.get("tool_calls")
        if calls and type(calls) is list:
            more = message.get("tool_call_extra")
            rest += [self._call(call, more if type(more) is dict else {}) for call in calls if type(call) is dict]
        if type(message.get("function_call")) is dict:
            rest.append(self._call({"function": message["function_call"]}, {}))
        details = message.get("reasoning_details")
        return arranged(self._reasoning(details), rest) if details and type(details) is list else rest

    def _reasoning(self, details: Any) -> list[tuple[int | None, Item]]:
        known = [detail for detail in details if _is_ours(detail)]
        if len(known) < len(details):
            self.note("reasoning of another provider left out")
        items = reasoning_items(known)
        self.has_encrypted = self.has_encrypted or any("encrypted_content" in item for _, item in items)
        return items

    def _call(self, call: dict[str, Any], more: dict[str, Any]) -> Item:
        function, custom, id = call.get("function"), call.get("custom"), call.get("id")
        if type(function) is not dict:
            function = {}
        if type(custom) is not dict:
            custom = {}
        name = function.get("name") or custom.get("name")
        if not id or type(id) is not str:
            id = f"call_{self._made_up}"
            self._made_up += 1
        self._open_ids.append(id)
        if custom or (type(name) is str and name in self._custom):
            self._custom_ids.add(id)
            text = custom.get("input", function.get("arguments", ""))
            return {"type": "custom_tool_call", "call_id": id, "name": name, "input": text}
        arguments = function.get("arguments") or "{}"
        item = {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}
        return {**item, **more[id]} if type(more.get(id)) is dict else item

    def _result(self, message: Message) -> Item:
        id = message.get("tool_call_id")
        if not id or type(id) is not str:
            id = self._open_ids.pop(0) if self._open_ids else f"call_{self._made_up}"
        elif id in self._open_ids:
            self._open_ids.remove(id)
        content = message.get("content")
        output = content if type(content) is str else self._parts(content)
        kind = "custom_tool_call_output" if id in self._custom_ids else "function_call_output"
        return {"type": kind, "call_id": id, "output": output}

    def _parts(self, content: Any) -> Any:
        """Content that is no string, as a list of input parts."""
        if type(content) is not list:
            return "" if content is None else content
        return [self._part(part) if type(part) is dict else part for part in content]

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        kind = part.get("type")
        if "cache_control" in part:
            self.note("cache_control left out")
        if kind in ("text", "input_text", "output_text"):
            said = {"type": "input_text", "text": part.get("text", part.get("input_text", ""))}
            if "prompt_cache_breakpoint" in part:
                said["prompt_cache_breakpoint"] = part["prompt_cache_breakpoint"]
            return said
        if kind == "image_url":
            image = part.get("image_url")
            if type(image) is not dict:
                return {"type": "input_image", "image_url": image, "detail": "auto"}
            return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
        if kind == "file":
            file = part.get("file")
            return {"type": "input_file", **(file if type(file) is dict else {})}
        if kind == "video_url":
            raise UpstreamError(
                "The Responses API takes no video; choose an offer of another dialect.", outcome="rejected"
            )
        return {key: item for key, item in part.items() if key != "cache_control"}


def around(others: Sequence[Item], said: list[Item]) -> list[Item]:
    """Other items and the turn's text, in their order."""
    if TEXT_HERE not in others:
        return [*others, *said]
    place = others.index(TEXT_HERE)
    return [*others[:place], *said, *others[place + 1 :]]


def _spoken(content: list[Any]) -> list[dict[str, Any]]:
    """Parts of an assistant's message as it may be sent back."""
    parts = []
    for part in content:
        if type(part) is dict and type(part.get("text")) is str:
            parts.append({"type": "output_text", "text": part["text"]})
        elif type(part) is dict and part.get("type") == "refusal":
            parts.append({"type": "refusal", "refusal": part.get("refusal", "")})
    return parts


def _is_ours(detail: Any) -> bool:
    """Whether a reasoning detail can be given back to this API; signatures and other formats are another one's."""
    if type(detail) is not dict or detail.get("signature"):
        return False
    form = detail.get("format")
    if form is not None and (type(form) is not str or form not in _FORMATS):
        return False
    return detail.get("type") in ("reasoning.summary", "reasoning.text", "reasoning.encrypted")


def reasoning_details(item: Item, index: int) -> list[dict[str, Any]]:
    """What a chat message keeps of a reasoning item; empty for an item that says nothing."""
    base: dict[str, Any] = {"format": FORMAT, "index": index}
    if type(item.get("id")) is str and item["id"]:
        base["id"] = item["id"]
    found = [{"type": "reasoning.summary", "summary": text, **base} for text in part_texts(item.get("summary"))]
    found += [{"type": "reasoning.text", "text": text, **base} for text in part_texts(item.get("content"))]
    if type(item.get("encrypted_content")) is str and item["encrypted_content"]:
        found.append({"type": "reasoning.encrypted", "data": item["encrypted_content"], **base})
    return found


def part_texts(parts: Any) -> list[str]:
    """The texts of a list of parts."""
    if type(parts) is not list:
        return []
    return [part["text"] for part in parts if type(part) is dict and type(part.get("text")) is str]


def reasoning_items(details: Sequence[dict[str, Any]]) -> list[tuple[int | None, Item]]:
    """(place in the output if it is known, item) for the reasoning items that these details were taken from."""
    found: list[tuple[int | None, Item]] = []
    last: Any = None
    for detail in details:
        index = detail.get("index")
        key = detail.get("id") or index
        item = found[-1][1] if found and key == last else None
        if item is None or "encrypted_content" in item:
            item = {"type": "reasoning", "summary": []}
            if detail.get("id"):
                item["id"] = detail["id"]
            found.append((index if type(index) is int else None, item))
        last = key
        kind = detail.get("type")
        if kind == "reasoning.summary":
            item["summary"].append({"type": "summary_text", "text": detail.get("summary", "")})
        elif kind == "reasoning.text":
            item.setdefault("content", []).append({"type": "reasoning_text", "text": detail.get("text", "")})
        else:
            item["encrypted_content"] = detail.get("data", "")
    return found


def arranged(placed: list[tuple[int | None, Item]], rest: list[Item]) -> list[Item]:
    """All items in the order of the output that they came from; reasoning first where that is not known."""
    size = len(placed) + len(rest)
    slots: list[Item | None] = [None] * size
    before = -1
    for index, item in placed:
        if index is None or not before < index < size:
            return [item for _, item in placed] + rest
        slots[index] = item
        before = index
    others = iter(rest)
    return [next(others) if slot is None else slot for slot in slots]
