"""How the providers of OpenAI's chat dialect differ, as a table: adding a provider is adding a row.

No code branches on a provider's name; it reads a field here. Values come from the providers' references and from
recorded calls that succeeded; where neither settles it, the form that every server accepts is chosen. A wrong row costs
a 400 from that provider, so a row names only what differs from the default.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct


class Quirks(Struct, frozen=True, kw_only=True):
    """What one provider wants to read and how its answers are to be read."""

    path: str = "/chat/completions"  # appended to Offer.base_url; {model} stands for the quoted upstream model
    versioned_path: str | None = None  # used instead where base_url ends with /v1
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_options: bool = True  # False: refuses the field, and states usage in streams unasked
    developer_role: bool = False  # False: `developer` is sent as `system`
    reasoning_effort: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"  # a word, or {"effort": word, …}
    seed: str | None = "seed"  # name of the field; None: refused
    parallel_tool_calls: bool = True  # False: the field is refused
    cache_control: bool = False  # False: the field is taken out of messages and parts
    routing_fields: bool = False  # `models` and `provider` mean something to it; elsewhere they are the gateway's own
    reasoning_text: Literal["reasoning_content", "reasoning"] = "reasoning_content"  # where it puts reasoning text
    usage: str = "compatible"  # variant of clawbench/usage/openai_chat.py


DEFAULT: Final = Quirks()

QUIRKS: Final[dict[str, Quirks]] = {
    "openai": Quirks(output_limit="max_completion_tokens", developer_role=True, usage="openai"),
    "azure-openai": Quirks(
        path="/openai/deployments/{model}/chat/completions?api-version=2024-10-21",
        versioned_path="/chat/completions",
        output_limit="max_completion_tokens",
        developer_role=True,
        usage="openai",
    ),
    # Serves several vendors' models, xAI's among them, which count reasoning beside the completion.
    "azure-ai": Quirks(path="/chat/completions?api-version=2024-05-01-preview", versioned_path="/chat/completions"),
    "groq": Quirks(output_limit="max_completion_tokens", reasoning_text="reasoning", usage="groq"),
    "deepseek": Quirks(usage="deepseek"),
    "xai": Quirks(usage="xai"),
    # Refuses unknown fields (422, extra_forbidden); the last chunk states usage unasked.
    "mistral": Quirks(stream_options=False, seed="random_seed", usage="mistral"),
    "together": Quirks(reasoning_text="reasoning", usage="together"),
    "fireworks": Quirks(usage="openai"),
    "cerebras": Quirks(output_limit="max_completion_tokens", reasoning_text="reasoning", usage="openai"),
    "openrouter": Quirks(
        developer_role=True,
        reasoning_effort="reasoning",
        cache_control=True,
        routing_fields=True,
        reasoning_text="reasoning",
        usage="openai",
    ),
    "huggingface": Quirks(),
    "perplexity": Quirks(usage="perplexity"),
    "gemini": Quirks(seed=None, parallel_tool_calls=False, usage="gemini"),
    "ollama": Quirks(reasoning_text="reasoning"),
    "llamacpp": Quirks(),
    "gpustack": Quirks(),
    "alibaba": Quirks(usage="openai"),
    "zai": Quirks(usage="openai"),
    "xiaomi": Quirks(output_limit="max_completion_tokens", usage="openai"),
    "baseten": Quirks(usage="openai"),
    "vercel-gw": Quirks(reasoning_effort="reasoning", cache_control=True, reasoning_text="reasoning"),
    "nvidia": Quirks(),
    # Claude and others behind one endpoint; states usage in every chunk, stream_options is not documented.
    "databricks": Quirks(stream_options=False, cache_control=True),
    "snowflake": Quirks(output_limit="max_completion_tokens", reasoning_effort="reasoning", usage="openai"),
    "cloudflare": Quirks(),
    "writer": Quirks(path="/chat", usage="openai"),
}


def quirks_of(provider: str) -> Quirks:
    """The row of a provider, the default for one that has none."""
    return QUIRKS.get(provider, DEFAULT)
