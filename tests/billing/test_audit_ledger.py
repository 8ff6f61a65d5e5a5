"""Ledgers in a file audited: clean ones, what is open in them, and whatever somebody does to the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from clawbench.billing.audit import Auditor
from clawbench.billing.audit_books import PriceBooks
from clawbench.billing.audit_costs import CostSums
from clawbench.billing.audit_figures import Figures, plain
from clawbench.billing.audit_opinions import Opinions
from clawbench.billing.audited_ledger import UnreadableLedger, audit_ledger, books_beside, entries_in
from clawbench.billing.ledger.chain import hash_of
from clawbench.billing.ledger.reader import read_entries
from clawbench.billing.outcomes import Ending
from clawbench.errors import UpstreamError
from clawbench.money import PICO
from tests.billing import made_ledger
from tests.billing.made_ledger import (
    NOON_S,
    OPENAI,
    OPENROUTER,
    Writing,
    chat_usage,
    tampered,
    written,
)

NOW_US = (NOON_S + 4 * 86_400) * 1_000_000


def audited(path: Path, **more: Any) -> Figures:
    return audit_ledger(path, now_us=NOW_US, **more)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return written(tmp_path / "ledger.db", made_ledger.plain)


def test_a_clean_ledger_is_proved(clean: Path) -> None:
    told: list[int] = []
    figures = audited(clean, progress=told.append)
    assert figures.clean
    assert figures.line() == "billing: 12 of 12 exact"
    assert sum(told) == figures.entries == entries_in(clean) == 41
    assert figures.provider_stated == {"equal": 4}
    assert {group.provider: group.exact for group in figures.groups} == {"openai": 4, "openrouter": 4, "anthropic": 4}
    sums = figures.conservation
    assert sums.topped_up == 1_000_000 * PICO == sums.available + sums.held + sums.shortfall + sums.charged
    assert json.loads(json.dumps(plain(figures)))["conservation"]["topped_up"] == str(1_000_000 * PICO)


@pytest.mark.parametrize("agreed", [{"margin": "0.33"}, {"usd_per_uat": "0.0007"}, {"usd_per_uat": "3"}])
def test_margin_and_rate_are_part_of_the_proof(agreed: dict[str, str], tmp_path: Path) -> None:
    assert audited(written(tmp_path / "ledger.db", made_ledger.plain, **agreed)).clean


def test_an_empty_ledger_has_nothing_to_prove(tmp_path: Path) -> None:
    async def nothing(made: Writing) -> None: ...

    assert audited(written(tmp_path / "ledger.db", nothing)).line() == "billing: 0 of 0 exact"


async def odd(made: Writing) -> None:
    """One of everything that is no plain charge."""
    cut = Ending(complete=False, delivered_tokens=7)
    await made.request("estimate", OPENAI, ending=cut, stream=True)
    await made.request("quarantine", OPENAI, chat_usage(-1, 5))
    await made.request("release", OPENAI, ending=failed("upstream_5xx", 500))
    await made.request("risk", OPENAI, ending=failed("timeout_total", None))
    await made.request("flag", OPENAI, chat_usage(1000, 1000), hold=1_000_000)
    await made.ledger.hold("a", "key", "open", "body", 5, made.now_us + 1)


def failed(outcome: str, status: int | None) -> Ending:
    return Ending(status=status, error=UpstreamError("no", outcome=outcome, status=status), has_content=False)


def test_what_is_no_plain_charge_is_counted_beside_and_listed_with_its_age(tmp_path: Path) -> None:
    figures = audited(written(tmp_path / "ledger.db", odd))
    assert figures.clean, figures.violations
    assert (figures.charges, figures.exact, figures.estimated) == (1, 0, 1)
    assert (figures.quarantined, figures.released) == (2, 2)
    assert figures.line() == "billing: 0 of 0 exact, 2 quarantined, 1 estimated"
    assert figures.open_found == {"open": 1, "quarantined": 2, "risk": 1}
    assert {item.age_s for item in figures.open_items} == {4 * 86_400.0}
    assert figures.findings == {"a hold is quarantined for more than 3 days": 2}


def test_a_shortfall_is_listed_with_the_time_since_when_it_is_owed(tmp_path: Path) -> None:
    async def short(made: Writing) -> None:
        # All that the account has is held, and the charge is more than that.
        await made.request("short", OPENAI, chat_usage(2000, 6000), hold=40_000_000_000)
        spare = (await made.ledger.balance("a")).available
        await made.ledger.hold("a", "key", "rest", "body", spare - 20_000_000_000, made.now_us + 10**12)
        await made.request("owed", OPENAI, chat_usage(2000, 6000), hold=20_000_000_000)

    figures = audited(written(tmp_path / "ledger.db", short, margin="0"))
    assert figures.clean, figures.violations
    (item,) = [item for item in figures.open_items if item.kind == "shortfall"]
    assert (item.of, item.amount, item.age_s) == ("a", -32_000_000_000, 4 * 86_400.0)


Change = Callable[[sqlite3.Connection], object]


def entry_detail(kind: str, alter: Callable[[dict[str, Any]], object]) -> Change:
    """Another detail of the first entry of a kind."""

    def change(made: sqlite3.Connection) -> None:
        seq, text = made.execute("SELECT seq, detail FROM entry WHERE kind = ? ORDER BY seq", (kind,)).fetchone()
        detail = json.loads(text)
        alter(detail)
        said = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        made.execute("UPDATE entry SET detail = ? WHERE seq = ?", (said, seq))

    return change


def without(kind: str, *, of: str = "min") -> Change:
    """The first or last entry of a kind is gone, with all that is kept of it."""

    def change(made: sqlite3.Connection) -> None:
        (seq,) = made.execute(f"SELECT {of}(seq) FROM entry WHERE kind = ?", (kind,)).fetchone()
        for table in ("entry", "posting", "evidence"):
            made.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))

    return change


def reordered(made: sqlite3.Connection) -> None:
    """Two holds change their places."""
    for before, after in ((5, 1000), (2, 5), (1000, 2)):
        for table in ("entry", "posting"):
            made.execute(f"UPDATE {table} SET seq = ? WHERE seq = ?", (after, before))


def execute(statement: str) -> Change:
    return lambda made: made.execute(statement)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (execute("UPDATE posting SET amount = amount + 1 WHERE seq = 3 AND place = 0"), "its postings sum to 1"),
        (entry_detail("settle", lambda detail: detail.update(amount="1")), "its hash is not that of what it says"),
        (without("cost"), "the log has a gap"),
        (without("topup"), "the log has a gap"),
        (reordered, "its hash is not that of what it says"),
        (execute("UPDATE entry SET at_us = 5 WHERE seq = 9"), "is earlier than the entry before it"),
        (execute("UPDATE entry SET hash = zeroblob(32) WHERE seq = 9"), "entry 9: its hash is not that"),
    ],
)
def test_a_change_breaks_the_chain_or_a_sum_at_the_entry_that_is_named(clean: Path, change: Change, said: str) -> None:
    tampered(clean, change)
    figures = audited(clean)
    assert not figures.clean
    assert [each for each in figures.violations if said in f"{each.where}: {each.what}"], figures.violations


def other_usage(made: sqlite3.Connection) -> None:
    """Other raw usage, in the derivation and beside the entry, with the hashes of both made to fit."""
    (seq,) = made.execute("SELECT min(seq) FROM evidence").fetchone()
    text = made.execute("SELECT usage FROM evidence WHERE seq = ?", (seq,)).fetchone()[0].replace(b"20", b"21")
    made.execute("UPDATE evidence SET usage = ? WHERE seq = ?", (text, seq))

    def alter(detail: dict[str, Any]) -> None:
        detail["evidence"] = [sha256(text).hexdigest()]
        detail["derivation"]["usage_raw"] = [text.decode()]
        detail["derivation"]["usage_sha256"] = sha256(text).hexdigest()

    entry_detail("settle", alter)(made)


@pytest.mark.parametrize(
    ("change", "cause", "said"),
    [
        (execute("UPDATE evidence SET usage = x'7b7d' WHERE seq = 3"), "usage", "kept beside the entry are not those"),
        (execute("DELETE FROM evidence WHERE seq = 3"), "usage", "kept beside the entry are not those"),
        (execute("INSERT INTO evidence VALUES (2, 0, x'7b7d')"), "usage", "kept for a hold, which has none"),
        (other_usage, "buckets", "buckets is stated as"),
        (entry_detail("settle", lambda d: d["derivation"].update(cost_usd="7")), "cost", "cost_usd is stated as 7"),
        (entry_detail("settle", lambda d: d["derivation"].pop("bound")), "unreadable", "it has no 'bound'"),
        (without("cost", of="max"), "cost_entry", "is booked behind this charge"),
    ],
)
def test_a_change_is_found_though_the_chain_was_made_to_fit(clean: Path, change: Change, cause: str, said: str) -> None:
    def and_renumber(made: sqlite3.Connection) -> None:
        change(made)
        seqs = [seq for (seq,) in made.execute("SELECT seq FROM entry ORDER BY seq").fetchall()]
        for place, seq in enumerate(seqs, 1):
            if place != seq:
                for table in ("entry", "posting", "evidence"):
                    made.execute(f"UPDATE {table} SET seq = ? WHERE seq = ?", (place, seq))

    tampered(clean, and_renumber, rehash=True)
    figures = audited(clean)
    assert not figures.clean
    assert [each for each in figures.violations if each.cause == cause and said in each.what], figures.violations
    assert not [each for each in figures.violations if each.cause == "log"], figures.violations


ODD: tuple[Any, ...] = (None, "", "x", -1, 1.5, True, 10**18, [], ["x"], {}, {"a": 1}, "1/0", "NaN", "1e999", "\x00")


def test_no_value_of_any_member_is_more_than_a_violation(clean: Path) -> None:
    """Whatever stands in a detail, under a chain that fits it: the audit goes on to the end."""
    log = list(read_entries(clean))
    books = PriceBooks(books_beside(clean))

    def audited_with(place: int, detail: dict[str, Any]) -> Figures:
        auditor, prev = Auditor(books, told=[CostSums(), Opinions(Twice())]), ""
        for number, entry in enumerate(log):
            changed = structs.replace(entry, prev_hash=prev, detail=detail if number == place else entry.detail)
            prev = hash_of(changed)
            auditor.add(structs.replace(changed, hash=prev))
        return auditor.result()

    audits = 0
    for kind in ("settle", "cost", "hold", "topup"):
        place = next(number for number, entry in enumerate(log) if entry.kind == kind)
        detail = dict(log[place].detail)
        inner = detail.get("derivation", {})
        for value in ODD:
            changes = [{**detail, name: value} for name in detail]
            changes += [{**detail, "derivation": {**inner, name: value}} for name in inner]
            for changed in changes:
                assert audited_with(place, changed).entries == len(log)
                audits += 1
    assert audits > 600
    assert not audited_with(place, {"amount": "1"}).clean


def test_a_price_book_that_is_gone_or_changed_is_named(clean: Path) -> None:
    (book,) = books_beside(clean).iterdir()
    text = book.read_bytes()
    book.write_bytes(text.replace(b"8000000", b"8000001"))
    figures = audited(clean)
    assert figures.differing == {"book_changed": 12}
    assert book.stem in figures.violations[0].what
    book.unlink()
    assert audited(clean).differing == {"book_missing": 12}


def stating(*costs: float) -> Callable[[Writing], Any]:
    """Charges of which the provider states these multiples of our reckoning."""

    async def write(made: Writing) -> None:
        for number, factor in enumerate(costs):
            prompt, completion = 1000 + 10 * number, 100 + number
            cost = (prompt * 2 + completion * 8) / 1_000_000 * factor
            await made.request(f"r{number}", OPENROUTER, chat_usage(prompt, completion, cost=round(cost, 12)))

    return write


def test_one_ratio_over_a_row_and_period_is_a_promotion(tmp_path: Path) -> None:
    figures = audited(written(tmp_path / "ledger.db", stating(1, 0.9, 0.9)))
    assert figures.clean
    assert figures.provider_stated == {"equal": 1, "promotion": 2}
    assert figures.line() == "billing: 3 of 3 exact"


def test_another_figure_of_the_provider_is_unexplained_and_given_as_a_row(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    figures = audited(written(tmp_path / "ledger.db", stating(1, 0.9, 0.7)), differs=rows.append)
    assert not figures.clean
    assert figures.provider_stated == {"equal": 1, "unexplained": 2}
    assert (figures.exact, figures.unexplained) == (1, 2)
    assert [row["request_id"] for row in rows] == ["r1", "r2"]
    assert all(row["cause"] == "provider_stated" and "recomputed" in row["what"] for row in rows)


def test_a_normaliser_whose_version_has_gone_on_is_a_finding_and_the_arithmetic_is_proved(clean: Path) -> None:
    def older(made: sqlite3.Connection) -> None:
        """Cites a version that is not kept any more, and counted five tokens otherwise than today's."""
        (seq,) = made.execute("SELECT min(seq) FROM entry WHERE kind = 'settle'").fetchone()
        detail = json.loads(made.execute("SELECT detail FROM entry WHERE seq = ?", (seq,)).fetchone()[0])
        assert detail["derivation"]["normaliser"] == "openai.chat/1"
        entry_detail("settle", lambda each: each["derivation"].update(normaliser="openai.chat/0"))(made)

    tampered(clean, older, rehash=True)
    figures = audited(clean)
    assert figures.clean
    assert figures.findings == {"openai.chat/0 was worked with openai.chat/1": 1}


