"""A chat request as litellm would send it to one of its providers, without a network and without credentials.

The steps are litellm's own (parameters, headers, URL, body), in its order. What a provider cannot be told is noted, or
refused where it must not be lost; random ids that litellm puts into a body are made from the request instead. The
request's own lists are never touched: litellm writes into what it is given.
"""

from __future__ import annotations

import copy
import os
import re
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Offer
from clawbench.wires.litellm_bridge_import import import_litellm, sealed
from clawbench.wires.litellm_bridge_reply import thinking_blocks
from clawbench.wires.tolerant_json import scrub

PLACEHOLDER: Final = "clawbench-key-placeholder"
"""Stands for the key while litellm writes; it never leaves this package."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|[0-9a-f]{32}")
_SECRETS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"}
)
_ADVERTISEMENT: Final = frozenset({"http-referer", "x-title", "user-agent", "x-openrouter-title"})
_FIELDS: Final = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
)
_PLAIN_WORDS: Final = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")  # what JSON writes as it is
_SETTINGS: Final = {"predibase": {"predibase_tenant_id": "PREDIBASE_TENANT_ID"}}
"""What litellm reads from the environment outside of its transformations: its parameter, the variable."""

_NO_STREAM: Final = frozenset({"CohereV2ChatConfig"})  # its iterator reads no event stream
_HEADERS: Final = {"replicate": {"prefer": "wait"}}  # otherwise it answers at once, with an address to ask again
_MUST_NOT_LOSE: Final = frozenset({"tools", "n"})


class Encoded(Struct, frozen=True, kw_only=True):
    """A call as litellm writes it; `headers` still hold the placeholder."""

    url: str
    headers: dict[str, str]
    body: bytes
    stream: bool  # the reply will be a stream
    notes: tuple[str, ...]


def encoded(config: Any, provider: str, request: ChatRequest, offer: Offer) -> Encoded:
    """The call. Raises `UpstreamError` (rejected) for what must not be lost, and whatever litellm raises."""
    model = offer.upstream_model
    notes: list[str] = []
    messages = [_message(message) for message in copy.deepcopy(request.messages)]
    stream = request.stream
    if stream and not can_stream(config):
        stream = False
        notes.append("asked for as a whole: litellm cannot stream this provider")
    asked = _asked(config, provider, request, offer, stream, notes)
    utils = import_litellm().utils
    options = utils.get_optional_params(
        model=model, custom_llm_provider=provider, messages=messages, drop_params=True, **asked
    )
    for key in ("json_mode", "fake_stream"):
        options.pop(key, None)
    more = options.pop("extra_body", None)
    base = offer.base_url or None
    own: dict[str, Any] = {"api_base": base, "api_key": PLACEHOLDER, "stream": stream}
    for name, variable in _SETTINGS.get(provider, {}).items():
        own[name] = os.environ.get(variable)
    shared: dict[str, Any] = {"model": model, "optional_params": options, "litellm_params": own}
    headers = {**_headers(config, messages, base, shared, notes), **_HEADERS.get(provider, {})}
    url = config.get_complete_url(api_base=base, api_key=PLACEHOLDER, stream=stream, **shared)
    body = config.transform_request(messages=messages, headers=headers, **shared)
    if type(body) is dict:
        if type(more) is dict:
            body |= more
        if stream and config.supports_stream_param_in_request_body:
            body["stream"] = True
        elif request.stream:
            body.pop("stream", None)
    steady = _Steady(request)
    text = steady(_text(body))
    if not _holds_prompt(text, request):
        raise ValueError("litellm lost the prompt on the way")
    return Encoded(
        url=steady(_at(url, base)),
        headers={name: steady(value) for name, value in headers.items()},
        body=text.encode("utf-8", "replace"),
        stream=stream,
        notes=tuple(notes),
    )


def can_stream(config: Any) -> bool:
    """Whether litellm has an iterator over this provider's lines; some have a client of their own instead."""
    if config.has_custom_stream_wrapper or type(config).__name__ in _NO_STREAM:
        return False
    return config.get_model_response_iterator(streaming_response=iter(()), sync_stream=True) is not None


def is_secret(name: str, text: str) -> bool:
    """Whether a header holds, or would hold, a credential."""
    return name in _SECRETS or PLACEHOLDER in text


