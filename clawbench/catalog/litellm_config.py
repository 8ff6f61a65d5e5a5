"""LiteLLM's proxy configuration, as far as a plan can say the same: deployments, prices, limits, routing, fallbacks.

    model_list         → [[offers]]: provider and address by the model's prefix, rpm and tpm, prices that are overridden
    router_settings    → strategies, [gateway], [routing]
    litellm_settings   → [gateway]

Whatever is not taken over is named with its line and the reason, never dropped in silence; keys themselves are never
read, only the names of the environment variables that hold them. Prices are read from the file's own text, exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from clawbench.catalog.tiers import above
from clawbench.catalog.yaml_lines import Text, line_of, read_yaml
from clawbench.errors import PlanError
from clawbench.money import NotMoney, decimal, pico_per_token_from_usd_per_token

PROVIDERS: Final[dict[str, tuple[str, str, str]]] = {
    "openai": ("openai", "https://api.openai.com/v1", "openai_chat"),
    "anthropic": ("anthropic", "https://api.anthropic.com/v1", "anthropic"),
    "gemini": ("gemini", "https://generativelanguage.googleapis.com/v1beta", "gemini"),
    "groq": ("groq", "https://api.groq.com/openai/v1", "openai_chat"),
    "mistral": ("mistral", "https://api.mistral.ai/v1", "openai_chat"),
    "deepseek": ("deepseek", "https://api.deepseek.com/v1", "openai_chat"),
    "xai": ("xai", "https://api.x.ai/v1", "openai_chat"),
    "together_ai": ("together", "https://api.together.xyz/v1", "openai_chat"),
    "fireworks_ai": ("fireworks", "https://api.fireworks.ai/inference/v1", "openai_chat"),
    "cerebras": ("cerebras", "https://api.cerebras.ai/v1", "openai_chat"),
    "openrouter": ("openrouter", "https://openrouter.ai/api/v1", "openai_chat"),
    "perplexity": ("perplexity", "https://api.perplexity.ai", "openai_chat"),
    "huggingface": ("huggingface", "https://router.huggingface.co/v1", "openai_chat"),
    "nvidia_nim": ("nvidia", "https://integrate.api.nvidia.com/v1", "openai_chat"),
    "cohere": ("cohere", "https://api.cohere.com", "cohere"),
    "cohere_chat": ("cohere", "https://api.cohere.com", "cohere"),
    "ollama": ("ollama", "http://localhost:11434", "ollama"),
    "ollama_chat": ("ollama", "http://localhost:11434", "ollama"),
    "azure": ("azure-openai", "", "openai_chat"),
    "azure_ai": ("azure-ai", "", "openai_chat"),
    "hosted_vllm": ("vllm", "", "openai_chat"),
    "openai_like": ("openai-like", "", "openai_chat"),
    "custom_openai": ("openai-like", "", "openai_chat"),
}
"""LiteLLM's prefix → (our provider, its address, its dialect); no address: the entry has to give one."""

BARE: Final = (("claude-", "anthropic"), ("gpt-", "openai"), ("chatgpt-", "openai"), ("gemini-", "gemini"))
REASONING_MODEL: Final = re.compile(r"o\d")

STRATEGIES: Final[dict[str, tuple[str, str]]] = {
    "simple-shuffle": ("random", "weights are not taken over"),
    "least-busy": ("least_busy", ""),
    "latency-based-routing": ("latency", ""),
    "cost-based-routing": ("price", ""),
    "usage-based-routing": ("least_busy", "there is no strategy by tokens used; the nearest is taken"),
    "usage-based-routing-v2": ("least_busy", "there is no strategy by tokens used; the nearest is taken"),
}
PRICES: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}
LONG: Final = re.compile(rf"(?:{'|'.join(PRICES)})_above_([1-9]\d{{0,8}})k_tokens")
CAPABILITIES: Final = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_audio_input": "audio",
    "supports_response_schema": "json_schema",
}
SECONDS: Final = {
    "timeout": ("gateway", "request_timeout_s"),
    "request_timeout": ("gateway", "request_timeout_s"),
    "stream_timeout": ("gateway", "ttft_timeout_s"),
    "cooldown_time": ("routing", "breaker_open_s"),
}
HARMLESS: Final = frozenset({"drop_params", "set_verbose", "id", "mode", "litellm_provider", "db_model"})
"""Keys that change nothing here: answers are the same without them."""

