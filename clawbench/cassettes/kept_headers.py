"""Which headers a scrubbed recording keeps: an allow-list, for requests and replies alike.

A header stays if it bears on a reply's form, price, limits or time, or is read by a wire; all others go, whatever they
hold. Those that say whose recording it is stay under a pseudonym.
"""

from __future__ import annotations

from typing import Final

from clawbench.cassettes.timings import TIMING_HEADERS

IDENTIFIER_HEADERS: Final = frozenset({
    "x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "openai-organization", "openai-project",
    "anthropic-organization-id", "x-databricks-org-id",
})  # fmt: skip
"""Headers that are kept with a pseudonym in place of their value."""

_NAMES: Final = frozenset({
    "content-type", "accept", "date", "openai-version", "openai-beta", "openai-model",
    "retry-after", "retry-after-ms", "x-should-retry", "x-amzn-errortype", "x-error-message",
    "x-inference-provider", "x-ms-served-model", "x-ms-is-spilled-over",
    "x-gemini-service-tier", "azureai-requested-tier", "azureai-processed-tier",
    "num_tokens", "num-tokens", "num_chars", "num-chars", "pydantic-ai-gateway-price-estimate",
})  # fmt: skip
_PREFIXES: Final = (
    "anthropic-version", "anthropic-beta", "anthropic-ratelimit", "anthropic-priority", "x-ratelimit", "ratelimit",
    "x-amzn-bedrock-", "fireworks-", "x-metrics-",
)  # fmt: skip
_KEPT: Final = _NAMES | IDENTIFIER_HEADERS | {header.name for header in TIMING_HEADERS}


def is_kept(name: str) -> bool:
    """Whether a header of this name, in lower case, stays."""
    return name in _KEPT or name.startswith(_PREFIXES)
