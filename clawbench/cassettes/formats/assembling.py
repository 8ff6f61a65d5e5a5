"""From what a layout holds to interactions: bodies are decoded, totals are bounded, failures stay with their own item.

A format turns one of its items into a `Draft`; the rest is the same for all of them and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from clawbench.cassettes.bodies import BadBody, decoded, surviving
from clawbench.cassettes.formats.fields import Unfit
from clawbench.cassettes.interaction import Interaction, RecordedTiming, Unreadable
from clawbench.errors import CassetteError

T = TypeVar("T")

MAX_FILE_BODY_BYTES: Final = 512 * 2**20
"""What all bodies of one file may decode to: many bodies just under the single limit are a bomb too."""


class Draft(Struct, frozen=True, kw_only=True):
    """An exchange as its file holds it: both bodies still under their content encodings."""

    method: str
    url: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    timing: Callable[[int], RecordedTiming | None] | None = None  # given the decoded body's length; raises `Unfit`
    duration_s: float | None = None  # these two as in `Interaction`
    e2e_s: float | None = None


def assembled(
    items: Iterable[tuple[str, T]], draft: Callable[[T], Draft], file: str
) -> Iterator[Interaction | Unreadable]:
    """The interactions of a file's items, each with its place. Raises `CassetteError` for bombs."""
    total = 0
    for index, (place, item) in enumerate(items):
        try:
            interaction = _interaction(draft(item), file=file, index=index, place=place)
        except (Unfit, BadBody) as unfit:
            yield Unreadable(file=file, index=index, reason=str(unfit), place=place)
            continue
        total += len(interaction.request_body) + len(interaction.body)
        if total > MAX_FILE_BODY_BYTES:
            reason = f"is a decompression bomb: its bodies decode to more than {MAX_FILE_BODY_BYTES:,} bytes"
            raise CassetteError(reason, file=file, place=place)
        yield interaction


def placed(items: Sequence[Any], lines: Sequence[int] = ()) -> Iterator[tuple[str, Any]]:
    """Items with their places; `lines` are used if there is one for each item."""
    known = lines if len(lines) == len(items) else ()
    for index, item in enumerate(items):
        yield f"interaction {index}" + (f" (line {known[index]})" if known else ""), item


def _interaction(found: Draft, *, file: str, index: int, place: str) -> Interaction:
    request_body = decoded(found.request_body, found.request_headers, file=file, place=place)
    body = decoded(found.body, found.headers, file=file, place=place)
    return Interaction(
        file=file,
        index=index,
        method=found.method,
        url=found.url,
        request_headers=surviving(found.request_headers),
        request_body=request_body,
        status=found.status,
        headers=surviving(found.headers),
        body=body,
        timing=found.timing(len(body)) if found.timing is not None else None,
        duration_s=found.duration_s,
        e2e_s=found.e2e_s,
        place=place,
    )
