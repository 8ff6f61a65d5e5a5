"""Chat requests in OpenAI's shape, made by hand for the tests of the dialects that translate them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from clawbench.types import ChatRequest, Message

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
OTHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "g", "description": "d", "parameters": {"type": "object"}},
}

TEXT = st.text(min_size=1, max_size=8)
IDS = st.text(alphabet="abc", min_size=3, max_size=8)


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def called(*ids: str, arguments: str = '{"x":1}', **more: Any) -> Message:
    """An assistant's message with one call of function `f<id>` for every id."""
    calls = [{"id": id, "type": "function", "function": {"name": f"f{id}", "arguments": arguments}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(id: str, content: Any = "done") -> Message:
    return {"role": "tool", "tool_call_id": id, "content": content}


def request(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=list(messages) or [user("hi")], **more)


@st.composite
def conversations(draw: Any, picture: Any, last_words: st.SearchStrategy[Message]) -> list[Message]:
    """One to three rounds: the user's word or picture, perhaps calls with their results, perhaps the assistant's."""
    messages: list[Message] = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(draw(TEXT | st.just([{"type": "text", "text": "look"}, picture]))))
        if draw(st.booleans()):
            ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
            messages.append(called(*ids))
            messages += [result(id, draw(TEXT)) for id in ids]
        if draw(st.booleans()):
            messages.append(draw(last_words))
    return messages
