"""`clawbench emulate`: official clients talk to it over loopback; quick enough, and ends as told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from google.genai import types as google

from clawbench.emulator.text import answer
from clawbench.emulator.tokens import count_prompt
from clawbench.types import ChatRequest, Usage
from clawbench.wires import WIRES
from tests.emulator.made import without_raw
from tests.emulator.serving import MAIN, PLAN, Served, emulator

QUESTION = "Why does bread dough need to rest before it is baked?"
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["place"],
}
ASK_WEATHER = "What will the weather be like in Bergen in 3 days?"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


def openai_at(served: Served, provider: str, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.origin}/{provider}/v1", api_key=key, max_retries=0)


def anthropic_at(served: Served, provider: str, key: str = "any") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{served.origin}/{provider}", api_key=key, max_retries=0)


def google_at(served: Served, provider: str, key: str = "any") -> genai.Client:
    return genai.Client(api_key=key, http_options=google.HttpOptions(base_url=f"{served.origin}/{provider}"))


def said(text: str = QUESTION, *, thinks: bool = False, **more: Any) -> tuple[Any, int]:
    """The answer that is due, and the tokens of its prompt."""
    request = ChatRequest(model="", messages=[{"role": "user", "content": text}], **more)
    return answer(request, "t" if thinks else "m", thinks=thinks), count_prompt(request)


def ours(dialect: str, body: bytes) -> Usage | None:
    """What our wire reads of the same bytes."""
    return without_raw(WIRES[dialect].decode(200, {}, body).usage)


def test_openais_client_chats_and_reads_the_usage_that_we_read(served: Served) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    for model, thinks in (("m-up", False), ("t-up", True)):
        raw = openai_at(served, "oai").chat.completions.with_raw_response.create(model=model, messages=messages)
        completion = raw.parse()
        due, prompt_tokens = said(thinks=thinks)
        assert completion.choices[0].message.content == due.content
        usage = completion.usage
        assert usage is not None
        assert usage.completion_tokens_details is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (prompt_tokens, due.output_tokens)
        read = ours("openai_chat", raw.http_response.content)
        assert read is not None
        assert (read.input_tokens, read.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
        assert (read.reasoning_tokens or 0) == usage.completion_tokens_details.reasoning_tokens == due.reasoning_tokens
        assert int(raw.headers["openai-processing-ms"]) >= 0
        assert raw.headers["x-ratelimit-limit-requests"] == "1000000"


def test_openais_client_streams_with_usage(served: Served) -> None:
    stream = openai_at(served, "oai").chat.completions.create(
        model="m-up",
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    due, prompt_tokens = said()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == due.content
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (prompt_tokens, due.output_tokens)


def test_openais_client_gets_tool_calls_and_goes_on_with_their_results(served: Served) -> None:
    client = openai_at(served, "oai")
    tools: list[Any] = [
        {"type": "function", "function": {"name": "get_weather", "description": "weather", "parameters": WEATHER}}
    ]
    messages: list[Any] = [{"role": "user", "content": ASK_WEATHER}]
    first = client.chat.completions.create(model="m-up", messages=messages, tools=tools).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    call = first.message.tool_calls[0]
    assert call.type == "function"
    assert "place" in json.loads(call.function.arguments)
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": '{"sky":"clear"}'}]
    second = client.chat.completions.create(model="m-up", messages=messages, tools=tools).choices[0]
    assert "clear" in (second.message.content or "")


def test_openais_client_speaks_responses(served: Served) -> None:
    client = openai_at(served, "oai")
    due, prompt_tokens = said(thinks=True)
    response = client.responses.create(model="t-up", input=QUESTION)
    assert response.output_text == due.content
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (prompt_tokens, due.output_tokens)
    assert response.usage.output_tokens_details.reasoning_tokens == due.reasoning_tokens
    with client.responses.stream(model="m-up", input=QUESTION) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.output_text == said()[0].content


def test_anthropics_client_chats_and_streams(served: Served) -> None:
    client = anthropic_at(served, "ant")
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    due, prompt_tokens = said(max_output_tokens=500)
    raw = client.messages.with_raw_response.create(model="m-up", max_tokens=500, messages=messages)
    message = raw.parse()
    assert message.content[0].type == "text"
    assert message.content[0].text == due.content
    assert message.stop_reason == "end_turn"
    read = ours("anthropic", raw.http_response.content)
    assert read is not None
    assert (message.usage.input_tokens, message.usage.output_tokens) == (prompt_tokens, due.output_tokens)
    assert (read.input_tokens, read.output_tokens) == (prompt_tokens, due.output_tokens)
    with client.messages.stream(model="m-up", max_tokens=500, messages=messages) as stream:
        assert "".join(stream.text_stream) == due.content
        usage = stream.get_final_message().usage
    assert (usage.input_tokens, usage.output_tokens) == (prompt_tokens, due.output_tokens)


def test_anthropics_client_sees_the_cache_being_written_and_read(served: Served) -> None:
    client = anthropic_at(served, "ant")
    text = "The lease begins in May and ends in June of the year after. " * 60
    system: list[Any] = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    messages: list[Any] = [{"role": "user", "content": "When does it end?"}]
    usages = []
    for _ in range(2):
        raw = client.messages.with_raw_response.create(model="m-up", max_tokens=200, system=system, messages=messages)
        usage, read = raw.parse().usage, ours("anthropic", raw.http_response.content)
        assert read is not None
        assert read.cached_input_tokens == usage.cache_read_input_tokens
        assert read.cache_write_tokens == usage.cache_creation_input_tokens
        total = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert read.input_tokens == total
        usages.append((usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0))
    written = usages[0][0]
    assert written >= 512
    assert usages == [(written, 0), (0, written)]


def test_anthropics_client_gets_thoughts_and_tool_calls(served: Served) -> None:
    client = anthropic_at(served, "ant")
    thought = client.messages.create(
        model="t-up", max_tokens=900, messages=[{"role": "user", "content": QUESTION}]
    ).content
    assert [block.type for block in thought] == ["thinking", "text"]
    with client.messages.stream(
        model="m-up",
        max_tokens=300,
        messages=[{"role": "user", "content": ASK_WEATHER}],
        tools=[{"name": "get_weather", "description": "weather", "input_schema": WEATHER}],
    ) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    block = called.content[-1]
    assert block.type == "tool_use"
    assert block.id.startswith("toolu_")
    assert isinstance(block.input, dict)
    assert "place" in block.input


def test_googles_client_chats_streams_thinks_and_calls_tools(served: Served) -> None:
    client = google_at(served, "gem")
    due, prompt_tokens = said()
    reply = client.models.generate_content(model="m-up", contents=QUESTION)
    assert reply.text == due.content
    usage = reply.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count) == (prompt_tokens, due.output_tokens)
    chunks = list(client.models.generate_content_stream(model="m-up", contents=QUESTION))
    assert "".join(chunk.text or "" for chunk in chunks) == due.content
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.total_token_count == prompt_tokens + due.output_tokens
    thoughtful = client.models.generate_content(model="t-up", contents=QUESTION).usage_metadata
    assert thoughtful is not None
    assert thoughtful.thoughts_token_count == said(thinks=True)[0].reasoning_tokens
    tool = google.Tool(
        function_declarations=[
            google.FunctionDeclaration(name="get_weather", description="weather", parameters_json_schema=WEATHER)
        ]
    )
    called = client.models.generate_content(
        model="m-up",
        contents=ASK_WEATHER,
        config=google.GenerateContentConfig(
            tools=[tool], automatic_function_calling=google.AutomaticFunctionCallingConfig(disable=True)
        ),
    )
    assert called.function_calls is not None
    assert called.function_calls[0].name == "get_weather"
    assert "place" in (called.function_calls[0].args or {})


def test_models_are_listed_to_every_client(served: Served) -> None:
    assert [model.id for model in openai_at(served, "oai").models.list()] == ["m-up", "t-up"]
    assert openai_at(served, "oai").models.retrieve("m-up").owned_by == "oai"
    assert [model.id for model in anthropic_at(served, "ant").models.list()] == ["m-up", "t-up"]
    client = google_at(served, "gem")
    assert [model.name for model in client.models.list()] == ["models/m-up", "models/t-up"]


def chat(client: openai.OpenAI, model: str = "m-up", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Why?"}], **more)


def message(client: anthropic.Anthropic, model: str = "m-up") -> Any:
    return client.messages.create(model=model, max_tokens=50, messages=[{"role": "user", "content": "Why?"}])


def test_errors_reach_openais_client_as_its_own(served: Served) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        chat(openai_at(served, "limited"))
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after"] == "3"
    with pytest.raises(openai.InternalServerError) as full:
        chat(openai_at(served, "full"))
    assert full.value.status_code == 503
    with pytest.raises(openai.AuthenticationError):
        chat(openai_at(served, "locked", key="wrong"))
    assert chat(openai_at(served, "locked", key="let-me-in")).choices[0].message.content
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        chat(openai_at(served, "oai"), model="m-none")
    with pytest.raises(openai.BadRequestError):
        openai_at(served, "oai").chat.completions.create(model="m-up", messages="Why?")  # type: ignore[arg-type]
    with pytest.raises(openai.APIError, match="server had an error"):
        list(chat(openai_at(served, "breaking"), stream=True))


def test_errors_reach_anthropics_client_as_its_own(served: Served) -> None:
    with pytest.raises(anthropic.RateLimitError, match="rate limit"):
        message(anthropic_at(served, "limited"))
    with pytest.raises(anthropic.APIStatusError) as full:
        message(anthropic_at(served, "full"))
    assert full.value.status_code == 529
    with pytest.raises(anthropic.AuthenticationError):
        message(anthropic_at(served, "locked", key="wrong"))
    assert message(anthropic_at(served, "locked", key="let-me-in")).content
    with pytest.raises(anthropic.NotFoundError, match="m-none"):
        message(anthropic_at(served, "ant"), model="m-none")
    asked: list[Any] = [{"role": "user", "content": "Why?"}]
    breaking = anthropic_at(served, "breaking")
    with (
        pytest.raises(anthropic.APIStatusError, match="Internal server error"),
        breaking.messages.stream(model="m-up", max_tokens=50, messages=asked) as stream,
    ):
        stream.get_final_message()


def test_errors_reach_googles_client_as_its_own(served: Served) -> None:
    def ask(provider: str, model: str = "m-up", key: str = "any") -> Any:
        client = google_at(served, provider, key)  # it closes with its last reference
        return client.models.generate_content(model=model, contents="Why?")

    with pytest.raises(google_errors.ClientError, match="RESOURCE_EXHAUSTED") as limited:
        ask("limited")
    assert limited.value.code == 429
    with pytest.raises(google_errors.ServerError, match="overloaded") as full:
        ask("full")
    assert full.value.code == 503
    with pytest.raises(google_errors.ClientError, match="API key not valid"):
        ask("locked")
    assert ask("locked", key="let-me-in").text
    with pytest.raises(google_errors.ClientError, match="models/m-none is not found"):
        ask("gem", model="m-none")


async def _load(origin: str, *, clients: int, each: int) -> None:
    """So many calls over kept connections, every one another question."""
    host, port = origin.removeprefix("http://").split(":")

    async def one(client: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for index in range(each):
            messages = [{"role": "user", "content": f"Why is the sky blue on day {client * each + index}?"}]
            body = json.dumps({"model": "m-up", "messages": messages}).encode()
            head = f"POST /oai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answered = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert answered.startswith(b"http/1.1 200"), answered
            length = int(answered.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(one(client) for client in range(clients)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says how much a process has computed")
def test_two_thousand_answers_take_no_more_than_a_second_of_one_core(served: Served) -> None:
    def computed_s() -> float:
        fields = Path(f"/proc/{served.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    asyncio.run(_load(served.origin, clients=16, each=10))
    before_s = computed_s()
    asyncio.run(_load(served.origin, clients=32, each=50))
    assert 1600 / (computed_s() - before_s) >= 2000


def test_a_port_that_is_taken_is_said(served: Served, tmp_path: Path) -> None:
    plan = tmp_path / "again.toml"
    plan.write_text(PLAN)
    port = served.origin.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "emulate", str(plan), "--port", port], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"could not listen on 127.0.0.1:{port}" in done.stderr
