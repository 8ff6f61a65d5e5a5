"""Buckets of gateways that sell others' models in OpenAI's dialect and say beside the counts what they take.

The stated amount is the bill; the counts are what it is recomputed from. P, C, R as in `chat_buckets.py`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from clawbench.usage.admission import Reader
from clawbench.usage.buckets import Buckets, Uses
from clawbench.usage.chat_buckets import Draft, Source, draft, openai_responses, plain

WRITTEN_AND_READ: Final = "written tokens were read in the same call"


def openrouter_chat(usage: Source, read: Reader) -> Draft:
    """As OpenAI's; `cost` is what OpenRouter takes. With a key of one's own the provider's cost comes on top.

    Google's models are reported with the tokens of a new cache both as written and as read, and charged for both:
    where the two counts are the same and do not fit beside each other, they are the same tokens, and that is noted.
    """
    prompt, completion, cached, reasoning = plain(usage, read)
    written = read.count(read.child(usage, "prompt_tokens_details"), "cache_write_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    inside = cached + written
    if written and written == cached <= prompt < inside:
        read.flags.append(f"the {written} {WRITTEN_AND_READ}")
        inside = written
    found = draft(
        Buckets(
            uncached_input=read.within("cached and written tokens", inside, prompt),
            cache_read=cached,
            cache_write_5m=written,
            output_text=read.within("reasoning tokens", reasoning, completion),
            reasoning=reasoning,
        )
    )
    found.reported_usd, found.uses = _cost(usage, read), _searches(usage, read)
    return found


def openrouter_responses(usage: Source, read: Reader) -> Draft:
    """As OpenAI's, with the cost beside."""
    found = openai_responses(usage, read)
    found.reported_usd, found.uses = _cost(usage, read), _searches(usage, read)
    return found


def vercel_chat(usage: Source, read: Reader) -> Draft:
    """R stands beside C and is in no total, whoever made the model; written tokens have Anthropic's name."""
    prompt, completion, cached, reasoning = plain(usage, read)
    written = read.count(usage, "cache_creation_input_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    found = draft(
        Buckets(
            uncached_input=read.within("cached and written tokens", cached + written, prompt),
            cache_read=cached,
            cache_write_5m=written,
            output_text=completion,
            reasoning=reasoning,
        )
    )
    cost, market = read.amount(usage, "cost"), read.amount(usage, "market_cost")
    found.reported_usd = _with_own_key(usage, read, cost, market)
    return found


def avian_chat(usage: Source, read: Reader) -> Draft:
    """As OpenAI's; `cost` is what Avian takes."""
    prompt, completion, cached, reasoning = plain(usage, read)
    written = read.count(read.child(usage, "prompt_tokens_details"), "cache_write_tokens")
    read.same("total_tokens", read.total(usage, "total_tokens"), prompt + completion)
    found = draft(
        Buckets(
            uncached_input=read.within("cached and written tokens", cached + written, prompt),
            cache_read=cached,
            cache_write_5m=written,
            output_text=read.within("reasoning tokens", reasoning, completion),
            reasoning=reasoning,
        )
    )
    found.reported_usd = read.amount(usage, "cost")
    return found


def _cost(usage: Source, read: Reader) -> Fraction | None:
    upstream = read.amount(read.child(usage, "cost_details"), "upstream_inference_cost")
    return _with_own_key(usage, read, read.amount(usage, "cost"), upstream)


def _with_own_key(usage: Source, read: Reader, cost: Fraction | None, upstream: Fraction | None) -> Fraction | None:
    """What both take: with a key of one's own the provider sends a bill too."""
    own_key = usage.get("is_byok")
    if own_key is not None and type(own_key) is not bool:
        read.refused.append("is_byok is neither true nor false")
    return cost if cost is None or upstream is None or own_key is not True else cost + upstream


def _searches(usage: Source, read: Reader) -> tuple[Uses, ...]:
    """What ran at OpenRouter: searches have a fee, whatever else was called has none that anybody publishes."""
    used = read.child(usage, "server_tool_use_details")
    searches, executed = read.count(used, "web_search_requests"), read.count(used, "tool_calls_executed")
    found = [Uses({"web_search": searches})] if searches else []
    if executed > searches:
        found.append(Uses({"server_tool": executed - searches}))
    return tuple(found)
