"""An emulated offer: a request in, the reply with the instant of each piece out, in whichever dialect.

The dialect's bytes are its wire's, what else its providers send is its manners'; the text is `text.py`'s, the figures
are the profile's, the luck comes in as keyed draws and the load as conditions. So one request meets one fate at one
offer, and a streamed and an unstreamed call of the same luck share time to first token, token rate and failure.
One choice is given whatever `n` asks for. No socket, no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from math import exp

import msgspec
from msgspec import Struct

from clawbench.emulator.conditions import CacheUse, Chances, Conditions, Drawn
from clawbench.emulator.dialects.manners import NO_QUOTA, Facts, Manners, Quota, Refusal
from clawbench.emulator.profiles import Failure, Profile, factor_at
from clawbench.emulator.text import Answer, answer
from clawbench.emulator.tokens import CHARS_PER_TOKEN, count_prompt, count_text
from clawbench.errors import UpstreamError
from clawbench.rng import Draws
from clawbench.types import ChatRequest, Choice, Completion, Delta, ToolCall, ToolCallDelta, Usage
from clawbench.wires.protocol import Wire

CREATED = 1_735_689_600
"""Unix time of every answer where no clock says another: 2025-01-01."""


class Prepared(Struct, frozen=True):
    """What a request's answer is, whoever gives it under whatever conditions: worth keeping for the next time."""

    request: ChatRequest
    said: Answer
    prompt_tokens: int
    prompt_chars: int


class EmulatedReply(Struct, frozen=True):
    """A reply with its times, in seconds since the call was sent. Chunk instants never go back or precede headers."""

    status: int
    headers: dict[str, str]
    headers_s: float
    chunks: list[tuple[bytes, float]]
    energy_j: float = 0.0

    @property
    def body(self) -> bytes:
        return b"".join(data for data, _ in self.chunks)


