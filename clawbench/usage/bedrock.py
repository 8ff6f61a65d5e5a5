"""Token counts as Bedrock states them, in its four places. Normaliser `bedrock/1`.

Converse: `usage` of the body or of the metadata frame, `inputTokens` without what the cache read or wrote. InvokeModel:
`amazon-bedrock-invocationMetrics` at the end of a stream, `x-amzn-bedrock-*-token-count` headers of a whole answer, and
what each model family writes into its own body (Titan, Llama). The counts that Bedrock itself adds stand outside
each other: prompt = input + cache read + cache write. Anthropic's bodies have their own normaliser.
Knows no prices and no models.
"""

from __future__ import annotations

from typing import Any, Final

from clawbench.types import Headers, Usage
from clawbench.usage.counts import Counts, added

VERSION: Final = "bedrock/1"

METRICS: Final = "amazon-bedrock-invocationMetrics"

_HEADERS: Final = {
    "x-amzn-bedrock-input-token-count": "inputTokenCount",
    "x-amzn-bedrock-output-token-count": "outputTokenCount",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokenCount",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokenCount",
}
TRACE: Final = "amazon-bedrock-trace"
UNREADABLE_UNITS: Final = "guardrail_unreadable"
"""Stands for units that are no count: nothing is charged for it, so the answer is held back for somebody to look."""

_UNITS: Final = {
    "contentPolicyUnits": "guardrail_content",
    "contentPolicyImageUnits": "guardrail_content_image",
    "topicPolicyUnits": "guardrail_topic",
    "wordPolicyUnits": "guardrail_word",
    "sensitiveInformationPolicyUnits": "guardrail_sensitive",
    "sensitiveInformationPolicyFreeUnits": "guardrail_sensitive_free",
    "contextualGroundingPolicyUnits": "guardrail_grounding",
    "automatedReasoningPolicyUnits": "guardrail_reasoning",
}
_UNITS_MAX: Final = 10**9
# What is counted, under the names of Converse, of the invocation metrics, of Titan and of Llama.
_INPUT: Final = ("inputTokens", "inputTokenCount", "inputTextTokenCount", "prompt_token_count")
_OUTPUT: Final = ("outputTokens", "outputTokenCount", "totalOutputTextTokenCount", "generation_token_count")
_READ: Final = ("cacheReadInputTokens", "cacheReadInputTokenCount")
_WRITE: Final = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")


def normalise(raw: dict[str, Any]) -> Usage:
    """Totals of a usage object; `raw` stays as it came. Never raises. See `normalise_noted` for what was odd."""
    return normalise_noted(raw)[0]


def normalise_noted(raw: object) -> tuple[Usage, tuple[str, ...]]:
    """`normalise` with its notes; anything but an object gives a usage without counts and a note."""
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usage is no object",)
    counts = Counts()
    fresh, output = _first(raw, _INPUT, counts), _first(raw, _OUTPUT, counts)
    read, written = _first(raw, _READ, counts), _first(raw, _WRITE, counts)
    details = raw.get("cacheDetails")
    if type(details) is list and details:
        split = added(*(counts.read(each, "inputTokens") for each in details if type(each) is dict))
        if split is not None and split != (written or 0):
            counts.notes.append(f"usage: cache writes by lifetime {split} are not the stated {written}")
            written = split
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    total = counts.read(raw, "totalTokens")
    if total is not None and prompt is not None and output is not None and total != prompt + output:
        counts.notes.append(f"usage: totalTokens {total} is not {prompt} + {output}")
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=read,
        cache_write_tokens=written,
        output_tokens=output,
        raw=raw,
    )
    return usage, tuple(counts.notes)


def cache_writes(raw: dict[str, Any]) -> tuple[int, int]:
    """Tokens written to the cache for (5 minutes, 1 hour); without `cacheDetails` all count as 5 minutes."""
    counts = Counts()
    details = raw.get("cacheDetails")
    if type(details) is not list or not details:
        return _first(raw, _WRITE, counts) or 0, 0
    by_ttl = {"5m": 0, "1h": 0}
    for each in details:
        if type(each) is dict:
            by_ttl["1h" if each.get("ttl") == "1h" else "5m"] += counts.read(each, "inputTokens") or 0
    return by_ttl["5m"], by_ttl["1h"]


def raw_of_headers(headers: Headers) -> dict[str, Any] | None:
    """The counts in a reply's headers under the names of the invocation metrics; None if it has none."""
    raw: dict[str, Any] = {}
    for header, name in _HEADERS.items():
        text = headers.get(header, "")
        if text.isascii() and text.isdigit() and len(text) <= 19:
            raw[name] = int(text)
    return raw or None


def _first(raw: dict[str, Any], names: tuple[str, ...], counts: Counts) -> int | None:
    return next((counts.read(raw, name) for name in names if raw.get(name) is not None), None)


def guardrail_units(trace: Any) -> dict[str, int]:
    """Units by kind of fee that guardrails have used, those of all assessments of prompt and answer together.

    They stand in the trace (docs.aws.amazon.com/bedrock, GuardrailUsage), which is there only where the request asked
    for it: without it nothing in the answer says that a guardrail was used.
    """
    found: dict[str, int] = {}
    left = [trace]
    while left:
        value = left.pop()
        if type(value) is list:
            left += value
        elif type(value) is dict:
            metrics = value.get("invocationMetrics")
            left += [inner for name, inner in value.items() if name != "invocationMetrics"]
            used = metrics.get("usage") if type(metrics) is dict else None
            if type(used) is not dict:
                continue
            for name, kind in _UNITS.items():
                units = used.get(name)
                if units is None:
                    continue
                if type(units) is not int or not 0 <= units <= _UNITS_MAX:
                    found[UNREADABLE_UNITS] = 1
                elif units:
                    found[kind] = found.get(kind, 0) + units
    return found
