"""litellm's providers through our wires: which can be called, and that none of them reaches a network.

The census (`litellm_census.py`) runs as a process of its own: it takes seconds, and an audit hook cannot be taken back.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import UpstreamError, UsageError
from clawbench.types import ChatRequest, HttpCall, Offer, ToolCall
from clawbench.wires import wire_for, wire_of
from clawbench.wires.collect import collect
from clawbench.wires.litellm_bridge import bridge
from clawbench.wires.litellm_bridge_import import STOLEN_VERSIONS, SealBroken, refuse_version, sealed
from tests.wires import litellm_census
from tests.wires.made import DONE, answer, chunk, pieces_of, shown

ROOT = Path(__file__).parents[2]

NO_CHAT = [
    "a2a_agent",
    "aiml",
    "auto_router",
    "aws_polly",
    "aws_textract",
    "azure_speech",
    "black_forest_labs",
    "cursor",
    "deepgram",
    "dotprompt",
    "elevenlabs",
    "humanloop",
    "infinity",
    "jina_ai",
    "langfuse",
    "lemonade",
    "litellm_agent",
    "manus",
    "milvus",
    "mongodb",
    "nvidia_riva",
    "pg_vector",
    "recraft",
    "reducto",
    "runwayml",
    "s3_vectors",
    "soniox",
    "stability",
    "strands_decider",
    "topaz",
    "transcribe",
    "typesafe",
    "valkey",
    "voyage",
    "xinference",
]
"""Providers for which litellm itself has no transformation of chat: embeddings, speech, images, databases."""

_CLIENT = "reads its answers through a client library, not in a transformation"
_HANDLER = "makes its calls in a handler, not in a transformation"
REFUSED = {
    "aiohttp_openai": f'{_CLIENT}; give the offer the dialect "openai_chat"',
    "azure": f'{_CLIENT}; give the offer the dialect "openai_chat"',
    "azure_text": _HANDLER,
    "gemini": f'{_HANDLER}; give the offer the dialect "gemini"',
    "petals": _HANDLER,
    "sap": "No credentials found",
    "text-completion-codestral": _HANDLER,
    "text-completion-inception": _HANDLER,
    "text-completion-openai": _HANDLER,
    "vertex_ai_beta": f'{_HANDLER}; give the offer the dialect "gemini"',
    "watsonx_text": "lost the prompt on the way",
}
"""Providers that litellm can chat with and the bridge cannot, each with what it says."""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def census() -> dict[str, Any]:
    value = json.loads(run("-W", "error::RuntimeWarning", "-m", "tests.wires.litellm_census").splitlines()[-1])
    assert isinstance(value, dict)
    return value


def test_nothing_got_past_the_seal_towards_a_network(census: dict[str, Any]) -> None:
    assert census["reached"] == []


def test_every_other_provider_that_can_chat_is_asked_and_read(census: dict[str, Any]) -> None:
    found: dict[str, str] = census["found"]
    working = sorted(provider for provider, reason in found.items() if not reason)
    print(f"{len(working)} of {len(found)} providers work through the bridge: {', '.join(working)}")
    refused = {provider: reason for provider, reason in found.items() if reason and provider not in NO_CHAT}
    print(*(f"refused: {reason}" for reason in refused.values()), sep="\n")
    assert not [reason for reason in found.values() if reason.startswith("FAILED")]
    assert refused.keys() == REFUSED.keys()
    assert len(working) == len(found) - len(REFUSED) - len(NO_CHAT)
    assert len(working) >= 120


def test_a_refusal_names_the_provider_the_reason_and_the_way_out(census: dict[str, Any]) -> None:
    found = census["found"]
    for provider, reason in REFUSED.items():
        assert found[provider].startswith(f"{provider} cannot be called through litellm: ")
        assert reason in found[provider]
        assert "; give the offer the dialect" in found[provider] or "; choose an offer of another" in found[provider]
    for provider in NO_CHAT:
        assert "litellm has no chat transformation for it" in found[provider]


def test_importing_the_wires_and_naming_a_bridge_does_not_import_litellm() -> None:
    code = (
        "import sys, clawbench.wires as w\n"
        "wire = w.wire_of('litellm:xai')\n"
        "print(wire.name, [name for name in ('litellm', 'httpx', 'openai') if name in sys.modules])"
    )
    assert run("-c", code).strip() == "litellm:xai []"


def test_litellm_is_imported_with_its_local_price_map_and_without_callbacks() -> None:
    code = (
        "import os\n"
        "os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'False'\n"
        "from clawbench.wires.litellm_bridge_import import import_litellm\n"
        "litellm = import_litellm()\n"
        "quiet = (litellm.telemetry, litellm.callbacks, litellm.success_callback)\n"
        "print(os.environ['LITELLM_LOCAL_MODEL_COST_MAP'], *quiet)"
    )
    assert run("-c", code).strip().splitlines()[-1] == "True False [] []"


def test_releases_that_were_tampered_with_are_refused() -> None:
    assert frozenset({"1.82.7", "1.82.8"}) == STOLEN_VERSIONS
    for release in sorted(STOLEN_VERSIONS):
        with pytest.raises(UsageError, match=f"litellm {release} is refused"):
            refuse_version(release)
    refuse_version("1.106.2")


def test_sealed_code_reaches_nothing_and_is_found_out_even_if_it_keeps_quiet() -> None:
    with sealed() as reached:
        with pytest.raises(SealBroken):
            socket.getaddrinfo("example.com", 443)
        with sealed(), pytest.raises(SealBroken), socket.socket() as plug:
            plug.connect(("127.0.0.1", 9))
        with pytest.raises(SealBroken):
            subprocess.Popen(["true"])
    assert len(reached) == 3
    with socket.socket() as plug:
        assert plug.connect_ex(("127.0.0.1", 9)) != 0  # outside of the seal it is the system that answers


XAI = Offer(
    id="o", provider="xai", model="grok", upstream_model="grok-4", base_url="https://api.x.ai/v1", dialect="litellm:xai"
)
HI = [{"role": "user", "content": "hi"}]


def asked(**fields: Any) -> HttpCall:
    return bridge("xai").encode(ChatRequest(model="grok", messages=HI, **fields), XAI)


def test_an_offer_of_the_bridges_dialect_gets_the_wire_of_its_provider() -> None:
    wire = wire_for(XAI)
    assert wire is bridge("xai", "grok-4")
    assert wire.name == wire_of("litellm:xai").name == "litellm:xai"


def test_a_call_is_what_litellm_would_send_without_credentials() -> None:
    call = asked(temperature=0.5, max_output_tokens=10, stream=True)
    assert (call.method, call.url, call.stream) == ("POST", "https://api.x.ai/v1/chat/completions", True)
    assert call.headers == {"content-type": "application/json"}
    body = json.loads(call.body)
    assert body["messages"] == HI
    assert (body["model"], body["temperature"], body["stream"]) == ("grok-4", 0.5, True)
    assert body["stream_options"] == {"include_usage": True}


def test_where_the_key_goes_is_known_without_a_key() -> None:
    assert bridge("xai").key_places(XAI) == {"authorization": "Bearer {key}"}
    nlp = msgspec.structs.replace(XAI, provider="nlp_cloud")
    assert bridge("nlp_cloud").key_places(nlp) == {"authorization": "Token {key}"}


def test_what_a_provider_cannot_be_told_is_noted_and_tools_are_refused() -> None:
    offer = msgspec.structs.replace(XAI, provider="nlp_cloud")
    request = ChatRequest(model="m", messages=HI, seed=1, extra={"api_base": "https://evil", "mock_response": "x"})
    call = bridge("nlp_cloud").encode(request, offer)
    assert {"seed left out", "api_base left out", "mock_response left out"} <= set(call.notes)
    assert call.url.startswith("https://api.x.ai/")
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with pytest.raises(UpstreamError, match="cannot be told tools") as refused:
        bridge("nlp_cloud").encode(msgspec.structs.replace(request, tools=[tool]), offer)
    assert (refused.value.outcome, refused.value.try_next) == ("rejected", True)


def test_a_request_is_never_written_into() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]
    request = ChatRequest(model="m", messages=messages, tools=[tool], response_format={"type": "json_object"})
    before = msgspec.json.encode(request)
    for provider in ("xai", "mistral", "cohere", "anthropic", "a2a", "ollama_chat", "deepinfra"):
        try:
            bridge(provider).encode(request, msgspec.structs.replace(XAI, provider=provider))
        except UpstreamError as error:
            assert "cannot be told" in str(error)  # noqa: PT017 - some of these know no tools
    assert msgspec.json.encode(request) == before


def test_an_unknown_provider_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UpstreamError, match=r"'opnrouter'\. Did you mean \"openrouter\"\?") as refused:
        bridge("opnrouter").encode(ChatRequest(model="m", messages=HI), XAI)
    assert refused.value.outcome == "rejected"


def test_an_image_that_litellm_would_fetch_is_refused_and_not_fetched() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    content = [{"type": "text", "text": "what is it"}, image]
    offer = msgspec.structs.replace(XAI, provider="ollama_chat")
    with sealed() as reached:
        try:
            call = bridge("ollama_chat").encode(
                ChatRequest(model="m", messages=[{"role": "user", "content": content}]), offer
            )
        except UpstreamError as error:
            assert "litellm would reach" in str(error)  # noqa: PT017 - either way nothing was fetched
        else:
            assert not reached or any("wanted to reach" in note for note in call.notes)


def test_what_litellm_makes_up_is_taken_out_again() -> None:
    call = {"id": None, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}).encode()
    wire = bridge("deepinfra")
    read = wire.decode(200, {}, body)
    assert read == wire.decode(200, {}, body)
    assert (read.id, read.created, read.model, read.usage) == ("", None, None, None)
    assert read.choices[0].tool_calls == (ToolCall("call_0", "f", "{}"),)
    assert read.choices[0].finish_reason == "tool_calls"
    counted = bridge("bytez").decode(200, {}, json.dumps(litellm_census.REPLIES["bytez"]).encode())
    assert (counted.usage, counted.notes) == (None, ("no usage stated",))


def test_what_the_provider_says_is_kept() -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    message = {"content": "hi", "reasoning_content": "hm"}
    read = bridge("deepinfra").decode(200, {}, answer(message, usage=usage))
    assert (read.choices[0].content, read.choices[0].reasoning) == ("hi", "hm")
    assert (read.id, read.created, read.model) == ("chatcmpl-1", 1_748_764_800, "m-1")
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.cached_input_tokens, read.usage.raw) == (11, 3, usage)


def test_failures_are_typed_as_everywhere() -> None:
    wire = bridge("deepinfra")
    assert wire.error(429, {"retry-after": "3"}, b"").retry_after_s == 3.0
    for body, outcome in (
        (b'{"error":{"message":"no"}}', "error_200"),
        (b"<html>", "protocol_error"),
        (b"", "protocol_error"),
        (b"3", "protocol_error"),
        (b'{"choices":[]}', "protocol_error"),
    ):
        with pytest.raises(UpstreamError) as error:
            wire.decode(200, {}, body)
        assert error.value.outcome == outcome, body
    with pytest.raises(UpstreamError) as error:
        wire.decode(503, {}, b"")
    assert error.value.outcome == "upstream_5xx"


def test_it_only_calls() -> None:
    wire = bridge("xai")
    call = asked()
    assert not wire.recognises(call, answer())
    with pytest.raises(ValueError, match="only calls"):
        wire.parse(call)
    with pytest.raises(ValueError, match="only calls"):
        wire.compose(wire.decode(200, {}, answer()))
    with pytest.raises(ValueError, match="only calls"):
        wire.compose_stream([], id="", model="", created=0)


TOOL = {"index": 0, "id": "call_x", "type": "function", "function": {"name": "f", "arguments": ""}}
STREAM = b"".join(
    [
        chunk({"role": "assistant", "content": "hé"}),
        b": keep-alive\n\n",
        chunk({"reasoning_content": "hm"}),
        chunk({"tool_calls": [TOOL]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}),
        chunk({}, finish="tool_calls"),
        chunk(usage={"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}),
        DONE,
    ]
)


def test_a_stream_gives_text_reasoning_calls_and_usage() -> None:
    decoder = bridge("deepinfra").stream()
    deltas = decoder.feed(STREAM)
    end = decoder.finish()
    choice = collect(deltas, end).choices[0]
    assert (choice.content, choice.reasoning, choice.finish_reason) == ("hé", "hm", "tool_calls")
    assert choice.tool_calls == (ToolCall("call_x", "f", '{"a":1}'),)
    assert (end.complete, end.id, end.model) == (True, "c-1", "m-1")
    assert end.usage is not None
    assert (end.usage.input_tokens, end.usage.output_tokens) == (11, 5)


@given(st.lists(st.integers(1, 80), max_size=30))
def test_any_split_gives_the_same_deltas(sizes: list[int]) -> None:
    whole, split = bridge("deepinfra").stream(), bridge("deepinfra").stream()
    pieces = [delta for piece in pieces_of(STREAM, sizes) for delta in split.feed(piece)]
    assert shown(pieces) == shown(whole.feed(STREAM))
    assert split.finish() == whole.finish()


@given(st.integers(0, STREAM.index(b'"finish_reason": "tool_calls"')))
def test_a_cut_stream_is_not_complete(cut: int) -> None:
    decoder = bridge("deepinfra").stream()
    assert all(delta.error is None for delta in decoder.feed(STREAM[:cut]))
    assert not decoder.finish().complete


def test_an_error_in_a_stream_is_the_last_delta() -> None:
    decoder = bridge("deepinfra").stream()
    error_frame = b'data: {"error":{"message":"broke","code":"c"}}\n\n'
    deltas = decoder.feed(chunk({"content": "a"}) + error_frame + chunk({"content": "b"}))
    assert [delta.content for delta in deltas] == ["a", None]
    assert deltas[-1].error is not None
    assert (deltas[-1].error.outcome, deltas[-1].error.code) == ("error_event", "c")
    assert not decoder.finish().complete
    for body, outcome in ((b'{"error":{"message":"no"}}', "error_200"), (b"<html>\n</html>", "protocol_error")):
        plain = bridge("deepinfra").stream()
        plain.feed(body)
        with pytest.raises(UpstreamError) as error:
            plain.finish()
        assert error.value.outcome == outcome


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_bytes_of_any_kind_are_deltas_or_a_typed_error(pieces: list[bytes]) -> None:
    for provider in ("deepinfra", "ollama_chat", "langflow"):
        decoder = bridge(provider).stream()
        deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
        assert sum(delta.error is not None for delta in deltas) <= 1
        try:
            complete = decoder.finish().complete
        except UpstreamError:
            complete = False
        assert not complete


def test_the_census_asks_what_it_says() -> None:
    assert litellm_census.try_provider("deepinfra") == ""
    assert "openai_chat" in litellm_census.try_provider("azure")