def _asked(
    config: Any, provider: str, request: ChatRequest, offer: Offer, stream: bool, notes: list[str]
) -> dict[str, Any]:
    """The parameters that this provider can be told."""
    known = frozenset(config.get_supported_openai_params(model=offer.upstream_model) or ())
    asked: dict[str, Any] = {}
    for key in _FIELDS:
        value = getattr(request, key)
        if value is None:
            continue
        if key in known:
            asked[key] = copy.deepcopy(value)
        elif value == [] or (key == "n" and value == 1):
            continue  # says nothing
        elif key in _MUST_NOT_LOSE:
            text = f"{provider} cannot be told {key} through litellm; choose an offer that declares it."
            raise UpstreamError(text, outcome="rejected")
        else:
            notes.append(f"{key} left out")
    limit, ceiling = request.max_output_tokens, offer.max_output_tokens
    if limit is not None:
        name = "max_tokens" if "max_tokens" in known else "max_completion_tokens"
        if name in known:
            asked[name] = limit if ceiling is None or limit < ceiling else ceiling
        else:
            notes.append("max_output_tokens left out")
    for key, value in request.extra.items():
        # Only what litellm lists for the provider: its other parameters steer litellm itself.
        if key in known and key not in asked:
            asked[key] = copy.deepcopy(value)
        else:
            notes.append(f"{key} left out")
    if stream:
        asked["stream"] = True
        if "stream_options" in known:
            asked["stream_options"] = {"include_usage": True}
    return asked


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message as litellm reads it: signed reasoning as the blocks that it gives back to providers."""
    details = message.pop("reasoning_details", None)
    blocks = thinking_blocks(details) if details else []
    return {**message, "thinking_blocks": blocks} if blocks else message


def _headers(
    config: Any, messages: list[Any], base: str | None, shared: dict[str, Any], notes: list[str]
) -> dict[str, str]:
    """litellm's headers; none of it where it wants credentials, or a network to fetch some."""
    with sealed() as reached:
        before = len(reached)
        try:
            made = config.validate_environment(
                headers={}, messages=messages, api_key=PLACEHOLDER, api_base=base, **shared
            )
        except Exception:  # each provider raises something of its own where it misses a credential
            made = None
        if made is None or len(reached) > before:
            del reached[before:]
            notes.append("headers are the transport's matter: litellm wanted credentials for them")
            made = {}
    headers = {"content-type": "application/json"}
    headers.update((str(name).lower(), str(text)) for name, text in made.items() if text is not None)
    return {name: text for name, text in headers.items() if name not in _ADVERTISEMENT}


def _at(url: str, base: str | None) -> str:
    """The address, at the offer's host whatever litellm chose, and without the placeholder in its query."""
    parts = urlsplit(url)
    if base:
        host = urlsplit(base)
        parts = parts._replace(scheme=host.scheme, netloc=host.netloc)
    if PLACEHOLDER in parts.query:
        kept = [(key, text) for key, text in parse_qsl(parts.query, keep_blank_values=True) if PLACEHOLDER not in text]
        parts = parts._replace(query=urlencode(kept))
    return urlunsplit(parts)


def _holds_prompt(text: str, request: ChatRequest) -> bool:
    """Whether the last thing that the user said is in the body: a template that litellm lacks can swallow it."""
    said = next((m.get("content") for m in reversed(request.messages) if m.get("role") == "user"), None)
    if type(said) is list:
        said = next((part.get("text") for part in said if type(part) is dict and part.get("text")), None)
    words = _PLAIN_WORDS.findall(said) if type(said) is str else []
    return not words or max(words, key=len)[:40] in text


def _text(body: Any) -> str:
    if isinstance(body, bytes | str):
        return body if isinstance(body, str) else body.decode("utf-8", "replace")
    return msgspec.json.encode(scrub(_without_placeholder(body)), enc_hook=_dumped).decode()


class _Steady:
    """Random ids replaced by ids made from the request: the same request is the same call."""

    def __init__(self, request: ChatRequest) -> None:
        self._asked = ""
        self._request = request
        self._made: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        if not _UUID.search(text):
            return text
        if not self._asked:
            stated = [self._request.messages, self._request.tools, self._request.extra]
            self._asked = msgspec.json.encode(scrub(stated)).decode()
        return _UUID.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        id = match[0]
        if id in self._asked:
            return id
        if id not in self._made:
            digest = blake2b(f"{len(self._made)}\x1f{self._asked}".encode(), digest_size=16).hexdigest()
            made = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"
            self._made[id] = made if "-" in id else made.replace("-", "")
        return self._made[id]


def _without_placeholder(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_placeholder(item)
            for key, item in value.items()
            if not (isinstance(item, str) and PLACEHOLDER in item)
        }
    if isinstance(value, list):
        return [_without_placeholder(item) for item in value]
    return value


def _dumped(value: Any) -> Any:
    """litellm's typed values in a body are pydantic models."""
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else str(value)
