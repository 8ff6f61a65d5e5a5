"""What a recording reveals about its times where it stores no arrival times of its own.

Three sources, never mixed in one answer: processing headers, timings that a provider states in the body, and the
duration that a recorder's clock measured. A header leaves before a streamed body does, so on a streamed reply it can
speak of the time to the headers or to the first token only; on a reply that is not streamed it covers the whole answer.
Headers and bodies give the provider's figures, without the network between; a recorder's clock includes it.
Knows headers and bytes only, no wire and no file.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections import deque
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

PLAUSIBLE_S: Final = 3600.0


class Revealed(Struct, frozen=True, kw_only=True, gc=False):
    """Times since the request reached the provider, in seconds; None where the source does not say."""

    ttft_s: float | None = None  # first token
    e2e_s: float | None = None  # end of the answer
    headers_s: float | None = None  # response headers
    source: Literal["header", "body", "duration"]


class TimingHeader(Struct, frozen=True):
    """A response header with a time: its unit in seconds, and what its time runs to.

    `headers`: to the response headers, so to the end where the reply is not streamed. `ttft`: to the first token.
    `e2e`: to the end, which a header can know only where the reply is not streamed.
    """

    name: str
    unit_s: float
    tells: Literal["headers", "ttft", "e2e"]


# Checked against recorded traffic: the medians of streamed and not streamed replies differ as `tells` says (OpenAI:
# 0.24 s of 0.71 s streamed, 0.88 s of 1.07 s not streamed; Alibaba and Google: 0.96 and 0.99 of the time to headers).
# Within a kind the first one present wins: the outermost measurement stands first.
TIMING_HEADERS: Final = (
    TimingHeader("x-metrics-ttft-ms", 0.001, "ttft"),  # xAI, replies that are not streamed
    TimingHeader("fireworks-server-time-to-first-token", 1.0, "ttft"),
    TimingHeader("x-metrics-e2e-ms", 0.001, "e2e"),  # xAI
    TimingHeader("fireworks-server-processing-time", 1.0, "e2e"),
    TimingHeader("x-amzn-bedrock-invocation-latency", 0.001, "e2e"),
    TimingHeader("x-total-time", 0.001, "e2e"),  # Together, text-generation-inference: queue included
    TimingHeader("x-inference-time", 0.001, "e2e"),  # the same without the queue
    TimingHeader("x-envoy-upstream-service-time", 0.001, "headers"),  # Envoy: until the upstream's headers
    TimingHeader("x-kong-upstream-latency", 0.001, "headers"),
    TimingHeader("openai-processing-ms", 0.001, "headers"),
    TimingHeader("req-cost-time", 0.001, "headers"),  # Alibaba
    TimingHeader("cmp-upstream-response-duration", 0.001, "headers"),  # Azure API Management
    TimingHeader("server-timing", 0.001, "headers"),  # `name;dur=ms`, the longest; Cloudflare's own marks aside
    TimingHeader("x-compute-time", 0.001, "headers"),  # seconds where it has a decimal point
)

_SERVER_TIMING: Final = re.compile(r"([^\s,;=]+)\s*(?:;[^,;]*)*?;\s*dur=([^\s,;]+)")
_SERVER_TIMING_CHARS: Final = 2_000  # a foreign file may hold a header of any length
_MARKERS: Final = re.compile(
    rb'"(?:queue_time|time_info|timings|total_duration|latencyMs|amazon-bedrock-invocationMetrics)"\s*:'
)
_BASE64_FRAME: Final = re.compile(rb'\{"bytes":"([A-Za-z0-9+/=]+)"')
_decode_text = JSONDecoder().raw_decode


def revealed(
    headers: dict[str, str],
    body: bytes,
    *,
    streamed: bool,
    duration_s: float | None = None,
    e2e_s: float | None = None,
) -> Revealed | None:
    """The best that the recording tells, or None. Negative values, not finite ones and those above an hour are absent.

    Headers win unless they tell only when a streamed reply began and the body tells more; what the recorder's clock
    said comes last: `duration_s` to the headers, `e2e_s` to the end.
    """
    by_header = _from_headers(headers, streamed)
    if by_header is not None and (by_header.ttft_s is not None or by_header.e2e_s is not None):
        return by_header
    by_body = _from_body(body)
    if by_body is not None:
        return by_body
    if by_header is not None:
        return by_header
    return _from_clock(_plausible(duration_s), _plausible(e2e_s), streamed)


def _from_headers(headers: dict[str, str], streamed: bool) -> Revealed | None:
    told: dict[str, float] = {}
    for row in TIMING_HEADERS:
        text = headers.get(row.name)
        if text is None or row.tells in told or (row.tells == "e2e" and streamed):
            continue
        seconds = _header_seconds(row, text)
        if seconds is not None:
            told[row.tells] = seconds
    if not told:
        return None
    headers_s, ttft_s = told.get("headers"), told.get("ttft")
    e2e_s = told.get("e2e", None if streamed else headers_s)
    if ttft_s is not None and e2e_s is not None and ttft_s > e2e_s:
        ttft_s = None
    return Revealed(ttft_s=ttft_s, e2e_s=e2e_s, headers_s=headers_s, source="header")


def _from_clock(headers_s: float | None, e2e_s: float | None, streamed: bool) -> Revealed | None:
    if e2e_s is None and not streamed:
        e2e_s = headers_s
    if headers_s is None and e2e_s is None:
        return None
    if headers_s is not None and e2e_s is not None and headers_s > e2e_s:
        headers_s = None
    return Revealed(headers_s=headers_s, e2e_s=e2e_s, source="duration")


def _header_seconds(row: TimingHeader, text: str) -> float | None:
    texts = [text]
    if row.name == "server-timing":
        texts = [dur for name, dur in _SERVER_TIMING.findall(text[:_SERVER_TIMING_CHARS]) if not name.startswith("cf")]
    unit_s = 1.0 if row.name == "x-compute-time" and "." in text else row.unit_s
    numbers = (_number(text) for text in texts)
    seconds = (_plausible(number * unit_s) for number in numbers if number is not None)
    return max((value for value in seconds if value is not None), default=None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _plausible(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= PLAUSIBLE_S:
        return None
    return seconds


class _Times(Struct):
    queue_time: float | None = None
    prompt_time: float | None = None
    completion_time: float | None = None
    total_time: float | None = None


class _GroqTail(Struct):
    usage: _Times | None = None


class _LlamaTimes(Struct):
    prompt_ms: float | None = None
    predicted_ms: float | None = None


class _BedrockMetrics(Struct):
    latency_ms: float | None = msgspec.field(default=None, name="latencyMs")


class _BedrockInvocation(Struct):
    latency_ms: float | None = msgspec.field(default=None, name="invocationLatency")
    first_byte_ms: float | None = msgspec.field(default=None, name="firstByteLatency")


class _Stated(Struct):
    """The places in a body, or in one event of it, where providers state times."""

    usage: _Times | None = None  # Groq: queue apart from total
    x_groq: _GroqTail | None = None  # the same in a stream
    time_info: _Times | None = None  # Cerebras: total includes the queue
    timings: _LlamaTimes | None = None  # llama.cpp
    total_duration: float | None = None  # Ollama: nanoseconds
    load_duration: float | None = None
    prompt_eval_duration: float | None = None
    metrics: _BedrockMetrics | None = None  # Bedrock Converse
    invocation: _BedrockInvocation | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


_decode_stated = msgspec.json.Decoder(_Stated).decode


def _from_body(body: bytes) -> Revealed | None:
    stated = _stated(body)
    if stated is None:
        return None
    ttft_s, e2e_s = _stated_times(stated)
    ttft_s, e2e_s = _plausible(ttft_s), _plausible(e2e_s)
    if ttft_s is not None and e2e_s is not None and ttft_s > e2e_s:
        ttft_s = None
    if ttft_s is None and e2e_s is None:
        return None
    return Revealed(ttft_s=ttft_s, e2e_s=e2e_s, source="body")


def _stated_times(stated: _Stated) -> tuple[float | None, float | None]:
    """Time to first token and to the end, in seconds, as the provider's own fields give them."""
    groq = stated.x_groq.usage if stated.x_groq and stated.x_groq.usage else stated.usage
    if groq is not None and groq.total_time is not None:
        queue_s = groq.queue_time or 0.0
        return None if groq.prompt_time is None else queue_s + groq.prompt_time, queue_s + groq.total_time
    info = stated.time_info
    if info is not None and info.total_time is not None:
        return None if info.prompt_time is None else (info.queue_time or 0.0) + info.prompt_time, info.total_time
    llama = stated.timings
    if llama is not None and llama.prompt_ms is not None:
        e2e_ms = None if llama.predicted_ms is None else llama.prompt_ms + llama.predicted_ms
        return llama.prompt_ms / 1e3, None if e2e_ms is None else e2e_ms / 1e3
    if stated.total_duration is not None:
        prompt_ns = stated.prompt_eval_duration
        ttft_s = None if prompt_ns is None else ((stated.load_duration or 0) + prompt_ns) / 1e9
        return ttft_s, stated.total_duration / 1e9
    if stated.invocation is not None and stated.invocation.latency_ms is not None:
        first_ms = stated.invocation.first_byte_ms
        return None if first_ms is None else first_ms / 1e3, stated.invocation.latency_ms / 1e3
    if stated.metrics is not None and stated.metrics.latency_ms is not None:
        return None, stated.metrics.latency_ms / 1e3
    return None, None


