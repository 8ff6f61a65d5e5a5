"""Ledgers in a file, written as a gateway writes them, with their price books beside: for audits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from clawbench.billing.attempt_bills import Biller
from clawbench.billing.audit import Worked
from clawbench.billing.audit_figures import Figures
from clawbench.billing.audited_ledger import audit_ledger, books_beside
from clawbench.billing.charge import terms
from clawbench.billing.evidence import Evidence
from clawbench.billing.ledger.chain import detail_text, digest
from clawbench.billing.ledger.protocol import Posting
from clawbench.billing.ledger.sqlite import SqliteLedger
from clawbench.billing.offer_prices import OfferPrices
from clawbench.billing.outcomes import Ending, Hold
from clawbench.gateway.holds import Holds, OpenHold
from clawbench.money import PICO
from clawbench.types import ChatRequest, Offer, Rates

NOON_S = 1_763_726_400
HOLD = PICO


def offer(provider: str, dialect: str = "openai_chat", model: str = "m") -> Offer:
    """At 2 USD a million tokens of input and 8 of output."""
    rates = Rates(input=2_000_000, output=8_000_000)
    url = f"https://{provider}.example/v1"
    return Offer(
        id=f"{provider}/{model}",
        provider=provider,
        model=model,
        upstream_model=model,
        base_url=url,
        dialect=dialect,
        rates=rates,
        context_window=128_000,
    )


OPENAI, OPENROUTER, ANTHROPIC = offer("openai"), offer("openrouter"), offer("anthropic", "anthropic")
OFFERS = (OPENAI, OPENROUTER, ANTHROPIC)


def chat_usage(prompt: int, completion: int, **more: Any) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return msgspec.json.encode({**counts, **more})


class Writing:
    """A ledger that is being written. Account "a" has a million UAT."""

    def __init__(self, path: Path, *, margin: str = "0.055", usd_per_uat: str = "1") -> None:
        self.path, self.now_us = path, NOON_S * 1_000_000
        self.ledger = SqliteLedger(path, now_us=lambda: self.now_us)
        self.biller = Biller(OfferPrices(OFFERS), terms(margin, usd_per_uat))
        self.holds = Holds(self.ledger, self.biller, epoch_s=NOON_S)
        book = self.biller.prices.book
        folder = books_beside(path)
        folder.mkdir(exist_ok=True)
        (folder / f"{book.id.removeprefix('sha256:')}.json").write_bytes(book.text)

    async def request(
        self,
        name: str,
        offer: Offer = OPENAI,
        *usage: bytes,
        ending: Ending | None = None,
        stream: bool = False,
        lost: Sequence[tuple[Offer, bytes]] = (),
        hold: int = HOLD,
    ) -> None:
        """One request from hold to ending; `lost` are attempts before the one that decides."""
        held = await self.ledger.hold("a", "key", name, "body", hold, self.now_us + 60_000_000)
        request = ChatRequest(model="m@price", messages=[])
        opened = OpenHold(self.holds, held.id, Hold(pico_uat=hold, input_tokens=10), request)
        for number, (each, text) in enumerate((*lost, (offer, b""))):
            texts = (text,) if text else usage
            opened.bills[number] = self.biller.bill(
                each,
                (ending if not text else None) or Ending(),
                Evidence(usage=texts, stream=stream),
                at_s=self.now_us / 1_000_000,
                model="m",
                hold=opened.held,
            )
        await opened.close(None)

    async def close(self) -> None:
        await self.ledger.close()


def written(path: Path, write: Callable[[Writing], Any], **agreed: str) -> Path:
    """A ledger's file with what `write` does in it."""

    async def main() -> None:
        made = Writing(path, **agreed)
        try:
            await made.ledger.top_up("a", "first", 1_000_000 * PICO)
            await write(made)
        finally:
            await made.close()

    asyncio.run(main())
    return path


async def plain(made: Writing) -> None:
    """Twelve charges at three providers, one of which states its own costs; a loser that billed is among them."""
    for number in range(4):
        made.now_us += 1_000_000
        prompt, completion = 50 + 10 * number, 100 - 5 * number
        usage = chat_usage(prompt, completion, cost=(prompt * 2 + completion * 8) / 1_000_000)
        await made.request(f"o{number}", OPENAI, chat_usage(100 + number, 20), lost=[(ANTHROPIC, anthropic(9, 9))])
        await made.request(f"r{number}", OPENROUTER, usage)
        await made.request(f"a{number}", ANTHROPIC, anthropic(10, 1), anthropic(10, 30 + number), stream=True)


def anthropic(prompt: int, completion: int) -> bytes:
    return msgspec.json.encode({"input_tokens": prompt, "output_tokens": completion})


def tampered(path: Path, change: Callable[[sqlite3.Connection], object], *, rehash: bool = False) -> None:
    """What somebody does to the file who knows SQLite; `rehash`: and our chain of hashes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        for (name,) in made.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            made.execute(f"DROP TRIGGER {name}")
        change(made)
        if rehash:
            _rehash(made)
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def rewritten(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The file with every detail as `change` gives it, written and hashed as a ledger would."""

    def write(made: sqlite3.Connection) -> None:
        for seq, text in made.execute("SELECT seq, detail FROM entry").fetchall():
            detail = detail_text(change(msgspec.json.decode(text))).decode()
            made.execute("UPDATE entry SET detail = ? WHERE seq = ?", (detail, seq))

    tampered(path, write, rehash=True)


def audited(path: Path, *told: Worked) -> Figures:
    return audit_ledger(path, now_us=NOON_S * 1_000_000, told=told)


def _rehash(made: sqlite3.Connection) -> None:
    prev = ""
    rows = made.execute("SELECT seq, kind, at_us, account, ref, detail FROM entry ORDER BY seq").fetchall()
    for seq, kind, at_us, account, ref, detail in rows:
        moves = made.execute("SELECT account, amount FROM posting WHERE seq = ? ORDER BY place", (seq,))
        prev = digest(prev, seq, kind, at_us, account, ref, [Posting(*move) for move in moves], detail.encode())
        made.execute("UPDATE entry SET hash = ? WHERE seq = ?", (bytes.fromhex(prev), seq))


async def many(made: Writing, requests: int, *, at_once: int = 256) -> None:
    """`requests` charges of which no two state the same counts."""
    for start in range(0, requests, at_once):
        made.now_us += 1_000
        numbers = range(start, min(start + at_once, requests))
        await asyncio.gather(*(made.request(f"r{number}", OPENAI, _counts(number)) for number in numbers))


def _counts(number: int) -> bytes:
    """No two alike below some ninety million, and none above what the offer can count."""
    details = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 3}}
    return chat_usage(100 + number % 100_003, 20 + number % 977, **details)
