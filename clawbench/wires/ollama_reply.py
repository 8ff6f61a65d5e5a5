"""Answers of Ollama's native API: whole objects and streams of JSON lines, of `/api/chat` and `/api/generate`.

An answer's last object has `done: true`, a reason and the counts; tool calls come whole, several in several objects.
Refusals: some statuses of 500 are the request's fault, some of 400 the model's. Knows no requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.types import Choice, Completion, Delta, Headers, StreamEnd, ToolCall, ToolCallDelta, Usage
from clawbench.usage.ollama import normalise_noted, stated_usage
from clawbench.wires.failures import clean, error_in_body, read_error, refusal
from clawbench.wires.json_lines import JsonLinesStream
from clawbench.wires.media import data_url, split_data_url, type_of_base64
from clawbench.wires.ollama_request import call_parts
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import arguments_object, is_made_up, made_up_id

GENERATE_LINE_BYTES_MAX: Final = 8 * 1024 * 1024
"""The last line of `/api/generate` repeats the whole conversation as numbers."""

_FINISH: Final = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}
_CANNOT: Final = re.compile(r"does not support|not supported", re.IGNORECASE)
_BAD_INPUT: Final = re.compile(
    r"failed to process inputs|unknown format|invalid image|invalid character", re.IGNORECASE
)


def ollama_refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a reply that is no success, whatever its bytes are."""
    error = refusal(status, headers, body)
    if status >= 500 and _BAD_INPUT.search(error.message):
        # Another model may read the image that this one could not.
        error.outcome, error.try_next, error.retry_after_s = "rejected", True, None
    elif error.outcome == "rejected" and _CANNOT.search(error.message):
        error.try_next = True
    return error


def decode_reply(status: int, body: bytes) -> Completion:
    """The answer in a 2xx body. Raises `UpstreamError`: error_200, protocol_error."""
    try:
        value, forgiven = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    if type(value) is not dict or value.get("error"):
        said = read_error(value)
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
    if type(value) is not dict or (type(value.get("message")) is not dict and type(value.get("response")) is not str):
        raise UpstreamError("The answer holds no message.", outcome="protocol_error", status=status)
    odd = list(forgiven)
    content, reasoning, calls, extra = _read(value)
    if value.get("done") is False:
        odd.append("done is false")
    usage = None
    raw = stated_usage(value)
    if raw is not None:
        usage, notes = normalise_noted(raw)
        odd += notes
    tools = tuple(
        ToolCall(id or made_up_id(place, None), name, arguments) for place, (id, name, arguments) in enumerate(calls)
    )
    choice = Choice(
        content=content,
        reasoning=reasoning,
        tool_calls=tools,
        # Older servers say `done` without a reason.
        finish_reason=_finish_reason(value.get("done_reason"), bool(tools), odd)
        or ("stop" if value.get("done") else None),
        logprobs=_logprobs(value),
        extra=extra,
    )
    model = value.get("model")
    return Completion(
        choices=(choice,),
        model=model if type(model) is str and model else None,
        created=_created(value.get("created_at")),
        usage=usage,
        notes=tuple(odd),
    )


def _read(value: dict[str, Any]) -> tuple[str | None, str | None, list[tuple[str, str, str]], dict[str, Any] | None]:
    """(content, reasoning, calls, extra fields) of an object of either endpoint."""
    message = value.get("message")
    if type(message) is not dict:
        message = {"content": value.get("response"), "thinking": value.get("thinking")}
    content, thinking, calls = message.get("content"), message.get("thinking"), message.get("tool_calls")
    read = [call_parts(call) for call in calls if type(call) is dict] if type(calls) is list else []
    images = message.get("images")
    extra = None
    if type(images) is list and images:
        urls = [data_url(type_of_base64(image) or "image/png", image) for image in images if type(image) is str]
        extra = {"images": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}
    return (
        content if type(content) is str and (content or not read) else None,
        thinking if type(thinking) is str and thinking else None,
        read,
        extra,
    )


def _finish_reason(stated: Any, has_calls: bool, odd: list[str]) -> str | None:
    if type(stated) is not str or not stated:
        return "tool_calls" if has_calls else None
    known = _FINISH.get(stated)
    if known is None:
        odd.append(clean(f"done_reason {stated[:40]!r} read as stop"))
        known = "stop"
    return "tool_calls" if has_calls and known == "stop" else known


def _logprobs(value: dict[str, Any]) -> dict[str, Any] | None:
    stated = value.get("logprobs")
    return {"content": stated, "refusal": None} if type(stated) is list and stated else None


