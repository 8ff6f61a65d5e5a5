"""Sources of requests: what is asked, without a word about when.

Two of them: requests that were recorded (or made elsewhere), and a file of prompts. Neither knows a model or an
offer: a request carries whatever model name was recorded, or "", and the runner sets the one under test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from clawbench.errors import PlanError
from clawbench.types import ChatRequest, Message

Order = Literal["shuffled", "cycle"]
"""shuffled: every round is a new permutation, so all come equally often; cycle: in the order given, again and again."""

StreamFlags: TypeAlias = Literal["as_recorded"] | float
"""Whose stream flag holds: the recorded request's own, or a share in [0, 1] of requests drawn to be streamed.

The flag is part of what a replay matches exactly, so a share below or above what was recorded gives exact matches
only from cassettes that hold both kinds of every prompt; keep "as_recorded" for the others.
"""


class PromptSource(Protocol):
    """Gives a workload its requests, one an arrival, without end."""

    def requests(self, rng: random.Random) -> Iterator[ChatRequest]:
        """A pure function of the source and of `rng`, which is this source's own."""
        ...


class Prompt(Struct, frozen=True):
    """A line of a prompt file. `kind` is free text for grouping in analysis; the request's model is ""."""

    id: str
    kind: str
    request: ChatRequest


class RecordedPrompts:
    """Draws from requests that were recorded, without changing anything but, if told to, the stream flag."""

    def __init__(
        self, requests: Sequence[ChatRequest], *, order: Order = "shuffled", stream: StreamFlags = "as_recorded"
    ) -> None:
        if not requests:
            raise PlanError("workload: there are no requests to draw from.")
        if order not in ("shuffled", "cycle"):
            raise PlanError(f'workload: order must be "shuffled" or "cycle", got {order!r}.')
        if not (stream == "as_recorded" if isinstance(stream, str) else 0 <= stream <= 1):
            raise PlanError(f'workload: stream must be "as_recorded" or a share from 0 to 1, got {stream!r}.')
        self._requests, self._order, self._stream = requests, order, stream

    def requests(self, rng: random.Random) -> Iterator[ChatRequest]:
        # Flags have a stream of their own, so that the prompts drawn do not depend on whether flags are drawn.
        flags = random.Random(rng.getrandbits(128))
        order = list(range(len(self._requests)))
        while True:
            if self._order == "shuffled":
                rng.shuffle(order)
            for index in order:
                request = self._requests[index]
                yield request if self._stream == "as_recorded" else _flagged(request, flags.random() < self._stream)


class PromptFile:
    """Draws from a JSONL file of prompts; see `read_prompts` for its form.

    The file states no stream flags: "as_recorded" means that nothing is streamed, a share draws them.
    """

    def __init__(self, path: Path, *, order: Order = "shuffled", stream: StreamFlags = "as_recorded") -> None:
        self.prompts = read_prompts(path)
        self._source = RecordedPrompts([prompt.request for prompt in self.prompts], order=order, stream=stream)

    def requests(self, rng: random.Random) -> Iterator[ChatRequest]:
        return self._source.requests(rng)


def with_model(request: ChatRequest, model: str) -> ChatRequest:
    """The same request for another model reference, e.g. "llama-3.1-8b@price"."""
    return msgspec.structs.replace(request, model=model)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Prompts of a JSONL file, one a line: {"id", "kind", "request": {"messages", …}}; ids are unique.

    `request` may also have tools, tool_choice, response_format, max_completion_tokens and temperature, in OpenAI's
    chat shape. Raises `PlanError` naming file and line for a line that is none, for an unknown key, a repeated id
    and a file without prompts.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: prompts cannot be read: {error}") from error
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            prompt = msgspec.json.decode(line, type=_Line).prompt()
        except msgspec.DecodeError as error:
            raise PlanError(f"{path}, line {number}: no prompt: {error}") from error
        if prompt.id in prompts:
            raise PlanError(f"{path}, line {number}: id {prompt.id!r} was given before; ids must be unique.")
        prompts[prompt.id] = prompt
    if not prompts:
        raise PlanError(f"{path}: holds no prompts.")
    return tuple(prompts.values())


class _LineRequest(Struct, forbid_unknown_fields=True):
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None


class _Line(Struct, forbid_unknown_fields=True):
    id: str
    kind: str
    request: _LineRequest

    def prompt(self) -> Prompt:
        asked = self.request
        request = ChatRequest(
            model="",
            messages=asked.messages,
            tools=asked.tools,
            tool_choice=asked.tool_choice,
            response_format=asked.response_format,
            max_output_tokens=asked.max_completion_tokens,
            temperature=asked.temperature,
        )
        return Prompt(self.id, self.kind, request)


def _flagged(request: ChatRequest, stream: bool) -> ChatRequest:
    if request.stream is stream:
        return request
    return msgspec.structs.replace(request, stream=stream, include_usage=stream and request.include_usage)
