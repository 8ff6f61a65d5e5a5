"""A stream collected into a whole answer, and a whole answer taken apart into a stream. Of no dialect.

`collect(deltas_of(c), …)` gives c back, but for what only a whole answer states (id, fingerprint, service tier).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from clawbench.types import Choice, Completion, Delta, StreamEnd, ToolCall, ToolCallDelta

CHARACTERS_PER_PIECE = 4  # about a token of English


class _Gathered:
    """One choice while its pieces come."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self.finish_reason: str | None = None
        self.logprobs: dict[str, Any] | None = None
        self.extra: dict[str, Any] = {}

    def add(self, delta: Delta) -> None:
        for text, into in (
            (delta.content, self.content),
            (delta.reasoning, self.reasoning),
            (delta.refusal, self.refusal),
        ):
            if text is not None:
                into.append(text)
        for piece in delta.tool_calls:
            ids, names, arguments = self.calls.setdefault(piece.index, ([], [], []))
            if piece.id:
                ids.append(piece.id)
            if piece.name:
                names.append(piece.name)
            arguments.append(piece.arguments)
        self.finish_reason = delta.finish_reason or self.finish_reason
        for name, value in (delta.logprobs or {}).items():
            self.logprobs = _joined(self.logprobs or {}, name, value)
        for name, value in (delta.extra or {}).items():
            self.extra = _joined(self.extra, name, value)

    def choice(self, index: int) -> Choice:
        calls = tuple(
            ToolCall(ids[0] if ids else f"call_{number}", names[0] if names else "", "".join(arguments))
            for number, (ids, names, arguments) in sorted(self.calls.items())
        )
        return Choice(
            index=index,
            content="".join(self.content) if self.content else None,
            reasoning="".join(self.reasoning) if self.reasoning else None,
            refusal="".join(self.refusal) if self.refusal else None,
            tool_calls=calls,
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
            extra=self.extra or None,
        )


def _joined(known: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Lists of a stream add up; of anything else the last one stands."""
    before = known.get(name)
    both = before + value if isinstance(before, list) and isinstance(value, list) else value
    return {**known, name: both}


def collect(deltas: Iterable[Delta], end: StreamEnd) -> Completion:
    """The answer that the pieces of a stream make. Raises the `UpstreamError` that a piece carries."""
    gathered: dict[int, _Gathered] = {}
    for delta in deltas:
        if delta.error is not None:
            raise delta.error
        gathered.setdefault(delta.index, _Gathered()).add(delta)
    choices = tuple(each.choice(index) for index, each in sorted(gathered.items()))
    return Completion(
        choices=choices or (Choice(finish_reason=end.finish_reason),),
        id=end.id or "",
        model=end.model,
        usage=end.usage,
        notes=end.notes,
    )


def deltas_of(completion: Completion) -> Iterator[Delta]:
    """The pieces in which a provider could have sent this answer: reasoning, text, tool calls, end, usage."""
    for choice in completion.choices:
        index = choice.index
        for piece in _pieces(choice.reasoning):
            yield Delta(index=index, reasoning=piece)
        if choice.extra:
            # Before the text: signatures belong to the reasoning that they sign.
            yield Delta(index=index, extra=choice.extra)
        for piece in _pieces(choice.content):
            yield Delta(index=index, content=piece)
        if choice.refusal:
            yield Delta(index=index, refusal=choice.refusal)
        for number, call in enumerate(choice.tool_calls):
            yield Delta(index=index, tool_calls=(ToolCallDelta(number, call.id, call.name),))
            for piece in _pieces(call.arguments):
                yield Delta(index=index, tool_calls=(ToolCallDelta(number, arguments=piece),))
        reason = choice.finish_reason or ("tool_calls" if choice.tool_calls else "stop")
        yield Delta(index=index, finish_reason=reason, logprobs=choice.logprobs)
    if completion.usage is not None:
        yield Delta(usage=completion.usage)


def _pieces(text: str | None) -> Iterator[str]:
    for start in range(0, len(text or ""), CHARACTERS_PER_PIECE):
        yield (text or "")[start : start + CHARACTERS_PER_PIECE]
