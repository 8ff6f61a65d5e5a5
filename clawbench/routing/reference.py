"""Model references: `model@tag…`, or bare tags that leave the model open.

Names are matched whole first, so an id that holds an `@` stays usable. Tags are a set: any order means the same,
case, `-` and `_` do not matter, a repeated tag counts once.
"""

from __future__ import annotations

from msgspec import Struct

from clawbench.catalog.catalog import Catalog, Model
from clawbench.errors import RequestError

ANY_MODEL = "*"
"""Stands for "any model that can serve the request", where a bare reference has no tag to stand on."""

_ALIASES = {
    "price": "price",
    "latency": "latency",
    "tokenrate": "token_rate",
    "throughput": "token_rate",
    "rate": "token_rate",
}
TAGS = ("latency", "price", "token_rate")


class Reference(Struct, frozen=True):
    """What a model string means. `model` None: the router picks the model too. `tags` sorted; empty: the default."""

    model: Model | None
    tags: tuple[str, ...]


def resolve(text: str, catalog: Catalog) -> Reference:
    """The model and tags in `text`. Raises `RequestError` 400 for an unknown tag, 404 for an unknown model."""
    whole = catalog.find(text)
    if whole is not None:
        return Reference(whole, ())
    name, tags = text, set[str]()
    while "@" in name:
        rest, _, tag = name.rpartition("@")
        known = _ALIASES.get(tag.strip().casefold().replace("-", "").replace("_", ""))
        if known is None:
            if catalog.find(name) is not None:
                break
            raise _unknown_tag(tag.strip(), text)
        tags.add(known)
        name = rest.strip()
        if catalog.find(name) is not None:
            break
    if name in ("", ANY_MODEL):
        return Reference(None, tuple(sorted(tags)))
    model = catalog.find(name)
    if model is None:
        raise RequestError(
            f'The model "{name}" is not known.{catalog.nearest(name)} GET /v1/models lists the known ones.',
            status=404,
            code="model_not_found",
            type="invalid_request_error",
            param="model",
        )
    return Reference(model, tuple(sorted(tags)))


def tags_of(text: str) -> tuple[str, ...]:
    """The tags in 'price', 'price@latency' or '@price@latency', sorted; raises `RequestError` for an unknown one."""
    tags = {_known_tag(tag, text) for tag in text.removeprefix("@").split("@")}
    return tuple(sorted(tags))


def _known_tag(tag: str, text: str) -> str:
    known = _ALIASES.get(tag.strip().casefold().replace("-", "").replace("_", ""))
    if known is None:
        raise _unknown_tag(tag.strip(), text)
    return known


def _unknown_tag(tag: str, text: str) -> RequestError:
    known = ", ".join(f"@{name}" for name in TAGS)
    return RequestError(
        f'Unknown strategy tag "@{tag}" in "{text}". Known tags: {known}.',
        status=400,
        code="unknown_strategy_tag",
        type="invalid_request_error",
        param="model",
    )
