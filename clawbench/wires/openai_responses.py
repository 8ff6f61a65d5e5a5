"""OpenAI's Responses dialect, spoken by OpenAI, Azure, OpenRouter, xAI and others: the wire that ties the parts.

    openai_responses_request   bodies of calls              openai_responses_parse    bodies, read
    openai_responses_items     messages as items            openai_responses_reply    whole answers
    openai_responses_stream    streamed answers             openai_responses_compose  the other side: whole answers
                                                            openai_responses_events   … and streams, written

Providers differ by a row of the table in `openai_responses_request`. Keys are the transport's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.failures import refusal
from clawbench.wires.openai_responses_compose import compose_response, dumps
from clawbench.wires.openai_responses_events import compose_events
from clawbench.wires.openai_responses_parse import parse_recorded
from clawbench.wires.openai_responses_reply import decode_response
from clawbench.wires.openai_responses_request import body_of, habits_of
from clawbench.wires.openai_responses_stream import OpenAIResponsesStream
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import NotJson, loads

__all__ = ["OpenAIResponses"]

_PATH: Final = "/responses"
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/?#]+)/responses")
_MARK: Final = re.compile(rb'"object"\s*:\s*"response"|"type"\s*:\s*"response\.|event: ?response\.')


class OpenAIResponses:
    """The wire."""

    name = "openai_responses"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether the request has an input and the reply is a response, or an error at a path that leaves no doubt."""
        try:
            asked = loads(call.body)[0]
        except NotJson:
            return False
        if type(asked) is not dict or type(asked.get("input")) not in (str, list):
            return False
        path = re.split(r"[?#]", call.url, maxsplit=1)[0].rstrip("/")
        marked = _MARK.search(reply_body) is not None
        return marked or (path.endswith(_PATH) and b'"object":"list"' not in reply_body[:4096].replace(b" ", b""))

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The upstream call; raises `UpstreamError` (rejected) for what this API cannot take and must not lose."""
        notes: list[str] = []
        body = body_of(request, offer, notes)
        return HttpCall(
            method="POST",
            url=_url(offer),
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if request.stream else "application/json",
            },
            body=dumps(body),
            offer_id=offer.id,
            stream=request.stream,
            notes=tuple(notes),
        )

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives below 2xx."""
        if not 200 <= status < 300:
            raise refusal(status, headers, body)
        return decode_response(status, body)

    def stream(self) -> OpenAIResponsesStream:
        """A decoder for one streamed body."""
        return OpenAIResponsesStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call. Raises `ValueError` for what is none; the model may stand in the URL (Azure)."""
        deployment = _DEPLOYMENT.search(call.url)
        return parse_recorded(call.body, model=unquote(deployment[1]) if deployment else "")

    def compose(self, completion: Completion) -> ComposedReply:
        """A whole answer as this dialect writes it."""
        return compose_response(completion)

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """One event an item; there is no end marker but the last event itself."""
        return compose_events(deltas, id=id, model=model, created=created)


def _url(offer: Offer) -> str:
    habits = habits_of(offer.provider)
    return offer.base_url + (habits.versioned_path if offer.base_url.endswith("/v1") else habits.path)
