"""Fields in which one dialect keeps its own form, for the way back: strict providers of another refuse them.

A list of names only; what stands in them is the business of the dialect that wrote it.
"""

from __future__ import annotations

from typing import Final

FOREIGN_FIELDS: Final = frozenset({"openai_responses", "anthropic_beta"})
"""In a request's `extra`."""

FOREIGN_IN_MESSAGES: Final = frozenset(
    {"anthropic_content", "bedrock_content", "output_items", "phase", "tool_call_extra", "tool_plan"}
)
"""In an assistant message."""
