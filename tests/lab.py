"""A small world for tests of the gateway: offers, scripted providers, virtual time. Everything through public seams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import polars as pl

from clawbench.billing.attempt_bills import Biller
from clawbench.billing.charge import terms
from clawbench.billing.ledger.memory import MemoryLedger
from clawbench.billing.offer_prices import OfferPrices
from clawbench.catalog.catalog import Catalog
from clawbench.clock import Clock, LoopClock, run_virtual
from clawbench.errors import UpstreamError
from clawbench.experiments.client import Answer, ask
from clawbench.gateway.holds import Holds
from clawbench.gateway.limits import Limits
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import Recorder, RequestContext, RunContext
from clawbench.gateway.records import MemoryWriter
from clawbench.money import PICO
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.server.app import App
from clawbench.transports.protocol import Transport
from clawbench.types import Chunk, Headers, HttpCall, LatencyProfile, Offer, Provenance, Rates
from clawbench.wires import wire_for

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


def offer(
    name: str,
    *,
    model: str = "m",
    price: tuple[int, int] | None = (1, 1),
    ttft_s: float = 1.0,
    rate: float = 50.0,
    upstream: str | None = None,
    **more: Any,
) -> Offer:
    """An offer; `price` in whole USD per million tokens (input, output), `upstream` its provider's name of it."""
    return Offer(
        id=f"{name}/{model}",
        provider=name,
        model=model,
        upstream_model=upstream or model,
        base_url=f"https://{name}.example/v1",
        rates=Rates(input=price[0] * 1_000_000, output=price[1] * 1_000_000) if price else None,
        profile=LatencyProfile(
            ttft_s_median=ttft_s, ttft_s_sigma=0.1, token_rate_median=rate, token_rate_sigma=0.1, source="test"
        ),
        **more,
    )


class Played:
    """What a scripted provider sends: chunks as (seconds after dispatch, bytes); `dies` ends it with that outcome."""

    def __init__(
        self,
        chunks: Sequence[tuple[float, bytes]],
        *,
        status: int = 200,
        headers: Headers = JSON,
        dies: str | None = None,
    ) -> None:
        self.chunks, self.status, self.headers, self.dies = chunks, status, headers, dies


class ScriptedReply:
    """A `Played` on its way."""

    provenance = Provenance()

    def __init__(self, played: Played, clock: Clock) -> None:
        self._played, self._clock, self._sent_s = played, clock, clock.now()
        self.status, self.headers, self.closed = played.status, played.headers, False
        self.t_headers_s = 0.0

    async def headers_come(self) -> None:
        if self._played.chunks:
            await self._clock.sleep_until(self._sent_s + self._played.chunks[0][0])
        self.t_headers_s = self._clock.now()

    async def chunks(self) -> AsyncIterator[Sequence[Chunk]]:
        for after_s, data in self._played.chunks:
            await self._clock.sleep_until(self._sent_s + after_s)
            yield (Chunk(data, self._clock.now()),)
        if self._played.dies:
            raise UpstreamError("scripted", outcome=self._played.dies)

    def batch_rest(self) -> bool:
        return False

    async def aclose(self) -> None:
        self.closed = True


class ScriptedTransport:
    """Answers each offer by its script: a `Played` or an `UpstreamError`, or a function that gives one."""

    def __init__(self, scripts: dict[str, Any], clock: Clock) -> None:
        self._scripts, self._clock = scripts, clock
        self.calls: list[HttpCall] = []
        self.replies: list[ScriptedReply] = []

    async def send(self, call: HttpCall, *, deadline_s: float) -> ScriptedReply:
        self.calls.append(call)
        script = self._scripts[call.offer_id]
        if callable(script):
            script = script(call)
        if isinstance(script, UpstreamError):
            raise script
        reply = ScriptedReply(script, self._clock)
        self.replies.append(reply)
        await reply.headers_come()
        return reply

    async def aclose(self) -> None: ...


EPOCH_S = 1_700_000_000
CREDIT_PICO_UAT = 1_000 * PICO


def billed(
    offers: Sequence[Offer], clock: Clock, default_output_max: int | None = None, *, waits: bool = False
) -> tuple[MemoryLedger, Holds]:
    """A ledger in which the account "local" has 1,000 UAT, and holds in it, billed by the offers' prices."""
    ledger = MemoryLedger(lambda: int((EPOCH_S + clock.now()) * 1_000_000))
    ledger.books.top_up("local", "credit", CREDIT_PICO_UAT)
    return ledger, Holds(
        ledger,
        Biller(OfferPrices(offers), terms()),
        epoch_s=EPOCH_S,
        waits=waits,
        default_output_max=default_output_max,
    )


