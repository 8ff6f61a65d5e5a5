"""Every recorded chat call beside the catalogue that lists them: understood, with its status, dialect and usage.

The catalogue is a scanner's reading. Where it errs, the row is listed here with who is right.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clawbench.cassettes.entry import Entry
from clawbench.cassettes.store import CassetteStore, open_store
from clawbench.wires import WIRES

# What the catalogue calls an endpoint, and the dialects that its rows are of.
DIALECTS = {
    "chat.completions": {"openai_chat"},
    "responses": {"openai_responses"},
    "anthropic.messages": {"anthropic"},
    "generateContent": {"gemini"},
    "converse": {"bedrock_converse"},
    "bedrock.invoke": {"bedrock_anthropic", "bedrock_invoke_other"},
    "completions": {"openai_completions"},
    "ollama.chat": {"ollama"},
    "ollama.generate": {"ollama_generate"},
    # Twelve of Writer are OpenAI's dialect under a path that ends in /chat; the content says so.
    "cohere.chat": {"cohere", "cohere_v1", "openai_chat"},
}

# No chat calls, whatever the catalogue says: requests without a body, and lists of models.
NOT_UNDERSTOOD = {"vertexai_generate_content_score.yaml", "test_invoke_model_with_invalid_model.yaml"}
MODEL_LISTS = {"pollinations": 7}

OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens", "eval_count")

Row = dict[str, str]


@pytest.fixture(scope="module")
def opened(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> CassetteStore:
    return open_store([shared / "real-cassettes"], WIRES, cache_dir=tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def pairs(shared: Path, opened: CassetteStore) -> list[tuple[Row, Entry | None]]:
    """Each row of the catalogue with the entry that it is about."""
    entries = {(entry.file, entry.index): entry for entry in opened.entries}
    with (shared / "real-cassettes" / "CATALOGUE.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        (row, entries.get((f"{row['repo'].replace('/', '__')}/{row['path']}", int(row["interaction"])))) for row in rows
    ]


def test_every_listed_call_is_understood_but_those_that_are_none(pairs: list[tuple[Row, Entry | None]]) -> None:
    left = [row for row, entry in pairs if entry is None]
    lists = Counter(row["provider"] for row in left if row["provider"] in MODEL_LISTS)
    assert lists == MODEL_LISTS
    assert {Path(row["path"]).name for row in left if row["provider"] not in MODEL_LISTS} <= NOT_UNDERSTOOD


def test_each_provider_is_understood(pairs: list[tuple[Row, Entry | None]]) -> None:
    listed = Counter(row["provider"] for row, _ in pairs)
    understood = Counter(row["provider"] for row, entry in pairs if entry is not None)
    weak = {name for name, count in listed.items() if count >= 10 and understood[name] < 0.9 * count}
    assert not weak


def test_the_dialect_is_told_by_content(pairs: list[tuple[Row, Entry | None]]) -> None:
    told = {(row["endpoint"], entry.dialect) for row, entry in pairs if entry is not None}
    assert told == {(endpoint, dialect) for endpoint, dialects in DIALECTS.items() for dialect in dialects}


def test_every_recorded_error_comes_out_typed_with_its_status(pairs: list[tuple[Row, Entry | None]]) -> None:
    known = [(row, entry) for row, entry in pairs if entry is not None]
    assert [row["path"] for row, entry in known if str(entry.status) != row["status"]] == []
    errors = [entry for row, entry in known if int(row["status"]) >= 400]
    assert len(errors) > 200
    assert [entry.id for entry in errors if entry.is_success] == []


def test_stated_usage_is_found(pairs: list[tuple[Row, Entry | None]]) -> None:
    """Counts may be above the catalogue's where a provider states reasoning beside the output; never below."""
    differing = []
    for row, entry in pairs:
        if entry is None or not row["usage_json"]:
            continue
        usage: dict[str, Any] = json.loads(row["usage_json"])
        stated = next((usage[name] for name in OUTPUT if isinstance(usage.get(name), (int, float))), None)
        if stated is not None and (entry.output_tokens is None or entry.output_tokens < stated):
            differing.append((entry.id, entry.output_tokens, stated))
    assert differing == []
