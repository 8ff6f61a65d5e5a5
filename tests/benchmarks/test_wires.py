"""What a wire costs: a whole answer of about 1 KB, a stream event, a request of ten messages and two tools.

The "floor" of the printed ratios is litellm's transformation of the same bytes in the same run, as the bridge runs it:
a ratio of 0.02 means that ours takes a fiftieth of its time. Where litellm has none (binary streams, whole answers
only), ours is measured alone. No limits are asserted: they depend on the machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from clawbench.errors import UpstreamError
from clawbench.types import ChatRequest, Choice, Completion, Delta, Offer, ToolCall, Usage
from clawbench.wires import READ_ONLY, WIRES
from clawbench.wires.litellm_bridge import bridge
from clawbench.wires.litellm_bridge_import import import_httpx, import_litellm
from tests.benchmarks.test_clock import Benchmark, Ratio

SPOKEN = sorted(WIRES.keys() - READ_ONLY)
EVENTS = 50

PROVIDERS = {
    "openai_chat": ("openai", "m"),
    "anthropic": ("anthropic", "m"),
    "bedrock_converse": ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
    "cohere": ("cohere", "m"),
    "ollama": ("ollama_chat", "m"),
}
"""litellm's provider and a model of it for a dialect."""

USAGE = Usage(input_tokens=120, cached_input_tokens=0, output_tokens=80, reasoning_tokens=0)
ANSWER = Completion(
    choices=(
        Choice(
            content="The quick brown fox jumps over the lazy dog. " * 10,
            tool_calls=(ToolCall("call_1", "weather", '{"place":"Paris"}'),),
            finish_reason="tool_calls",
        ),
    ),
    id="1",
    model="m",
    created=1_700_000_000,
    usage=USAGE,
)


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    return {"type": "function", "function": {"name": name, "description": "of a place", "parameters": parameters}}


def conversation() -> list[dict[str, Any]]:
    """Ten messages: a system prompt, and three turns with a tool."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You are helpful. " * 8}]
    for turn in range(3):
        call = {
            "id": f"call_{turn}",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"place":"Paris"}'},
        }
        messages += [
            {"role": "user", "content": "What is the weather in Paris, and what was it yesterday? " * 2},
            {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{turn}", "content": "sunny, 21 degrees"},
        ]
    return messages


REQUEST = ChatRequest(
    model="m",
    messages=conversation(),
    tools=[tool("weather"), tool("forecast")],
    temperature=0.5,
    max_output_tokens=500,
)


def offer(dialect: str) -> Offer:
    provider, model = PROVIDERS.get(dialect, (dialect, "m"))
    return Offer(id="o", provider=provider, model="m", upstream_model=model, base_url="https://h/v1", dialect=dialect)


def seconds(run: Callable[[], object], times: int) -> float:
    """The least time that one run takes."""
    least = float("inf")
    for _ in range(5):
        start = process_time()
        for _ in range(times):
            run()
        least = min(least, (process_time() - start) / times)
    return least


def compared(
    benchmark: Benchmark, ratio: Ratio, ours: Callable[[], object], theirs: Callable[[], object] | None
) -> None:
    """Measures ours, and notes its ratio to litellm's if litellm can do it at all."""
    ours()
    benchmark.pedantic(ours, args=(), rounds=200)
    if theirs is None:
        return
    try:
        theirs()
    except UpstreamError as error:
        print(f"litellm cannot: {error}")
        return
    ratio(seconds(ours, 2000), seconds(theirs, 50))


@pytest.mark.parametrize("dialect", SPOKEN)
def test_decoding_an_answer_of_a_kilobyte(benchmark: Benchmark, ratio: Ratio, dialect: str) -> None:
    wire = WIRES[dialect]
    reply = wire.compose(ANSWER)
    theirs = None
    if dialect == "openai_responses":
        theirs = responses_by_litellm(reply.body)
    elif dialect in PROVIDERS:
        other = bridge(*PROVIDERS[dialect])
        theirs = lambda: other.decode(reply.status, reply.headers, reply.body)  # noqa: E731
    compared(benchmark, ratio, lambda: wire.decode(reply.status, reply.headers, reply.body), theirs)


def responses_by_litellm(body: bytes) -> Callable[[], object]:
    """litellm's reading of a Responses body; it has a transformation of its own for that API."""
    import_litellm()
    httpx = import_httpx()
    module = importlib.import_module("litellm.llms.openai.responses.transformation")
    config = module.OpenAIResponsesAPIConfig()
    request = httpx.Request("POST", "https://h/v1/responses")

    class Silent:
        def post_call(self, **named: object) -> None:
            return None

    def read() -> object:
        reply = httpx.Response(200, content=body, request=request)
        return config.transform_response_api_response(model="m", raw_response=reply, logging_obj=Silent())

    return read


@pytest.mark.parametrize("dialect", SPOKEN)
def test_decoding_a_stream_event(benchmark: Benchmark, ratio: Ratio, dialect: str) -> None:
    wire = WIRES[dialect]
    deltas = [Delta(content=" fox") for _ in range(EVENTS)]
    deltas.append(Delta(finish_reason="stop", usage=USAGE))
    frames = list(wire.compose_stream(deltas, id="1", model="m", created=1))
    body = b"".join(frames)

    def read(stream: Callable[[], Any]) -> None:
        decoder = stream()
        decoder.feed(body)
        decoder.finish()

    theirs = None
    if dialect in ("openai_chat", "ollama"):
        other = bridge(*PROVIDERS[dialect])
        theirs = lambda: read(other.stream)  # noqa: E731
    compared(benchmark, ratio, lambda: read(wire.stream), theirs)
    print(f"{dialect}: {seconds(lambda: read(wire.stream), 100) / len(frames) * 1e6:.2f} µs an event")


@pytest.mark.parametrize("dialect", SPOKEN)
def test_encoding_ten_messages_and_two_tools(benchmark: Benchmark, ratio: Ratio, dialect: str) -> None:
    wire, at = WIRES[dialect], offer(dialect)
    theirs = None
    if dialect in PROVIDERS:
        other = bridge(*PROVIDERS[dialect])
        theirs = lambda: other.encode(REQUEST, at)  # noqa: E731
    compared(benchmark, ratio, lambda: wire.encode(REQUEST, at), theirs)
