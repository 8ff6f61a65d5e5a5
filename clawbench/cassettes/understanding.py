"""A recorded exchange read as a chat call: which wire speaks its dialect, what was asked, how it was answered.

The dialect is told by content: the first wire that recognises the exchange reads it. What no wire recognises is either
no chat call at all (embeddings, model lists, uploads) or one that is not understood, and the two are told apart.
Knows wires through their interface only, and neither files nor indexes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct

from clawbench.cassettes.framing import Framing, framing
from clawbench.cassettes.interaction import Interaction
from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, HttpCall, StreamEnd, Usage
from clawbench.wires.protocol import Wire

T = TypeVar("T")

UNDECODED: Final = frozenset({"protocol_error", "too_large"})
"""Outcomes of a wire that mean it could not make sense of the bytes, as against a provider that reports a failure."""

_NOT_CHAT_PATH: Final = re.compile(
    r"embed|/moderations|/images|/audio|/speech|/transcri|/translations|/videos|/files|/uploads?\b|/batches|/models/?$"
    r"|/tags$|/api/show|rerank|tokeni[sz]e|count_?tokens|/fine_tuning|/assistants|/threads|/vector_stores|/oauth|/token$"
    r"|:predict|/cachedContents|/guardrail|/classify|/ocr",
    re.IGNORECASE,
)
_CHAT_PATH: Final = re.compile(
    r"(?:/completions|/messages|:(?:stream)?generateContent|/converse(?:-stream)?|/invoke(?:-with-response-stream)?"
    r"|/responses|/api/generate|/chat)/?$",
    re.IGNORECASE,
)
_PROMPT_FIELDS: Final = frozenset(
    {"messages", "message", "contents", "prompt", "input", "inputs", "inputText", "chat_history", "conversation"}
)


class Answer(Struct, frozen=True, kw_only=True):
    """How a recorded call ended. Exactly one of `completion`, `end` and `error` says so."""

    outcome: str  # "ok" or one of `schema.OUTCOMES`
    completion: Completion | None = None  # a whole answer
    end: StreamEnd | None = None  # a streamed one, with its deltas
    deltas: tuple[Delta, ...] = ()
    error: UpstreamError | None = None
    usage: Usage | None = None  # None: the provider stated none


class Understood(Struct, frozen=True, kw_only=True):
    """A chat call of a known dialect."""

    wire: Wire
    request: ChatRequest
    framing: Framing
    answer: Answer


class NotUnderstood(Struct, frozen=True, kw_only=True):
    """An exchange that is no chat call, or a chat call that cannot be read, and why."""

    kind: Literal["not_chat", "not_understood"]
    reason: str


def call_of(interaction: Interaction) -> HttpCall:
    """The recorded request as the call that a wire would have made."""
    return HttpCall(
        method=interaction.method,
        url=interaction.url,
        headers=interaction.request_headers,
        body=interaction.request_body,
    )


def understand(interaction: Interaction, wires: Mapping[str, Wire]) -> Understood | NotUnderstood:
    """Reads the exchange through the first wire that recognises it. Never raises."""
    call = call_of(interaction)
    try:
        wire = next(
            (wire for wire in wires.values() if _ask(wire, lambda w: w.recognises(call, interaction.body))), None
        )
        if wire is None:
            return _unrecognised(interaction)
        request = _ask(wire, lambda w: w.parse(call))
        messages: Any = request.messages  # a wire may hand on what a foreign body holds in their place
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise _Refused(f"{wire.name}: messages are no list of objects")
        framed = framing(interaction.headers, interaction.body, stream_asked=request.stream)
        return Understood(
            wire=wire, request=request, framing=framed, answer=_answer(wire, interaction, request, framed)
        )
    except _Refused as refused:
        return NotUnderstood(kind="not_understood", reason=str(refused))


class _Refused(Exception):
    """A wire recognised the exchange and cannot read it; the message says what it says."""


def _ask(wire: Wire, question: Callable[[Wire], T]) -> T:
    """A wire's answer. Whatever it raises over foreign bytes concerns this exchange alone, and is told."""
    try:
        return question(wire)
    except UpstreamError:
        raise
    except ValueError as error:
        raise _Refused(f"{wire.name}: {error}") from error
    except Exception as error:  # a defect of the wire must not make thousands of other recordings unusable
        raise _Refused(f"{wire.name} broke on it: {type(error).__name__}: {error}") from error


def _answer(wire: Wire, interaction: Interaction, request: ChatRequest, framed: Framing) -> Answer:
    status, headers, body = interaction.status, interaction.headers, interaction.body
    try:
        if status >= 400:
            return _failed(_ask(wire, lambda w: w.error(status, headers, body)))
        if framed or (request.stream and body.lstrip()[:1] == b"["):
            return _ask(wire, lambda w: _streamed(w, body))
        completion = _ask(wire, lambda w: w.decode(status, headers, body))
    except UpstreamError as error:
        return _failed(error)
    return Answer(outcome="ok", completion=completion, usage=completion.usage)


def _failed(error: UpstreamError) -> Answer:
    if error.outcome in UNDECODED:
        raise _Refused(f"{error.outcome}: {error}")
    return Answer(outcome=error.outcome, error=error)


def _streamed(wire: Wire, body: bytes) -> Answer:
    decoder = wire.stream()
    deltas = decoder.feed(body)
    end = decoder.finish()
    usage = end.usage or next((delta.usage for delta in reversed(deltas) if delta.usage), None)
    if deltas and deltas[-1].error is not None:
        error = deltas[-1].error
        if error.outcome in UNDECODED:
            raise error
        return Answer(outcome=error.outcome, error=error, deltas=tuple(deltas), usage=usage)
    outcome = "ok" if end.complete else "truncated"
    return Answer(outcome=outcome, end=end, deltas=tuple(deltas), usage=usage)


def _unrecognised(interaction: Interaction) -> NotUnderstood:
    path = re.split(r"[?#]", interaction.url, maxsplit=1)[0]
    like_chat = _CHAT_PATH.search(path) or _PROMPT_FIELDS & _fields(interaction.request_body)
    if interaction.method != "POST" or _NOT_CHAT_PATH.search(path) or not like_chat:
        return NotUnderstood(kind="not_chat", reason=f"{interaction.method} {path[-80:]} is no chat call")
    return NotUnderstood(kind="not_understood", reason="no wire knows this dialect")


def _fields(body: bytes) -> frozenset[str]:
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    return frozenset(value) if isinstance(value, dict) else frozenset()
