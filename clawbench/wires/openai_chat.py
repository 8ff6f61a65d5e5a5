"""OpenAI's chat dialect, spoken by OpenAI and some twenty other providers: the wire that ties its parts together.

    openai_chat_request   bodies of requests: parse, validate, write      openai_chat_fields   their rules
    openai_chat_reply     whole answers                                   openai_chat_stream   streamed ones
    openai_chat_compose   the other side: answers and frames, written     openai_quirks        what providers differ in

Providers differ by a row of the quirks table, never by a branch here. Keys are the transport's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.failures import refusal
from clawbench.wires.openai_chat_compose import compose_completion, compose_frames
from clawbench.wires.openai_chat_reply import decode_completion
from clawbench.wires.openai_chat_request import body_of, parse_body, parse_recorded
from clawbench.wires.openai_chat_stream import OpenAIChatStream
from clawbench.wires.openai_quirks import DEFAULT, Quirks, quirks_of
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import NotJson, dumps, loads

__all__ = ["OpenAIChat", "parse_body"]

_PATH: Final = "/chat/completions"
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/?#]+)/chat/completions")
_COMPLETION: Final = re.compile(rb'"object"\s*:\s*"chat\.completion')


class OpenAIChat:
    """The wire. `quirks` say how answers are read and written; calls are always encoded for their own offer."""

    name = "openai_chat"

    def __init__(self, quirks: Quirks = DEFAULT) -> None:
        self._quirks = quirks

    @classmethod
    def of(cls, provider: str) -> OpenAIChat:
        """The wire that reads answers as this provider means them."""
        return cls(quirks_of(provider))

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the request has messages and the reply choices, or the path leaves no doubt where it is an error."""
        try:
            asked = loads(call.body)[0]
        except NotJson:
            return False
        if type(asked) is not dict or type(asked.get("messages")) is not list:
            return False
        path = re.split(r"[?#]", call.url, maxsplit=1)[0].rstrip("/")
        has_choices = b'"choices"' in reply_body
        if path.endswith(_PATH):
            return has_choices or not _is_foreign(reply_body)
        return has_choices and _COMPLETION.search(reply_body) is not None

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call; the output limit is lowered to the offer's, usage is always asked for in streams."""
        quirks = quirks_of(offer.provider)
        return HttpCall(
            method="POST",
            url=_url(offer, quirks),
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if request.stream else "application/json",
            },
            body=dumps(body_of(request, offer, quirks)),
            offer_id=offer.id,
            stream=request.stream,
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives below 2xx."""
        if not 200 <= status < 300:
            raise refusal(status, headers, body)
        return decode_completion(status, body, self._quirks.usage)

    def stream(self) -> OpenAIChatStream:
        """A decoder for one streamed body."""
        return OpenAIChatStream(self._quirks.usage)

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none.

        A deployment in the URL (Azure) is the model, whatever the body says: it is what the provider goes by.
        """
        deployment = _DEPLOYMENT.search(call.url)
        return parse_recorded(call.body, model=unquote(deployment[1]) if deployment else None)

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return compose_completion(completion, reasoning_text=self._quirks.reasoning_text)

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One frame an item; the last is `data: [DONE]`."""
        return compose_frames(deltas, id=id, model=model, created=created, reasoning_text=self._quirks.reasoning_text)


def _url(offer: Offer, quirks: Quirks) -> str:
    base = offer.base_url
    path = quirks.path
    if quirks.versioned_path is not None and base.endswith("/v1"):
        path = quirks.versioned_path
    return base + (path.replace("{model}", quote(offer.upstream_model, safe="")) if "{" in path else path)


def _is_foreign(reply_body: bytes) -> bool:
    """Whether a reply without choices is a success of another dialect rather than an error, or nothing at all."""
    try:
        value = loads(reply_body)[0]
    except NotJson:
        return False
    if type(value) is not dict or value.get("error") or value.get("object") == "error":
        return False
    return type(value.get("message")) is dict or "done" in value or type(value.get("content")) is list
