"""A reply's bytes, read for the bill: how it ended by its wire, what its usage says by its normaliser.

The same two readings that the gateway makes while it serves: the wire judges whether there was an answer, the
evidence holds what it is charged by. Knows no price. Never raises for anything that a provider sends.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from clawbench.billing.evidence import Evidence, StreamEvidence, of_body
from clawbench.billing.outcomes import Ending
from clawbench.errors import UpstreamError
from clawbench.types import Completion, Delta, Headers
from clawbench.usage.buckets import Counted
from clawbench.usage.normalisers import Normaliser, count
from clawbench.wires.gemini_reply import PROMPT_BLOCKED
from clawbench.wires.protocol import StreamDecoder, Wire


class ReadReply(Struct, frozen=True, kw_only=True):
    """`model` is the one that the provider says it served; None where it does not say."""

    ending: Ending
    evidence: Evidence
    model: str | None = None


def read_whole(wire: Wire, status: int, headers: Headers, body: bytes) -> ReadReply:
    """A reply that was not streamed, also one that failed."""
    if status >= 400:
        error = wire.error(status, headers, body)
        return ReadReply(ending=_failed(status, error), evidence=Evidence())
    evidence = of_body(wire.name, body, headers)
    try:
        completion = wire.decode(status, headers, body)
    except UpstreamError as error:
        return ReadReply(ending=_failed(status, error), evidence=evidence)
    ending = Ending(
        status=status, blocked=_is_blocked(completion.notes), delivered_bytes=_size_of_completion(completion)
    )
    return ReadReply(ending=ending, evidence=evidence, model=completion.model)


def read_stream(wire: Wire, status: int, chunks: Iterable[bytes]) -> ReadReply:
    """A streamed reply, from the bytes as they arrived."""
    decoder, gathered = wire.stream(), StreamEvidence(wire.name)
    deltas: list[Delta] = []
    for chunk in chunks:
        deltas += decoder.feed(chunk)
        gathered.feed(chunk)
    return _ended(decoder, deltas, status, gathered.evidence())


def counted_of(reply: ReadReply, normaliser: Normaliser, *, bound: int, asked_ttl: str | None = None) -> Counted:
    """The buckets of a reply that was read."""
    evidence = reply.evidence
    return count(normaliser, evidence.usage, stream=evidence.stream, bound=bound, asked_ttl=asked_ttl)


def _ended(decoder: StreamDecoder, deltas: list[Delta], status: int, evidence: Evidence) -> ReadReply:
    error = next((delta.error for delta in deltas if delta.error is not None), None)
    has_content = any(delta.has_output for delta in deltas)
    delivered = sum(_size_of_delta(delta) for delta in deltas)
    try:
        end = decoder.finish()
    except UpstreamError as never_a_stream:
        return ReadReply(ending=_failed(status, never_a_stream), evidence=evidence)
    ending = Ending(
        status=status,
        error=error if error is not None or end.complete else _cut(has_content),
        has_content=has_content,
        complete=end.complete,
        blocked=_is_blocked(end.notes),
        delivered_bytes=delivered,
    )
    return ReadReply(ending=ending, evidence=evidence, model=end.model)


def _cut(has_content: bool) -> UpstreamError:
    outcome = "truncated" if has_content else "reset_early"
    return UpstreamError("The stream ended before the answer did.", outcome=outcome)


def _failed(status: int, error: UpstreamError) -> Ending:
    return Ending(status=status, error=error, has_content=False, complete=False)


def _is_blocked(notes: tuple[str, ...]) -> bool:
    return any(note.startswith(PROMPT_BLOCKED) for note in notes)


def _size_of_completion(completion: Completion) -> int:
    texts = (text for choice in completion.choices for text in (choice.content, choice.reasoning, choice.refusal))
    calls = (call for choice in completion.choices for call in choice.tool_calls)
    return sum(map(_size, texts)) + sum(_size(call.name) + _size(call.arguments) for call in calls)


def _size_of_delta(delta: Delta) -> int:
    calls = sum(_size(call.name) + _size(call.arguments) for call in delta.tool_calls)
    return _size(delta.content) + _size(delta.reasoning) + _size(delta.refusal) + calls


def _size(text: str | None) -> int:
    return len(text.encode("utf-8", "replace")) if text else 0
