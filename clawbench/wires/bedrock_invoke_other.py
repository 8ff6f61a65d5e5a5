"""Models behind Bedrock's InvokeModel with bodies of their own: Titan, Nova, Cohere, Llama, Mistral, old Claudes.

Read only: recorded calls are understood, none is made. New calls to these models go through Converse, which serves
all of them in one body; so `encode` refuses and `compose` has nothing to write. Answers: `bedrock_invoke_reply.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Message, Offer
from clawbench.wires.bedrock_calls import bedrock_refusal, model_and_operation
from clawbench.wires.bedrock_converse_parse import request_of
from clawbench.wires.bedrock_invoke_reply import InvokedStream, decode_invoked
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.tolerant_json import NotJson, loads
from clawbench.wires.unsaid import refused

_STREAMED: Final = "invoke-with-response-stream"
_NO_CHAT: Final = re.compile(r"embed|rerank|image|canvas|stability|stable|-reel|sonic|twelvelabs", re.IGNORECASE)
_PROMPTS: Final = ("inputText", "prompt", "messages", "message")
_LIMITS: Final = (
    "max_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
    "max_completion_tokens",
    "maxTokenCount",
    "maxTokens",
)
_ROLES: Final = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system"}


class BedrockInvokeOther:
    """The wire. It only reads."""

    name = "bedrock_invoke_other"

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Whether an InvokeModel path of a model that talks carries a prompt in one of the families' fields."""
        found = model_and_operation(call.url)
        if call.method != "POST" or found is None or not found[1].startswith("invoke") or _NO_CHAT.search(found[0]):
            return False
        try:
            value = _value(call.body)
        except ValueError:
            return False
        if "anthropic_version" in value or b'"embedding' in reply_body[:200]:
            return False
        return any(type(value.get(name)) in (str, list) for name in _PROMPTS)

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """Refuses: these bodies are only read."""
        raise refused("bedrock_invoke_other is only read; an offer of such a model speaks bedrock_converse")

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives outside 2xx."""
        if not 200 <= status < 300:
            raise bedrock_refusal(status, headers, body)
        return decode_invoked(status, headers, body)

    def stream(self) -> InvokedStream:
        """A decoder for one streamed body."""
        return InvokedStream()

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return bedrock_refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """The request in a call; the model stands in its URL. Raises `ValueError` for what is none."""
        value = _value(call.body)
        found = model_and_operation(call.url)
        if found is None:
            raise ValueError("the URL names no model and operation of Bedrock's runtime")
        model, streamed = found[0], found[1] == _STREAMED
        if type(value.get("messages")) is list and ("inferenceConfig" in value or _has_blocks(value["messages"])):
            return request_of(value, model=model, stream=streamed)
        return _request(value, model=model, stream=streamed)

    def compose(self, completion: Completion) -> ComposedReply:
        """Raises `ValueError`: these bodies are only read."""
        _only_read()

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """Raises `ValueError`: these bodies are only read."""
        _only_read()


def _only_read() -> NoReturn:
    raise ValueError("bedrock_invoke_other is only read; write bedrock_converse instead")


def _value(body: bytes) -> dict[str, Any]:
    try:
        value = loads(body)[0]
    except NotJson as error:
        raise ValueError(f"the body is {error}") from None
    if type(value) is not dict:
        raise ValueError("the body is no object")
    return value


def _has_blocks(messages: list[Any]) -> bool:
    """Whether the content of messages is made of Converse's blocks, which have no type."""
    first = messages[0].get("content") if messages and type(messages[0]) is dict else None
    return type(first) is list and bool(first) and type(first[0]) is dict and "type" not in first[0]


def _request(value: dict[str, Any], *, model: str, stream: bool) -> ChatRequest:
    config = value.get("textGenerationConfig")
    said: dict[str, Any] = {**value, **(config if type(config) is dict else {})}
    limit = next((said[name] for name in _LIMITS if type(said.get(name)) is int), None)
    stop = said.get("stop_sequences", said.get("stopSequences", said.get("stop")))
    top_k = said.get("top_k", said.get("k"))
    return ChatRequest(
        model=model,
        messages=_messages(value),
        stream=stream,
        tools=value["tools"] if type(value.get("tools")) is list and value["tools"] else None,
        tool_choice=value.get("tool_choice"),
        max_output_tokens=limit,
        temperature=_number(said.get("temperature")),
        top_p=_number(said.get("top_p", said.get("topP", said.get("p")))),
        stop=[str(each) for each in stop] if type(stop) is list and stop else None,
        extra={} if top_k is None else {"top_k": top_k},
    )


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _messages(value: dict[str, Any]) -> list[Message]:
    listed = value.get("messages")
    if type(listed) is list:
        if not all(type(each) is dict for each in listed):
            raise ValueError("a message is no object")
        return listed
    for name in ("inputText", "prompt"):
        if type(value.get(name)) is str:
            return [{"role": "user", "content": value[name]}]
    if type(value.get("message")) is not str:
        raise ValueError("the body holds no prompt of a known family")
    messages: list[Message] = []
    if type(value.get("preamble")) is str:
        messages.append({"role": "system", "content": value["preamble"]})
    for turn in value.get("chat_history") or ():
        if type(turn) is dict:
            messages.append({"role": _ROLES.get(str(turn.get("role")), "user"), "content": turn.get("message") or ""})
    return [*messages, {"role": "user", "content": value["message"]}]
