"""Model references: `[provider/]model[:suffix][@tag]…`, or bare tags that leave the model open.

Names are matched whole first, so an id that holds an `@` or a `:` stays usable. Tags are a set: any order means the
same, case, `-` and `_` do not matter, a repeated tag counts once. OpenRouter's suffixes are read where the whole
name is not in the catalogue. What no name, provider prefix or pattern explains goes to the fallback chain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from posixpath import commonprefix
from typing import Any

from msgspec import Struct, structs

from clawbench.catalog.catalog import Catalog, Model
from clawbench.errors import RequestError
from clawbench.routing.preferences import NO_PREFERENCES, Preferences, preferences_of

ANY_MODEL = "*"
"""Stands for "any model that can serve the request", where a bare reference has no tag to stand on."""

_ALIASES = {
    "price": ("price",),
    "latency": ("latency",),
    "tokenrate": ("token_rate",),
    "throughput": ("token_rate",),
    "rate": ("token_rate",),
    "energy": ("energy",),
    "quality": ("quality",),
    "balanced": ("latency", "price", "token_rate"),
}
TAGS = ("balanced", "energy", "latency", "price", "quality", "token_rate")

_DATED = re.compile(r"(?:[-@:_](?:latest|\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{3,6}|v\d+(?::\d+)?))+")
"""What a name says of a model's version, behind the model's own: `-20250101`, `-2024-08-06`, `-0613`, `-latest`."""

_SUFFIXES: dict[str, tuple[tuple[str, ...], bool]] = {
    "floor": (("price",), False),
    "nitro": (("token_rate",), False),
    "free": ((), True),
}

PATTERNS: Mapping[str, str] = {
    "claude-*": "anthropic",
    "gpt-*": "openai",
    "o[0-9]*": "openai",
    "gemini-*": "gemini",
    "llama*": "ollama",
    "mixtral*": "ollama",
}
"""Whose model a name is that the catalogue does not have, by its form; the first pattern that fits counts."""


class Reference(Struct, frozen=True):
    """What a model string means.

    `model` None: the router picks the model too. `tags` sorted; empty: the default strategy. `provider`: of `model`
    only this one's offers. `fallbacks`: models to go on with, in order, when the offers of `model` are spent.
    """

    model: Model | None
    tags: tuple[str, ...]
    provider: str | None = None
    fallbacks: tuple[Model, ...] = ()
    preferences: Preferences = NO_PREFERENCES


def resolve(
    text: str,
    catalog: Catalog,
    *,
    models: Any = None,
    provider: Any = None,
    chain: Sequence[str] = (),
    patterns: Mapping[str, str] = PATTERNS,
) -> Reference:
    """The reference in a request's `model`, with its `models` and `provider` fields.

    `chain` are the names of models to go on with after those of `models`, and to take where the name means nothing;
    `patterns` are forms of names with the provider whose they are.

    Raises `RequestError` 400 for an unknown tag or a field of the wrong form, 404 for an unknown model.
    """
    reference = _named(text, catalog, patterns)
    wanted = _fallbacks(models, catalog)
    last = tuple(model for model in (catalog.find(name) for name in chain) if model is not None)
    if reference is None:
        wanted = wanted or last
        if not wanted:
            raise _unknown_model(text, catalog, patterns)
        tags = _tagged(text, catalog)[1]
        reference, wanted = Reference(wanted[0], tags), wanted[1:]
    if provider is not None:
        known = frozenset(offer.provider.lower() for offer in catalog.offers_of())
        asked = preferences_of(provider, known=known)
        free = reference.preferences.free_only
        if asked.sort and reference.tags and asked.sort not in reference.tags:
            raise _contradiction(asked.sort, reference.tags)
        tags = reference.tags or ((asked.sort,) if asked.sort else ())
        reference = structs.replace(reference, tags=tags, preferences=structs.replace(asked, free_only=free))
    if reference.model is not None and reference.preferences.allow_fallbacks:
        wanted = tuple({model.id: model for model in (*wanted, *last)}.values())
    if wanted:
        kept = tuple(model for model in wanted if reference.model is None or model.id != reference.model.id)
        reference = structs.replace(reference, fallbacks=kept)
    return reference


def tags_of(text: str) -> tuple[str, ...]:
    """The tags in 'price', 'price@latency' or '@price@latency', sorted; raises `RequestError` for an unknown one."""
    found = [tag for name in text.removeprefix("@").split("@") for tag in _known_tag(name, text, TAGS)]
    return tuple(sorted(set(found)))


def _named(text: str, catalog: Catalog, patterns: Mapping[str, str]) -> Reference | None:
    """The reference without its request's further fields; None where the name means no model."""
    whole = catalog.find(text)
    if whole is not None:
        return Reference(whole, ())
    name, tags = _tagged(text, catalog)
    if name in ("", ANY_MODEL):
        return Reference(None, tags)
    model = catalog.find(name)
    if model is not None:
        return Reference(model, tags)
    head, colon, suffix = name.rpartition(":")
    if colon and suffix.casefold() in _SUFFIXES:
        more, free_only = _SUFFIXES[suffix.casefold()]
        inner = _named(head, catalog, patterns)
        if inner is not None:
            both = tuple(sorted({*tags, *more}))
            return structs.replace(inner, tags=both, preferences=Preferences(free_only=free_only))
    return _by_provider(name, tags, catalog, patterns)