def test_older_counts_stand_and_what_follows_from_them_is_worked(clean: Path) -> None:
    def older(made: sqlite3.Connection) -> None:
        entry_detail(
            "settle",
            lambda each: each["derivation"].update(
                normaliser="openai.chat/0", buckets={"uncached_input": 96, "output_text": 21}
            ),
        )(made)

    tampered(clean, older, rehash=True)
    figures = audited(clean)
    assert figures.clean, figures.violations
    assert figures.findings["openai.chat/1 counts otherwise than openai.chat/0"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no ledger, or its head is damaged"),
        (b"not a database, but long enough to be read", "is no ledger, or its head is damaged"),
        (b"SQLite format 3\x00" + bytes(5000), "damaged"),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(UnreadableLedger, match=said):
        audited(path)


def test_a_damaged_page_is_named_with_how_far_the_log_could_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "ledger.db", lambda made: made_ledger.many(made, 200))
    page = 4096
    content = bytearray(path.read_bytes())
    middle = len(content) // page // 2 * page
    content[middle : middle + page] = b"\xff" * page
    path.write_bytes(content)
    with pytest.raises(UnreadableLedger, match=r"The first [\d,]+ entries were read and are"):
        audited(path)


@pytest.mark.parametrize("change", [None, execute("UPDATE posting SET amount = 5 WHERE seq = 9 AND place = 0")])
def test_a_long_log_is_proved_in_a_process_of_its_own_with_the_same_outcome(clean: Path, change: Change | None) -> None:
    if change is not None:
        tampered(clean, change)
    assert plain(audited(clean, apart=True)) == plain(audited(clean))


