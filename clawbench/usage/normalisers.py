"""One normaliser per provider API: raw usage text in, canonical buckets out, under a version that a charge can cite.

Chosen by the upstream API, never by what the client spoke. To add one: a function in `chat_buckets.py`,
`gateway_buckets.py` or `native_buckets.py`, a line here. When a function's meaning changes, its version does: charges
made under the old one stay what they were. Nothing here raises for anything a provider sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from clawbench.usage import anthropic, chat_buckets, gateway_buckets, native_buckets
from clawbench.usage.admission import COUNT_MAX, Reader, UsageRefused, parse
from clawbench.usage.buckets import Counted
from clawbench.usage.chat_buckets import Draft

Snapshots = Literal["last", "overwrite"]
"""How the usages of one stream become one: the last one stands, or each overwrites the fields that it states."""


class Normaliser(Struct, frozen=True, kw_only=True):
    """How one provider API means its counts."""

    name: str  # with its version, e.g. "anthropic.messages/1"
    counts: Callable[[dict[str, Any], Reader, str | None], Draft]
    snapshots: Snapshots = "last"


_KEY_CHARACTERS_MAX: Final = 40  # longer keys are no counts, and notes are stored


def _plain(name: str, counts: Callable[[dict[str, Any], Reader], Draft]) -> Normaliser:
    return Normaliser(name=name, counts=lambda usage, read, _: counts(usage, read))


ANTHROPIC: Final = Normaliser(name=anthropic.VERSION, counts=native_buckets.anthropic_messages, snapshots="overwrite")
OPENAI_CHAT: Final = _plain("openai.chat/1", chat_buckets.openai_chat)
OPENAI_RESPONSES: Final = _plain("openai.responses/1", chat_buckets.openai_responses)
GEMINI: Final = _plain("gemini.generateContent/1", native_buckets.gemini_native)
BEDROCK: Final = _plain("bedrock.converse/1", native_buckets.bedrock_converse)
BEDROCK_INVOKE: Final = _plain("bedrock.invoke/1", native_buckets.bedrock_invoke)
COHERE: Final = _plain("cohere.chat/1", native_buckets.cohere_chat)
OLLAMA: Final = _plain("ollama.chat/1", native_buckets.ollama_chat)

_GROQ: Final = _plain("groq.chat/1", chat_buckets.reasoning_inside)
_TOGETHER: Final = _plain("together.chat/1", chat_buckets.reasoning_unpriced)

CHAT: Final[dict[str, Normaliser]] = {
    "openai": OPENAI_CHAT,
    "azure-openai": OPENAI_CHAT,
    "gemini": _plain("gemini.openai/1", chat_buckets.gemini_compatible),
    "vertex": _plain("gemini.openai/1", chat_buckets.gemini_compatible),
    "deepseek": _plain("deepseek.chat/1", chat_buckets.deepseek),
    "xai": _plain("xai.chat/1", chat_buckets.xai_chat),
    "azure-ai": _plain("azure-ai.chat/1", chat_buckets.azure_ai_chat),
    "mistral": _plain("mistral.chat/2", chat_buckets.mistral),
    "together": _TOGETHER,
    "groq": _GROQ,
    "fireworks": _plain("fireworks.chat/1", chat_buckets.reasoning_inside),
    "openrouter": _plain("openrouter.chat/2", gateway_buckets.openrouter_chat),
    "vercel-gw": _plain("vercel.chat/1", gateway_buckets.vercel_chat),
    "api.avian.io": _plain("avian.chat/1", gateway_buckets.avian_chat),
    "perplexity": _plain("perplexity.chat/1", chat_buckets.perplexity),
}
"""By provider, for OpenAI's chat dialect; whoever is not listed is read as OpenAI."""

_RESPONSES: Final[dict[str, Normaliser]] = {
    "xai": _plain("xai.responses/1", chat_buckets.xai_responses),
    "openrouter": _plain("openrouter.responses/2", gateway_buckets.openrouter_responses),
}

_OF_DIALECT: Final[dict[str, Normaliser]] = {
    "anthropic": ANTHROPIC,
    "bedrock_anthropic": ANTHROPIC,
    "bedrock_converse": BEDROCK,
    "bedrock_invoke_other": BEDROCK_INVOKE,
    "gemini": GEMINI,
    "cohere": COHERE,
    "cohere_v1": COHERE,
    "ollama": OLLAMA,
    "ollama_generate": OLLAMA,
}

NAMED: Final[dict[str, Normaliser]] = {
    each.name: each for each in (*CHAT.values(), *_RESPONSES.values(), *_OF_DIALECT.values(), OPENAI_RESPONSES)
}
"""By the name that a charge cites."""


def normaliser_for(dialect: str, provider: str) -> Normaliser:
    """The normaliser of an offer's API. Raises `KeyError` for a dialect whose counts nobody has read up on."""
    if dialect in ("openai_chat", "openai_completions"):
        return CHAT.get(provider, OPENAI_CHAT)
    if dialect == "openai_responses":
        return _RESPONSES.get(provider, OPENAI_RESPONSES)
    return _OF_DIALECT[dialect]


def count(
    normaliser: Normaliser,
    texts: Sequence[bytes],
    *,
    stream: bool = False,
    bound: int = COUNT_MAX,
    asked_ttl: str | None = None,
) -> Counted:
    """The buckets that a reply's usage states. Never raises.

    `texts` are the JSON texts of its usage objects in order of arrival (one for a whole body, none if it stated none);
    in a stream each is a snapshot of what had been counted by then, and an empty one says nothing;
    `bound` is the largest count that the offer can produce; `asked_ttl` the cache lifetime that the request named.
    """
    try:
        values = [value for text in texts if (value := parse(text)) is not None]
        for value in values:
            if type(value) is not dict:
                raise UsageRefused("usage is no object")
    except UsageRefused as error:
        return Counted(normaliser=normaliser.name, refused=(str(error),))
    notes: tuple[str, ...] = ()
    if stream:
        values = [value for value in values if value]
        notes = _fallen(values)
        if values and normaliser.snapshots == "overwrite":
            values = [anthropic.merged(*values)]
    if not values:
        return Counted(normaliser=normaliser.name, missing=("usage",))
    usage = values[-1]
    read = Reader(bound)
    found = normaliser.counts(usage, read, asked_ttl)
    return Counted(
        normaliser=normaliser.name,
        parts=found.parts,
        uses=found.uses,
        service_tier=found.service_tier,
        traits=found.traits,
        reported_usd=found.reported_usd,
        rounded_usd=found.rounded_usd,
        refused=tuple(read.refused),
        missing=tuple(read.missing),
        flags=tuple(read.flags),
        notes=notes,
    )


def _fallen(values: list[dict[str, Any]]) -> tuple[str, ...]:
    """Counts that a later snapshot puts lower than an earlier one: odd, and the later one stands."""
    fallen: dict[str, None] = {}
    last: dict[str, int] = {}
    for value in values:
        for key, stated in value.items():
            if type(stated) is int and len(key) <= _KEY_CHARACTERS_MAX and key.isidentifier():
                if stated < last.get(key, stated):
                    fallen[f"{key} fell from {last[key]} to {stated} within the stream"] = None
                last[key] = stated
    return tuple(fallen)
