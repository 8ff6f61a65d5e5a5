"""Whole answers of OpenAI's Responses API: bytes of a 200 in, `Completion` out.

The output's items become one choice: text of all messages, reasoning, function calls. What chat has no word for stays:
encrypted reasoning in `reasoning_details`, items of tools that the provider ran itself in `output_items`, the phase
and namespaces under their own names. What is shared with streams is here too. Knows nothing of requests.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, ToolCall, Usage
from clawbench.usage.openai_responses import normalise
from clawbench.wires.failures import ErrorText, clean, error_in_body, read_error
from clawbench.wires.openai_responses_items import TEXT_HERE, Item, part_texts, reasoning_details
from clawbench.wires.openai_responses_parse import call_extra
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads

BREAK: Final = "\n\n"
"""Stands between two messages, and between two parts of reasoning, that become one text."""

UNFINISHED: Final = frozenset({"in_progress", "queued"})
_FINISHED: Final = frozenset({"completed", "complete", "incomplete"})
_REASONS: Final = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}

# What a response repeats of its request, and what has a place of its own.
_REPEATED: Final = frozenset(
    {"id", "object", "created_at", "completed_at", "status", "status_details", "model", "output", "output_text"}
    | {"usage", "error", "incomplete_details", "service_tier", "instructions", "tools", "tool_choice", "tool_calls"}
    | {"temperature", "top_p", "top_logprobs", "frequency_penalty", "presence_penalty", "parallel_tool_calls"}
    | {"max_output_tokens", "max_tool_calls", "reasoning", "text", "truncation", "previous_response_id", "store"}
    | {"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier", "user", "prompt"}
    | {"background", "billing", "conversation", "total_tokens", "include", "metadata"}
)


def decode_response(status: int, body: bytes) -> Completion:
    """The answer in a 2xx body.

    Raises `UpstreamError`: `error_200` for an error object or a response that failed, `protocol_error` for what is no
    answer or is not finished yet (a background response).
    """
    try:
        value, notes = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    output = value.get("output") if type(value) is dict else None
    if type(output) is not list or word(value, "status") not in _FINISHED or value.get("error"):
        check_answer(value, status)
    odd = list(notes)
    gathered = Gathered()
    for item in output or ():
        if type(item) is dict:
            gathered.add(item)
    choice = gathered.choice(finish_reason(value, bool(gathered.calls), odd))
    odd += gathered.notes
    usage = stated_usage(value, odd)
    id, model, tier = value.get("id"), value.get("model"), value.get("service_tier")
    created, metadata = value.get("created_at"), value.get("metadata")
    extra = {key: item for key, item in value.items() if key not in _REPEATED and item}
    fingerprint = metadata.get("system_fingerprint") if type(metadata) is dict else None
    return Completion(
        choices=(choice,),
        id=id if type(id) is str else "",
        model=model if type(model) is str and model else None,
        created=int(created) if type(created) is int or type(created) is float else None,
        usage=usage,
        service_tier=tier if type(tier) is str else None,
        system_fingerprint=fingerprint if type(fingerprint) is str else None,
        extra=extra or None,
        notes=tuple(odd),
    )


def check_answer(value: Any, status: int | None) -> None:
    """Raises `UpstreamError` for a body that is no finished response; for one without a status it does not."""
    said = failure(value)
    if said is not None:
        raise error_in_body(said, outcome="error_200", status=status)
    if type(value) is not dict or type(value.get("output")) is not list:
        raise UpstreamError("The answer holds no output.", outcome="protocol_error", status=status)
    if word(value, "status") in UNFINISHED:
        raise UpstreamError("The response is not finished; it runs in the background.", outcome="protocol_error")


def failure(value: Any) -> ErrorText | None:
    """What a response, an event or an error body says of its failure; None if it did not fail."""
    if type(value) is not dict:
        return read_error(value)
    stated = value.get("error")
    if not stated and type(value.get("response")) is dict:
        return failure(value["response"])
    if not stated:
        status = word(value, "status")
        if status in ("failed", "cancelled"):
            return ErrorText(f"the response is {status}", status)
        return read_error(value) if "output" not in value else None
    said = read_error(value) or ErrorText("unspecified error")
    limited = said.status is None and said.code == "rate_limit_exceeded"
    return ErrorText(said.message, said.code, 429, said.raw) if limited else said


def word(value: dict[str, Any], key: str) -> str | None:
    """A field that should hold a word; None where it holds none."""
    stated = value.get(key)
    return stated if type(stated) is str else None


def finish_reason(value: dict[str, Any], calls: bool, odd: list[str]) -> str:
    """OpenAI's chat word for how a response ended."""
    if value.get("status") == "incomplete":
        details = value.get("incomplete_details")
        reason = word(details, "reason") if type(details) is dict else None
        known = _REASONS.get(reason or "")
        if known is None:
            odd.append(f"incomplete because of {clean(str(reason)[:40])!r} read as length")
        return known or "length"
    if value.get("status") != "completed":
        odd.append(f"status {clean(str(word(value, 'status'))[:40])!r} read as completed")
    return "tool_calls" if calls else "stop"


