"""What a chat request in OpenAI's shape may hold, and a full account of what is wrong with one that does not fit.

The types below are what the fast pass checks; `problems` is the slow one: it runs only on bodies that were refused,
names every bad field and never repeats a value, which may be a prompt. Knows no provider.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from clawbench.errors import RequestError
from clawbench.wires.tolerant_json import DEPTH_MAX, NotJson, check_depth

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
MESSAGES_MAX: Final = 10_000
INTEGER_MAX: Final = 10**19 - 1
PROBLEMS_MAX: Final = 20

STEERING: Final = frozenset(
    {"api_base", "base_url", "api_key", "headers", "proxy", "proxies", "proxy_url", "callbacks", "callback_url"}
    | {"success_callback", "failure_callback"}
)
"""Fields that would steer the upstream call, refused together with all that begin with `extra_`."""

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Limit = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Fields(Struct, frozen=True):
    """The fields of a body that the gateway reads, with types and ranges; what is in a message is checked by hand."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MESSAGES_MAX)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: _Int64 | None = None
    random_seed: _Int64 | None = None  # Mistral's name of seed
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: str | None = None
    reasoning: dict[str, Any] | None = None


KNOWN: Final = frozenset(Fields.__struct_fields__)
TYPES: Final[dict[str, Any]] = get_type_hints(Fields, include_extras=True)

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLACE: Final = re.compile(r" - at `\$(.*)`$")


class Problem(Struct, frozen=True):
    """One thing that is wrong: where (keys and positions from the top), what, and which kind of mistake."""

    loc: tuple[str | int, ...]
    message: str
    kind: str = "value_error"  # value_error, missing, json_invalid, forbidden

    @property
    def param(self) -> str | None:
        """`messages[0].role`; None for a problem of the whole body."""
        text = "".join(f"[{part}]" if type(part) is int else f".{part}" for part in self.loc)
        return text.removeprefix(".") or None


def refused(found: list[Problem]) -> RequestError:
    """The answer to a body with these problems: its message names all of them, `param` the first."""
    shown = "; ".join(f"{p.param}: {p.message}" if p.loc else p.message for p in found[:PROBLEMS_MAX])
    more = f"; and {len(found) - PROBLEMS_MAX} more" if len(found) > PROBLEMS_MAX else ""
    return RequestError(
        f"The request is not valid: {shown or 'it cannot be read'}{more}.",
        status=400,
        code="bad_request",
        type="invalid_request_error",
        param=found[0].param if found else None,
    )


def problems(body: bytes) -> list[Problem]:
    """Everything that is wrong with a client's body, in the order of its fields; empty for a good one."""
    found: list[Problem] = []
    value = _strictly(body, found)
    if found:
        return found
    if type(value) is not dict:
        return [Problem((), "the body must be a JSON object", "json_invalid")]
    for key, item in value.items():
        if key in STEERING or key.startswith("extra_"):
            found.append(Problem((key,), "a request cannot steer the upstream call; remove this field", "forbidden"))
        elif key in TYPES:
            _check(key, item, found)
        elif type(item) is int and abs(item) > INTEGER_MAX:
            found.append(Problem((key,), "an integer may have at most 19 digits"))
    missing = [key for key in ("model", "messages") if key not in value]
    return [*(Problem((key,), "is required", "missing") for key in missing), *found]


def _strictly(body: bytes, found: list[Problem]) -> Any:
    """The decoded body; what the JSON itself does wrong goes to `found`."""

    def constant(name: str) -> None:
        found.append(Problem((), f"{name} is no JSON number", "json_invalid"))

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return _Pairs(items)

    def integer(digits: str) -> int:
        if len(digits) > 400:
            found.append(Problem((), "an integer may have at most 19 digits", "json_invalid"))
            return 0
        return int(digits)

    try:
        text = body.decode()
        value = json.loads(text, parse_constant=constant, parse_int=integer, object_pairs_hook=pairs)
    except UnicodeDecodeError as error:
        found.append(Problem((), f"the body is no UTF-8 (byte {error.start})", "json_invalid"))
        return None
    except json.JSONDecodeError as error:
        found.append(Problem((), f"the body is no JSON: {error.msg} (byte {error.pos})", "json_invalid"))
        return None
    except RecursionError:
        found.append(Problem((), f"the body is nested more than {DEPTH_MAX} deep", "json_invalid"))
        return None
    if isinstance(value, _Pairs):
        twice = [key for key in value if value.keys_seen.count(key) > 1]
        found += [Problem((key,), "stands twice", "json_invalid") for key in twice]
    value = _plain(value, found)
    if type(value) in (dict, list):
        try:
            check_depth(value)
        except NotJson:
            found.append(Problem((), f"the body is nested more than {DEPTH_MAX} deep", "json_invalid"))
    return value


class _Pairs(dict[str, Any]):
    """An object that remembers its keys as they stood in the text."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        super().__init__(items)
        self.keys_seen = [key for key, _ in items]


def _plain(value: Any, found: list[Problem]) -> Any:
    """The same value in plain dicts; lone surrogates and numbers beyond a double are noted."""
    if type(value) is str:
        if _SURROGATE.search(value):
            found.append(Problem((), "a string holds a lone surrogate, which is no text", "json_invalid"))
    elif type(value) is float:
        if value in (float("inf"), float("-inf")):
            found.append(Problem((), "a number is beyond the range of a double", "json_invalid"))
    elif isinstance(value, dict):
        return {_plain(key, found): _plain(item, found) for key, item in value.items()}
    elif type(value) is list:
        return [_plain(item, found) for item in value]
    return value


def _check(key: str, item: Any, found: list[Problem]) -> None:
    try:
        msgspec.convert(item, TYPES[key])
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        loc: list[str | int] = [key]
        if place:
            text = text[: place.start()]
            loc += [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", place[1])]
        found.append(Problem(tuple(loc), text[:1].lower() + text[1:]))
        return
    if key == "messages":
        for index, message in enumerate(item):
            for part, what in message_problems(message):
                found.append(
                    Problem(("messages", index, *part), what, "missing" if what == "is required" else "value_error")
                )


def message_problems(message: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """(place within the message, what is wrong) for one message."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    role = message.get("role")
    if "role" not in message:
        found.append((("role",), "is required"))
    elif type(role) is not str or role not in ROLES:
        found.append((("role",), f"must be one of {', '.join(sorted(ROLES))}"))
    content = message.get("content")
    if content is None:
        if role != "assistant":
            what = "must be a string or a list of parts" if "content" in message else "is required"
            found.append((("content",), what))
    elif type(content) is list:
        for place, part in enumerate(content):
            if type(part) is not dict or type(part.get("type")) is not str:
                found.append((("content", place), "must be an object with a type"))
    elif type(content) is not str:
        found.append((("content",), "must be a string or a list of parts"))
    calls = message.get("tool_calls")
    if calls is not None and (type(calls) is not list or not all(type(call) is dict for call in calls)):
        found.append((("tool_calls",), "must be a list of objects"))
    return found
