"""What a dialect cannot say: left out with a note, or the request refused so that another offer gets it.

Shared by the wires that translate. Knows no dialect.
"""

from __future__ import annotations

import re
from typing import Any, Final

from clawbench.errors import UpstreamError
from clawbench.wires.failures import clean
from clawbench.wires.tolerant_json import NotJson, loads

GATEWAYS_OWN: Final = frozenset({"models", "provider", "stream_options"})
"""Fields of a request that are meant for the gateway: never sent, never noted."""

_MADE_UP: Final = re.compile(r"call_\d{1,3}(_.*)?", re.DOTALL)  # Vertex gives calls ids like call_3206086


def note(notes: list[str], text: str) -> None:
    """Adds a note once."""
    if text not in notes:
        notes.append(text)


def leave_out(notes: list[str], name: str) -> None:
    """Notes that a field of the request was not sent."""
    note(notes, clean(f"{name[:60]} left out"))


def leave_out_reasoning(notes: list[str], message: Any) -> None:
    """Notes that a message's reasoning, sealed by a provider for itself, was not sent to one that seals none."""
    if message.get("reasoning_details"):
        note(notes, "reasoning of another provider left out")


def refused(why: str) -> UpstreamError:
    """The error for a request that a dialect cannot say without losing something; another offer may."""
    return UpstreamError(clean(f"Not sent: {why}."), outcome="rejected")


def made_up_id(place: int, reply_id: str | None) -> str:
    """An id for the tool call at this place of an answer without ids: stable, and unique where the answer has an id."""
    return f"call_{place}_{reply_id}" if reply_id else f"call_{place}"


def is_made_up(id: Any) -> bool:
    """Whether an id came from `made_up_id` (or is none), so that it means nothing to the provider."""
    return type(id) is not str or not id or _MADE_UP.fullmatch(id) is not None


def text_in(value: Any) -> str | None:
    """The value if it is a string that is not empty."""
    return value if type(value) is str and value else None


def arguments_object(arguments: Any) -> dict[str, Any] | None:
    """A tool call's arguments as an object; {} for none, None for what is no object."""
    if not arguments:
        return {}
    if type(arguments) is not str:
        return arguments if type(arguments) is dict else None
    try:
        value = loads(arguments.encode("utf-8", "replace"))[0]
    except NotJson:
        return None
    return value if type(value) is dict else None


def text_of(content: Any) -> str:
    """All text in a message's content: a string, parts, or nothing."""
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    texts = (part if type(part) is str else part_text(part) for part in content)
    return "\n".join(text for text in texts if text)


def part_text(part: Any) -> str | None:
    """The text of a text part (also of a refusal, which is text), None for any other part."""
    if type(part) is not dict:
        return None
    for key in ("text", "input_text", "refusal"):
        if type(part.get(key)) is str and part.get("type", "text") in ("text", "input_text", "output_text", "refusal"):
            return str(part[key])
    return None
