"""What of a reply's bytes a bill rests on: the text of its usage objects, the tier served, things billed by use.

The usage text is cut out of the body unchanged, so that it can be stored and read again; whether it may be
believed is judged by `usage/admission.py`. Which model was served is for the wires to say. Never raises.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field, structs

from clawbench.types import Headers, Usage
from clawbench.usage.bedrock import METRICS, TRACE, guardrail_units, raw_of_headers
from clawbench.usage.buckets import Uses
from clawbench.wires.event_stream import FrameSplitter
from clawbench.wires.json_lines import LineSplitter
from clawbench.wires.sse import SseSplitter

_NONE: Final = Raw()
_WORDS: Final = (b"sage", b'"meta"', b"groundingMetadata", b"executed_tools")
"""An event without any of these says nothing that is billed, except where counts stand alone in an event."""
_COUNTS: Final = (b"eval_count", b"tionMetrics", b"oken_count", b"okenCount", b"PolicyUnits")

_HELD_BYTES_MAX: Final = 64 * 1024
"""So much of a stream is looked through at a time: most of it says nothing, and searching is cheap in large pieces."""

_SMALL_BYTES: Final = 2048
"""Below this, splitting all of it costs no more than looking for what is worth splitting."""

_OF_RESPONSES: Final = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
}
_OF_GROQ: Final = {"search": "web_search", "visit": "visit_website"}
_INVOKED: Final = "bedrock_invoke_other"
_FRAMED: Final = frozenset({"bedrock_converse", "bedrock_anthropic", _INVOKED})
_PLAIN_BYTES_MAX: Final = 16 * 1024 * 1024
_LINES: Final = frozenset({"ollama", "ollama_generate", "cohere_v1"})
_COUNTING: Final = _FRAMED | {"ollama", "ollama_generate"}  # counts stand outside a usage object


class Evidence(Struct, frozen=True, kw_only=True):
    """`usage` are the texts of the usage objects in order of arrival; `service_tier` is None where none was stated."""

    usage: tuple[bytes, ...] = ()
    stream: bool = False
    service_tier: str | None = None
    uses: tuple[Uses, ...] = ()


class _Object(Struct):
    """The members of a body or an event that matter in any dialect, unread: no type can be wrong."""

    usage: Raw = _NONE
    usageMetadata: Raw = _NONE
    meta: Raw = _NONE
    x_groq: Raw = _NONE
    message: Raw = _NONE
    delta: Raw = _NONE
    response: Raw = _NONE
    output: Raw = _NONE
    candidates: Raw = _NONE
    choices: Raw = _NONE
    service_tier: Raw = _NONE
    serviceTier: Raw = _NONE
    prompt_eval_count: Raw = _NONE
    eval_count: Raw = _NONE
    trace: Raw = _NONE
    invoked: Raw = field(default=_NONE, name=METRICS)
    traced: Raw = field(default=_NONE, name=TRACE)
    prompt_token_count: Raw = _NONE
    inputTextTokenCount: Raw = _NONE


_read = msgspec.json.Decoder(_Object).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_any = msgspec.json.Decoder().decode


def of_body(dialect: str, body: bytes, headers: Headers | None = None) -> Evidence:
    """The evidence in a whole body; InvokeModel's older families state their counts in headers alone."""
    gathered = _Gathered(dialect)
    gathered.add(body)
    found = gathered.evidence(stream=False)
    if dialect == _INVOKED and not found.usage and headers is not None:
        counts = raw_of_headers(headers)
        if counts is not None:
            return structs.replace(found, usage=(msgspec.json.encode(counts),))
    return found


