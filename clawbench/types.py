"""The nouns that every room shares: requests, offers, what comes back, and the bytes between.

Values only: frozen, without behaviour beyond a derived property. Nothing here knows a provider, a clock
or a socket. Chat content is kept in OpenAI's chat shape (plain dicts), because that is what clients send:
a request that needs no translation is never taken apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from clawbench.errors import UpstreamError

Message = dict[str, Any]
"""One chat message in OpenAI's shape: role, content (str, None or list of parts), tool_calls, tool_call_id, …"""

Headers = Mapping[str, str]
"""Header names in lower case; repeated headers joined by ', '."""

Capability = Literal["tools", "vision", "audio", "json_schema", "streaming", "logprobs", "n"]

Match = Literal["exact", "nearest", "synthetic", "live"]
"""Where an answer came from: see `schema.py`, attempts.match."""

TimingSource = Literal["recorded", "header", "body", "duration", "profile", "live"]
"""What an answer's times rest on: see `schema.py`, attempts.timing."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """What a client asks for, in OpenAI's chat terms, whichever surface or dialect it came through.

    None means the client did not say. Lists and dicts inside are shared with the parsed body: never change them.
    """

    model: str
    messages: list[Message]
    stream: bool = False
    include_usage: bool = False  # stream_options.include_usage: the client wants a usage frame
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    max_output_tokens: int | None = None  # max_completion_tokens, or the older max_tokens
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: list[str] | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    extra: dict[str, Any] = {}  # every other field, passed through under its own name


class Rates(Struct, frozen=True, kw_only=True):
    """Prices of an offer in pico-USD (1e-12 USD) per token; 1 USD per million tokens is 1,000,000.

    `input` and `output` are always known (an offer without them has `Offer.rates = None`); zero is a price.
    None for a bucket means no separate price is published: the bucket is charged as `input` (or `output`).
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    tiers: tuple[Tier, ...] = ()  # prices of longer prompts, the longest first


class Tier(Struct, frozen=True, kw_only=True):
    """The whole request's prices, output and caches included, once its prompt has more than `above` tokens."""

    above: int
    rates: Rates  # complete, and without tiers of their own


class LatencyProfile(Struct, frozen=True, kw_only=True):
    """How fast an offer answers, as two log-normal distributions; used where a recording holds no times.

    `*_median` are medians, `*_sigma` standard deviations of the natural logarithm. `source` says where it is from.
    """

    ttft_s_median: float
    ttft_s_sigma: float
    token_rate_median: float  # output tokens per second after the first token
    token_rate_sigma: float
    source: str


class Offer(Struct, frozen=True, kw_only=True):
    """One provider's offer of one model: the thing a strategy chooses."""

    id: str  # unique in the catalog, by custom provider/model
    provider: str
    model: str  # the catalogue id that clients ask for
    upstream_model: str  # the name that this provider wants to read
    base_url: str  # scheme, host and path prefix, without a trailing slash
    dialect: str = "openai_chat"  # name of the wire
    rates: Rates | None = None  # None: price unknown, so @price cannot choose it and costs are null
    price_source: str | None = None
    context_window: int | None = None  # tokens; None: unknown, never a reason to exclude
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None  # None: unknown, treated as able to do everything
    profile: LatencyProfile | None = None
    quota: str | None = None  # offers with the same one share an upstream limit, and one breaker
    requests_per_minute: int | None = None  # the provider's limit; None: not stated
    tokens_per_minute: int | None = None
    energy_j_per_token: float | None = None  # joules for each output token; None: unknown
    quality: float | None = None  # measured score in (0, 1], higher is better; None: not measured


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one answer as the provider counted them. None means the provider did not say.

    `input_tokens` is the whole prompt, `cached_input_tokens` and `cache_write_tokens` are parts of it;
    `output_tokens` is everything generated, `reasoning_tokens` is a part of it.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: dict[str, Any] | None = None  # the provider's own object, unchanged
    estimated: bool = False  # the provider did not count: these are ours


class ToolCall(Struct, frozen=True):
    """A complete tool call; `arguments` is the JSON text exactly as the model wrote it (it may be invalid JSON)."""

    id: str
    name: str
    arguments: str


