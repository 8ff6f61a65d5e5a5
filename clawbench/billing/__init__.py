"""Billing: what an answer costs, what is charged for it, and the accounts that it is charged to.

A reply's bytes → evidence → buckets (`usage/`) → price book → exact cost → outcome and charge → ledger. `prices.py` is
the short way that records use: the same cost from a record's totals, without tiers, windows or fees.
"""
