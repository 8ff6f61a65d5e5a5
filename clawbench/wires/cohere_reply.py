"""Answers of Cohere's chat API, version 2: whole ones and streams of named events.

The plan that precedes tool calls is reasoning as much as thinking is; it is also kept as `tool_plan`, under which it
goes back. Citations are url_citations where a source has an address, and stay as they are otherwise. Knows no requests.
"""

from __future__ import annotations

from typing import Any

from clawbench.types import Choice, Completion, Delta, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.usage.cohere import normalise_noted
from clawbench.wires.cohere_terms import broke_off, finish_reason, no_answer, usage_of
from clawbench.wires.failures import read_error
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import SseJsonStream, unreadable
from clawbench.wires.tolerant_json import NotJson, dumps, loads
from clawbench.wires.unsaid import made_up_id


def decode_reply(status: int, body: bytes) -> Completion:
    """The answer in a 2xx body. Raises `UpstreamError`: error_200, protocol_error."""
    try:
        value, forgiven = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    message = value.get("message") if type(value) is dict else None
    if type(message) is not dict:
        raise no_answer(value, status)
    odd = list(forgiven)
    texts: list[str] = []
    thoughts: list[str] = []
    content = message.get("content")
    for part in content if type(content) is list else [content]:
        if type(part) is str:
            texts.append(part)
        elif type(part) is dict:
            if type(part.get("text")) is str:
                texts.append(part["text"])
            if type(part.get("thinking")) is str:
                thoughts.append(part["thinking"])
    extra: dict[str, Any] = {}
    plan = message.get("tool_plan")
    if type(plan) is str and plan:
        thoughts.append(plan)
        extra["tool_plan"] = plan
    citations = message.get("citations")
    if type(citations) is list and citations:
        extra.update(sources_of(citations))
    calls = message.get("tool_calls")
    tools = tuple(_call(call, place) for place, call in enumerate(calls)) if type(calls) is list else ()
    text = "".join(texts) if texts else None
    reason = finish_reason(value.get("finish_reason"), odd)
    if reason == "error" and not text and not tools:
        raise broke_off(value.get("finish_reason"), value.get("error"), "error_200", status)
    id = value.get("id")
    return Completion(
        choices=(
            Choice(
                content=text,
                reasoning="".join(thoughts) or None,
                tool_calls=tools,
                finish_reason=reason,
                logprobs=logprobs_of(value.get("logprobs")),
                extra=extra or None,
            ),
        ),
        id=id if type(id) is str else "",
        usage=usage_of(value.get("usage"), odd),
        notes=tuple(odd),
    )


def _call(call: Any, place: int) -> ToolCall:
    id, name, arguments = call_piece(call)
    return ToolCall(id or made_up_id(place, None), name or "", arguments)


def call_piece(call: Any) -> tuple[str | None, str | None, str]:
    """(id, name, arguments) of a tool call or a piece of one."""
    call = call if type(call) is dict else {}
    function = call.get("function")
    function = function if type(function) is dict else {}
    id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if type(arguments) is not str:
        arguments = "" if arguments is None else dumps(arguments).decode()
    return id if type(id) is str and id else None, name if type(name) is str and name else None, arguments


def sources_of(citations: list[Any]) -> dict[str, Any]:
    """Citations as annotations where every source has an address; else under Cohere's own name too."""
    links: list[dict[str, Any]] = []
    linked = True
    for citation in citations:
        sources = citation.get("sources") if type(citation) is dict else None
        for source in sources if type(sources) is list else [None]:
            link = _link(citation, source)
            linked = linked and link is not None
            links += [link] if link is not None else []
    said: dict[str, Any] = {"annotations": links} if links else {}
    return said if linked else {**said, "citations": citations}


def _link(citation: Any, source: Any) -> dict[str, Any] | None:
    held = source.get("document") if type(source) is dict else None
    url = held.get("url") if type(held) is dict else None
    if type(url) is not str or not url or type(held) is not dict:
        return None
    start, end = citation.get("start"), citation.get("end")
    place = {
        "start_index": start if type(start) is int else 0,
        "end_index": end if type(end) is int else 0,
        "url": url,
        "title": str(held.get("title") or ""),
    }
    return {"type": "url_citation", "url_citation": place}


