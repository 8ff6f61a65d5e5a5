"""Billing: what an attempt costs. So far the exact upstream cost from the provider's counts (`prices.py`)."""
