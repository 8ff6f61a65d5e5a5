"""Asks every provider that litellm knows, through the bridge, and prints as JSON what came of it. Run as a process.

Each is asked whole and streamed, and read whole and streamed, under virtual time and behind the bridge's seal. What
gets past the seal towards a network is counted by an audit hook that stands behind it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import msgspec

from clawbench.clock import run_virtual
from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Offer
from clawbench.wires.litellm_bridge import bridge, providers
from clawbench.wires.litellm_bridge_import import sealed
from clawbench.wires.litellm_bridge_request import PLACEHOLDER

TEXT = "Paris."

OPENAI = {
    "id": "chatcmpl-recorded",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
}
_COHERE = {
    "id": "c1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": TEXT}]},
    "usage": {
        "billed_units": {"input_tokens": 11, "output_tokens": 2},
        "tokens": {"input_tokens": 11, "output_tokens": 2},
    },
}
_ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 11, "output_tokens": 2},
}
REPLIES: dict[str, Any] = {
    "a2a": {
        "jsonrpc": "2.0",
        "id": "1",
        "result": {"kind": "message", "role": "agent", "messageId": "x", "parts": [{"kind": "text", "text": TEXT}]},
    },
    "anthropic": _ANTHROPIC,
    "anthropic_text": {"type": "completion", "completion": TEXT, "stop_reason": "stop_sequence", "model": "m"},
    "bedrock": {
        "output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 11, "outputTokens": 2, "totalTokens": 13},
    },
    "bytez": {"error": None, "output": {"role": "assistant", "content": [{"type": "text", "text": TEXT}]}},
    "cohere": _COHERE,
    "cohere_chat": _COHERE,
    "fal_ai": {
        "output": TEXT,
        "usage_info": {
            "input_tokens": 11,
            "output_tokens": 2,
            "prefill_time_ms": 1,
            "decode_time_ms": 1,
            "total_time_ms": 2,
            "decode_tokens_per_s": 1,
        },
    },
    "groq": {**OPENAI, "service_tier": "on_demand"},
    "langflow": {"outputs": [{"outputs": [{"results": {"message": {"text": TEXT}}}]}]},
    "langgraph": {"messages": [{"type": "human", "content": "hi"}, {"type": "ai", "content": TEXT}]},
    "nlp_cloud": {"generated_text": TEXT, "nb_input_tokens": 11, "nb_generated_tokens": 2},
    "oci": {
        "modelId": "m",
        "modelVersion": "1",
        "chatResponse": {
            "apiFormat": "GENERIC",
            "timeCreated": "2025-01-01T00:00:00Z",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "ASSISTANT", "content": [{"type": "TEXT", "text": TEXT}]},
                    "finishReason": "stop",
                }
            ],
            "usage": {"promptTokens": 11, "completionTokens": 2, "totalTokens": 13},
        },
    },
    "ollama": {"model": "m", "response": TEXT, "done": True, "prompt_eval_count": 11, "eval_count": 2},
    "ollama_chat": {
        "model": "m",
        "message": {"role": "assistant", "content": TEXT},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 11,
        "eval_count": 2,
    },
    "predibase": {"generated_text": TEXT, "details": {"finish_reason": "eos_token", "tokens": [], "prefill": []}},
    "replicate": {"id": "p", "status": "succeeded", "output": ["Par", "is."]},
    "sagemaker": [{"generated_text": TEXT}],
    "triton": {"text_output": TEXT},
}


def _sse(*events: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n"] if done else lines).encode()


def _chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    head = {"id": "chatcmpl-recorded", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


STREAM = _sse(
    _chunk({"role": "assistant", "content": "Par"}),
    _chunk({"content": "is."}),
    _chunk({}, "stop"),
    {**_chunk({}), "choices": [], "usage": OPENAI["usage"]},
)
STREAMS: dict[str, bytes] = {
    "a2a": _sse(
        {
            "jsonrpc": "2.0",
            "id": "1",
            "result": {
                "kind": "task",
                "status": {
                    "state": "completed",
                    "message": {"role": "agent", "parts": [{"kind": "text", "text": TEXT}]},
                },
                "final": True,
            },
        }
    ),
    "anthropic_text": _sse(
        {"type": "completion", "completion": TEXT, "stop_reason": None},
        {"type": "completion", "completion": "", "stop_reason": "stop_sequence"},
    ),
    "ollama": b"".join(
        json.dumps(line).encode() + b"\n"
        for line in ({"model": "m", "response": TEXT, "done": False}, {**REPLIES["ollama"], "response": ""})
    ),
    "ollama_chat": b"".join(
        json.dumps(line).encode() + b"\n"
        for line in (
            {"model": "m", "message": {"role": "assistant", "content": TEXT}, "done": False},
            {**REPLIES["ollama_chat"], "message": {"role": "assistant", "content": ""}},
        )
    ),
    "triton": _sse({"text_output": TEXT, "is_finished": True, "finish_reason": "stop"}),
    "predibase": _sse(
        {"token": {"id": 1, "text": TEXT, "special": False}, "generated_text": None, "details": None},
        {"token": {"id": 2, "text": "", "special": True}, "generated_text": TEXT, "details": {"finish_reason": "stop"}},
    ),
}
MODELS = {
    "bedrock": "anthropic.claude-3-haiku-20240307-v1:0",
    "clarifai": "user.app.model",
    "ragflow": "ragflow/chat/1/m",
    "oci": "meta.llama-3.3-70b-instruct",
}
BASES = {
    "triton": "https://api.example.com/v2/models/m/generate",
    "gdc": "https://api.example.com/v1/projects/p/locations/l",
}
ENVIRONMENT = {"WX_PROJECT_ID": "p", "OCI_COMPARTMENT_ID": "c", "PREDIBASE_TENANT_ID": "t", "VERTEXAI_PROJECT": "p"}


def try_provider(provider: str) -> str:
    """ "" if a provider can be asked and read, whole and streamed; what is in the way if not."""
    model = MODELS.get(provider, "m")
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    ]
    if provider == "fal_ai":  # describes an image
        image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "Capital of France?"}, image]}]
    request = ChatRequest(model="m", messages=messages, temperature=0.5, max_output_tokens=100)
    base = BASES.get(provider, "https://api.example.com/v1")
    offer = Offer(id="o", provider=provider, model="m", upstream_model=model, base_url=base)
    wire = bridge(provider, model)
    try:
        call = wire.encode(request, offer)
        streamed = wire.encode(msgspec.structs.replace(request, stream=True), offer)
    except UpstreamError as error:
        return str(error)
    for each in (call, streamed):
        written = msgspec.json.encode(each).decode() + each.body.decode()
        assert PLACEHOLDER not in written, f"{provider}: the placeholder is in the call"
        assert "authorization" not in each.headers, f"{provider}: credentials are in the call"
        assert each.url.startswith("https://api.example.com/"), f"{provider}: it addresses {each.url}"
        assert b"France" in each.body, f"{provider}: the prompt is not in the call"
    assert call == wire.encode(request, offer), f"{provider}: the same request is another call"
    reply = json.dumps(REPLIES.get(provider, OPENAI)).encode()
    read = wire.decode(200, {"content-type": "application/json"}, reply)
    assert (read.choices[0].content or "").strip() == TEXT, f"{provider}: read {read.choices[0]}"
    assert read.choices[0].finish_reason == "stop", f"{provider}: {read.choices[0].finish_reason}"
    if read.usage is not None:
        assert (read.usage.input_tokens, read.usage.output_tokens) == (11, 2), f"{provider}: {read.usage}"
    body = STREAMS.get(provider, STREAM) if streamed.stream else reply
    decoder = wire.stream()
    deltas = decoder.feed(body)
    end = decoder.finish()
    slowly = wire.stream()
    pieces = [delta for at in range(len(body)) for delta in slowly.feed(body[at : at + 1])]
    assert (pieces, slowly.finish()) == (deltas, end), f"{provider}: another split gives {pieces}, not {deltas}"
    errors = [str(delta.error) for delta in deltas if delta.error]
    assert not errors, f"{provider}: {errors}"
    text = "".join(delta.content or "" for delta in deltas)
    assert text.strip() == TEXT, f"{provider}: streamed {text!r}"
    assert end.complete, f"{provider}: the stream has no end"
    return ""


async def census() -> dict[str, str]:
    """What came of every provider, by name."""
    found: dict[str, str] = {}
    for provider in providers():
        try:
            found[provider] = try_provider(provider)
        except (AssertionError, UpstreamError) as error:
            found[provider] = f"FAILED {type(error).__name__} {error}"
    return found


def main() -> None:
    """Prints {"found": {provider: ""|reason}, "reached": [what got past the seal]}."""
    os.environ.update(ENVIRONMENT)
    reached: list[str] = []
    with sealed():
        pass  # the seal stands first; what this hook sees got past it
    names = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen")
    sys.addaudithook(lambda event, arguments: reached.append(event) if event in names else None)
    print(json.dumps({"found": run_virtual(census), "reached": reached}))


if __name__ == "__main__":
    main()
