"""A recorded answer in the other form: a whole one as a stream, a stream as a whole one.

Needed where the nearest recording of an offer was streamed and the request is not, or the other way round. Goes through
the wire's own two sides, so that what comes out is what the dialect would have sent; recorded arrival times do not
survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from clawbench.cassettes.interaction import RecordedTiming
from clawbench.types import Delta, Headers
from clawbench.wires.collect import collect, deltas_of
from clawbench.wires.protocol import Wire


class Restaged(Struct, frozen=True):
    """A reply ready to be played: `event_ends` are byte offsets, empty where the body is not a stream."""

    headers: Headers
    body: bytes
    event_ends: Sequence[int]
    timing: RecordedTiming | None


def restage(wire: Wire, status: int, headers: Headers, body: bytes, *, as_stream: bool) -> Restaged:
    """The reply in the other form. Raises `UpstreamError` for a body that the wire cannot read."""
    if as_stream:
        completion = wire.decode(status, headers, body)
        events = list(
            wire.compose_stream(
                deltas_of(completion), id=completion.id, model=completion.model or "", created=completion.created or 0
            )
        )
        ends = list(accumulate(len(event) for event in events))
        return Restaged({**headers, "content-type": "text/event-stream"}, b"".join(events), ends, None)
    decoder = wire.stream()
    deltas: list[Delta] = decoder.feed(body)
    composed = wire.compose(collect(deltas, decoder.finish()))
    return Restaged({**headers, "content-type": "application/json"}, composed.body, (), None)
