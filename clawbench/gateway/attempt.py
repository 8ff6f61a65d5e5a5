"""One upstream call: encode, send, decode; facts noted as they come. Knows nothing of routing or fallback.

Until the first output has been seen (the commit point) a failure can be mended by another offer; `open_stream`
returns there. Every method raises `UpstreamError` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from msgspec import structs

from clawbench.billing.prices import cost_pico_usd
from clawbench.errors import UpstreamError
from clawbench.gateway.recorder import AttemptFacts
from clawbench.routing.router import Lease
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest, Chunk, Completion, Delta, HttpReply, StreamEnd
from clawbench.wires.protocol import StreamDecoder, Wire


class Attempt:
    """Call `send`, then `completion`, or `open_stream` and `batches`. `facts` holds what is known so far."""

    __slots__ = (
        "_arrivals", "_broken", "_decoder", "_early", "_idle_timeout_s", "_lost", "_reply", "_wire", "end", "facts",
        "lease",
    )  # fmt: skip

    _reply: HttpReply
    _arrivals: AsyncIterator[Sequence[Chunk]]
    _decoder: StreamDecoder

    def __init__(self, wire: Wire, facts: AttemptFacts, lease: Lease) -> None:
        self._wire, self.facts, self.lease = wire, facts, lease
        self._early: list[Delta] = []
        self._broken: UpstreamError | None = None
        self._lost: tuple[str, ...] = ()  # what the dialect could not say
        self._idle_timeout_s: float | None = None  # None: gaps are not watched
        self.end: StreamEnd | None = None

    async def send(self, request: ChatRequest, transport: Transport, *, draw_key: str, deadline_s: float) -> None:
        """Returns when a status below 400 has come, with the body still under way."""
        call = structs.replace(self._wire.encode(request, self.facts.offer), draw_key=draw_key)
        self._lost = call.notes
        reply = self._reply = await transport.send(call, deadline_s=deadline_s)
        self._arrivals = reply.chunks()
        facts = self.facts
        facts.t_headers_s, facts.http_status, facts.provenance = reply.t_headers_s, reply.status, reply.provenance
        if reply.status >= 400:
            try:
                body = await self._body()
            finally:
                await reply.aclose()
            raise self._wire.error(reply.status, reply.headers, body)

    async def completion(self) -> Completion:
        """The whole answer of a call that was not streamed."""
        body = await self._body()
        completion = self._wire.decode(self._reply.status, self._reply.headers, body)
        self.facts.usage, self.facts.notes = completion.usage, self._lost + completion.notes
        return completion

    async def open_stream(self, *, idle_timeout_s: float) -> None:
        """Reads up to the first output, or to the end of an answer that has none; gaps are watched from there on."""
        self._decoder = self._wire.stream()
        while self.facts.t_first_token_s is None:
            deltas = await self._next()
            if deltas is None:
                return
            self._early += deltas
        # What stood in the same batch behind the first output may have broken; it is told after that output.
        self._idle_timeout_s = None if self._reply.batch_rest() else idle_timeout_s

    async def batches(self) -> AsyncIterator[list[Delta]]:
        """The deltas, one list a wake-up. Raises after the last good one when the stream breaks."""
        if self._early:
            yield self._early
        while (deltas := await self._next()) is not None:
            if deltas:
                yield deltas

    async def aclose(self) -> None:
        """Gives the connection back; call in every case once `send` has returned without raising."""
        await self._reply.aclose()

    def settle(self) -> None:
        """Prices what the provider counted. A failure without usage costs nothing as far as anyone can know."""
        facts = self.facts
        failed_unpriced = facts.usage is None and facts.outcome != "ok"
        facts.cost_pico_usd = 0 if failed_unpriced else cost_pico_usd(facts.usage, facts.offer.rates)

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        async for arrived in self._arrivals:
            parts += [chunk.data for chunk in arrived]
            self.facts.t_end_s = arrived[-1].t_s
        self.facts.chunks = len(parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> list[Delta] | None:
        """The deltas of the next wake-up; None once the stream has ended well; raises once it has broken."""
        if self._broken is not None:
            raise self._broken
        if self.end is not None:
            return None
        if self._idle_timeout_s is None:
            arrived = await anext(self._arrivals, None)
        else:
            arrived = await self._watched(self._idle_timeout_s)
        if arrived is None:
            self._finish()
            return None
        return self._decode(arrived)

    async def _watched(self, idle_timeout_s: float) -> Sequence[Chunk] | None:
        """The next chunks, if they come before the stream counts as dead."""
        try:
            async with asyncio.timeout(idle_timeout_s):
                return await anext(self._arrivals, None)
        except TimeoutError:
            raise UpstreamError(f"Nothing came for {idle_timeout_s:g} s.", outcome="timeout_idle") from None

    def _decode(self, arrived: Sequence[Chunk]) -> list[Delta]:
        feed, facts = self._decoder.feed, self.facts
        first_s, last_s = facts.t_first_token_s, facts.t_last_token_s
        deltas: list[Delta] = []
        for chunk in arrived:
            found = feed(chunk.data)
            for delta in found:
                if delta.content or delta.has_output:
                    last_s = chunk.t_s
                    if first_s is None:
                        first_s = last_s
            deltas += found
        facts.chunks += len(arrived)
        facts.t_first_token_s, facts.t_last_token_s, facts.t_end_s = first_s, last_s, arrived[-1].t_s
        if deltas and deltas[-1].error is not None:
            self._broken = deltas.pop().error
            self._note_end(self._decoder.finish())
            if not deltas or first_s is None:
                assert self._broken is not None
                raise self._broken
        return deltas

    def _finish(self) -> None:
        end = self._decoder.finish()
        self._note_end(end)
        if not end.complete:
            broken = "truncated" if self.facts.t_first_token_s is not None else "reset_early"
            raise UpstreamError("The stream ended before the answer did.", outcome=broken)
        self.end = end

    def _note_end(self, end: StreamEnd) -> None:
        self.facts.usage, self.facts.notes = end.usage, self._lost + end.notes