def test_a_damaged_file_is_named_from_there_too(tmp_path: Path) -> None:
    path = written(tmp_path / "ledger.db", lambda made: made_ledger.many(made, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = []
    for apart in (True, False):
        with pytest.raises(UnreadableLedger, match="entries were read") as refused:
            audited(path, apart=apart)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_reading_goes_on_beside_the_process_that_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    found: list[str] = []

    async def write(made: Writing) -> None:
        await made_ledger.plain(made)
        found.append(audited(path).line())

    written(path, write)
    assert found == ["billing: 12 of 12 exact"]


class Twice:
    """Somebody who takes all calls for twice as dear, and knows one provider only."""

    name = "twice"

    def opinion(
        self, provider: str, model: str, usage_raw: bytes, *, dialect: str, service_tier: str | None = None
    ) -> Any:
        if provider != "openai":
            return None
        usage = json.loads(usage_raw)
        return Decimal(usage["prompt_tokens"] * 4 + usage["completion_tokens"] * 16) / 10**6


def test_second_opinions_are_counted_and_prove_nothing(clean: Path) -> None:
    figures = audited(clean, told=[Opinions(Twice())])
    assert figures.clean
    assert figures.opinions == {"twice": {"agrees": 0, "differs": 4, "no_opinion": 8}}
    assert [what for what in figures.findings if "twice makes another cost of openai/m" in what]