def _created(text: Any) -> int | None:
    try:
        stamp = datetime.fromisoformat(text)
        return int((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


class OllamaStream(JsonLinesStream):
    """Decodes one stream of either endpoint. See `JsonLinesStream` for what is raised when."""

    __slots__ = ("_calls", "_finish", "_model", "_over", "_raw_usage")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._calls = 0
        self._finish: str | None = None
        self._model: str | None = None
        self._over = False
        self._raw_usage: dict[str, Any] | None = None

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        message = value.get("message")
        if value.get("error") or (type(message) is not dict and type(value.get("response")) is not str):
            return self._broke_off(read_error(value), "", out)
        if self._model is None:
            model = value.get("model")
            self._model = model if type(model) is str and model else ""
        if value.get("done") is True:
            self._last(value, out)
            return False
        if type(message) is dict and len(message) == 2 and "logprobs" not in value:
            content = message.get("content")
            if type(content) is str and content and "role" in message:
                out.append(Delta(content=content))
                return True
        self._piece(value, out)
        return True

    def _piece(self, value: dict[str, Any], out: list[Delta]) -> None:
        content, reasoning, calls, extra = _read(value)
        tools = []
        for id, name, arguments in calls:
            tools.append(ToolCallDelta(self._calls, id or made_up_id(self._calls, None), name, arguments))
            self._calls += 1
        logprobs = _logprobs(value)
        if content or reasoning or tools or extra or logprobs:
            out.append(
                Delta(
                    content=content or None,
                    reasoning=reasoning,
                    tool_calls=tuple(tools),
                    logprobs=logprobs,
                    extra=extra,
                )
            )

    def _last(self, value: dict[str, Any], out: list[Delta]) -> None:
        self._piece(value, out)
        self._over = self._done = True
        self._finish = _finish_reason(value.get("done_reason"), self._calls > 0, self._notes) or "stop"
        out.append(Delta(finish_reason=self._finish))
        self._raw_usage = stated_usage(value)
        usage = self._usage()[0]
        if usage is not None:
            out.append(Delta(usage=usage))

    def _usage(self) -> tuple[Usage | None, tuple[str, ...]]:
        return (None, ()) if self._raw_usage is None else normalise_noted(self._raw_usage)

    def _has_begun(self) -> bool:
        return self._model is not None

    def _has_ended(self) -> bool:
        return self._over

    def _end(self, complete: bool) -> StreamEnd:
        usage, notes = self._usage()
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=usage,
            model=self._model or None,
            notes=(*self._notes, *notes),
        )


def reply_of(completion: Completion) -> dict[str, Any]:
    """The body of a whole answer; the dialect knows one choice."""
    choice = completion.choices[0] if completion.choices else Choice()
    message: dict[str, Any] = {"role": "assistant", "content": choice.content or choice.refusal or ""}
    if choice.reasoning:
        message["thinking"] = choice.reasoning
    images = _images((choice.extra or {}).get("images"))
    if images:
        message["images"] = images
    if choice.tool_calls:
        message["tool_calls"] = [_call(call, place) for place, call in enumerate(choice.tool_calls)]
    body = {"model": completion.model or "", "created_at": _instant(completion.created), "message": message}
    if choice.logprobs:
        body["logprobs"] = choice.logprobs.get("content") or []
    return {**body, **_done(choice.finish_reason, completion.usage)}


def _instant(created: int | None) -> str:
    return datetime.fromtimestamp(created or 0, UTC).isoformat().replace("+00:00", "Z")


def _images(images: Any) -> list[str]:
    urls = [image.get("image_url", {}).get("url") for image in images] if type(images) is list else []
    return [held[1] for held in map(split_data_url, urls) if held is not None]


def _call(call: ToolCall, place: int) -> dict[str, Any]:
    arguments = arguments_object(call.arguments)
    held = {"arguments": call.arguments} if arguments is None else arguments
    said: dict[str, Any] = {"function": {"index": place, "name": call.name, "arguments": held}}
    return said if is_made_up(call.id) else {"id": call.id, **said}


def _done(finish_reason: str | None, usage: Usage | None) -> dict[str, Any]:
    said: dict[str, Any] = {"done": True, "done_reason": "length" if finish_reason == "length" else "stop"}
    if usage is not None and usage.input_tokens is not None:
        said["prompt_eval_count"] = usage.input_tokens
    if usage is not None and usage.output_tokens is not None:
        said["eval_count"] = usage.output_tokens
    return said


def lines_of(deltas: Iterable[Delta], *, model: str, created: int) -> Iterator[dict[str, Any]]:
    """The objects of a stream; tool calls leave whole, after the text."""
    head = {"model": model, "created_at": _instant(created)}
    calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
    finish: str | None = None
    usage: Usage | None = None
    for delta in deltas:
        if delta.error is not None:
            yield {"error": delta.error.message}
            return
        usage, finish = delta.usage or usage, delta.finish_reason or finish
        for piece in delta.tool_calls:
            gathered = calls.setdefault(piece.index, ([], [], []))
            for text, into in zip((piece.id, piece.name, piece.arguments), gathered, strict=True):
                if text:
                    into.append(text)
        message: dict[str, Any] = {"role": "assistant", "content": delta.content or delta.refusal or ""}
        if delta.reasoning:
            message["thinking"] = delta.reasoning
        images = _images((delta.extra or {}).get("images"))
        if images:
            message["images"] = images
        if len(message) > 2 or message["content"] or delta.logprobs:
            said = {**head, "message": message, "done": False}
            yield {**said, "logprobs": delta.logprobs.get("content") or []} if delta.logprobs else said
    if calls:
        whole = [
            _call(ToolCall("".join(ids[:1]), "".join(names[:1]), "".join(arguments)), place)
            for place, (_, (ids, names, arguments)) in enumerate(sorted(calls.items()))
        ]
        yield {**head, "message": {"role": "assistant", "content": "", "tool_calls": whole}, "done": False}
    yield {**head, "message": {"role": "assistant", "content": ""}, **_done(finish, usage)}
