"""Buckets of the providers that speak OpenAI's dialects: one small function a family, for each means it differently.

P, C, T are the stated prompt, completion and total, R the reasoning. Where R stands against C, and whether a cost is
stated beside the counts, is what tells the families apart. Which provider means which is in `normalisers.py`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from clawbench.usage.admission import Reader
from clawbench.usage.buckets import Buckets, Part, Uses

Source = dict[str, Any]

_TICK_USD: Final = Fraction(1, 10**10)  # xAI's unit of cost


class Draft(Struct, kw_only=True):
    """What a family's function makes of a usage object."""

    parts: tuple[Part, ...]
    uses: tuple[Uses, ...] = ()
    service_tier: str | None = None
    traits: tuple[str, ...] = ()
    reported_usd: Fraction | None = None
    rounded_usd: Fraction | None = None


def draft(buckets: Buckets) -> Draft:
    """A draft of one part and nothing else."""
    return Draft(parts=(Part(buckets),))


def openai_chat(usage: Source, read: Reader) -> Draft:
    """Cached, written and audio tokens are inside P; R and audio inside C; accepted and rejected predictions too."""
    return draft(_inclusive(usage, read, "prompt_tokens", "completion_tokens"))


def openai_responses(usage: Source, read: Reader) -> Draft:
    """As chat, under other names. Imitators that kept the chat names are read by those."""
    chat = "input_tokens" not in usage and "output_tokens" not in usage and "prompt_tokens" in usage
    return draft(_inclusive(usage, read, *(("prompt_tokens", "completion_tokens") if chat else _RESPONSES_NAMES)))


def xai_responses(usage: Source, read: Reader) -> Draft:
    """As OpenAI's, with the exact cost in ticks beside, and the calls of tools that ran at xAI."""
    found = openai_responses(usage, read)
    found.reported_usd, found.uses = _ticks(usage, read), _xai_uses(usage, read)
    return found


def reasoning_inside(usage: Source, read: Reader) -> Draft:
    """Groq, Fireworks and others that count as OpenAI does, without audio. R is inside C."""
    prompt, completion, cached, reasoning = plain(usage, read)
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    return draft(
        Buckets(
            uncached_input=read.within("cached tokens", cached, prompt),
            cache_read=cached,
            output_text=read.within("reasoning tokens", reasoning, completion),
            reasoning=reasoning,
        )
    )


def reasoning_unpriced(usage: Source, read: Reader) -> Draft:
    """Together: what the model thought is completion like any other; cached tokens inside P."""
    prompt, completion = read.primary(usage, "prompt_tokens"), read.primary(usage, "completion_tokens")
    cached = read.count(read.child(usage, "prompt_tokens_details"), "cached_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    return draft(
        Buckets(uncached_input=read.within("cached tokens", cached, prompt), cache_read=cached, output_text=completion)
    )


def mistral(usage: Source, read: Reader) -> Draft:
    """As Together's; tokens of audio stand beside P where T says so (T = P + C + audio), else inside it."""
    prompt, completion = read.primary(usage, "prompt_tokens"), read.primary(usage, "completion_tokens")
    inside = read.child(usage, "prompt_tokens_details")
    cached, audio = read.count(inside, "cached_tokens"), read.count(inside, "audio_tokens")
    total = read.total(usage, "total_tokens")
    beside = audio if total == prompt + completion + audio else 0
    read.same("total_tokens", total, prompt + completion + beside)
    return draft(
        Buckets(
            uncached_input=read.within("cached and audio tokens", cached + audio - beside, prompt),
            cache_read=cached,
            audio_in=audio,
            output_text=completion,
        )
    )


def deepseek(usage: Source, read: Reader) -> Draft:
    """The prompt is stated in two parts, hit and miss, which must add up to it."""
    prompt, completion, cached, reasoning = plain(usage, read)
    hit, miss = read.stated(usage, "prompt_cache_hit_tokens"), read.stated(usage, "prompt_cache_miss_tokens")
    if hit is None:
        hit = cached if miss is None else read.within("prompt_cache_miss_tokens", miss, prompt)
    if miss is None:
        miss = read.within("prompt_cache_hit_tokens", hit, prompt)
    if hit + miss != prompt and not read.missing:
        read.refused.append(f"cache hit {hit} + miss {miss} is not prompt_tokens {prompt}")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    return draft(
        Buckets(
            uncached_input=miss,
            cache_read=hit,
            output_text=read.within("reasoning tokens", reasoning, completion),
            reasoning=reasoning,
        )
    )


def xai_chat(usage: Source, read: Reader) -> Draft:
    """One call is reported in two ways: R beside C (T = P + C + R) or inside it (T = P + C). The bill is the same.

    Cached tokens count across modalities, so P − cached is the whole rest.
    """
    prompt, completion, cached, reasoning = plain(usage, read)
    total = read.total(usage, "total_tokens")
    text = completion
    if total == prompt + completion:
        text = read.within("reasoning tokens", reasoning, completion)
    elif total != prompt + completion + reasoning and not read.missing and (total is not None or reasoning):
        read.refused.append(f"total_tokens {total} is neither {prompt} + {completion} nor that + {reasoning}")
    found = draft(
        Buckets(
            uncached_input=read.within("cached tokens", cached, prompt),
            cache_read=cached,
            output_text=text,
            reasoning=reasoning,
        )
    )
    found.reported_usd, found.uses = _ticks(usage, read), _xai_uses(usage, read)
    return found


