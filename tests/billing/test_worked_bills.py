"""Worked bills: replies in, exact costs out, through the very wires, normalisers and prices that the gateway uses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clawbench.billing.vectors import BadVectors, PriceSheet, read_vectors
from clawbench.billing.worked_bills import WorkedBill, work

CHAT = {
    "provider": "openai",
    "api": "chat.completions",
    "model": "gpt",
    "price_key": "gpt",
    "price_per_mtok": {"uncached_input": "2.5", "output_text": "10"},
    "usage_raw": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    "expected_outcome": "charge",
    "expected_cost_usd": "0.0075",
}


def worked(tmp_path: Path, *rows: dict[str, Any] | str) -> list[WorkedBill]:
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps({"id": f"row-{n}"} | row) for n, row in enumerate(rows)]
    path.write_text("\n".join(lines))
    read = read_vectors(path)
    sheet = PriceSheet(read)
    return [work(row, sheet) for row in read]


def test_every_shared_bill_comes_out_exactly(shared: Path) -> None:
    path = shared / "billing" / "vectors.jsonl"
    if not path.exists():
        pytest.skip("no worked bills beside the repository")
    rows = read_vectors(path)
    assert len(rows) >= 95
    sheet = PriceSheet(rows)
    differing = {bill.id: bill.differences for row in rows if (bill := work(row, sheet)).differences}
    assert not differing


def test_every_shared_bill_comes_out_exactly_also_by_its_own_prices_alone(shared: Path) -> None:
    path = shared / "billing" / "vectors.jsonl"
    if not path.exists():
        pytest.skip("no worked bills beside the repository")
    bills = [work(row, PriceSheet([row])) for row in read_vectors(path)]
    differing = {bill.id: bill.differences for bill in bills if bill.differences}
    assert not differing


def test_a_row_that_differs_says_in_what(tmp_path: Path) -> None:
    (bill,) = worked(tmp_path, CHAT | {"expected_cost_usd": "0.0076", "canonical": {"uncached_input": 999}})
    assert bill.cost_usd == "0.0075"
    assert [difference.split()[0] for difference in bill.differences] == ["cost", "buckets"]
    (bill,) = worked(tmp_path, CHAT | {"expected_outcome": "quarantine"})
    assert bill.differences == ("outcome charge, expected quarantine",)


def test_a_row_with_usage_alone_is_put_into_a_reply_as_its_text_stands(tmp_path: Path) -> None:
    (good, broken, absent) = worked(
        tmp_path,
        CHAT,
        CHAT | {"usage_raw": '{"prompt_tokens": NaN, "completion_tokens": 1}', "expected_outcome": "quarantine"},
        CHAT | {"usage_raw": None, "expected_outcome": "estimate_and_flag"},
    )
    assert not good.differences
    assert (broken.outcome, absent.outcome) == ("quarantine", "estimate_and_flag")


def test_a_bucket_that_a_row_does_not_price_is_not_charged(tmp_path: Path) -> None:
    audio = {"prompt_tokens_details": {"audio_tokens": 5}}
    (bill,) = worked(tmp_path, CHAT | {"usage_raw": CHAT["usage_raw"] | audio})  # type: ignore[operator]
    assert bill.outcome == "quarantine"
    assert bill.hold == "open"


def test_a_stream_of_responses_is_billed_by_its_last_event(tmp_path: Path) -> None:
    response: dict[str, Any] = {
        "id": "r",
        "object": "response",
        "model": "gpt",
        "status": "in_progress",
        "output": [],
        "usage": None,
    }
    usage = {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500}
    done = response | {
        "status": "completed",
        "usage": usage,
        "output": [
            {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "web_search_call", "id": "w2", "status": "completed", "action": {"type": "open_page", "url": "u"}},
        ],
    }
    text = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "ok"}
    named = [
        ["response.created", {"type": "response.created", "response": response}],
        ["response.output_text.delta", text],
        ["response.completed", {"type": "response.completed", "response": done}],
    ]
    row = CHAT | {
        "api": "responses",
        "stream": True,
        "tool_fees": [{"kind": "web_search", "count": "1", "unit_usd": "0.01"}],
        "expected_cost_usd": "0.0175",
        "mock_response": {"status": 200, "body": None, "sse": {"sse_named": named}},
    }
    (bill,) = worked(tmp_path, row)
    assert not bill.differences


def test_a_framed_stream_of_bedrock_s_is_billed_by_its_metadata(tmp_path: Path) -> None:
    usage = {"inputTokens": 100, "outputTokens": 50, "totalTokens": 650, "cacheReadInputTokens": 500}
    named = [
        ["messageStart", {"role": "assistant"}],
        ["contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "ok"}}],
        ["contentBlockStop", {"contentBlockIndex": 0}],
        ["messageStop", {"stopReason": "end_turn"}],
        ["metadata", {"usage": usage, "metrics": {"latencyMs": 1}}],
    ]
    row = {
        "provider": "bedrock",
        "api": "converse-stream",
        "model": "nova",
        "price_key": "nova",
        "price_per_mtok": {"uncached_input": "0.8", "cache_read": "0.2", "output_text": "3.2"},
        "expected_outcome": "charge",
        "expected_cost_usd": "0.00034",
        "mock_response": {"status": 200, "sse": {"sse_named": named}},
    }
    (bill,) = worked(tmp_path, row)
    assert not bill.differences


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1"),
        ('{"id": "x"}', "line 1"),
        ("", "holds no rows"),
    ],
)
def test_a_file_without_worked_bills_is_named_with_the_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(BadVectors, match=said):
        worked(tmp_path, line)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api": "message"}, 'Did you mean "messages"'),
        ({"request_context": {"at": "yesterday"}}, "no instant"),
        ({"price_per_mtok": {"uncached_input": "-1"}}, "row-0"),
        ({"price_per_mtok": {"uncached_input": "0.00000001"}}, "row-0"),
        ({"price_per_mtok": {"prompt": "1"}}, "no bucket"),
        ({"expected_cost_usd": "much"}, "no decimal number|not a decimal number"),
    ],
)
def test_a_row_that_cannot_be_run_says_why_and_does_not_stop_the_others(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    bad, good = worked(tmp_path, CHAT | change, CHAT | {"model": "other", "price_key": "other"})
    assert bad.outcome == "not run"
    (why,) = bad.differences
    assert re.search(said, why)
    assert not good.differences


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ({"status": 200, "body": "<html>busy</html>"}, "release_and_flag"),
        ({"status": None, "error": "connect failed"}, "release"),
        ({"status": None, "error": "timeout"}, "release_and_flag"),
        ({"status": 429, "body": {"error": {"message": "slow down"}}}, "release"),
        ({"status": 200, "body": {"error": {"message": "broken"}}}, "release"),
    ],
)
def test_a_reply_without_an_answer_costs_the_client_nothing(
    tmp_path: Path, reply: dict[str, Any], outcome: str
) -> None:
    expected = {"mock_response": reply, "expected_outcome": outcome, "expected_cost_usd": "0"}
    (bill,) = worked(tmp_path, CHAT | expected)
    assert not bill.differences
    assert bill.charge_pico_uat == "0"


def test_amounts_may_be_numbers_and_keep_their_literal(tmp_path: Path) -> None:
    prices = {"price_per_mtok": {"uncached_input": 2.5, "cache_read": None, "output_text": 10}}
    (bill,) = worked(tmp_path, CHAT | prices | {"expected_cost_usd": 0.0075, "request_context": None})
    assert not bill.differences


def test_a_fee_that_a_row_names_otherwise_is_told_by_its_count(tmp_path: Path) -> None:
    usage = CHAT["usage_raw"] | {"num_sources_used": 3}  # type: ignore[operator]
    row = CHAT | {"provider": "xai", "usage_raw": usage, "expected_cost_usd": "0.0825"}
    named = {"tool_fees": [{"kind": "live_search", "count": "3", "unit_usd": "0.025"}]}
    other = {"tool_fees": [{"kind": "live_search", "count": "2", "unit_usd": "0.025"}]}
    found, unpriced = worked(tmp_path, row | named, row | other)
    assert not found.differences
    assert unpriced.outcome == "quarantine"


def test_a_lifetime_that_a_request_asked_for_is_found_wherever_its_context_says_so(tmp_path: Path) -> None:
    row = {
        "provider": "anthropic",
        "api": "messages",
        "model": "claude",
        "price_key": "claude",
        "price_per_mtok": {"uncached_input": "3", "cache_write_5m": "3.75", "cache_write_1h": "6", "output_text": "15"},
        "usage_raw": {"input_tokens": 0, "cache_creation_input_tokens": 1000, "output_tokens": 0},
        "expected_outcome": "charge",
    }
    contexts: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "0.00375"),
        ({"cache_ttl": "1h"}, "0.006"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "0.006"),
        ({"cache_control": [{"ttl": "5m"}]}, "0.00375"),
    )
    rows = [row | {"request_context": context, "expected_cost_usd": usd} for context, usd in contexts]
    assert not [bill.differences for bill in worked(tmp_path, *rows) if bill.differences]
