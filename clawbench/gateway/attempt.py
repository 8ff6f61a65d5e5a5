"""One upstream call: encode, send, decode; facts noted as they come. Knows nothing of routing or fallback.

Until the first output has been seen (the commit point) a failure can be mended by another offer; `open_stream`
returns there. Every method raises `UpstreamError` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import structs

from clawbench.billing.attempt_bills import AttemptBill
from clawbench.billing.evidence import Evidence, StreamEvidence, of_body, of_counts
from clawbench.billing.outcomes import Ending
from clawbench.errors import UpstreamError
from clawbench.gateway.recorder import AttemptFacts
from clawbench.routing.router import Lease
from clawbench.transports.burst import Burst
from clawbench.transports.protocol import Transport
from clawbench.types import ChatRequest, Chunk, Completion, Delta, HttpReply, StreamEnd, TextRun, Usage
from clawbench.wires.gemini_reply import PROMPT_BLOCKED
from clawbench.wires.protocol import StreamDecoder, Wire


class Attempt:
    """Call `send`, then `completion`, or `open_stream` and `batch` until None. `facts` holds what is known so far."""

    __slots__ = (
        "_arrivals", "_broken", "_completion", "_decoder", "_delivered", "_early", "_evidence", "_gathered",
        "_idle_timeout_s", "_lost", "_read_texts", "_reply", "_wire", "end", "facts", "failure", "lease",
    )  # fmt: skip

    _reply: HttpReply
    _arrivals: AsyncIterator[Sequence[Chunk]]
    _decoder: StreamDecoder
    _read_texts: Callable[[bytes], tuple[list[str], int]] | None  # see `wires.protocol.TextDecoder`

    def __init__(self, wire: Wire, facts: AttemptFacts, lease: Lease) -> None:
        self._wire, self.facts, self.lease = wire, facts, lease
        self._early: list[Delta | TextRun] = []
        self._broken: UpstreamError | None = None
        self._lost: tuple[str, ...] = ()  # what the dialect could not say
        self._idle_timeout_s: float | None = None  # None: gaps are not watched
        self.end: StreamEnd | None = None
        self.failure: UpstreamError | None = None  # why there is no whole answer; None while and where there is one
        self._completion: Completion | None = None
        self._evidence: Evidence | None = None
        self._gathered: StreamEvidence | None = None
        self._delivered: list[str] = []  # the pieces of a stream's output

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
        self._evidence = of_body(self._wire.name, body, self._reply.headers)
        completion = self._completion = self._wire.decode(self._reply.status, self._reply.headers, body)
        self.facts.usage, self.facts.notes = completion.usage, self._lost + completion.notes
        return completion

    async def open_stream(self, *, idle_timeout_s: float) -> None:
        """Reads up to the first output, or to the end of an answer that has none; gaps are watched from there on."""
        self._decoder = self._wire.stream()
        self._read_texts = getattr(self._decoder, "texts", None)
        self._gathered = StreamEvidence(self._wire.name)
        while self.facts.t_first_token_s is None:
            deltas = await self._next()
            if deltas is None:
                return
            self._early += deltas
        # What stood in the same batch behind the first output may have broken; it is told after that output.
        self._idle_timeout_s = None if self._reply.batch_rest() else idle_timeout_s

    async def batch(self) -> list[Delta | TextRun] | None:
        """The next deltas, those of one wake-up; None at the end. Raises behind the last good ones of what breaks."""
        if self._early:
            deltas, self._early = self._early, []
            return deltas
        while (found := await self._next()) is not None:
            if found:
                return found
        return None

    async def aclose(self) -> None:
        """Gives the connection back; call in every case once `send` has returned without raising."""
        await self._reply.aclose()

    @property
    def model_served(self) -> str | None:
        """The model that the provider says it served; None where it does not say."""
        said = self._completion or self.end
        return said.model if said is not None else None

    def evidence(self) -> Evidence:
        """What of the reply's bytes the bill rests on; call once the attempt is over."""
        if self._evidence is None:
            self._evidence = self._gathered.evidence() if self._gathered is not None else Evidence()
            self._gathered = None
        if self._wire.name.startswith("litellm:"):
            # Its providers' own counts are translated by litellm, each from another form: what it made of them counts.
            return of_counts(self.facts.usage, stream=self._evidence.stream)
        return self._evidence

    def evidence_so_far(self) -> Evidence:
        """The same for a stream that is under way."""
        if self._gathered is None or self._wire.name.startswith("litellm:"):
            return of_counts(self.facts.usage, stream=True)
        return self._gathered.so_far()

    def ending(self) -> Ending:
        """How the attempt ended, for its bill."""
        facts, end = self.facts, self.end
        notes = end.notes if end is not None else self._completion.notes if self._completion is not None else ()
        return Ending(
            status=facts.http_status,
            error=self.failure,
            has_content=self._completion is not None or facts.t_first_token_s is not None,
            complete=self.failure is None,
            blocked=any(note.startswith(PROMPT_BLOCKED) for note in notes),
        )

    def delivered(self) -> list[str]:
        """The pieces of text, reasoning and tool arguments that came, for an estimate."""
        if self._completion is None:
            return self._delivered
        pieces = [
            piece
            for choice in self._completion.choices
            for piece in (choice.content, choice.reasoning, choice.refusal)
            if piece
        ]
        return pieces + [
            call.name + call.arguments for choice in self._completion.choices for call in choice.tool_calls
        ]

    def note_bill(self, billed: AttemptBill) -> None:
        """What the bill says goes into the records: cost, and counts where the provider's are missing or unusable."""
        facts, bill = self.facts, billed.bill
        if bill.cost_pico_usd is None:
            facts.cost_pico_usd = None
        else:
            cost, scale = bill.cost_pico_usd.as_integer_ratio()
            facts.cost_pico_usd = -(-cost // scale)  # rounded up
        if billed.counted.refused and facts.usage is not None:
            facts.notes = (*facts.notes, *(f"bad_usage: {reason}" for reason in billed.counted.refused))
            facts.usage = None
        if bill.outcome == "quarantine":
            facts.notes = (*facts.notes, *(f"quarantined: {reason}" for reason in bill.reasons))
        if billed.estimator is not None:
            facts.usage_source = "tokenizer" if billed.estimator.startswith("tiktoken") else "estimate"
            facts.usage = Usage(
                input_tokens=billed.counted.buckets.input_tokens or billed.hold.input_tokens,
                output_tokens=billed.ending.delivered_tokens,
                estimated=True,
            )
        elif facts.usage is not None:
            facts.usage_source = "provider"

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        async for arrived in self._arrivals:
            parts += [chunk.data for chunk in arrived]
            self.facts.t_end_s = arrived[-1].t_s
        self.facts.chunks = len(parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> list[Delta | TextRun] | None:
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

    def _decode(self, arrived: Sequence[Chunk]) -> list[Delta | TextRun]:
        feed, facts, gathered, delivered = self._decoder.feed, self.facts, self._gathered, self._delivered
        assert gathered is not None
        facts.chunks, facts.t_end_s = facts.chunks + len(arrived), arrived[-1].t_s
        first_s, last_s = facts.t_first_token_s, facts.t_last_token_s
        deltas: list[Delta | TextRun] = []
        if isinstance(arrived, Burst) and self._read_texts is not None and first_s is not None:
            pieces, length = self._read_texts(arrived.data)
            if pieces:  # which say nothing that is billed
                deltas.append(TextRun(pieces))
                delivered += pieces
                last_s = arrived.come_s(length)
            arrived = arrived.after(length)
        error = None
        for chunk in arrived:
            for delta in feed(chunk.data):
                deltas.append(delta)
                if delta.content:
                    delivered.append(delta.content)
                elif delta.has_output:
                    _note_output(delta, delivered)
                else:
                    error = delta.error
                    continue
                last_s = chunk.t_s
                if first_s is None:
                    first_s = last_s
        gathered.feed_all([chunk.data for chunk in arrived])
        facts.t_first_token_s, facts.t_last_token_s = first_s, last_s
        if error is not None:  # nothing follows an error
            deltas.pop()
            self._broken = error
            self._note_end(self._decoder.finish())
            if not deltas or first_s is None:
                raise error
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


def _note_output(delta: Delta, delivered: list[str]) -> None:
    """Adds what a piece without text has put out."""
    for piece in (delta.reasoning, delta.refusal):
        if piece:
            delivered.append(piece)
    for call in delta.tool_calls:
        delivered.append((call.name or "") + call.arguments)