def of_counts(usage: Usage | None, *, stream: bool) -> Evidence:
    """The evidence of counts that a translation made, in OpenAI's terms; for dialects whose own nobody here reads."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return Evidence(stream=stream)
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
    return Evidence(usage=(msgspec.json.encode(counts),), stream=stream)


class StreamEvidence:
    """Gathers the evidence of one streamed body: `feed` for every chunk in order, `evidence` at the end.

    A body that turns out to be plain JSON (one object where a stream was asked for, or Gemini's list of answers) is
    kept until its end, up to a limit that no usage lies behind in practice.
    """

    __slots__ = ("_framed", "_gathered", "_held", "_held_bytes", "_is_sse", "_plain", "_splitter", "_started", "_words")

    def __init__(self, dialect: str) -> None:
        self._gathered = _Gathered(dialect)
        self._words = _WORDS + _COUNTS if dialect in _COUNTING else _WORDS
        self._framed = FrameSplitter() if dialect in _FRAMED else None
        self._splitter = LineSplitter() if dialect in _LINES else SseSplitter()
        self._plain = bytearray()
        self._is_sse = self._framed is None and dialect not in _LINES
        self._started = not self._is_sse
        self._held: list[bytes] = []
        self._held_bytes = 0

    def feed(self, data: bytes) -> None:
        """Bytes of the body; any split into chunks gives the same evidence."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES_MAX:
            self._look()

    def feed_all(self, chunks: Sequence[bytes]) -> None:
        """Several chunks in order."""
        self._held += chunks
        self._held_bytes += sum(map(len, chunks))
        if self._held_bytes > _HELD_BYTES_MAX:
            self._look()

    def _look(self) -> None:
        """Looks through what is held."""
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if not self._started:
            if self._plain or data.lstrip()[:1] in (b"{", b"["):
                self._plain += data[: max(_PLAIN_BYTES_MAX - len(self._plain), 0)]
                return
            self._started = bool(data.strip())
        if self._is_sse and len(data) > _SMALL_BYTES and b"\r" not in data:
            data = _telling(data, self._words)
        if self._framed is not None:
            events = [_unwrapped(frame.payload) for frame in self._framed.feed(data)]
        else:
            events = [event.data for event in self._splitter.feed(data)]
        for event in events:
            if self._tells(event):
                self._gathered.add(event)

    def _tells(self, event: bytes) -> bool:
        for word in self._words:  # noqa: SIM110 - a generator costs more than what it does here
            if word in event:
                return True
        return False

    def so_far(self) -> Evidence:
        """What there is while the body is under way; does not disturb what follows."""
        self._look()
        return self._gathered.evidence(stream=True)

    def evidence(self) -> Evidence:
        """What there was; call once, when the body has ended."""
        self._look()
        left = self._splitter.unfinished()
        if left is not None and self._tells(left.data):
            self._gathered.add(left.data)
        for text in _answers(bytes(self._plain)):
            self._gathered.add(text)
        return self._gathered.evidence(stream=True)


def _telling(data: bytes, words: Sequence[bytes]) -> bytes:
    """The data without the whole events in its middle that say nothing billed; its first and last event may be torn."""
    first, last = data.find(b"\n\n") + 2, data.rfind(b"\n\n") + 2
    if first == 1 or first == last:
        return data
    spans = {
        (data.rfind(b"\n\n", 0, at) + 2, data.find(b"\n\n", at) + 2)
        for word in words
        for at in _places(word, data, first, last)
    }
    return b"".join((data[:first], *(data[start:end] for start, end in sorted(spans)), data[last:]))


def _places(word: bytes, data: bytes, start: int, end: int) -> Iterator[int]:
    at = data.find(word, start, end)
    while at >= 0:
        yield at
        at = data.find(word, at + 1, end)


class _Gathered:
    """What was found in the objects of one reply so far."""

    __slots__ = ("_dialect", "_queries", "_tier", "_usage", "_uses")

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._usage: list[bytes] = []
        self._tier: str | None = None
        self._uses: dict[str, Uses] = {}
        self._queries = 0

    def evidence(self, *, stream: bool) -> Evidence:
        return Evidence(
            usage=tuple(self._usage),
            stream=stream,
            service_tier=self._tier,
            uses=tuple(self._uses.values()),
        )

    def add(self, text: bytes) -> None:
        """A body or an event's object."""
        try:
            found = _read(text)
            repeated = text.count(b'"usage"') > 1 and _repeats(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._add_broken(text)
            return
        if repeated:
            self._usage.append(text)  # which of the two counts is nobody's guess: admission refuses the repetition
            return
        if self._dialect.startswith("ollama"):
            if found.prompt_eval_count or found.eval_count:
                self._usage.append(text)
            return
        if self._dialect in _FRAMED:
            for trace in (found.trace, found.traced):
                if trace and _holds(trace, b"PolicyUnits"):
                    self._uses.update((kind, Uses({kind: n})) for kind, n in guardrail_units(_any(trace)).items())
        if self._dialect == _INVOKED and not found.usage:
            if found.invoked:
                self._usage.append(bytes(found.invoked))
            elif found.prompt_token_count or found.inputTextTokenCount:
                self._usage.append(text)
            return
        self._take(found)
        for inner in (found.message, found.response, found.delta):
            if inner and (_holds(inner, b'"usage"') or _holds(inner, b'"meta"')):
                self._nested(bytes(inner))

    def _nested(self, text: bytes) -> None:
        try:
            self._take(_read(text))
        except msgspec.DecodeError:  # no object
            return

    def _take(self, found: _Object) -> None:
        usage = bytes(found.usage or found.usageMetadata or found.meta)
        if usage and usage != b"null":
            self._usage.append(usage)
        elif found.x_groq and _holds(found.x_groq, b'"usage"'):
            self._nested(bytes(found.x_groq))
        for stated in (found.service_tier, found.serviceTier):
            tier = _any(stated) if stated else None
            tier = tier.get("type") if type(tier) is dict else tier
            if type(tier) is str:
                self._tier = tier
        if found.output and _holds(found.output, b'_call"'):
            self._responses_tools(_any(found.output))
        if found.candidates and _holds(found.candidates, b'"groundingMetadata"'):
            self._grounding(_any(found.candidates))
        if found.choices and _holds(found.choices, b'"executed_tools"'):
            self._executed(_any(found.choices))

    def _responses_tools(self, items: Any) -> None:
        counts: dict[str, int] = {}
        containers: set[str] = set()
        for item in items if type(items) is list else ():
            kind = _OF_RESPONSES.get(str(item.get("type"))) if type(item) is dict else None
            action = item.get("action") if kind else None
            if kind is None or (type(action) is dict and action.get("type", "search") != "search"):
                continue  # opening a page that was found is no search
            container = item.get("container_id")
            if kind == "code_interpreter" and type(container) is str:
                if container in containers:
                    continue  # billed by the container, not by the call
                containers.add(container)
            counts[kind] = counts.get(kind, 0) + 1
        self._uses.update((kind, Uses({kind: count})) for kind, count in counts.items())

    def _grounding(self, candidates: Any) -> None:
        """Google bills a grounded prompt or each of its queries: the model's price says which."""
        grounded, queries = False, 0
        for each in candidates if type(candidates) is list else ():
            about = each.get("groundingMetadata") if type(each) is dict else None
            if type(about) is dict:
                asked = about.get("webSearchQueries")
                asked = [query for query in asked if query] if type(asked) is list else []
                queries += len(asked)
                grounded = grounded or bool(asked or about.get("groundingChunks"))
        if grounded:
            self._queries = max(self._queries, queries)  # streams repeat the list as it grows
            self._uses["google_search"] = Uses({"google_search_prompt": 1, "google_search_query": self._queries})

    def _executed(self, choices: Any) -> None:
        counts: dict[str, int] = {}
        for choice in choices if type(choices) is list else ():
            message = choice.get("message") or choice.get("delta") if type(choice) is dict else None
            tools = message.get("executed_tools") if type(message) is dict else None
            for tool in tools if type(tools) is list else ():
                kind = _OF_GROQ.get(str(tool.get("type"))) if type(tool) is dict else None
                if kind is not None:
                    counts[kind] = counts.get(kind, 0) + 1
        self._uses.update((kind, Uses({kind: count})) for kind, count in counts.items())

    def _add_broken(self, text: bytes) -> None:
        """A body that is no strict JSON: its usage is cut out where it stands, for admission to judge."""
        if self._dialect.startswith("ollama"):
            self._usage.append(text)
            return
        for key in ("usage", "usageMetadata", "meta"):
            found = list(re.finditer(rb'(?<!\\)"%s"\s*:\s*' % key.encode(), text))
            if found and (cut := _value_at(text[found[-1].end() :])) != b"null":
                self._usage.append(cut)


def _answers(body: bytes) -> list[bytes]:
    """The objects of a body that is one, or a list of them."""
    if not body.lstrip().startswith(b"["):
        return [body] if body else []
    try:
        return [bytes(each) for each in _list(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [body]  # cut, or no strict JSON: the last usage in it is found where it stands


def _holds(member: Raw, mark: bytes) -> bool:
    return mark in bytes(member)


def _value_at(text: bytes) -> bytes:
    """The JSON value, NaN and all, with which the text begins; all of it where none does."""
    written = text.decode("utf-8", "surrogateescape")
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(written)
    except (ValueError, RecursionError):
        return text
    return written[:end].encode("utf-8", "surrogateescape")


def _repeats(text: bytes) -> bool:
    """Whether some object within has two members called usage."""
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or sum(key == "usage" for key, _ in pairs) > 1

    json.loads(text, object_pairs_hook=look)
    return repeated


def _unwrapped(payload: bytes) -> bytes:
    """A frame's payload; InvokeModel wraps the model's own event in base64."""
    if payload.startswith(b'{"bytes"'):
        try:
            inner = _any(payload)["bytes"]
            return base64.b64decode(inner)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return payload
    return payload
