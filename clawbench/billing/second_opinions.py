"""What others make of the same usage: litellm's `completion_cost` and, where it is installed, genai-prices.

For audits, never for a bill: both reckon in their own way, with the prices that came with their package, and litellm in
floats. Each reads the raw usage itself, so that a mistake of our normalisers is not repeated. Imported on first use;
neither may reach a network. No opinion (an unknown model, an unknown shape) is None, never zero.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from typing import Any, Final, Protocol

from clawbench.catalog.genai_prices import NAMES as GENAI_NAMES
from clawbench.errors import UsageError
from clawbench.wires.litellm_bridge_import import import_litellm, sealed

_LITELLM_NAMES: Final = {
    "azure-openai": "azure",
    "azure-ai": "azure_ai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "vertex": "vertex_ai",
    "vercel-gw": "vercel_ai_gateway",
    "alibaba": "dashscope",
    "nvidia": "nvidia_nim",
}
_GENAI_FLAVORS: Final = {"openai_chat": "chat", "openai_completions": "chat", "openai_responses": "responses"}
_GENAI_DEFAULT_ONLY: Final = frozenset({"groq", "mistral", "cohere", "perplexity", "gemini", "vertex", "anthropic"})
_ROOTS: Final = {"gemini": "usageMetadata", "cohere_v1": "meta"}

Import = Callable[[str], Any]


class SecondOpinion(Protocol):
    """Somebody else's reckoning."""

    name: str

    def opinion(
        self, provider: str, model: str, usage_raw: bytes, *, dialect: str, service_tier: str | None = None
    ) -> Decimal | None:
        """USD for a usage object's text at a provider (our name of it), as served; None: no opinion. Never raises."""
        ...


class LiteLLMOpinion:
    """litellm's, by its own transformations of each provider's usage and the price map in its package."""

    def __init__(self) -> None:
        """Imports litellm, which takes seconds. Raises `UsageError` where it is absent or must not be run."""
        try:
            self._litellm = import_litellm()
        except (ImportError, PackageNotFoundError) as error:
            raise _absent("litellm", error) from None
        self.name = "litellm"

    def opinion(
        self, provider: str, model: str, usage_raw: bytes, *, dialect: str, service_tier: str | None = None
    ) -> Decimal | None:
        """See `SecondOpinion`."""
        theirs = _LITELLM_NAMES.get(provider, provider)
        try:
            usage = json.loads(usage_raw)
            with sealed():
                self._litellm.get_model_info(model, custom_llm_provider=theirs)
                response = self._litellm.ModelResponse(model=model, usage=self._usage(dialect, usage))
                cost = self._litellm.completion_cost(
                    completion_response=response,
                    model=model,
                    custom_llm_provider=theirs,
                    service_tier=service_tier,
                )
        except Exception:  # whatever their code makes of foreign input is no opinion, and no failure of the audit
            return None
        return Decimal(repr(cost))

    def _usage(self, dialect: str, usage: dict[str, Any]) -> Any:
        """Their reading of a provider's usage."""
        if dialect in ("anthropic", "bedrock_anthropic"):
            of = importlib.import_module("litellm.llms.anthropic.chat.transformation").AnthropicConfig()
            return of.calculate_usage(usage, None)
        if dialect == "gemini":
            place = "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini"
            return importlib.import_module(place).VertexGeminiConfig._calculate_usage({"usageMetadata": usage})
        if dialect == "bedrock_converse":
            place = "litellm.llms.bedrock.chat.converse_transformation"
            return importlib.import_module(place).AmazonConverseConfig().transform_usage(usage)
        if dialect == "openai_responses":
            of = importlib.import_module("litellm.responses.utils").ResponseAPILoggingUtils
            return of.transform_response_api_usage_to_chat_usage(usage)
        if "prompt_tokens" not in usage:
            raise ValueError("no usage that litellm reads")
        return self._litellm.Usage(**usage)


class GenaiPricesOpinion:
    """genai-prices', by its own extractors and the prices in its package."""

    def __init__(self, load: Import = importlib.import_module) -> None:
        """`load` imports a module by name. Raises `UsageError` where the package is not installed."""
        try:
            self._genai = load("genai_prices")
        except ImportError as error:
            raise _absent("genai-prices", error) from None
        self.name = "genai-prices"

    def opinion(
        self, provider: str, model: str, usage_raw: bytes, *, dialect: str, service_tier: str | None = None
    ) -> Decimal | None:
        """See `SecondOpinion`. Service tiers are not handed over: a tier's price there is an approximation."""
        if service_tier not in (None, "", "default", "standard", "on_demand"):
            return None
        theirs = GENAI_NAMES.get(provider, (provider,))[0]
        flavor = "default" if provider in _GENAI_DEFAULT_ONLY else _GENAI_FLAVORS.get(dialect, "default")
        try:
            body = {"model": model, "modelVersion": model, _ROOTS.get(dialect, "usage"): json.loads(usage_raw)}
            with sealed():
                extracted = self._genai.extract_usage(body, provider_id=theirs, api_flavor=flavor)
                total = extracted.calc_price().total_price
        except Exception:  # as above: no opinion
            return None
        return total if isinstance(total, Decimal) else None


def _absent(package: str, error: Exception) -> UsageError:
    return UsageError(
        f"{package} cannot be asked for a second opinion: it is not installed ({error}). "
        f"Install it with: pip install {package}"
    )
