"""Which accounts an entry moves: the table of double entry, as functions without state.

A plus is a claim or an income. Client accounts: available ≥ 0, held ≥ 0, shortfall ≤ 0. The platform's are opened for
each calendar month, so that the range of 64 bits binds a client or a month, never the system. Every result sums to 0.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from clawbench.billing.ledger.protocol import Posting

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000


def available(account: str) -> str:
    """What a client may still spend."""
    return f"client:{account}:available"


def held(account: str) -> str:
    """What is set aside for a client's running requests."""
    return f"client:{account}:held"


def shortfall(account: str) -> str:
    """What a client owes, as a negative amount."""
    return f"client:{account}:shortfall"


def platform(what: str, at_us: int) -> str:
    """An account of the platform in the month of an instant, e.g. "platform:revenue:2026-11"."""
    return f"platform:{what}:{_month(at_us // _DAY_US)}"


@lru_cache(maxsize=64)
def _month(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m}"


def top_up(account: str, amount: int, owed: int, at_us: int) -> tuple[Posting, ...]:
    """`owed` is the open shortfall, as a positive amount."""
    return _balanced(
        (platform("issued", at_us), -amount),
        (shortfall(account), min(amount, owed)),
        (available(account), amount - min(amount, owed)),
    )


def hold(account: str, amount: int) -> tuple[Posting, ...]:
    return _moved(available(account), held(account), amount)


def release(account: str, amount: int) -> tuple[Posting, ...]:
    return _moved(held(account), available(account), amount)


def settle(account: str, on_hold: int, charge: int, spare: int, at_us: int) -> tuple[Posting, ...]:
    """`spare` is what is available beside the hold; what even that does not cover becomes a shortfall."""
    beyond = max(charge - on_hold, 0)
    taken = min(beyond, spare)
    return _balanced(
        (held(account), -on_hold),
        (available(account), max(on_hold - charge, 0) - taken),
        (shortfall(account), taken - beyond),
        (platform("revenue", at_us), charge),
    )


def adjust(account: str, amount: int, spare: int, owed: int, at_us: int) -> tuple[Posting, ...]:
    """`amount` > 0 goes back to the client."""
    if amount < 0:
        return settle(account, 0, -amount, spare, at_us)
    repaid = min(amount, owed)
    return _balanced(
        (platform("revenue", at_us), -amount), (shortfall(account), repaid), (available(account), amount - repaid)
    )


def cost(provider: str, amount: int, at_us: int) -> tuple[Posting, ...]:
    return _moved(f"{platform('cost', at_us)}:{provider}", f"{platform('payable', at_us)}:{provider}", amount)


def risk(provider: str, amount: int, at_us: int) -> tuple[Posting, ...]:
    """A negative amount takes a risk back."""
    return _moved(f"{platform('risk', at_us)}:{provider}", f"{platform('accrued', at_us)}:{provider}", amount)


def _moved(source: str, target: str, amount: int) -> tuple[Posting, ...]:
    return (Posting(source, -amount), Posting(target, amount)) if amount else ()


def _balanced(*moves: tuple[str, int]) -> tuple[Posting, ...]:
    total = 0
    made = []
    for account, amount in moves:
        if amount:
            total += amount
            made.append(Posting(account, amount))
    assert total == 0
    return tuple(made)
