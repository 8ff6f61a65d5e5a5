"""An emulated provider: an upstream call in, the reply with the instant of each piece out. No socket, clock or chance.

The dialect is OpenAI's chat, through the other side of its wire; the text is `text.py`'s, the figures are the
profile's, the luck comes in as keyed draws. So one request meets one fate at one provider, whatever else happened,
and a streamed and an unstreamed call of the same luck share time to first token, token rate and failure.
One choice is given whatever `n` asks for, and keys are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import exp
from typing import Final

import msgspec
from msgspec import Struct

from clawbench.emulator.profiles import Failure, ProviderProfile
from clawbench.emulator.text import Answer, answer
from clawbench.emulator.tokens import CHARS_PER_TOKEN, count_prefix, count_prompt, count_text
from clawbench.rng import Draws
from clawbench.types import ChatRequest, Choice, Completion, Delta, HttpCall, ToolCallDelta, Usage
from clawbench.wires import WIRES

CACHE_MIN_TOKENS: Final = 512
"""A prompt cache takes no shorter prefix."""

CACHE_BLOCK_TOKENS: Final = 64
"""Cached tokens are whole blocks."""

_WIRE = WIRES["openai_chat"]
_JSON_TYPE = {"content-type": "application/json"}


class EmulatedReply(Struct, frozen=True):
    """A reply with its times, in seconds since the call was sent. Chunk instants never go back or precede headers."""

    status: int
    headers: dict[str, str]
    headers_s: float
    chunks: list[tuple[bytes, float]]

    @property
    def body(self) -> bytes:
        return b"".join(data for data, _ in self.chunks)


class EmulatedProvider:
    """Answers calls as one provider does. `models` maps the names that it serves to the catalogue's ids.

    Text is drawn for the catalogue id, so that two providers say the same under different names for one model.
    `created` is what every answer states as its creation time, in Unix seconds: there is no clock here.
    """

    def __init__(self, profile: ProviderProfile, *, models: Mapping[str, str], created: int = 1_735_689_600) -> None:
        self.profile, self.models, self.created = profile, models, created

    def answer(self, call: HttpCall, luck: Draws) -> EmulatedReply:
        """The reply to a call; `luck` is a keyed stream of its own, e.g. of request and offer. Never raises."""
        fate = _Fate.draw(self.profile, luck)
        try:
            request = _WIRE.parse(call)
        except ValueError as error:
            return self._refused(400, str(error), None, fate)
        model = self.models.get(request.model)
        if model is None:
            message = f"The model `{request.model}` does not exist or you do not have access to it."
            return self._refused(404, message, "model_not_found", fate)
        said = answer(request, model)
        usage = self._usage(request, said, fate)
        fresh_tokens = (usage.input_tokens or 0) - (usage.cached_input_tokens or 0)
        ttft_s = fate.ttft_s(self.profile, fresh_tokens)
        if fate.failure is not None:
            return self._failed(fate.failure, request.model, ttft_s, fate)
        if request.stream:
            return self._streamed(request, said, usage, ttft_s, fate, luck)
        return self._whole(request, said, usage, ttft_s, fate)

    def _whole(self, request: ChatRequest, said: Answer, usage: Usage, ttft_s: float, fate: _Fate) -> EmulatedReply:
        choice = Choice(content=said.content, tool_calls=said.tool_calls, finish_reason=said.finish_reason)
        completion = Completion(choices=(choice,), id=fate.id, model=request.model, created=self.created, usage=usage)
        composed = _WIRE.compose(completion)
        end_s = ttft_s + max(0, said.output_tokens - 1) / fate.token_rate
        return EmulatedReply(
            composed.status, composed.headers | self._headers(end_s, fate), end_s, [(composed.body, end_s)]
        )

    def _streamed(
        self, request: ChatRequest, said: Answer, usage: Usage, ttft_s: float, fate: _Fate, luck: Draws
    ) -> EmulatedReply:
        pieces = list(_pieces(said, self.profile.tokens_per_event))
        instants = list(self._instants([tokens for _, tokens in pieces], ttft_s, fate.token_rate, luck))
        deltas = [delta for delta, _ in pieces]
        deltas.append(Delta(finish_reason=said.finish_reason))
        if request.include_usage:
            deltas.append(Delta(usage=usage))
        frames = _WIRE.compose_stream(deltas, id=fate.id, model=request.model, created=self.created)
        network_s = self.profile.network_s
        headers_s = network_s + (ttft_s - network_s) * fate.headers_share
        chunks = _timed(frames, headers_s, instants)
        headers = {"content-type": "text/event-stream; charset=utf-8"} | self._headers(headers_s, fate)
        return EmulatedReply(200, headers, headers_s, chunks)

    def _instants(self, tokens: list[int], ttft_s: float, token_rate: float, luck: Draws) -> Iterator[float]:
        """When each piece is out; gaps vary around tokens / rate with mean 1, so the rate stays what was drawn."""
        sigma = self.profile.jitter_sigma
        t_s = ttft_s
        yield t_s
        for count in tokens[1:]:
            t_s += count / token_rate * luck.lognormal(exp(-(sigma**2) / 2), sigma)
            yield t_s

    def _usage(self, request: ChatRequest, said: Answer, fate: _Fate) -> Usage:
        prompt_tokens, prefix = count_prompt(request), count_prefix(request)
        cached = 0
        if prefix >= CACHE_MIN_TOKENS and fate.cache_draw < self.profile.cache_hit_share:
            cached = prefix // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
        return Usage(
            input_tokens=prompt_tokens,
            cached_input_tokens=cached if self.profile.cache_hit_share else None,
            output_tokens=said.output_tokens,
        )

    def _headers(self, headers_s: float, fate: _Fate) -> dict[str, str]:
        """What such providers send beside the content type: their own processing time, and what is left of limits."""
        requests, tokens = self.profile.requests_per_minute, self.profile.tokens_per_minute
        return {
            "openai-processing-ms": str(round((headers_s - self.profile.network_s) * 1000)),
            "x-ratelimit-limit-requests": str(requests),
            "x-ratelimit-remaining-requests": str(int(requests * fate.quota_left)),
            "x-ratelimit-remaining-tokens": str(int(tokens * fate.quota_left)),
        }

    def _failed(self, failure: Failure, model: str, ttft_s: float, fate: _Fate) -> EmulatedReply:
        message = failure.message.replace("{model}", model).replace(
            "{requests_per_minute}", str(self.profile.requests_per_minute)
        )
        headers_s = self._door_s(fate) if failure.at_the_door else ttft_s
        headers = _JSON_TYPE | self._headers(headers_s, fate)
        if failure.status == 429:
            headers["x-ratelimit-remaining-requests"] = "0"
        if failure.retry_after_s is not None:
            headers["retry-after"] = str(failure.retry_after_s)
        body = _error_body(message, failure.type, failure.code)
        return EmulatedReply(failure.status, headers, headers_s, [(body, headers_s)])

    def _refused(self, status: int, message: str, code: str | None, fate: _Fate) -> EmulatedReply:
        headers_s = self._door_s(fate)
        body = _error_body(message, "invalid_request_error", code)
        return EmulatedReply(status, _JSON_TYPE | self._headers(headers_s, fate), headers_s, [(body, headers_s)])

    def _door_s(self, fate: _Fate) -> float:
        """When a reply comes that no model was needed for: the network and a few milliseconds."""
        return self.profile.network_s + 0.002 + 0.01 * fate.headers_share


class _Fate(Struct, frozen=True, kw_only=True):
    """What chance decides of a reply, drawn in one fixed order before anything is known of the request."""

    failure: Failure | None
    ttft_factor: float  # around 1
    token_rate: float  # output tokens per second
    headers_share: float  # of the time to first token, at which a streamed reply's headers come
    cache_draw: float
    quota_left: float  # 0 to 1
    id: str

    @classmethod
    def draw(cls, profile: ProviderProfile, luck: Draws) -> _Fate:
        return cls(
            failure=_failure(profile.failures, luck.random()),
            ttft_factor=luck.lognormal(1.0, profile.ttft_s_sigma),
            token_rate=luck.lognormal(profile.token_rate_median, profile.token_rate_sigma),
            headers_share=0.3 + 0.6 * luck.random(),
            cache_draw=luck.random(),
            quota_left=0.2 + 0.75 * luck.random(),
            # Ten digits, no more: long random ids look like keys to whoever scans recordings for them.
            id=f"chatcmpl-{luck.below(2**40):010x}",
        )

    def ttft_s(self, profile: ProviderProfile, fresh_tokens: int) -> float:
        median_s = profile.ttft_s_median + profile.ttft_s_per_1k_prompt_tokens * fresh_tokens / 1000
        return max(profile.network_s, median_s * self.ttft_factor)


def _failure(failures: tuple[Failure, ...], draw: float) -> Failure | None:
    for failure in failures:
        draw -= failure.share
        if draw < 0:
            return failure
    return None


def _pieces(said: Answer, tokens_per_event: int) -> Iterator[tuple[Delta, int]]:
    """The answer as stream events with the tokens in each.

    The first event of a text is one token, so that the rest takes (tokens - 1) / rate, as a token rate is defined.
    """
    first, step = CHARS_PER_TOKEN, tokens_per_event * CHARS_PER_TOKEN
    if said.content is not None:
        cuts = [0, *range(first, len(said.content), step), len(said.content)]
        for start, end in pairwise(cuts):
            text = said.content[start:end]
            yield Delta(content=text), count_text(text)
    for index, call in enumerate(said.tool_calls):
        yield Delta(tool_calls=(ToolCallDelta(index, call.id, call.name),)), count_text(call.name)
        for start in range(0, len(call.arguments), step):
            text = call.arguments[start : start + step]
            yield Delta(tool_calls=(ToolCallDelta(index, arguments=text),)), count_text(text)


def _timed(frames: Iterator[bytes], headers_s: float, instants: list[float]) -> list[tuple[bytes, float]]:
    """Each frame with its instant: one with output at the next of `instants`, any other along with the one before it.

    Which frame has output is for the wire's own decoder to say, since how it frames deltas is its business.
    """
    decoder, due, t_s = _WIRE.stream(), iter(instants), headers_s
    timed = []
    for frame in frames:
        if any(delta.has_output for delta in decoder.feed(frame)):
            t_s = next(due, t_s)
        timed.append((frame, t_s))
    return timed


def _error_body(message: str, type: str, code: str | None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": None, "code": code}})
