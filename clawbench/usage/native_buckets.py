"""Buckets of the providers with dialects of their own: one small function each, by what its counts include in what."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from clawbench.usage.admission import Reader
from clawbench.usage.buckets import Buckets, Part, Uses
from clawbench.usage.chat_buckets import Draft, Source, draft, reasoning_inside

_5M: Final = "ephemeral_5m_input_tokens"
_1H: Final = "ephemeral_1h_input_tokens"

_AUDIO: Final = "AUDIO"
_IMAGE: Final = "IMAGE"
_SEEN: Final = (_IMAGE, "VIDEO", "DOCUMENT")  # a document's pages are images to the cache
_OF_NUMBER: Final = {1: "TEXT", 2: _IMAGE, 3: "VIDEO", 4: _AUDIO, 5: "DOCUMENT"}
"""Proto enums come as names, or as numbers where a client asked for those."""


def anthropic_messages(usage: Source, read: Reader, asked_ttl: str | None) -> Draft:
    """Cache reads and writes stand outside `input_tokens`. Listed `iterations` are the bill, not the top level.

    Written tokens without a split by lifetime go to the lifetime that was asked for, else to 5 minutes; a split that
    disagrees with the stated sum stands, and is flagged.
    """
    rounds = read.children(usage, "iterations") or [usage]
    parts = [_anthropic_round(each, read, asked_ttl) for each in rounds]
    if len(rounds) > 1 or rounds[0] is not usage:
        _share_thinking(parts, read.count(read.child(usage, "output_tokens_details"), "thinking_tokens"), read)
    traits = []
    speed, geo, tier = usage.get("speed"), usage.get("inference_geo"), usage.get("service_tier")
    if type(speed) is str and speed not in ("standard", ""):
        traits.append(speed)
    if type(geo) is str and geo not in ("global", "not_available", ""):
        traits.append(f"inference_geo_{geo}")
    tools = read.child(usage, "server_tool_use")
    uses = [
        Uses({kind: count}) for kind in ("web_search", "web_fetch") if (count := read.count(tools, f"{kind}_requests"))
    ]
    return Draft(
        parts=tuple(parts),
        uses=tuple(uses),
        traits=tuple(traits),
        service_tier=tier if type(tier) is str else None,
    )


def _share_thinking(parts: list[Part], thinking: int, read: Reader) -> None:
    """Rounds do not break their thinking out; the top level does, for those rounds that the asked model ran."""
    left = max(thinking - sum(part.buckets.reasoning for part in parts), 0)
    for place, part in enumerate(parts):
        if left and part.model is None:
            moved = min(left, part.buckets.output_text)
            left -= moved
            text, reasoning = part.buckets.output_text - moved, part.buckets.reasoning + moved
            parts[place] = Part(part.buckets._replace(output_text=text, reasoning=reasoning))
    read.within("thinking tokens", left, 0)


def _anthropic_round(usage: Source, read: Reader, asked_ttl: str | None) -> Part:
    fresh, output = read.primary(usage, "input_tokens"), read.primary(usage, "output_tokens")
    aggregate = read.stated(usage, "cache_creation_input_tokens")
    split = read.child(usage, "cache_creation")
    if split.get(_5M) is not None or split.get(_1H) is not None:
        short, long = read.count(split, _5M), read.count(split, _1H)
        read.same("cache_creation_input_tokens", aggregate, short + long)
    elif asked_ttl == "1h":
        short, long = 0, aggregate or 0
    else:
        short, long = aggregate or 0, 0
    model = usage.get("model")
    thinking = read.count(read.child(usage, "output_tokens_details"), "thinking_tokens")
    return Part(
        Buckets(
            uncached_input=fresh,
            cache_read=read.count(usage, "cache_read_input_tokens"),
            cache_write_5m=short,
            cache_write_1h=long,
            output_text=read.within("thinking tokens", thinking, output),
            reasoning=thinking,
        ),
        model if type(model) is str and model else None,
    )


def gemini_native(usage: Source, read: Reader) -> Draft:
    """Thoughts stand beside candidates, tool results beside the prompt; the lists by modality include the cached part.

    Absent candidates beside thoughts are none: the model was cut while it thought.
    """
    prompt = read.primary(usage, "promptTokenCount")
    thoughts, tool_use = read.stated(usage, "thoughtsTokenCount"), read.count(usage, "toolUsePromptTokenCount")
    candidates = read.stated(usage, "candidatesTokenCount")
    if candidates is None and thoughts is None:
        read.missing.append("candidatesTokenCount")
    candidates, thoughts = candidates or 0, thoughts or 0
    cached = read.count(usage, "cachedContentTokenCount")
    asked, kept, answered = (_modalities(usage, read, f"{of}TokensDetails") for of in ("prompt", "cache", "candidates"))
    cached_audio, uncached_audio = kept.get(_AUDIO, 0), 0
    if asked:  # else nothing says how much of the prompt was audio
        uncached_audio = read.within("cached audio tokens", cached_audio, asked.get(_AUDIO, 0))
        for kinds in (("TEXT",), _SEEN):
            of_kept, of_asked = (sum(tokens.get(kind, 0) for kind in kinds) for tokens in (kept, asked))
            read.within(f"cached {'/'.join(kinds).lower()} tokens", of_kept, of_asked)
    image_out, audio_out = answered.get(_IMAGE, 0), answered.get(_AUDIO, 0)
    total = prompt + candidates + tool_use + thoughts
    read.same("totalTokenCount", read.total(usage, "totalTokenCount"), total)
    fresh = read.within("cached tokens", cached, prompt)
    found = draft(
        Buckets(
            uncached_input=read.within("uncached audio tokens", uncached_audio, fresh) + tool_use,
            cache_read=read.within("cached audio tokens", cached_audio, cached),
            audio_in=uncached_audio,
            audio_cache_read=cached_audio,
            output_text=read.within("image and audio tokens", image_out + audio_out, candidates),
            reasoning=thoughts,
            audio_out=audio_out,
            image_out=image_out,
        )
    )
    traffic = usage.get("trafficType") or usage.get("serviceTier")
    found.service_tier = traffic.lower().removeprefix("on_demand_") if type(traffic) is str else None
    return found


def _modalities(usage: Source, read: Reader, key: str) -> dict[str, int]:
    """Tokens by modality of one of the lists; {} where it is absent."""
    tokens: dict[str, int] = {}
    if key in usage:
        for each in read.children(usage, key):
            stated: Any = each.get("modality")
            kind = _OF_NUMBER.get(stated) if type(stated) is int else stated
            kind = kind.upper() if type(kind) is str else ""
            tokens[kind] = tokens.get(kind, 0) + read.count(each, "tokenCount")
    return tokens


def bedrock_converse(usage: Source, read: Reader) -> Draft:
    """Four counts, each outside the others; writes are split by lifetime in `cacheDetails`."""
    fresh, output = read.primary(usage, "inputTokens"), read.primary(usage, "outputTokens")
    cached, aggregate = read.count(usage, "cacheReadInputTokens"), read.stated(usage, "cacheWriteInputTokens")
    details = read.children(usage, "cacheDetails")
    short, long = aggregate or 0, 0
    if details:
        short = long = 0
        for each in details:
            tokens = read.count(each, "inputTokens")
            short, long = (short, long + tokens) if each.get("ttl") == "1h" else (short + tokens, long)
        read.same("cacheWriteInputTokens", aggregate, short + long)
    stated = read.total(usage, "totalTokens")
    # A split that is flagged already must not be flagged again for the total that follows from the aggregate.
    if stated != fresh + cached + (aggregate or 0) + output:
        read.same("totalTokens", stated, fresh + cached + short + long + output)
    return draft(
        Buckets(uncached_input=fresh, cache_read=cached, cache_write_5m=short, cache_write_1h=long, output_text=output)
    )


_INVOKED: Final = (
    ("inputTokenCount", "outputTokenCount"),
    ("inputTextTokenCount", "totalOutputTextTokenCount"),
    ("prompt_token_count", "generation_token_count"),
)
"""InvokeModel's own metrics, then what Titan and Llama write into their bodies."""


