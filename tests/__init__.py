"""Tests; folders mirror those of clawbench."""