def stated_usage(value: dict[str, Any], odd: list[str]) -> Usage | None:
    """Usage of a response; what is odd about it goes to `odd`. None if it states none."""
    raw = value.get("usage")
    if not raw:
        return None
    usage, notes = normalise(raw)
    odd += notes
    return usage


class Gathered:
    """The items of one output while they come, as one choice."""

    __slots__ = ("_place", "_texts", "_thoughts", "calls", "extra", "logprobs", "notes", "refusals")

    def __init__(self) -> None:
        self._place = 0  # of the next item that a later turn gives back
        self._texts: list[str] = []  # one a message
        self._thoughts: list[str] = []
        self.refusals: list[str] = []
        self.calls: list[ToolCall] = []
        self.logprobs: list[Any] = []
        self.extra: dict[str, Any] = {}
        self.notes: list[str] = []

    def add(self, item: Item) -> None:
        """Takes the next item."""
        kind = item.get("type")
        if kind == "message":
            if not self._texts and not self.refusals:
                self._place += 1
            self._message(item)
        elif kind == "function_call" or kind == "custom_tool_call":
            call = tool_call(item)
            if any(call.id == known.id for known in self.calls):
                self.notes.append("duplicate tool-call ids")
            self.calls.append(call)
            self._place += 1
            more = call_extra(item)
            if more:
                self.extra["tool_call_extra"] = {**self.extra.get("tool_call_extra", {}), call.id: more}
        elif kind == "reasoning":
            self._thoughts += part_texts(item.get("summary")) + part_texts(item.get("content"))
            details = reasoning_details(item, self._place)
            if details:
                self._place += 1
                self.extra["reasoning_details"] = [*self.extra.get("reasoning_details", ()), *details]
        else:
            known = self.extra.get("output_items", [])
            if self._texts and TEXT_HERE not in known:
                known = [*known, TEXT_HERE]
            self.extra["output_items"] = [*known, item]
            self._place += 1

    def _message(self, item: Item) -> None:
        before = len(BREAK.join(self._texts)) + len(BREAK) if self._texts else 0
        pieces: list[str] = []
        for part in item.get("content") or () if type(item.get("content")) is list else ():
            if type(part) is not dict:
                continue
            text = part.get("text")
            if type(text) is str:
                if part.get("annotations"):
                    add_annotations(self.extra, part["annotations"], before + sum(map(len, pieces)))
                pieces.append(text)
                if part.get("logprobs") and type(part["logprobs"]) is list:
                    self.logprobs += part["logprobs"]
            elif type(part.get("refusal")) is str:
                self.refusals.append(part["refusal"])
        if type(item.get("content")) is str:
            pieces.append(item["content"])
        if any(pieces):
            self._texts.append("".join(pieces))
        if item.get("phase"):
            self.extra["phase"] = item["phase"]

    def choice(self, reason: str) -> Choice:
        """What came, as a choice that ended for this reason."""
        return Choice(
            content=BREAK.join(self._texts) if self._texts else None,
            reasoning=BREAK.join(text for text in self._thoughts if text) or None,
            refusal="".join(self.refusals) or None,
            tool_calls=tuple(self.calls),
            finish_reason=reason,
            logprobs={"content": self.logprobs} if self.logprobs else None,
            extra=self.extra or None,
        )


def tool_call(item: Item) -> ToolCall:
    """A function call, or a custom tool's call, whose input is plain text."""
    id, name = item.get("call_id") or item.get("id"), item.get("name")
    arguments = item.get("input" if item.get("type") == "custom_tool_call" else "arguments")
    if type(arguments) is not str:
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    return ToolCall(id if type(id) is str else "", name if type(name) is str else "", arguments)


def add_annotations(extra: dict[str, Any], annotations: Any, offset: int) -> None:
    """Annotations of a text that begins `offset` characters into the content: citations of addresses in chat's shape
    under `annotations`, others under the API's own name of their type."""
    for annotation in annotations if type(annotations) is list else ():
        if type(annotation) is not dict:
            continue
        kind = annotation.get("type")
        if kind == "url_citation" and type(annotation.get("url_citation")) is not dict:
            cited = {key: item for key, item in annotation.items() if key != "type"}
            for key in ("start_index", "end_index"):
                if type(cited.get(key)) is int:
                    cited[key] += offset
            annotation = {"type": kind, "url_citation": cited}
        name = kind if type(kind) is str and kind.startswith(("file_", "container_")) else "annotations"
        extra[name] = [*extra.get(name, ()), annotation]
