"""What all of Bedrock's runtime calls share: the model in the URL, what refusals mean, how streams are framed.

Model and operation stand in the path (`/model/{id}/{operation}`), the id percent-encoded; an error's type stands in
`x-amzn-errortype`, in a stream in the frame's `:exception-type`. Knows no bodies of models, and no signatures: those
are the transport's matter.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from typing import Any, Final
from urllib.parse import quote, unquote

from clawbench.errors import UpstreamError
from clawbench.types import Headers
from clawbench.wires.event_stream import FRAME_BYTES_MAX, Frame, FrameSplitter, encode_frame
from clawbench.wires.failures import CONTEXT_LENGTH, ErrorText, clean, error_in_body, read_error, refusal
from clawbench.wires.tolerant_json import NotJson, dumps, loads

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"

_PATH: Final = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream)/?$")
_STATUS: Final = {
    "accessdenied": 403,
    "expiredtoken": 403,
    "internalserver": 500,
    "modelerror": 424,
    "modelnotready": 429,
    "modelstreamerror": 424,
    "modeltimeout": 408,
    "resourcenotfound": 404,
    "servicequotaexceeded": 429,
    "serviceunavailable": 503,
    "throttling": 429,
    "unrecognizedclient": 403,
    "validation": 400,
}
"""Bedrock's exceptions → the status that they stand for; in a stream they come without one."""

_NO_MODEL: Final = re.compile(
    r"model identifier is invalid|could not resolve the foundation model|model .{0,80}end of its life"
    r"|on-demand throughput isn.t supported",
    re.IGNORECASE,
)
_CONTEXT: Final = re.compile(
    r"input is too long|exceeds? (the )?(model's )?(context|maximum)|too many input tokens", re.I
)


def call_url(base_url: str, model: str, operation: str) -> str:
    """The URL of an operation on a model; every character of the id that is no letter, digit or -._~ is encoded."""
    return f"{base_url}/model/{quote(model, safe='')}/{operation}"


def model_and_operation(url: str) -> tuple[str, str] | None:
    """(model id, operation) of a URL, None for one of another kind."""
    found = _PATH.search(re.split(r"[?#]", url, maxsplit=1)[0])
    return None if found is None else (unquote(found[1]), found[2])