class EmulatedOffer:
    """One model at one provider. Keeps nothing but what its conditions keep.

    `model` is the catalogue's id: text is drawn for it, so that two providers say the same under different names for
    one model. `thinks`: the model reasons before it answers.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        wire: Wire,
        manners: Manners,
        model: str,
        thinks: bool = False,
        context_window: int | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        """Without `conditions` nothing but luck decides, see `conditions.Drawn`."""
        self.profile, self.wire, self.manners, self.model = profile, wire, manners, model
        self._thinks, self._context_window = thinks, context_window
        self._conditions = conditions or Drawn(profile)

    def speaking(self, wire: Wire, manners: Manners) -> EmulatedOffer:
        """The same offer, under the same conditions, in another dialect."""
        return EmulatedOffer(
            self.profile,
            wire=wire,
            manners=manners,
            model=self.model,
            thinks=self._thinks,
            context_window=self._context_window,
            conditions=self._conditions,
        )

    def prepared(self, request: ChatRequest) -> Prepared:
        """The answer to a request, before anything is known of luck and load."""
        chars = sum(len(str(message.get("content") or "")) for message in request.messages)
        return Prepared(request, answer(request, self.model, thinks=self._thinks), count_prompt(request), chars)

    def answer(self, asked: Prepared, luck: Draws, *, at_s: float = 0.0, epoch_s: int = CREATED) -> EmulatedReply:
        """The reply to a request at an instant; `luck` is a keyed stream of its own, e.g. of request and offer."""
        fate = Fate.draw(self.profile, luck)
        return _Answering(self, asked, fate, luck, at_s, epoch_s).reply()


class Fate(Struct, frozen=True, kw_only=True):
    """What chance decides of a reply, drawn in one fixed order before anything is known of the request."""

    failure: Failure | None
    ttft_factor: float  # around 1
    rate_factor: float  # around 1
    headers_share: float  # of the time to first token, at which a streamed reply's headers come
    chances: Chances
    id: str

    @classmethod
    def draw(cls, profile: Profile, luck: Draws) -> Fate:
        return cls(
            failure=_failure(profile.failures, luck.random()),
            ttft_factor=factor_at(luck.random(), profile.ttft_s_sigma, profile.ttft_quantiles),
            rate_factor=factor_at(luck.random(), profile.token_rate_sigma, profile.token_rate_quantiles),
            headers_share=0.3 + 0.6 * luck.random(),
            chances=Chances(luck.random(), 0.2 + 0.75 * luck.random()),
            # Ten digits, no more: long random ids look like keys to whoever scans recordings for them.
            id=f"{luck.below(2**40):010x}",
        )


class _Answering:
    """One answer in the making: facts are found in order, and the first that forbids it ends it."""

    def __init__(
        self, offer: EmulatedOffer, asked: Prepared, fate: Fate, luck: Draws, at_s: float, epoch_s: int
    ) -> None:
        self._offer, self._asked, self._fate, self._luck = offer, asked, fate, luck
        self._profile, self._conditions = offer.profile, offer._conditions
        self._at_s, self._epoch_s = at_s, epoch_s
        self._quota: Quota = NO_QUOTA

    def reply(self) -> EmulatedReply:
        asked, fate, conditions = self._asked, self._fate, self._conditions
        window = self._offer._context_window
        if window is not None and asked.prompt_tokens > window:
            why = Refusal(kind="context_length", context_window=window, prompt_tokens=asked.prompt_tokens)
            return self._refused(why, self._door_s())
        tokens = asked.prompt_tokens + asked.said.output_tokens
        self._quota, limit, wait_s = conditions.quota(tokens, fate.chances, self._at_s)
        if limit is not None:
            why = Refusal(kind=limit, retry_after_s=wait_s, prompt_tokens=tokens)
            return self._refused(why, self._door_s())
        if fate.failure is not None and fate.failure.at == "door":
            return self._refused(_refusal_of(fate.failure), self._door_s())
        return self._served(conditions.cached(asked.request, fate.chances, self._at_s))

    def _served(self, cache: CacheUse) -> EmulatedReply:
        asked, fate, profile = self._asked, self._fate, self._profile
        slowness = self._conditions.slowness(self._at_s)
        fresh = asked.prompt_tokens - (cache.read or 0)
        rate = profile.token_rate(asked.prompt_tokens) * fate.rate_factor / slowness
        ttft_s = max(profile.network_s, profile.ttft_s(fresh) * fate.ttft_factor * slowness)
        service_s = ttft_s - profile.network_s + max(0, asked.said.output_tokens - 1) / rate
        wait_s = self._conditions.enter(service_s, self._at_s)
        if wait_s is None:
            return self._refused(Refusal(kind="overloaded"), self._door_s())
        ttft_s += wait_s
        failure = fate.failure
        if failure is not None and failure.at == "model":
            return self._refused(_refusal_of(failure), ttft_s)
        usage = Usage(
            input_tokens=asked.prompt_tokens,
            cached_input_tokens=cache.read,
            cache_write_tokens=cache.written,
            output_tokens=asked.said.output_tokens,
            reasoning_tokens=asked.said.reasoning_tokens if asked.said.reasoning is not None else None,
        )
        end_s = ttft_s + max(0, asked.said.output_tokens - 1) / rate
        if asked.request.stream:
            return self._streamed(usage, ttft_s, rate, failure)
        if failure is not None:
            why = Refusal(kind="server_error" if failure.at == "cut" else failure.kind)
            return self._refused(why, ttft_s + (end_s - ttft_s) * fate.headers_share)
        return self._whole(usage, ttft_s, end_s)

    def _whole(self, usage: Usage, ttft_s: float, end_s: float) -> EmulatedReply:
        offer, said = self._offer, self._asked.said
        choice = Choice(
            content=said.content,
            reasoning=said.reasoning,
            tool_calls=tuple(self._named(said.tool_calls)),
            finish_reason=said.finish_reason,
        )
        facts = self._facts(end_s, usage=usage, first_s=ttft_s, end_s=end_s)
        completion = Completion(
            choices=(choice,),
            id=offer.manners.id_prefix + self._fate.id,
            model=self._asked.request.model,
            created=self._epoch_s,
            usage=usage,
        )
        composed = offer.wire.compose(completion)
        body = offer.manners.whole(composed.body, facts)
        headers = composed.headers | offer.manners.headers(facts)
        return EmulatedReply(composed.status, headers, end_s, [(body, end_s)], self._energy_j(usage))

    def _streamed(self, usage: Usage, ttft_s: float, rate: float, failure: Failure | None) -> EmulatedReply:
        offer, said, network_s = self._offer, self._asked.said, self._profile.network_s
        pieces = list(_pieces(said, list(self._named(said.tool_calls)), self._profile.tokens_per_event))
        instants = self._instants([tokens for _, tokens in pieces], ttft_s, rate)
        timed = [(delta, t_s) for (delta, _), t_s in zip(pieces, instants, strict=True)]
        end_s = timed[-1][1] if timed else ttft_s
        if failure is not None:
            timed = timed[: max(1, int(len(timed) * self._fate.headers_share))]
            end_s = timed[-1][1] if timed else ttft_s
            if failure.at == "stream":
                timed.append((Delta(error=self._error(failure)), end_s))
        else:
            timed.append((Delta(finish_reason=said.finish_reason), end_s))
            if self._asked.request.include_usage or offer.manners.states_usage_unasked:
                timed.append((Delta(usage=usage), end_s))
        headers_s = network_s + (ttft_s - network_s) * self._fate.headers_share
        facts = self._facts(headers_s, usage=usage, first_s=ttft_s, end_s=end_s)
        chunks = self._framed(_Timed(timed, headers_s, cut=failure is not None and failure.at == "cut"), facts)
        headers = {"content-type": offer.manners.stream_type} | offer.manners.headers(facts)
        return EmulatedReply(200, headers, headers_s, chunks, self._energy_j(usage))

    def _framed(self, timed: _Timed, facts: Facts) -> list[tuple[bytes, float]]:
        """Each frame with the instant of the delta that brought it: how deltas become frames is the wire's business."""
        offer = self._offer
        frames = offer.wire.compose_stream(
            timed,
            id=offer.manners.id_prefix + self._fate.id,
            model=self._asked.request.model,
            created=self._epoch_s,
        )
        chunks = []
        with suppress(_Cut):
            for frame in frames:
                at_s = timed.at_s - self._profile.network_s
                chunks.append((offer.manners.frame(frame, facts, at_s=at_s), timed.at_s))
        return chunks

    def _instants(self, tokens: list[int], ttft_s: float, rate: float) -> Iterator[float]:
        """When each piece is out; gaps vary around tokens / rate with mean 1, so the rate stays what was drawn."""
        sigma, luck = self._profile.jitter_sigma, self._luck
        t_s = ttft_s
        for place, count in enumerate(tokens):
            if place:
                t_s += count / rate * luck.lognormal(exp(-(sigma**2) / 2), sigma)
            yield t_s

    def _facts(self, headers_s: float, *, usage: Usage, first_s: float, end_s: float) -> Facts:
        network_s = self._profile.network_s
        return Facts(
            id=self._fate.id,
            model=self._asked.request.model,
            epoch_s=self._epoch_s,
            worked_s=headers_s - network_s,
            first_s=first_s - network_s,
            end_s=end_s - network_s,
            streamed=self._asked.request.stream,
            quota=self._quota,
            usage=usage,
            prompt_chars=self._asked.prompt_chars,
        )

    def _named(self, calls: Iterable[ToolCall]) -> Iterator[ToolCall]:
        """The calls, with ids as the dialect's providers give them."""
        prefix = self._offer.manners.tool_call_prefix
        for call in calls:
            yield ToolCall(prefix + call.id.removeprefix("call_"), call.name, call.arguments)

    def _error(self, failure: Failure) -> UpstreamError:
        """What an error event says: the same as the refusal at the door would have."""
        facts = Facts(id=self._fate.id, model=self._asked.request.model, epoch_s=self._epoch_s, quota=self._quota)
        status, headers, body = self._offer.manners.refusal(_refusal_of(failure), facts)
        return self._offer.wire.error(status, headers, body)

    def _door_s(self) -> float:
        return door_s(self._profile, self._fate)

    def _refused(self, why: Refusal, headers_s: float) -> EmulatedReply:
        return refused(
            self._offer.manners,
            why,
            self._fate,
            headers_s,
            network_s=self._profile.network_s,
            model=self._asked.request.model,
            quota=self._quota,
            epoch_s=self._epoch_s,
        )

    def _energy_j(self, usage: Usage) -> float:
        fresh = (usage.input_tokens or 0) - (usage.cached_input_tokens or 0)
        return self._profile.energy_j(fresh, usage.output_tokens or 0)