class Lab:
    """One gateway in a virtual loop, with what it recorded."""

    def __init__(
        self,
        offers: Sequence[Offer],
        scripts: dict[str, Any],
        *,
        strategy: str = "round_robin",
        limits: Limits | None = None,
        default_output_max: int | None = None,
        settings: RoutingSettings | None = None,
        in_front: Callable[[Transport, Clock], Transport] = lambda transport, clock: transport,
        durable: bool = False,
    ) -> None:
        self.clock = LoopClock()
        self.transport = ScriptedTransport(scripts, self.clock)
        self.writer = MemoryWriter()
        self.router = Router(Catalog(offers), default_strategy=strategy, settings=settings)
        self.ledger, self.holds = billed(offers, self.clock, default_output_max, waits=durable)
        gateway = Gateway(
            router=self.router,
            wire_for=wire_for,
            transport=in_front(self.transport, self.clock),
            clock=self.clock,
            recorder=Recorder(self.writer, RunContext(strategy=strategy)),
            holds=self.holds,
            limits=limits,
        )
        self.app = App(gateway, ids=lambda: "live-1", epoch_s=EPOCH_S)
        self._sent = 0

    async def ask(self, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> Answer:
        """One chat request; its status, headers and body."""
        self._sent += 1
        name = str(self._sent)
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await ask(
            self.app, raw, RequestContext(request_id=f"r{name}", draw_key=name), keep=True, headers=headers
        )

    def frame(self, table: str) -> pl.DataFrame:
        return self.writer.frame(table)


def in_lab(
    offers: Sequence[Offer],
    scripts: dict[str, Any],
    *bodies: dict[str, Any] | bytes,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> tuple[list[Answer], Lab]:
    """Asks `bodies` one after another in a fresh lab, in virtual time; the answers and the lab."""

    async def main() -> tuple[list[Answer], Lab]:
        lab = Lab(offers, scripts, **options)
        return [await lab.ask(body, headers) for body in bodies], lab

    return run_virtual(main)


def chat(model: str = "m", *, stream: bool = False, text: str = "Say hello.", **more: Any) -> dict[str, Any]:
    """A chat request as a client writes it."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def completion(
    text: str = "Hello.", *, at_s: float = 1.0, usage: dict[str, Any] | None = None, served: str = "m"
) -> Played:
    """A provider's whole answer after `at_s` seconds; `usage` {}: without one."""
    body = {
        "id": "up-1",
        "object": "chat.completion",
        "created": 1,
        "model": served,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15} if usage is None else usage,
    }
    if not body["usage"]:
        del body["usage"]
    return Played([(at_s, msgspec.json.encode(body))])


def frames(*texts: str, done: bool = True, finish: bool = True, usage: bool = True) -> list[bytes]:
    """A provider's stream: one frame a text, then finish reason, usage and end marker."""
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    found = [{**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in texts]
    if finish:
        found.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        counts = {"prompt_tokens": 10, "completion_tokens": len(texts), "total_tokens": 10 + len(texts)}
        found += [{**head, "choices": [], "usage": counts}] if usage else []
    data = [b"data: " + msgspec.json.encode(frame) + b"\n\n" for frame in found]
    return [*data, b"data: [DONE]\n\n"] if done else data


def streamed(*texts: str, first_s: float = 1.0, every_s: float = 0.1, **how: Any) -> Played:
    """A provider's stream, its first frame after `first_s`, the others `every_s` apart."""
    dies = how.pop("dies", None)
    parts = frames(*texts, **how)
    return Played([(first_s + every_s * number, part) for number, part in enumerate(parts)], headers=SSE, dies=dies)


def error(status: int, code: str, message: str = "no", **headers: str) -> Played:
    """A provider's error after 0.2 s."""
    body = msgspec.json.encode({"error": {"message": message, "type": code, "code": code}})
    return Played(
        [(0.2, body)], status=status, headers={**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def events(answer: Answer) -> list[Any]:
    """The JSON objects of a stream's frames, without the end marker."""
    lines = answer.body.decode().split("\n\n")
    return [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: {")]


Script = Callable[[HttpCall], Played]
