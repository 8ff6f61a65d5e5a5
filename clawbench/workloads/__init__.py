"""Workloads: which requests come, and when. Knows nothing of offers, strategies, money or answers."""
