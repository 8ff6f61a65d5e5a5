"""What the router is told of a request."""

from __future__ import annotations

from clawbench.gateway.admission import shape_of
from clawbench.types import ChatRequest


def test_the_prompt_is_counted_at_four_characters_a_token_plus_a_little_for_each_message() -> None:
    shape = shape_of(ChatRequest(model="m", messages=[{"role": "user", "content": "x" * 400}]))
    assert shape.prompt_tokens == 104


def test_parts_tools_and_formats_say_what_an_offer_must_be_able_to_do() -> None:
    request = ChatRequest(
        model="m",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}],
            },
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]},
        ],
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {}},
        n=2,
        logprobs=True,
    )
    assert shape_of(request).needs == {"vision", "audio", "tools", "json_schema", "n", "logprobs"}


def test_a_tool_loop_counts_the_calls_that_go_back() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 400}}
    request = ChatRequest(model="m", messages=[{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert shape_of(request).prompt_tokens > 100
