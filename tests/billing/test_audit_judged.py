"""What an operator decided of holds in quarantine, as an audit sees it."""

from __future__ import annotations

from pathlib import Path

from clawbench.billing.audited_ledger import audit_ledger
from clawbench.billing.ledger.protocol import Charge
from clawbench.billing.ledger.quarantines import judged, risk_of
from tests.billing.made_ledger import HOLD, NOON_S, OPENAI, Writing, chat_usage, written


async def judging(made: Writing) -> None:
    """One hold that an operator charged for within it, one given back, and charges that only claim to be judged."""
    for name in ("charged", "returned", "above", "never"):
        await made.request(name, OPENAI, *([chat_usage(-1, 5)] if name != "never" else [chat_usage(1, 5)]))
    for name, amount in (("charged", HOLD // 2), ("above", HOLD + 1)):
        await made.ledger.settle(f"a/{name}/1", judged(await made.ledger.quarantine(f"a/{name}/1", {}), amount, "so"))
    hold = await made.ledger.find_hold("a/returned/1")
    risk = risk_of(hold, await made.ledger.quarantine(hold.id, {}), "so")
    await made.ledger.release(hold.id, "judged: so", (), [risk])
    claimed = await made.ledger.hold("a", "key", "claimed", "body", 5, made.now_us + 1)
    derivation = {"outcome": "judged", "quarantine": 3, "reason": "so", "provider": "openai"}
    await made.ledger.settle(claimed.id, Charge(amount=5, derivation=derivation))


def test_what_an_operator_judged_is_listed_and_has_to_be_within_a_hold_in_quarantine(tmp_path: Path) -> None:
    figures = audit_ledger(written(tmp_path / "ledger.db", judging), now_us=NOON_S * 1_000_000)
    assert (figures.charges, figures.exact, figures.estimated) == (4, 1, 1)
    assert figures.findings["an operator judged a hold in quarantine"] == 1
    assert figures.differing == {"amount": 1, "underived": 1}
    assert figures.open_found["risk"] == 1