class _Cut(Exception):
    """The connection breaks off here."""


class _Timed:
    """Deltas as a wire pulls them; `at_s` is the instant of the last one pulled."""

    def __init__(self, timed: list[tuple[Delta, float]], at_s: float, *, cut: bool) -> None:
        self._timed, self._cut, self.at_s = timed, cut, at_s

    def __iter__(self) -> Iterator[Delta]:
        for delta, at_s in self._timed:
            self.at_s = at_s
            yield delta
        if self._cut:
            raise _Cut


def refused(
    manners: Manners,
    why: Refusal,
    fate: Fate,
    headers_s: float,
    *,
    network_s: float,
    model: str,
    quota: Quota = NO_QUOTA,
    epoch_s: int = CREATED,
) -> EmulatedReply:
    """A refusal as it leaves."""
    if why.kind == "rate_limited":
        quota = msgspec.structs.replace(quota, requests_left=0)
    facts = Facts(id=fate.id, model=model, epoch_s=epoch_s, worked_s=headers_s - network_s, quota=quota)
    status, headers, body = manners.refusal(why, facts)
    return EmulatedReply(status, headers | manners.headers(facts), headers_s, [(body, headers_s)])


def door_s(profile: Profile, fate: Fate) -> float:
    """When a reply comes that no model was needed for: the network and a few milliseconds."""
    return profile.network_s + 0.002 + 0.01 * fate.headers_share