def azure_ai_chat(usage: Source, read: Reader) -> Draft:
    """Several makers' models, xAI's way of counting among them. Azure bills them: xAI's ticks are zero there."""
    found = xai_chat(usage, read)
    found.reported_usd = None
    return found


def gemini_compatible(usage: Source, read: Reader) -> Draft:
    """Thoughts are in T alone: R = T − P − C. Only a T below P + C is odd."""
    prompt, completion = read.primary(usage, "prompt_tokens"), read.primary(usage, "completion_tokens")
    cached = read.count(read.child(usage, "prompt_tokens_details"), "cached_tokens")
    total = read.stated(usage, "total_tokens")
    hidden = 0 if total is None or read.missing else total - prompt - completion
    if hidden < 0:
        read.flags.append(f"total_tokens {total} is less than {prompt} + {completion}")
    return draft(
        Buckets(
            uncached_input=read.within("cached tokens", cached, prompt),
            cache_read=cached,
            output_text=completion,
            reasoning=max(hidden, 0),
        )
    )


def perplexity(usage: Source, read: Reader) -> Draft:
    """R is generated on top of C; sources that were read are counted apart; searches cost by the use.

    The stated cost is rounded to a few decimals: it checks the bill and is not its basis.
    """
    prompt, completion = read.primary(usage, "prompt_tokens"), read.primary(usage, "completion_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    found = draft(
        Buckets(
            uncached_input=prompt,
            output_text=completion,
            reasoning=read.count(usage, "reasoning_tokens"),
            citation=read.count(usage, "citation_tokens"),
        )
    )
    counts: dict[str, int] = {}
    size = usage.get("search_context_size")
    if type(size) is str and size:
        counts[f"request_{size[:16]}"] = 1
    elif size is not None:
        read.refused.append("search_context_size is no word")
    queries = read.count(usage, "num_search_queries")
    if queries:
        counts["search_query"] = queries
    if counts:
        found.uses = (Uses(counts),)
    cost = usage.get("cost")
    if type(cost) is dict:
        found.rounded_usd = read.amount(cost, "total_cost")
    elif cost is not None:
        found.rounded_usd = read.amount(usage, "cost")
    return found


_RESPONSES_NAMES: Final = ("input_tokens", "output_tokens")


def _inclusive(usage: Source, read: Reader, prompt_key: str, completion_key: str) -> Buckets:
    prompt, completion = read.primary(usage, prompt_key), read.primary(usage, completion_key)
    cached = written = audio = cached_audio = reasoning = audio_out = 0
    inside = usage.get(f"{prompt_key}_details")
    if inside is not None:
        inside = read.child(usage, f"{prompt_key}_details")
        cached, written = read.count(inside, "cached_tokens"), read.count(inside, "cache_write_tokens")
        audio = read.count(inside, "audio_tokens")
        cached_audio = read.count(read.child(inside, "cached_tokens_details"), "audio_tokens")
    inside = usage.get(f"{completion_key}_details")
    if inside is not None:
        inside = read.child(usage, f"{completion_key}_details")
        reasoning, audio_out = read.count(inside, "reasoning_tokens"), read.count(inside, "audio_tokens")
        read.count(inside, "accepted_prediction_tokens")
        read.count(inside, "rejected_prediction_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    audio = read.within("cached audio tokens", cached_audio, audio)
    return Buckets(
        uncached_input=read.within("cached, written and audio tokens", cached + written + audio, prompt),
        cache_read=read.within("cached audio tokens", cached_audio, cached),
        cache_write_5m=written,
        audio_in=audio,
        audio_cache_read=cached_audio,
        output_text=read.within("reasoning and audio tokens", reasoning + audio_out, completion),
        reasoning=reasoning,
        audio_out=audio_out,
    )


def plain(usage: Source, read: Reader) -> tuple[int, int, int, int]:
    """P, C, cached, R as nearly everybody names them."""
    inside, outside = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = 0 if inside is None else read.count(read.child(usage, "prompt_tokens_details"), "cached_tokens")
    reasoning = 0 if outside is None else read.count(read.child(usage, "completion_tokens_details"), "reasoning_tokens")
    return read.primary(usage, "prompt_tokens"), read.primary(usage, "completion_tokens"), cached, reasoning


def _ticks(usage: Source, read: Reader) -> Fraction | None:
    ticks = read.total(usage, "cost_in_usd_ticks")
    return None if ticks is None else ticks * _TICK_USD


def _xai_uses(usage: Source, read: Reader) -> tuple[Uses, ...]:
    found = [Uses({"search_source": sources})] if (sources := read.count(usage, "num_sources_used")) else []
    details = read.child(usage, "server_side_tool_usage_details")
    for key in sorted(details, key=str):
        if calls := read.count(details, key):
            found.append(Uses({key.removesuffix("_calls"): calls}))
    return tuple(found)