def _tagged(text: str, catalog: Catalog) -> tuple[str, tuple[str, ...]]:
    """(name, sorted tags): known tags are taken off the right end, until a name of the catalogue is left."""
    name, tags = text, set[str]()
    while "@" in name and catalog.find(name) is None:
        rest, _, tag = name.rpartition("@")
        tags.update(_known_tag(tag, text, _tags_known(catalog)))
        name = rest.strip()
    return name, tuple(sorted(tags))


def _by_provider(name: str, tags: tuple[str, ...], catalog: Catalog, patterns: Mapping[str, str]) -> Reference | None:
    """`provider/model`, a provider's own name of a model, or a name whose form tells the provider."""
    folded = name.casefold()
    prefix, slash, rest = folded.partition("/")
    for model in catalog.models.values():
        for offer in model.offers:
            is_its_name = offer.upstream_model.casefold() == folded
            if slash and offer.provider.casefold() == prefix:
                is_its_name |= rest in (offer.upstream_model.casefold(), model.id.casefold(), model.name.casefold())
                if is_its_name:
                    return Reference(model, tags, provider=offer.provider)
            elif is_its_name:
                return Reference(model, tags)
    owner = _owner(name, patterns)
    for model in catalog.models.values():
        # claude-x-20250101 is claude-x; gpt-x-mini is another model than gpt-x.
        dated = folded.startswith(model.id.casefold()) and _DATED.fullmatch(folded, len(model.id))
        if owner and dated and any(offer.provider == owner for offer in model.offers):
            return Reference(model, tags, provider=owner)
    return None


def _owner(name: str, patterns: Mapping[str, str]) -> str | None:
    """The provider whose names have this form; None: nobody's."""
    folded = name.casefold()
    return next((provider for pattern, provider in patterns.items() if fnmatchcase(folded, pattern.casefold())), None)


def _fallbacks(models: Any, catalog: Catalog) -> tuple[Model, ...]:
    """The models of a request's `models` field; ids that are not known are skipped."""
    if models is None:
        return ()
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise RequestError(
            "models must be a list of model names.",
            status=400,
            code="bad_request",
            type="invalid_request_error",
            param="models",
        )
    found = (catalog.find(name) for name in models)
    return tuple({model.id: model for model in found if model is not None}.values())


def _tags_known(catalog: Catalog) -> tuple[str, ...]:
    measured = any(offer.quality is not None for offer in catalog.offers.values())
    return TAGS if measured else tuple(tag for tag in TAGS if tag != "quality")


def _known_tag(tag: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    found = _ALIASES.get(tag.strip().casefold().replace("-", "").replace("_", ""))
    if found is None or (found == ("quality",) and "quality" not in known):
        listed = ", ".join(f"@{name}" for name in known)
        raise RequestError(
            f'Unknown strategy tag "@{tag.strip()}" in "{text}". Known tags: {listed}.',
            status=400,
            code="unknown_strategy_tag",
            type="invalid_request_error",
            param="model",
        )
    return found


def _contradiction(sort: str, tags: Sequence[str]) -> RequestError:
    listed = ", ".join(f"@{tag}" for tag in tags)
    return RequestError(
        f"provider.sort asks for @{sort}, the model's tags for {listed}; give one of them.",
        status=400,
        code="bad_request",
        type="invalid_request_error",
        param="provider.sort",
    )


def _unknown_model(text: str, catalog: Catalog, patterns: Mapping[str, str]) -> RequestError:
    name = _tagged(text, catalog)[0]
    nearest, owner = catalog.nearest(name), _owner(name, patterns)
    if owner and not nearest:
        owned = [model.id for model in catalog.models.values() if any(each.provider == owner for each in model.offers)]
        near = sorted(owned, key=lambda known: -len(commonprefix([known.casefold(), name.casefold()])))
        nearest = f" Names of this form are {owner}'s, "
        nearest += f'whose nearest here is "{near[0]}".' if near else "who has no offer here."
    return RequestError(
        f'The model "{name}" is not known.{nearest} GET /v1/models lists the known ones.',
        status=404,
        code="model_not_found",
        type="invalid_request_error",
        param="model",
    )