class ToolCallDelta(Struct, frozen=True):
    """A piece of a tool call: `id` and `name` come with its first piece only."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Delta(Struct, frozen=True, kw_only=True):
    """What one stream event adds to the answer.

    At most one of `error` and everything else; after an error nothing follows. `extra` holds message fields
    without a place of their own (annotations, images, audio, reasoning_details), in OpenAI's delta shape.
    """

    index: int = 0  # choice
    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    usage: Usage | None = None
    extra: dict[str, Any] | None = None
    error: UpstreamError | None = None

    @property
    def has_output(self) -> bool:
        """True if this piece is a token of the answer: text, reasoning, refusal, tool call or media."""
        return bool(self.content or self.reasoning or self.tool_calls or self.refusal or self.extra)


class TextRun(Struct, frozen=True):
    """Pieces of text of choice 0, none of them empty, one an event: what most of a stream is."""

    pieces: list[str]


class StreamEnd(Struct, frozen=True, kw_only=True):
    """What is known once a stream's bytes have ended."""

    complete: bool  # a finish reason was seen, or the dialect's own end marker
    finish_reason: str | None = None
    usage: Usage | None = None  # the last one stated; None: the provider stated none
    id: str | None = None
    model: str | None = None  # the model that the provider says it served
    notes: tuple[str, ...] = ()  # what was odd but harmless, e.g. "no [DONE]"


class Choice(Struct, frozen=True, kw_only=True):
    """One of the answers of a completion."""

    index: int = 0
    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None  # OpenAI's words: stop, length, tool_calls, content_filter
    logprobs: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None  # further message fields in OpenAI's shape


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    choices: tuple[Choice, ...]
    id: str = ""
    model: str | None = None  # the model that the provider says it served
    created: int | None = None  # Unix seconds by the provider's clock
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    extra: dict[str, Any] | None = None  # further top-level fields (citations, provider, …)
    notes: tuple[str, ...] = ()


class HttpCall(Struct, frozen=True, kw_only=True):
    """One upstream HTTP request, ready to be sent. Keys of providers are added by the network transport, not here."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    offer_id: str = ""
    stream: bool = False
    notes: tuple[str, ...] = ()  # what the dialect could not say and was left out or changed
    draw_key: str = ""  # names the request in keyed random draws: the same under every strategy of one seed


class Chunk(Struct, frozen=True, gc=False):
    """Bytes of a body and the instant at which they arrived, in seconds of the clock in force."""

    data: bytes
    t_s: float


class Provenance(Struct, frozen=True, kw_only=True):
    """What a reply rests on; goes into the attempt's record as it is."""

    match: Match | None = "live"  # None: nothing answered
    timing: TimingSource | None = "live"
    interaction: str | None = None  # file and index within the cassette, e.g. "openai.yaml#3"
    fault: str | None = None  # the fault of a fault plan that struck; None: none did


LIVE = Provenance()


class HttpReply(Protocol):
    """The answer to an `HttpCall`: status and headers are there, the body is still coming.

    `chunks()` may be iterated once. Each item is what one wake-up of the event loop brought: one chunk from a
    network, possibly many from a recording, each with the instant of its own. It raises `UpstreamError` only.
    `batch_rest()` says that the gateway needs no wake-up of its own for each further chunk (it has seen the first
    output); True if the reply will hand them over together. A network cannot, and the gateway then watches for gaps.
    `aclose()` may be called at any time, also after the end, and gives the connection back.
    """

    status: int
    headers: Headers
    t_headers_s: float
    provenance: Provenance

    def chunks(self) -> AsyncIterator[Sequence[Chunk]]: ...

    def batch_rest(self) -> bool: ...

    async def aclose(self) -> None: ...


class RequestShape(Struct, frozen=True, kw_only=True):
    """What a strategy may know of a request."""

    prompt_tokens: int  # estimate, see gateway/admission.py
    max_output_tokens: int | None
    stream: bool
    needs: frozenset[str]  # capabilities without which an offer cannot serve it


class Exclusion(Struct, frozen=True):
    """An offer that could not be considered, and why."""

    offer_id: str
    reason: str


class Decision(Struct, frozen=True, kw_only=True):
    """Which offer was chosen for an attempt, among which, at which scores.

    `candidates` and `scores` run in parallel; lower is better; `propensity` is the probability with which
    `chosen` was drawn, in (0, 1].
    """

    strategy: str
    t_s: float
    candidates: tuple[str, ...]
    scores: tuple[float, ...]
    in_flight: tuple[int, ...]
    excluded: tuple[Exclusion, ...]
    chosen: str
    propensity: float
