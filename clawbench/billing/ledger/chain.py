"""The chain of hashes that makes a change to any entry of the past visible.

`hash = SHA-256(previous hash as hex ‖ canonical JSON of [seq, kind, at_us, account, ref, postings] ‖ canonical JSON of
detail)`. Canonical: UTF-8, no spaces, sorted keys. Two texts, so that the detail is encoded once, for hash and storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from clawbench.billing.ledger.protocol import Entry, Kind, Posting, Unwritable

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def detail_text(detail: Mapping[str, Any]) -> bytes:
    """Canonical JSON. Raises `Unwritable`."""
    try:
        return _encode(detail)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unwritable(f"an entry cannot be written: {error}") from error


def digest(
    prev_hash: str,
    seq: int,
    kind: Kind,
    at_us: int,
    account: str,
    ref: str,
    postings: Sequence[Posting],
    detail: bytes,
) -> str:
    """The hash of an entry whose detail has been encoded. Raises `Unwritable`."""
    try:
        head = _encode((seq, kind, at_us, account, ref, postings))
    except (ValueError, OverflowError) as error:
        raise Unwritable(f"an entry cannot be written: {error}") from error
    return sha256(prev_hash.encode() + head + detail).hexdigest()


def hash_of(entry: Entry) -> str:
    """What the hash of an entry has to be."""
    return digest(
        entry.prev_hash,
        entry.seq,
        entry.kind,
        entry.at_us,
        entry.account,
        entry.ref,
        entry.postings,
        _encode(entry.detail),
    )


def broken_link(log: Iterable[Entry]) -> int | None:
    """The place (from 1) of the first entry that is not what was chained; None if all are."""
    prev = ""
    for place, entry in enumerate(log, 1):
        if entry.seq != place or entry.prev_hash != prev or entry.hash != hash_of(entry):
            return place
        prev = entry.hash
    return None
