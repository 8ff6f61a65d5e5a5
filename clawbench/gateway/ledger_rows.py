"""The ledger's entries as rows of the record schema: what an audit of a run reads.

Takes each entry as it is appended. Keeps one balance an account, and no entry.
"""

from __future__ import annotations

import msgspec

from clawbench.billing.ledger.protocol import Entry
from clawbench.gateway.records import RecordWriter

_US = 1_000_000
_encode = msgspec.json.Encoder().encode
_UNCHANGING = frozenset({"hold", "release", "expire", "quarantine", "checkpoint"})  # available and held together
_ATTEMPT_KINDS = frozenset({"cost", "risk", "risk_resolved"})


class LedgerRows:
    """Writes the entries of one cell. `epoch_s` is the Unix time at the clock's zero."""

    def __init__(self, writer: RecordWriter, *, prefix: str, epoch_s: int) -> None:
        self._writer, self._prefix, self._epoch_us = writer, prefix, epoch_s * _US
        self._balances: dict[str, int] = {}

    def add(self, entry: Entry, detail_text: bytes) -> None:
        """One entry, in the order of the log, with the canonical JSON of its detail."""
        account, attempt = entry.account, None
        detail = entry.detail
        if entry.kind in _UNCHANGING:
            amount = 0
        elif account:
            amount = sum([posting.amount for posting in entry.postings if posting.account.startswith("client:")])
        else:
            account, amount = (
                (entry.postings[0].account, entry.postings[0].amount) if entry.postings else ("platform", 0)
            )
            if entry.kind in _ATTEMPT_KINDS:
                attempt = int(entry.ref.rpartition("/")[2])
        balance = self._balances[account] = self._balances.get(account, 0) + amount
        self._writer.add(
            "ledger",
            (
                f"{self._prefix}-{entry.seq:09d}",
                (entry.at_us - self._epoch_us) / _US,
                account,
                detail.get("request_id") or None,
                attempt,
                entry.kind,
                amount,
                balance,
                entry.at_us,
                entry.ref,
                _encode(entry.postings).decode(),
                detail_text.decode(),
                entry.hash,
            ),
        )