def _stated(body: bytes) -> _Stated | None:
    marker = _last(_MARKERS, body)  # usage comes at the end
    if marker is None:
        frame = _last(_BASE64_FRAME, body)
        return None if frame is None else _in_base64(frame[1])
    if b"\0" in body[:16]:  # binary frames: JSON begins somewhere before the marker
        return _in_frame(body, marker.start())
    start = body.rfind(b"\n", 0, marker.start()) + 1
    end = body.find(b"\n", marker.start())
    line = body[start : len(body) if end < 0 else end].removeprefix(b"data:").strip()
    return _try_decode(line) or _try_decode(body)


def _last(pattern: re.Pattern[bytes], body: bytes) -> re.Match[bytes] | None:
    found = deque(pattern.finditer(body), maxlen=1)
    return found[0] if found else None


def _try_decode(text: bytes) -> _Stated | None:
    try:
        return _decode_stated(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _in_base64(text: bytes) -> _Stated | None:
    try:
        return _try_decode(b64decode(text))
    except ValueError:
        return None


def _in_frame(body: bytes, marker: int) -> _Stated | None:
    start = body.rfind(b'{"metrics"', 0, marker)
    if start < 0:
        return None
    try:
        value: Any = _decode_text(body[start:].decode("latin-1"))[0]
        return msgspec.convert(value, _Stated)
    except (JSONDecodeError, RecursionError, msgspec.MsgspecError):
        return None