def logprobs_of(stated: Any) -> dict[str, Any] | None:
    """Log probabilities in OpenAI's shape: each of Cohere's chunks, text over several tokens, becomes one entry."""
    content: list[dict[str, Any]] = []
    for chunk in stated if type(stated) is list else [stated]:
        if type(chunk) is not dict or type(chunk.get("logprobs")) is not list:
            continue
        text = chunk.get("text")
        text = text if type(text) is str else ""
        sums = [value for value in chunk["logprobs"] if type(value) in (int, float)]
        spelt = list(text.encode("utf-8", "replace"))
        content.append({"token": text, "logprob": float(sum(sums)), "bytes": spelt, "top_logprobs": []})
    return {"content": content, "refusal": None} if content else None


class CohereStream(SseJsonStream):
    """Decodes one stream. See `SseJsonStream` for what is raised when."""

    __slots__ = ("_calls", "_finish", "_id", "_raw_usage", "_slots")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._calls = 0
        self._slots: dict[Any, int] = {}  # Cohere's index of a call → ours
        self._finish: str | None = None
        self._id: str | None = None
        self._raw_usage: Any = None

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        kind = value.get("type") or name
        delta = value.get("delta")
        message = delta.get("message") if type(delta) is dict else None
        if kind == "content-delta" and type(message) is dict:
            return self._content(message.get("content"), value, out)
        if kind == "message-end":
            return self._ends(delta, out)
        if kind == "message-start":
            id = value.get("id")
            self._id = id if type(id) is str and id else None
        elif type(message) is dict:
            self._other(kind, message, value, out)
        elif type(kind) is not str or kind in ("", "error") or value.get("error"):
            return self._broke_off(read_error(value), "error" if kind == "error" else "", out)
        return True

    def _content(self, content: Any, value: dict[str, Any], out: list[Delta]) -> bool:
        if type(content) is not dict:
            return True
        text, thought = content.get("text"), content.get("thinking")
        logprobs = logprobs_of(value["logprobs"]) if "logprobs" in value else None
        text = text if type(text) is str and text else None
        thought = thought if type(thought) is str and thought else None
        if text or thought or logprobs:
            out.append(Delta(content=text, reasoning=thought, logprobs=logprobs))
        return True

    def _other(self, kind: Any, message: dict[str, Any], value: dict[str, Any], out: list[Delta]) -> None:
        if kind == "content-start":
            self._content(message.get("content"), value, out)
        elif kind == "tool-plan-delta":
            plan = message.get("tool_plan")
            if type(plan) is str and plan:
                out.append(Delta(reasoning=plan))
        elif kind in ("tool-call-start", "tool-call-delta"):
            self._call(kind, message.get("tool_calls"), value.get("index"), out)
        elif kind == "citation-start":
            citations = message.get("citations")
            if citations:
                extra = sources_of(citations if type(citations) is list else [citations])
                out.append(Delta(extra=extra))

    def _call(self, kind: str, call: Any, index: Any, out: list[Delta]) -> None:
        call = call[0] if type(call) is list and call else call
        id, name, arguments = call_piece(call)
        key = index if type(index) is int else None
        starts = kind == "tool-call-start" or key not in self._slots
        if starts:
            self._slots[key] = self._calls
            self._calls += 1
        slot = self._slots[key]
        if starts:
            out.append(Delta(tool_calls=(ToolCallDelta(slot, id or made_up_id(slot, None), name or "", arguments),)))
        elif arguments:
            out.append(Delta(tool_calls=(ToolCallDelta(slot, arguments=arguments),)))

    def _ends(self, delta: Any, out: list[Delta]) -> bool:
        said = delta if type(delta) is dict else {}
        self._raw_usage = said.get("usage") or None
        stated = said.get("finish_reason")
        reason = finish_reason(stated, self._notes)
        if reason == "error" or said.get("error"):
            return self._fail(broke_off(stated, said.get("error"), "error_event", None), out)
        self._finish = reason or "stop"
        out.append(Delta(finish_reason=self._finish))
        usage = self._usage()[0]
        if usage is not None:
            out.append(Delta(usage=usage))
        self._done = True
        return False

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        return (None, ()) if self._raw_usage is None else normalise_noted(self._raw_usage)

    def _has_ended(self) -> bool:
        return self._finish is not None

    def _end(self, complete: bool) -> StreamEnd:
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            id=self._id,
            notes=(*self._notes, *notes),
        )