def bedrock_invoke(usage: Source, read: Reader) -> Draft:
    """InvokeModel counts as Converse does, under names of its own; Nova has Converse's, some families OpenAI's."""
    if "inputTokens" in usage:
        return bedrock_converse(usage, read)
    if "prompt_tokens" in usage:
        return reasoning_inside(usage, read)
    fresh, output = next((pair for pair in _INVOKED if pair[0] in usage or pair[1] in usage), _INVOKED[0])
    return draft(
        Buckets(
            uncached_input=read.primary(usage, fresh),
            cache_read=read.count(usage, "cacheReadInputTokenCount"),
            cache_write_5m=read.count(usage, "cacheWriteInputTokenCount"),
            output_text=read.primary(usage, output),
        )
    )


def cohere_chat(usage: Source, read: Reader) -> Draft:
    """What is billed stands under `billed_units`; `tokens` counts a preamble that nobody pays. 5.0 is a count here."""
    billed = {key: _integral(value) for key, value in read.child(usage, "billed_units").items()}
    return draft(
        Buckets(uncached_input=read.primary(billed, "input_tokens"), output_text=read.primary(billed, "output_tokens"))
    )


def _integral(value: Any) -> Any:
    if type(value) is Decimal and abs(value.adjusted()) < 20 and value == value.to_integral_value():
        return int(value)
    return value


def ollama_chat(usage: Source, read: Reader) -> Draft:
    """The prompt's count is left out where the prompt was cached: then it is unknown, not zero."""
    prompt, output = read.primary(usage, "prompt_eval_count"), read.primary(usage, "eval_count")
    cached = read.count(usage, "cached_tokens")
    return draft(
        Buckets(uncached_input=read.within("cached tokens", cached, prompt), cache_read=cached, output_text=output)
    )
