"""A loaded gateway on a ledger file, to be killed: it says what its clients were told.

python -m tests.gateway.killed_gateway FOLDER RUN
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec

from clawbench.billing.attempt_bills import Biller
from clawbench.billing.charge import terms
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.offer_prices import OfferPrices
from clawbench.catalog.catalog import Catalog
from clawbench.clock import LoopClock
from clawbench.experiments.client import ask
from clawbench.gateway.holds import Holds
from clawbench.gateway.pipeline import Gateway
from clawbench.gateway.recorder import Recorder, RequestContext, RunContext
from clawbench.gateway.records import NullWriter
from clawbench.money import PICO
from clawbench.routing.router import Router
from clawbench.routing.settings import RoutingSettings
from clawbench.server.app import App
from clawbench.server.asgi import Event, Receive, Scope, Send
from clawbench.types import HttpCall
from clawbench.wires import wire_for
from tests.billing.ledger.kill_loop import Ack, Started
from tests.billing.ledger.ledgers import NOON_US
from tests.lab import Played, ScriptedTransport, chat, completion, error, offer, streamed

CLIENTS = 8
NEVER_S = 1e6
STOPS = "stops"
STOPPING_MAX = 200  # answers of a process that never come to their end
WORDS = ("Alpha", " beta", " gamma", " delta", " epsilon")
OFFERS = (offer("a", price=(2, 3), max_output_tokens=50), offer("b", price=(2, 3), max_output_tokens=50))
# An offer that rests does so in real seconds, in which nothing would happen that could be killed.
NO_RESTS = RoutingSettings(breaker_failure_share=1.0, breaker_streak=1_000_000)
PRICE = {"prompt_tokens": 2_000_000, "completion_tokens": 3_000_000}


def start_gateway(folder: Path) -> Callable[[int], Started]:
    """Starts `main` in a process of its own."""

    def start(run: int) -> Started:
        root = Path(__file__).parents[2]
        command = [sys.executable, "-m", "tests.gateway.killed_gateway", str(folder), str(run)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
        )
        assert process.stdout is not None
        return Started(process, (Ack(*json.loads(line)) for line in process.stdout))

    return start


def played(call: HttpCall) -> Played:
    """A provider that answers at once and fails now and then; where a client asks for it, its answer stops halfway."""
    chance, stops = random.Random(call.body), STOPS.encode() in call.body
    if chance.random() < 0.1:
        return error(500, "server_error")
    if not call.stream:
        return completion(at_s=NEVER_S if stops else 0.0)
    answer = streamed(*WORDS, first_s=0.0, every_s=0.0)
    if stops:
        place = chance.randrange(len(WORDS))
        answer.chunks = [(NEVER_S if at >= place else 0.0, data) for at, (_, data) in enumerate(answer.chunks)]
    return answer


def delivered(body: str) -> str:
    """The text in the frames of a stream so far."""
    frames = [json.loads(line[6:]) for line in body.split("\n\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])


async def drive(path: Path, run: int, told: Callable[[str, str, str], None]) -> None:
    """Clients without end; `told` is called with the charge of each whole answer that one of them has got.

    Now and then they also ask for answers that stop: of these `told` is called with the text at each piece.
    """
    ticks = count(NOON_US)
    ledger = SqliteLedger(path, now_us=lambda: next(ticks))
    await ledger.recover()
    await ledger.top_up("local", f"run {run}", 1_000 * PICO)
    told("start", "ready", "")
    clock = LoopClock()
    holds = Holds(ledger, Biller(OfferPrices(OFFERS), terms()), epoch_s=NOON_US / 1e6, waits=True)
    gateway = Gateway(
        router=Router(Catalog(OFFERS), default_strategy="round_robin", settings=NO_RESTS),
        wire_for=wire_for,
        transport=ScriptedTransport({each.id: played for each in OFFERS}, clock),
        clock=clock,
        recorder=Recorder(NullWriter(), RunContext()),
        holds=holds,
    )
    app = App(gateway, ids=lambda: "unused", epoch_s=NOON_US // 1_000_000)
    stopped = list[asyncio.Task[None]]()

    async def stopping(name: str, *, stream: bool) -> None:
        body = msgspec.json.encode(chat(stream=stream, text=name))
        text = ""

        async def reading(scope: Scope, receive: Receive, send: Send) -> None:
            async def read(event: Event) -> None:
                nonlocal text
                await send(event)
                if event["type"] == "http.response.body":
                    text += delivered(event["body"].decode())
                    told("delivered", f"local/{name}/1", text)

            await app(scope, receive, read)

        await ask(reading, body, RequestContext(request_id=name, draw_key=name))

    async def client(number: int) -> None:
        for call in count():
            name = f"{run}-{number}-{call}"
            body = chat(stream=call % 2 == 0, text=name, stream_options={"include_usage": True})
            answer = await ask(
                app, msgspec.json.encode(body), RequestContext(request_id=name, draw_key=name), keep=True
            )
            if answer.status == 200:
                text = answer.body.decode()
                found = json.loads(text if call % 2 else text.split("data: ")[-2])["usage"]
                charge = sum(found[key] * rate for key, rate in PRICE.items())
                told("settle", f"local/{name}/1", str(charge))
            else:
                await asyncio.sleep(0)  # a refusal comes without a wait: whoever asks on and on would starve the others
            if call % 3 == 0 and len(stopped) < STOPPING_MAX:
                name = f"{STOPS}-{run}-{number}-{call}"
                stopped.append(asyncio.create_task(stopping(name, stream=call % 2 == 0 or number > 0)))

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


def main() -> None:
    """The process that is killed."""

    def told(*ack: str) -> None:
        os.write(sys.stdout.fileno(), json.dumps(ack).encode() + b"\n")

    asyncio.run(drive(Path(sys.argv[1]) / "ledger.db", int(sys.argv[2]), told))


if __name__ == "__main__":
    main()