def bedrock_refusal(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """The typed error for a status of 400 or above, whatever the bytes are."""
    error = refusal(status, headers, body)
    name = re.split(r"[:/#]", headers.get("x-amzn-errortype", ""), maxsplit=1)[0]
    if not name and body.lstrip().startswith(b"{"):
        name = _type_in(body)
    if name:
        error.code = clean(name)
    if status != 400:
        return error
    if _NO_MODEL.search(error.message):
        error.outcome, error.try_next = "model_gone", True
    elif _CONTEXT.search(error.message):
        error.outcome, error.code, error.try_next = "rejected", CONTEXT_LENGTH, True
    elif _plain(name) in ("servicequotaexceeded", "throttling"):
        error.outcome, error.try_next, error.retry_same = "rate_limited", True, True
    return error


def _type_in(body: bytes) -> str:
    """`__type` of an error body; behind some gateways the header is lost."""
    try:
        value = loads(body)[0]
    except NotJson:
        return ""
    stated = value.get("__type") if type(value) is dict else None
    return stated.rpartition("#")[2][:64] if type(stated) is str else ""


def _plain(name: str) -> str:
    return name.lower().removesuffix("exception")


class EventFrames:
    """The events of one streamed body: bytes in, (event type, decoded payload) out.

    `error` is set when the stream failed: a broken frame, an exception of the service, a payload that is no JSON. What
    came before is still returned; afterwards bytes are ignored.
    """

    __slots__ = ("_plain", "_splitter", "_started", "error")

    def __init__(self, *, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._splitter = FrameSplitter(frame_bytes_max)
        self._plain: bytearray | None = None  # a body that is no event stream
        self._started = False
        self.error: UpstreamError | None = None

    @property
    def cut(self) -> bool:
        """Whether the body ended within a frame."""
        return self._splitter.pending > 0

    def feed(self, data: bytes) -> list[tuple[str, dict[str, Any]]]:
        events: list[tuple[str, dict[str, Any]]] = []
        if self.error is not None or not data:
            return events
        if not self._started and self._is_plain(data):
            return events
        for frame in self._splitter.feed(data):
            event = self._event(frame)
            if event is not None:
                events.append(event)
            if self.error is not None:
                return events
        broken = self._splitter.broken
        if broken is not None:
            outcome = "too_large" if broken.kind == "too_large" else "protocol_error"
            self.error = UpstreamError(str(broken), outcome=outcome)
        return events

    def plain_error(self) -> UpstreamError | None:
        """The error that a body was instead of a stream; None if it was a stream. Ask once it has ended."""
        if self._plain is None or self.error is not None:
            return None
        try:
            said = read_error(loads(bytes(self._plain))[0])
        except NotJson:
            return refusal(200, {}, bytes(self._plain))
        if said is None:
            return UpstreamError("A whole body came where a stream was asked for.", outcome="protocol_error")
        return error_in_body(said, outcome="error_200", status=None)

    def _is_plain(self, data: bytes) -> bool:
        # The first byte of a frame is the highest of its length: above 16 MB none is believed, so text is told by it.
        if self._plain is None:
            self._started = data[0] not in b"{[< \t\r\n"
            if self._started:
                return False
            self._plain = bytearray()
        self._plain += data[: max(FRAME_BYTES_MAX - len(self._plain), 0)]
        return True

    def _event(self, frame: Frame) -> tuple[str, dict[str, Any]] | None:
        headers = frame.headers
        kind = headers.get(":message-type", "event")
        try:
            payload = loads(frame.payload)[0] if frame.payload else {}
        except NotJson as error:
            if kind == "event":
                why = clean(f"The frame at byte {frame.offset} holds no event: {error}")
                self.error = UpstreamError(why, outcome="protocol_error")
                return None
            payload = {"message": frame.payload[:200].decode("utf-8", "replace")}
        if kind != "event":
            self.error = _exception(headers, payload)
            return None
        if type(payload) is not dict:
            self.error = UpstreamError(f"The frame at byte {frame.offset} holds no object.", outcome="protocol_error")
            return None
        return str(headers.get(":event-type", "")), payload


def _exception(headers: Any, payload: Any) -> UpstreamError:
    """The error that an exception or error frame carries."""
    name = str(headers.get(":exception-type") or headers.get(":error-code") or "unknown")
    stated = payload.get("message") or payload.get("originalMessage") if type(payload) is dict else None
    message = stated if type(stated) is str else str(headers.get(":error-message") or f"{name} without a message")
    said = ErrorText(message, clean(name), _STATUS.get(_plain(name)), payload)
    return error_in_body(said, outcome="error_event", status=None)


def chunk_event(payload: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that a chunk's base64 holds. Raises `ValueError` for anything else."""
    held = payload.get("bytes")
    if type(held) is not str:
        raise ValueError("it holds no bytes")
    try:
        event = loads(a2b_base64(held, strict_mode=True))[0]
    except ValueError as error:  # bad base64, text that is no ASCII, no JSON
        raise ValueError(str(error)) from None
    if type(event) is not dict:
        raise ValueError("it holds no object")
    return event


def event_frame(kind: str, event: dict[str, Any]) -> bytes:
    """A frame that carries one event."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, dumps(event))


def exception_frame(error: UpstreamError) -> bytes:
    """The frame with which Bedrock would have ended a stream over this failure."""
    kind = {"rate_limited": "throttlingException", "rejected": "validationException"}.get(error.outcome)
    headers = {
        ":exception-type": kind or "modelStreamErrorException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_frame(headers, dumps({"message": error.message}))
