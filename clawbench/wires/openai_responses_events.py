"""Answers of OpenAI's Responses API, streamed: deltas in, events with their sequence numbers out.

One encoder a stream: `open`, then `feed` for what came, then `finish` or `fail`. At most one message and one
reasoning item are open at a time; a tool call stays open until its arguments are complete and something else begins.
Ids of items stay the same from their first event to their last. Knows no request and no provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from clawbench.types import Delta, StreamEnd, ToolCallDelta, Usage
from clawbench.usage.openai_responses import usage_body
from clawbench.wires.openai_responses_compose import (
    annotations_of,
    call_item,
    completed,
    dumps,
    failure_body,
    message_item,
    response_id,
    skeleton,
    text_part,
)
from clawbench.wires.openai_responses_items import TEXT_HERE, Item, part_texts, reasoning_items

_is_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


class _Open:
    """An item that has begun and has not ended."""

    __slots__ = ("annotations", "call_id", "id", "index", "logprobs", "name", "phase", "pieces", "prefix", "refusal")

    def __init__(self, id: str, index: int) -> None:
        self.id, self.index = id, index
        self.pieces: list[str] = []
        self.prefix = b""  # of a delta event, up to the text
        self.refusal: list[str] | None = None  # its part has begun
        self.annotations: list[Item] = []
        self.logprobs: list[Any] = []
        self.call_id = self.name = ""
        self.phase: Any = None


class ResponsesEncoder:
    """Writes one stream; each method returns whole events. `repeated`: see `openai_responses_compose`."""

    __slots__ = (
        "_base",
        "_body",
        "_call_extra",
        "_calls",
        "_details",
        "_message",
        "_next",
        "_number",
        "_output",
        "_thought",
        "_thoughts",
    )

    def __init__(self, *, id: str, model: str, created: int, repeated: Mapping[str, Any] | None = None) -> None:
        self._body = skeleton(response_id(id), model, created, repeated)
        self._base = response_id(id).removeprefix("resp_")
        self._number = 0  # of the next event
        self._next = 0  # output index of the next item
        self._output: dict[int, Item] = {}  # complete items
        self._message: _Open | None = None
        self._thought: _Open | None = None
        self._thoughts: list[str] = []  # texts of the reasoning items that have ended
        self._details: list[dict[str, Any]] = []  # of the reasoning item that is open
        self._calls: dict[int, _Open] = {}  # by number of the tool call
        self._call_extra: dict[str, Item] = {}  # by the call's id

    def open(self) -> bytes:
        """The two first events."""
        return self._event("response.created", response=self._body) + self._event(
            "response.in_progress", response=self._body
        )

    def feed(self, deltas: Iterable[Delta]) -> bytes:
        """Events for these deltas, without their usage and finish reasons; choices other than 0 are left out."""
        out: list[bytes] = []
        for delta in deltas:
            if delta.index:
                continue
            if delta.reasoning:
                self._think(delta.reasoning, out)
            if delta.content:
                self._say(delta.content, delta.logprobs, out)
            if delta.refusal:
                self._refuse(delta.refusal, out)
            for piece in delta.tool_calls:
                self._call(piece, out)
            if delta.extra:
                self._add_extra(delta.extra, out)
        return b"".join(out)

    def finish(self, end: StreamEnd | None = None, *, usage: Usage | None = None) -> bytes:
        """The last events. `usage` goes before what `end` says."""
        out: list[bytes] = []
        reason = end.finish_reason if end is not None else None
        status = "incomplete" if reason in ("length", "content_filter") else "completed"
        self._close_all(out, status)
        if not self._output:
            self._say("", None, out)
            self._close_all(out, status)
        self._body["output"] = [self._output[index] for index in sorted(self._output)]
        if usage is None and end is not None:
            usage = end.usage
        name = completed(self._body, reason, usage)
        out.append(self._event(name, response=self._body))
        return b"".join(out)

    def fail(self, message: str, *, code: str | None = None, usage: Usage | None = None) -> bytes:
        """The event that ends a broken stream, with the items that were complete."""
        self._body["output"] = [self._output[index] for index in sorted(self._output)]
        self._body["status"] = "failed"
        self._body["error"] = failure_body(message, code)
        self._body["usage"] = usage_body(usage)
        return self._event("response.failed", response=self._body)

    def _event(self, name: str, /, **fields: Any) -> bytes:
        head = f'event: {name}\ndata: {{"type":"{name}","sequence_number":{self._number},'.encode()
        self._number += 1
        return head + dumps(fields)[1:] + b"\n\n"

    def _begin(self, prefix: str, item: Item) -> tuple[_Open, bytes]:
        """Opens the next item; its id if it has one, else one made of `prefix`."""
        index = self._next
        self._next += 1
        opened = _Open(item.get("id") or f"{prefix}_{self._base}_{index}", index)
        item["id"] = opened.id
        return opened, self._event("response.output_item.added", output_index=index, item=item)

    def _end(self, opened: _Open, item: Item, out: list[bytes]) -> None:
        self._output[opened.index] = item
        out.append(self._event("response.output_item.done", output_index=opened.index, item=item))

    def _delta(self, opened: _Open, text: str, tail: bytes = b"") -> bytes:
        """A delta event: prefix, number, text; the fast path of a stream."""
        number = self._number
        self._number += 1
        return b'%b"sequence_number":%d,"delta":%b%b}\n\n' % (opened.prefix, number, dumps(text), tail)

    def _say(self, text: str, logprobs: dict[str, Any] | None, out: list[bytes]) -> None:
        opened = self._message
        if opened is None:
            opened = self._open_message(out)
            self._open_part(opened, 0, text_part(""), out)
        opened.pieces.append(text)
        stated = logprobs.get("content") if logprobs else None
        if stated and type(stated) is list:
            opened.logprobs += stated
            out.append(self._delta(opened, text, b',"logprobs":' + dumps(stated)))
        elif text:
            out.append(self._delta(opened, text, b',"logprobs":[]'))

    def _open_message(self, out: list[bytes]) -> _Open:
        self._close_thought(out)
        self._close_calls(out)
        opened, event = self._begin("msg", message_item("", [], status="in_progress"))
        self._message = opened
        out.append(event)
        opened.prefix = _prefix("response.output_text.delta", opened, '"content_index":0,')
        return opened

    def _open_part(self, opened: _Open, place: int, part: Item, out: list[bytes]) -> None:
        where = {"item_id": opened.id, "output_index": opened.index, "content_index": place}
        out.append(self._event("response.content_part.added", **where, part=part))

    def _refuse(self, text: str, out: list[bytes]) -> None:
        opened = self._message or self._open_message(out)
        place = 1 if opened.pieces else 0
        if opened.refusal is None:
            opened.refusal = []
            self._open_part(opened, place, {"type": "refusal", "refusal": ""}, out)
        opened.refusal.append(text)
        where = {"item_id": opened.id, "output_index": opened.index, "content_index": place}
        out.append(self._event("response.refusal.delta", **where, delta=text))

    def _close_message(self, out: list[bytes], status: str = "completed") -> None:
        opened = self._message
        if opened is None:
            return
        self._message = None
        parts: list[Item] = []
        where: dict[str, Any] = {"item_id": opened.id, "output_index": opened.index, "content_index": 0}
        if opened.pieces:
            text = "".join(opened.pieces)
            parts.append(text_part(text, opened.annotations, opened.logprobs))
            done = {"text": text, "logprobs": opened.logprobs}
            out.append(self._event("response.output_text.done", **where, **done))
            out.append(self._event("response.content_part.done", **where, part=parts[0]))
        if opened.refusal is not None:
            where["content_index"] = len(parts)
            parts.append({"type": "refusal", "refusal": "".join(opened.refusal)})
            out.append(self._event("response.refusal.done", **where, refusal=parts[-1]["refusal"]))
            out.append(self._event("response.content_part.done", **where, part=parts[-1]))
        self._end(opened, message_item(opened.id, parts, status=status, phase=opened.phase), out)

    def _think(self, text: str, out: list[bytes]) -> None:
        opened = self._thought
        if opened is None:
            self._close_message(out)
            self._close_calls(out)
            opened, event = self._begin("rs", {"type": "reasoning", "summary": []})
            self._thought = opened
            out.append(event)
            where = {"item_id": opened.id, "output_index": opened.index, "summary_index": 0}
            part = {"type": "summary_text", "text": ""}
            out.append(self._event("response.reasoning_summary_part.added", **where, part=part))
            opened.prefix = _prefix("response.reasoning_summary_text.delta", opened, '"summary_index":0,')
        opened.pieces.append(text)
        out.append(self._delta(opened, text))

    def _close_thought(self, out: list[bytes]) -> None:
        """Ends the reasoning item, with what the provider sealed."""
        opened = self._thought
        if opened is None:
            return
        self._thought = None
        text = "".join(opened.pieces)
        self._thoughts.append(text)
        where = {"item_id": opened.id, "output_index": opened.index, "summary_index": 0}
        part = {"type": "summary_text", "text": text}
        out.append(self._event("response.reasoning_summary_text.done", **where, text=text))
        out.append(self._event("response.reasoning_summary_part.done", **where, part=part))
        item: Item = {"type": "reasoning", "summary": [part]}
        sealed = [detail["data"] for detail in self._details if detail.get("type") == "reasoning.encrypted"]
        self._details = []
        if sealed:
            item["encrypted_content"] = sealed[-1]
        self._end(opened, {**item, "id": opened.id}, out)

    def _call(self, piece: ToolCallDelta, out: list[bytes]) -> None:
        opened = self._calls.get(piece.index)
        if opened is None:
            self._close_message(out)
            self._close_thought(out)
            self._close_calls(out, complete_only=True)
            id = piece.id or f"call_{self._base}_{piece.index}"
            opened, event = self._begin("fc", call_item("", id, piece.name or "", "", status="in_progress"))
            opened.call_id, opened.name = id, piece.name or ""
            opened.prefix = _prefix("response.function_call_arguments.delta", opened, "")
            self._calls[piece.index] = opened
            out.append(event)
        if piece.arguments:
            opened.pieces.append(piece.arguments)
            out.append(self._delta(opened, piece.arguments))

    def _close_calls(self, out: list[bytes], status: str = "completed", *, complete_only: bool = False) -> None:
        for number, opened in list(self._calls.items()):
            arguments = "".join(opened.pieces)
            if opened.index in self._output or (complete_only and not _complete(arguments)):
                continue
            where = {"item_id": opened.id, "output_index": opened.index}
            done = {"arguments": arguments, "name": opened.name}
            out.append(self._event("response.function_call_arguments.done", **where, **done))
            item = call_item(opened.id, opened.call_id, opened.name, arguments, status=status)
            self._end(opened, {**item, **self._call_extra.get(opened.call_id, {})}, out)
            del self._calls[number]

    def _close_all(self, out: list[bytes], status: str) -> None:
        self._close_thought(out)
        self._close_message(out, status)
        self._close_calls(out, status)

    def _add_details(self, details: list[dict[str, Any]], out: list[bytes]) -> None:
        """Reasoning details: part of the item that is open, else items of their own, but for text already told."""
        if self._thought is not None:
            self._details += details
            return
        for _, item in reasoning_items(details):
            told = all(any(text in known for known in self._thoughts) for text in _texts(item))
            if told and "encrypted_content" not in item:
                continue
            if told:
                item = {**item, "summary": []}
                item.pop("content", None)
            self._close_message(out)
            self._close_calls(out)
            opened, event = self._begin("rs", {**item})
            out.append(event)
            self._end(opened, {**item, "id": opened.id}, out)

    def _add_extra(self, extra: dict[str, Any], out: list[bytes]) -> None:
        annotations = annotations_of(extra)
        if annotations and self._message is None:
            self._say("", None, out)
        opened = self._message
        if opened is not None:
            opened.phase = extra.get("phase") or opened.phase
            for annotation in annotations:
                where = {"item_id": opened.id, "output_index": opened.index, "content_index": 0}
                place = len(opened.annotations)
                opened.annotations.append(annotation)
                name = "response.output_text.annotation.added"
                out.append(self._event(name, **where, annotation_index=place, annotation=annotation))
        more = extra.get("tool_call_extra")
        if type(more) is dict:
            self._call_extra.update((id, item) for id, item in more.items() if type(item) is dict)
        details = extra.get("reasoning_details")
        if type(details) is list:
            self._add_details([detail for detail in details if type(detail) is dict], out)
        others = extra.get("output_items")
        for item in others if type(others) is list else ():
            if type(item) is dict and item != TEXT_HERE:
                self._close_all(out, "completed")
                begun, event = self._begin("item", {**item})
                out.append(event)
                self._end(begun, {**item, "id": begun.id}, out)


def _texts(item: Item) -> list[str]:
    return part_texts(item.get("summary")) + part_texts(item.get("content"))


def _prefix(name: str, opened: _Open, place: str) -> bytes:
    where = f'"item_id":{dumps(opened.id).decode()},"output_index":{opened.index},{place}'
    return f'event: {name}\ndata: {{"type":"{name}",{where}'.encode()


def _complete(arguments: str) -> bool:
    """Whether arguments are a whole JSON value, so that no piece of them can still come."""
    try:
        _is_json(arguments.encode("utf-8", "replace"))
    except msgspec.DecodeError:
        return False
    return True


def compose_events(
    deltas: Iterable[Delta], *, id: str, model: str, created: int, repeated: Mapping[str, Any] | None = None
) -> Iterator[bytes]:
    """One event an item; a delta with an error ends the stream with `response.failed`."""
    encoder = ResponsesEncoder(id=id, model=model, created=created, repeated=repeated)
    usage: Usage | None = None
    finish: str | None = None
    yield from _events(encoder.open())
    for delta in deltas:
        usage = delta.usage or usage
        if delta.error is not None:
            yield from _events(encoder.fail(delta.error.message, code=delta.error.code, usage=usage))
            return
        finish = delta.finish_reason or finish
        yield from _events(encoder.feed((delta,)))
    yield from _events(encoder.finish(StreamEnd(complete=True, finish_reason=finish, usage=usage)))


def _events(text: bytes) -> Iterator[bytes]:
    """JSON holds no raw line feed, so blank lines stand between events only."""
    for event in text.split(b"\n\n"):
        if event:
            yield event + b"\n\n"
