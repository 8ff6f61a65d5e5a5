"""OpenAI's legacy completions, `/v1/completions`: a prompt in, text out. Read, never spoken.

Recordings hold such calls, and old servers answer them; the gateway does not make them, for they know no roles and no
tools, so `encode` and the two `compose` refuse. Several prompts of one call become parts of one user message and
their answers choices, as the API numbers them. Also reads what imitators made of it: Together's chunks with `text`
beside a `delta`, Writer's bare `{"value": …}` events. Knows no provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Choice, Completion, Delta, Headers, HttpCall, Offer, StreamEnd, Usage
from clawbench.usage.openai_chat import normalise_noted
from clawbench.wires.failures import clean, error_in_body, read_error, refusal
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.sse import EVENT_BYTES_MAX
from clawbench.wires.sse_json import SseJsonStream, unreadable
from clawbench.wires.tolerant_json import NotJson, loads

__all__ = ["OpenAICompletions"]

_DEPLOYMENT: Final = re.compile(r"/deployments/([^/?#]+)/completions")
_MARK: Final = re.compile(rb'"object"\s*:\s*"text[_.]completion')
_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "abort": "error",
    "error": "error",
}
_READ_ONLY: Final = "The legacy completions dialect is only read; choose an offer of another dialect."

_NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_INTEGERS: Final = ("max_tokens", "n", "seed")
_PLACED: Final = frozenset({"model", "prompt", "stream", "stream_options", "stop", "logprobs", *_NUMBERS, *_INTEGERS})


class OpenAICompletions:
    """The wire."""

    name = "openai_completions"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the request has a prompt and no messages, at a path or with a reply of this API."""
        path = re.split(r"[?#]", call.url, maxsplit=1)[0].rstrip("/")
        if path.endswith("/chat/completions"):
            return False
        if not path.endswith("/completions") and _MARK.search(reply_body) is None:
            return False
        try:
            asked = loads(call.body)[0]
        except NotJson:
            return False
        return type(asked) is dict and "messages" not in asked and type(asked.get("prompt")) in (str, list)

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """Always raises `UpstreamError` (rejected)."""
        raise UpstreamError(_READ_ONLY, outcome="rejected")

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives below 2xx."""
        if not 200 <= status < 300:
            raise refusal(status, headers, body)
        return _decode(status, body)

    def stream(self) -> OpenAICompletionsStream:
        """A decoder for one streamed body."""
        return OpenAICompletionsStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none, also for prompts of token ids."""
        deployment = _DEPLOYMENT.search(call.url)
        return _parse(call.body, unquote(deployment[1]) if deployment else "")

    def compose(self, completion: Completion) -> ComposedReply:
        """Always raises `ValueError`."""
        raise ValueError(_READ_ONLY)

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """Always raises `ValueError`."""
        raise ValueError(_READ_ONLY)


def _parse(body: bytes, model: str) -> ChatRequest:
    value = loads(body)[0]
    if type(value) is not dict:
        raise ValueError("the body is no JSON object")
    prompt = value.get("prompt")
    prompts = prompt if type(prompt) is list else [prompt]
    if not prompts or any(type(text) is not str for text in prompts):
        raise ValueError("the prompt is no text")
    content: Any = prompts[0] if len(prompts) == 1 else [{"type": "text", "text": text} for text in prompts]
    numbers = {key: value[key] for key in _NUMBERS if type(value.get(key)) in (int, float)}
    integers = {key: value[key] for key in _INTEGERS if type(value.get(key)) is int}
    stop, logprobs, options = value.get("stop"), value.get("logprobs"), value.get("stream_options")
    if type(stop) is str:
        stop = [stop]
    return ChatRequest(
        model=value["model"] if type(value.get("model")) is str else model,
        messages=[{"role": "user", "content": content}],
        stream=value.get("stream") is True,
        include_usage=type(options) is dict and options.get("include_usage") is True,
        max_output_tokens=integers.pop("max_tokens", None),
        stop=stop if type(stop) is list and all(type(word) is str for word in stop) else None,
        logprobs=True if type(logprobs) is int else None,
        top_logprobs=logprobs if type(logprobs) is int else None,
        extra={key: item for key, item in value.items() if key not in _PLACED and item is not None},
        **numbers,
        **integers,
    )


def _decode(status: int, body: bytes) -> Completion:
    try:
        value, notes = loads(body)
    except NotJson as error:
        raise unreadable(body, str(error), status) from None
    choices = value.get("choices") if type(value) is dict else None
    if type(choices) is not list or not choices or value.get("error"):
        said = read_error(value)
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
        raise UpstreamError("The answer holds no choice.", outcome="protocol_error", status=status)
    odd = list(notes)
    read = []
    for place, choice in enumerate(choices):
        if type(choice) is not dict:
            raise UpstreamError("A choice is no object.", outcome="protocol_error", status=status)
        read.append(
            Choice(
                index=_index(choice, place),
                content=_text(choice),
                finish_reason=_finish_reason(choice.get("finish_reason"), odd),
                logprobs=_logprobs(choice.get("logprobs")),
            )
        )
    created, id, model = value.get("created"), value.get("id"), value.get("model")
    fingerprint = value.get("system_fingerprint")
    return Completion(
        choices=tuple(read),
        id=id if type(id) is str else "",
        model=model if type(model) is str and model else None,
        created=created if type(created) is int else None,
        usage=_usage(value, odd),
        system_fingerprint=fingerprint if type(fingerprint) is str else None,
        notes=tuple(odd),
    )