VARIABLE: Final = "os.environ/"


class LeftOut(Struct, frozen=True):
    """What was not taken over, and why."""

    line: int
    what: str
    why: str


class Imported(Struct, frozen=True):
    """A plan's tables, ready to be written, and what they lack."""

    offers: list[dict[str, Any]]
    strategies: list[str]
    gateway: dict[str, Any]
    routing: dict[str, Any]
    key_variables: dict[str, str]  # host → environment variable that holds its key
    left_out: list[LeftOut]


def read_litellm_config(path: Path) -> Imported:
    """The configuration in a file. Raises `PlanError` with file and line for one that cannot be read, and for a price
    that is negative, no number, or given for one direction only.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise PlanError(f"{path}: no LiteLLM configuration: it has no model_list")
    return _Import(path, content).run()


class _Import:
    """One import under way."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path, self._content = path, content
        self._left_out: list[LeftOut] = []
        self._gateway: dict[str, Any] = {}
        self._routing: dict[str, Any] = {}
        self._strategies: list[str] = []
        self._variables: dict[str, str] = {}
        self._ids: set[str] = set()

    def run(self) -> Imported:
        offers = [offer for offer in map(self._offer, self._content["model_list"]) if offer is not None]
        if not offers:
            raise PlanError(f"{self._path}: no entry of model_list could be taken over. {self._reasons()}")
        for key, value in self._content.items():
            if key == "model_list":
                continue
            if key in ("router_settings", "litellm_settings") and isinstance(value, dict):
                self._settings(key, value)
            else:
                self._leave(key, str(key), "the gateway's own matter: keys, accounts and storage are set elsewhere")
        strategies = self._strategies or ["random"]
        self._gateway["default_strategy"] = strategies[0]
        return Imported(offers, strategies, self._gateway, self._routing, self._variables, self._left_out)

    def _offer(self, entry: Any) -> dict[str, Any] | None:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        if not isinstance(params, dict) or not isinstance(params.get("model"), Text):
            self._leave(entry, "an entry of model_list", "it has no litellm_params.model")
            return None
        name, model = entry.get("model_name", params["model"]), params["model"]
        where = f'model_list "{name}" ({model})'
        found = self._served_by(params, where)
        if found is None:
            return None
        provider, base_url, dialect, upstream = found
        rest = {**entry.get("model_info", {})} if isinstance(entry.get("model_info"), dict) else {}
        offer: dict[str, Any] = {
            "id": self._fresh(f"{provider}/{name}"),
            "provider": provider,
            "model": str(name),
            "upstream_model": upstream,
            "base_url": base_url,
        }
        if dialect != "openai_chat":
            offer["dialect"] = dialect
        prices = self._prices({**rest, **params}, provider, where)
        if prices:
            offer["usd_per_mtok"] = prices
        offer |= self._limits(entry, params, rest, where)
        self._key(params, base_url, where)
        taken = {
            "model",
            "api_base",
            "api_key",
            "custom_llm_provider",
            "rpm",
            "tpm",
            *PRICES,
            *filter(LONG.fullmatch, params),
        }
        self._leave_rest(params, taken, f"{where}: litellm_params")
        known = {*PRICES, *CAPABILITIES, *filter(LONG.fullmatch, rest)}
        known |= {"max_input_tokens", "max_output_tokens", "max_tokens"}
        self._leave_rest(rest, known, f"{where}: model_info")
        self._leave_rest(entry, {"model_name", "litellm_params", "model_info", "rpm", "tpm"}, where)
        return offer

    def _served_by(self, params: dict[str, Any], where: str) -> tuple[str, str, str, str] | None:
        """(provider, address, dialect, upstream model); None where this provider is not spoken to."""
        model, given = params["model"], params.get("custom_llm_provider")
        prefix, slash, rest = model.partition("/")
        if given is not None:
            prefix, rest = str(given), model.removeprefix(f"{given}/")
        elif not slash or prefix not in PROVIDERS:
            owner = next((owner for start, owner in BARE if model.startswith(start)), None)
            owner = owner or ("openai" if REASONING_MODEL.match(model) else None)
            if owner is None:
                named = f'provider "{prefix}"' if slash else "the provider of a bare model name"
                self._leave(model, where, f"{named} is not known here. Known: {', '.join(PROVIDERS)}")
                return None
            prefix, rest = owner, str(model)
        known = PROVIDERS.get(prefix)
        if known is None:
            self._leave(model, where, f'provider "{prefix}" is not known here. Known: {", ".join(PROVIDERS)}')
            return None
        if "*" in rest:
            self._leave(model, where, "a wildcard stands for models that are not named; name them")
            return None
        provider, base_url, dialect = known
        own = params.get("api_base")
        if isinstance(own, Text):
            if own.startswith(VARIABLE) or urlsplit(own).scheme not in ("http", "https"):
                self._leave(own, where, f'api_base "{own}" is no address; write it out')
                return None
            base_url = own.rstrip("/")
        if not base_url:
            self._leave(model, where, f'provider "{prefix}" has no address of its own; give api_base')
            return None
        return provider, base_url, dialect, rest

    def _prices(self, values: Mapping[Any, Any], provider: str, where: str) -> dict[str, Any]:
        """USD per million tokens, with those of longer prompts. Raises `PlanError` for what is no price."""
        found: dict[str, Any] = dict(self._figures(values, where))
        missing = {"input", "output"} - set(found)
        if found and missing:
            line = next(getattr(values[key], "line", 0) for key in PRICES if key in values)
            raise PlanError(f"{self._path}, line {line}: {where}: the {missing.pop()} price is missing; give both")
        lengths = {int(each[1]) for key in values if (each := LONG.fullmatch(key))}
        if found and lengths:
            base = {name: found[name] for name in ("input", "output")}
            found["tiers"] = [
                {
                    "above": above(1000 * length, provider),
                    **base,
                    **self._figures(values, where, f"_above_{length}k_tokens"),
                }
                for length in sorted(lengths)
            ]
        return found

    def _figures(self, values: Mapping[Any, Any], where: str, suffix: str = "") -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for field, name in PRICES.items():
            key = field + suffix
            text = values.get(key)
            if text is None or text in ("null", "~", ""):
                continue
            at = f"{self._path}, line {getattr(text, 'line', 0)}: {where}: {key}"
            try:
                amount = decimal(str(text))
            except NotMoney as error:
                raise PlanError(f"{at}: {error}") from None
            if amount < 0:
                raise PlanError(f"{at} must be a price of 0 or more, got {text}")
            pico, exact = pico_per_token_from_usd_per_token(amount)
            if not exact:
                self._leave(
                    text, f"{where}: {key} = {text}", f"finer than 1e-12 USD; taken as {pico}e-12 USD per token"
                )
            found[name] = Decimal(pico) / 1_000_000
        return found

    def _limits(
        self, entry: dict[str, Any], params: dict[str, Any], rest: dict[Any, Any], where: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, name in (("rpm", "requests_per_minute"), ("tpm", "tokens_per_minute")):
            self._count(found, name, next((each[key] for each in (entry, params, rest) if key in each), None), where)
        self._count(found, "context_window", rest.get("max_input_tokens"), where)
        self._count(found, "max_output_tokens", rest.get("max_output_tokens", rest.get("max_tokens")), where)
        said = [key for key in CAPABILITIES if key in rest]
        if said:
            able = [CAPABILITIES[key] for key in said if str(rest[key]).lower() == "true"]
            if len(said) == len(CAPABILITIES):
                found["capabilities"] = able
            else:
                self._leave(
                    rest[said[0]], f"{where}: {', '.join(said)}", "capabilities are taken when all four are said"
                )
        return found

    def _count(self, into: dict[str, Any], name: str, text: Any, where: str) -> None:
        if text is None:
            return
        if str(text).isdigit() and int(text) > 0:
            into[name] = int(text)
        else:
            self._leave(text, f"{where}: {name} = {text}", "no whole number above 0")

    def _key(self, params: dict[str, Any], base_url: str, where: str) -> None:
        key = params.get("api_key")
        if not isinstance(key, Text):
            return
        if not key.startswith(VARIABLE):
            self._leave(key, f"{where}: api_key", "keys do not stand in plans; name an environment variable")
            return
        host, variable = urlsplit(base_url).netloc.lower(), str(key.removeprefix(VARIABLE))
        known = self._variables.setdefault(host, variable)
        if known != variable:
            self._leave(key, f"{where}: api_key {variable}", f"one key a host; {host} has {known}")

    def _settings(self, table: str, values: dict[str, Any]) -> None:
        for key, value in values.items():
            what = f"{table}.{key}"
            if key in HARMLESS:
                continue
            if key == "routing_strategy" and isinstance(value, Text):
                self._strategy(value, what)
            elif key in SECONDS and _seconds(value) is not None:
                place, name = SECONDS[key]
                (self._gateway if place == "gateway" else self._routing)[name] = _seconds(value)
            elif key == "num_retries" and str(value).isdigit():
                self._gateway["attempts_max"] = int(value) + 1
            elif key == "default_fallbacks" and isinstance(value, list):
                self._gateway["fallback_models"] = [str(each) for each in value]
            elif key == "fallbacks" and isinstance(value, list):
                self._fallbacks(value, what)
            else:
                self._leave(value if isinstance(value, Text) else key, what, "nothing here corresponds to it")

    def _fallbacks(self, entries: list[Any], what: str) -> None:
        for entry in entries:
            for model, others in entry.items() if isinstance(entry, dict) else ():
                if model == "*" and isinstance(others, list):
                    self._gateway["fallback_models"] = [str(each) for each in others]
                else:
                    named = ", ".join(map(str, others)) if isinstance(others, list) else str(others)
                    why = 'fallbacks of one model are the client\'s to ask for: "models" in its requests'
                    self._leave(model, f"{what}: {model} → {named}", why)

    def _strategy(self, value: Text, what: str) -> None:
        found = STRATEGIES.get(value)
        if found is None:
            self._leave(value, f"{what} = {value}", f"not known here. Known: {', '.join(STRATEGIES)}")
            return
        self._strategies.append(found[0])
        if found[1]:
            self._leave(value, f"{what} = {value}", f"{found[1]} ({found[0]})")

    def _leave_rest(self, values: Mapping[Any, Any], taken: set[str], what: str) -> None:
        for key, value in values.items():
            if key not in taken and key not in HARMLESS:
                self._leave(
                    value if isinstance(value, Text) else key, f"{what}.{key}", "nothing here corresponds to it"
                )

    def _leave(self, at: Any, what: str, why: str) -> None:
        self._left_out.append(LeftOut(line_of(at), what, why))

    def _reasons(self) -> str:
        return "; ".join(f"line {each.line}: {each.what}: {each.why}" for each in self._left_out[:3])

    def _fresh(self, wanted: str) -> str:
        wanted = "".join(character if character.isascii() and character.isprintable() else "?" for character in wanted)
        number, offer_id = 1, wanted
        while offer_id in self._ids:
            number += 1
            offer_id = f"{wanted}:{number}"
        self._ids.add(offer_id)
        return offer_id


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 1e9 else None
