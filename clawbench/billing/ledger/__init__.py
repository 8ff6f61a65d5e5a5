"""The ledger: double entry, append-only, hash-chained; a hold before each call, resolved once after it."""