def _usage(value: dict[str, Any], odd: list[str]) -> Usage | None:
    raw = value.get("usage")
    if not raw:
        return None
    usage, notes = normalise_noted(raw, "compatible")
    odd += notes
    return usage


def _index(choice: dict[str, Any], place: int) -> int:
    index = choice.get("index")
    return index if type(index) is int and index >= 0 else place


def _text(choice: dict[str, Any]) -> str | None:
    """Text of a choice; Mistral's FIM puts it into a message."""
    text = choice.get("text")
    if type(text) is not str:
        inner = choice.get("message") or choice.get("delta")
        text = inner.get("content") if type(inner) is dict else None
    return text if type(text) is str else None


def _finish_reason(stated: Any, odd: list[str]) -> str | None:
    if not stated or type(stated) is not str:
        return None
    known = _FINISH_REASONS.get(stated.lower())
    if known is None:
        odd.append(f"finish reason {clean(stated[:40])!r} read as stop")
    return known or "stop"


def _logprobs(stated: Any) -> dict[str, Any] | None:
    """This API's parallel lists in chat's shape; chat's shape, which imitators send, as it is."""
    if type(stated) is not dict or not stated:
        return None
    tokens, scores, tops = stated.get("tokens"), stated.get("token_logprobs"), stated.get("top_logprobs")
    if type(tokens) is not list or type(scores) is not list:
        return stated if type(stated.get("content")) is list else None
    tops = tops if type(tops) is list else []
    content = []
    for place, (token, score) in enumerate(zip(tokens, scores, strict=False)):
        top = tops[place] if place < len(tops) and type(tops[place]) is dict else {}
        others = [{"token": word, "logprob": value, "bytes": None} for word, value in top.items()]
        content.append({"token": token, "logprob": score, "bytes": None, "top_logprobs": others})
    return {"content": content, "refusal": None}


class OpenAICompletionsStream(SseJsonStream):
    """Decodes one stream."""

    __slots__ = ("_ended", "_finish", "_id", "_model", "_open", "_unmarked", "_usage")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(event_bytes_max=event_bytes_max)
        self._open: set[int] = set()  # choices with text and without a finish reason
        self._ended: set[int] = set()
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._id: str | None = None
        self._model: str | None = None
        self._unmarked = False  # a form of stream that has neither a finish reason nor an end marker

    def _object(self, value: dict[str, Any], name: str, out: list[Delta]) -> bool:
        if name == "error" or value.get("error"):
            return self._broke_off(read_error(value), "error", out)
        usage = _usage(value, self._notes)
        if usage is not None:
            self._usage = usage
        choices = value.get("choices")
        if type(choices) is list:
            for choice in choices:
                if type(choice) is dict and not self._choice(choice, out):
                    return False
        elif type(value.get("value")) is str:
            self._unmarked = True
            if value["value"]:
                out.append(Delta(content=value["value"]))
        elif usage is None:
            return self._broke_off(read_error(value), name, out)
        if usage is not None and (not choices or self._finish is not None):
            out.append(Delta(usage=usage))
        self._name(value)
        return True

    def _choice(self, choice: dict[str, Any], out: list[Delta]) -> bool:
        index, text = _index(choice, 0), _text(choice)
        reason = _finish_reason(choice.get("finish_reason"), self._notes)
        logprobs = _logprobs(choice.get("logprobs"))
        if text or reason or logprobs:
            stated = None if reason == "error" else reason
            out.append(Delta(index=index, content=text or None, finish_reason=stated, logprobs=logprobs))
        if reason:
            self._finish = reason
            self._ended.add(index)
            self._open.discard(index)
        elif text and index not in self._ended:
            self._open.add(index)
        if reason == "error":
            return self._broke_off(read_error({"error": "the provider ended with an error"}), "error", out)
        return True

    def _name(self, value: dict[str, Any]) -> None:
        id, model = value.get("id"), value.get("model")
        if self._id is None and type(id) is str and id:
            self._id = id
        if self._model is None and type(model) is str and model:
            self._model = model

    def _has_ended(self) -> bool:
        return self._marked or self._unmarked or (self._finish is not None and not self._open)

    def _end(self, complete: bool) -> StreamEnd:
        if complete and not self._marked:
            self._note("no [DONE]")
        if complete and self._finish is None:
            self._note("no finish reason")
        return StreamEnd(
            complete=complete,
            finish_reason=self._finish,
            usage=self._usage,
            id=self._id,
            model=self._model,
            notes=tuple(self._notes),
        )
