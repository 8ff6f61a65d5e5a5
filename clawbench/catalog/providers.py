"""Which provider stands behind an address, and where an offer's base URL ends.

A table of host patterns; what is not in it is its own provider. Reads addresses as recordings hold them, also ones
that were scrubbed to begin with a `<PLACEHOLDER>`. Knows no dialect beyond the paths that callers hand in, and
never resolves a name.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

CHAT_PATHS: Final = ("/openai/deployments/{model}/chat/completions", "/chat/completions", "/chat")
"""Paths of OpenAI's chat dialect, the most particular first."""

_EXACT: Final[dict[str, str]] = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "openrouter.ai": "openrouter",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "router.huggingface.co": "huggingface",
    "api-inference.huggingface.co": "huggingface",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "ollama.com": "ollama",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zai",
    "api.xiaomimimo.com": "xiaomi",
    "inference.baseten.co": "baseten",
    "ai-gateway.vercel.sh": "vercel-gw",
    "integrate.api.nvidia.com": "nvidia",
    "api.cloudflare.com": "cloudflare",
    "api.writer.com": "writer",
    "api.portkey.ai": "portkey",
    "enter.pollinations.ai": "pollinations",
    "api.ai21.com": "ai21",
    "api.deepinfra.com": "deepinfra",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.minimax.io": "minimax",
    "api.minimax.chat": "minimax",
    "api.minimaxi.com": "minimax",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "api.novita.ai": "novita",
    "api.sambanova.ai": "sambanova",
    "api.siliconflow.cn": "siliconflow",
    "api.siliconflow.com": "siliconflow",
    "api.studio.nebius.ai": "nebius",
    "api.studio.nebius.com": "nebius",
    "models.github.ai": "github",
    "models.inference.ai.azure.com": "github",
}
_PATTERNS: Final[tuple[tuple[str, str], ...]] = (
    ("*.api.openai.com", "openai"),
    ("*.openai.azure.com", "azure-openai"),
    ("*.openai.azure.us", "azure-openai"),
    ("*.openai.azure.cn", "azure-openai"),
    ("*.cognitiveservices.azure.com", "azure-openai"),
    ("*.services.ai.azure.com", "azure-ai"),
    ("*.models.ai.azure.com", "azure-ai"),
    ("*aiplatform.googleapis.com", "vertex"),
    ("aiplatform.*.rep.googleapis.com", "vertex"),
    ("bedrock*.amazonaws.com", "bedrock"),
    ("bedrock*.api.aws", "bedrock"),
    ("dashscope*.aliyuncs.com", "alibaba"),
    ("*.api.mistral.ai", "mistral"),
    ("*.databricks.com", "databricks"),
    ("*.azuredatabricks.net", "databricks"),
    ("*.snowflakecomputing.com", "snowflake"),
    ("*.api.baseten.co", "baseten"),
    ("*.endpoints.huggingface.cloud", "huggingface"),
    ("ark.*.volces.com", "volcengine"),
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "0.0.0.0"})
_OLLAMA_PORT: Final = "11434"
_ADDRESS: Final = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?//(?P<authority>[^/?#]*)")
_PLACEHOLDER: Final = re.compile(r"<([A-Za-z0-9]+)[^>/]*>")


def host_of(url: str) -> str:
    """Host and port in lower case, without user info; an address that begins with a placeholder gives that."""
    match = _ADDRESS.match(url)
    authority = match["authority"] if match else re.split(r"[/?#]", url, maxsplit=1)[0]
    return authority.rpartition("@")[2].lower()


def provider_of(url: str) -> str:
    """The provider's name; the host itself where it is not known. Never raises.

    `<OLLAMA_API_BASE>/chat/completions` gives "ollama": a scrubbed address names what stood there.
    """
    host = host_of(url)
    placeholder = _PLACEHOLDER.match(host)
    if placeholder:
        return placeholder[1]
    bracket = host.find("]")
    name, _, port = host.rpartition(":") if host.rfind(":") > bracket else (host, "", "")
    if name in _LOOPBACK:
        return "ollama" if port == _OLLAMA_PORT else "localhost"
    if name in _EXACT:
        return _EXACT[name]
    return next((provider for pattern, provider in _PATTERNS if fnmatchcase(name, pattern)), host)


def base_url_of(url: str, *paths: str) -> str:
    """Scheme, host and path prefix before the dialect's path, without a trailing slash, query or fragment.

    `paths` are the dialect's paths, tried in order (default: `CHAT_PATHS`); `{model}` in one stands for any one
    segment. Where none fits, the whole address without query is the base. Host names are lowered, paths are not.
    """
    match = _ADDRESS.match(url)
    start = match.end() if match else len(host_of(url))
    origin = f"{(match['scheme'] or 'https').lower()}://{host_of(url)}" if match else url[:start]
    path = re.split(r"[?#]", url[start:], maxsplit=1)[0].rstrip("/")
    for template in paths or CHAT_PATHS:
        pattern = r"[^/]+".join(map(re.escape, template.split("?", 1)[0].split("{model}")))
        found = re.search(f"/*{pattern}$", path)
        if found:
            path = path[: found.start()]
            break
    return origin + path.rstrip("/")
