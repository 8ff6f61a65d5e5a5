"""Token counts as Gemini's native API states them (AI Studio and Vertex). Normaliser `gemini.generateContent/1`.

`thoughtsTokenCount` stands beside `candidatesTokenCount`, and what tools fed back (`toolUsePromptTokenCount`) beside
`promptTokenCount`: `Usage` adds each pair. The cached part is inside the prompt, per modality too. In a stream the
object is repeated and cumulative: the last one stands. Knows no prices and no models.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from clawbench.types import Usage
from clawbench.usage.counts import Counts

VERSION: Final = "gemini.generateContent/1"

# Proto enums come as names, or as numbers where a client asked for those.
_MODALITIES: Final = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}


class Modalities(Struct, frozen=True, kw_only=True):
    """Counts of one usage object by kind of content, upper-case names → tokens; {} where none are listed."""

    prompt: dict[str, int] = {}
    cached: dict[str, int] = {}  # part of `prompt`
    candidates: dict[str, int] = {}
    tool_use: dict[str, int] = {}  # beside `prompt`


def normalise(raw: dict[str, Any]) -> Usage:
    """Totals of a `usageMetadata`; `raw` stays as it came. Never raises. See `normalise_noted` for what was odd."""
    return normalise_noted(raw)[0]


def normalise_noted(raw: object) -> tuple[Usage, tuple[str, ...]]:
    """`normalise` with its notes; anything but an object gives a usage without counts and a note.

    A stream's snapshots may come as a list: the last one stands. Without `candidatesTokenCount` the output is unknown,
    except beside thoughts, where it is 0: the model was cut while thinking.
    """
    if type(raw) is list:
        raw = next((each for each in reversed(raw) if type(each) is dict), None)
    if type(raw) is not dict:
        return Usage(), ("bad_usage: usageMetadata is no object",)
    counts = Counts()
    read = counts.read
    prompt, candidates, total = (read(raw, f"{name}TokenCount") for name in ("prompt", "candidates", "total"))
    thoughts, tool_use = read(raw, "thoughtsTokenCount"), read(raw, "toolUsePromptTokenCount")
    cached = counts.part("cachedContentTokenCount", read(raw, "cachedContentTokenCount"), prompt)
    if candidates is None and thoughts is not None and raw.get("candidatesTokenCount") is None:
        candidates = 0
    if "cacheTokensDetails" in raw:
        _check_cached(raw, counts)
    stated = [count for count in (prompt, candidates, thoughts, tool_use) if count is not None]
    if total is not None and candidates is not None and prompt is not None and sum(stated) != total:
        counts.notes.append(f"usage: totalTokenCount {total} is not {' + '.join(map(str, stated))}")
    return (
        Usage(
            input_tokens=None if prompt is None else prompt + (tool_use or 0),
            cached_input_tokens=cached,
            output_tokens=None if candidates is None else candidates + (thoughts or 0),
            reasoning_tokens=thoughts,
            raw=raw,
        ),
        tuple(counts.notes),
    )


def modalities(raw: dict[str, Any]) -> Modalities:
    """The lists by modality. The prompt's includes the cached part; counts that are none are left out."""
    return Modalities(
        prompt=_by_modality(raw.get("promptTokensDetails")),
        cached=_by_modality(raw.get("cacheTokensDetails")),
        candidates=_by_modality(raw.get("candidatesTokensDetails")),
        tool_use=_by_modality(raw.get("toolUsePromptTokensDetails")),
    )


def _by_modality(listed: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in listed if type(listed) is list else ():
        if type(each) is dict:
            kind = each.get("modality")
            name = _MODALITIES.get(kind) if type(kind) is int else kind
            tokens = Counts().read(each, "tokenCount")
            if type(name) is str and tokens is not None:
                found[name.upper()] = found.get(name.upper(), 0) + tokens
    return found


def _check_cached(raw: dict[str, Any], counts: Counts) -> None:
    listed = modalities(raw)
    for name, tokens in listed.cached.items():
        if name in listed.prompt:
            counts.part(f"cached {name} tokens", tokens, listed.prompt[name])