def _refusal_of(failure: Failure) -> Refusal:
    return Refusal(kind=failure.kind, retry_after_s=failure.retry_after_s)


def _failure(failures: tuple[Failure, ...], draw: float) -> Failure | None:
    for failure in failures:
        draw -= failure.share
        if draw < 0:
            return failure
    return None


def _pieces(said: Answer, calls: list[ToolCall], tokens_per_event: int) -> Iterator[tuple[Delta, int]]:
    """The answer as stream events with the tokens in each.

    The first event of a text is one token, so that the rest takes (tokens - 1) / rate, as a token rate is defined.
    """
    step = tokens_per_event * CHARS_PER_TOKEN
    if said.reasoning:
        for text in _slices(said.reasoning, step):
            yield Delta(reasoning=text), count_text(text)
    if said.content is not None:
        for text in _slices(said.content, step):
            yield Delta(content=text), count_text(text)
    for index, call in enumerate(calls):
        yield Delta(tool_calls=(ToolCallDelta(index, call.id, call.name),)), count_text(call.name)
        for start in range(0, len(call.arguments), step):
            text = call.arguments[start : start + step]
            yield Delta(tool_calls=(ToolCallDelta(index, arguments=text),)), count_text(text)


def _slices(text: str, step: int) -> Iterator[str]:
    cuts = [0, *range(CHARS_PER_TOKEN, len(text), step), len(text)]
    return (text[start:end] for start, end in pairwise(cuts))
