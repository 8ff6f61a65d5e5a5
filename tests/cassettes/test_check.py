"""`cassettes check`, `ls` and `show`: counts that add up, and interactions laid open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cassettes.check import check, check_each, listed, shown, shown_json
from clawbench.cassettes.interaction import RecordedTiming
from clawbench.cassettes.store import cassette_files, open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError
from tests.cassettes.made import WIRES, exchange


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    timing = RecordedTiming(0.5, ((10, 0.75), (len(exchange(stream=True, say="a b").body) - 10, 2.0)))
    items = [
        exchange("a", say="hi you"),
        exchange("b", stream=True, say="a b", timing=timing),
        exchange("c", status=429),
        exchange("d", stream=True, body=b'data: {"error": "cut"}\n\n'),
        exchange("e", url="https://api.plain.test/v1/models"),
        exchange("f", url="https://elsewhere.test/v1/chat/completions"),
        exchange("g", body=b"<html>"),
        exchange("h", body=b'{"say": "no usage"}'),
    ]
    write_cassette(tmp_path / "tape.yaml", items)
    (tmp_path / "broken.yaml").write_text("interactions:\n  - 'cut")
    (tmp_path / "half.yaml").write_text(
        "interactions:\n- request: {uri: 'https://api.plain.test/v1/ask', method: POST}\nversion: 1\n"
    )
    (tmp_path / "go.yaml").write_text("version: 2\ninteractions: []\n")
    (tmp_path / "trace.httprr").write_text("httprr trace v1\n")
    (tmp_path / "settings.json").write_text('{"a": 1}')
    return tmp_path


def test_everything_is_counted_once(folder: Path) -> None:
    report = check(folder, WIRES).to_json()
    assert report["totals"] == {
        "files": 6,
        "files_loaded": 4,
        "interactions": 9,
        "decoded": 5,
        "streamed": 2,
        "errors_decoded": 2,
        "usage_found": 2,
        "not_chat": 1,
    }
    assert report["by_format"] == {
        "go-vcr": {"files": 1, "files_loaded": 1, "interactions": 0, "decoded": 0},
        "httprr": {"files": 1, "files_loaded": 1, "interactions": 0, "decoded": 0},
        "unknown": {"files": 1, "files_loaded": 0, "interactions": 0, "decoded": 0},
        "vcrpy": {"files": 3, "files_loaded": 2, "interactions": 9, "decoded": 5},
    }
    assert report["by_provider"] == {
        "api.plain.test": {"interactions": 6, "decoded": 5},
        "elsewhere.test": {"interactions": 1, "decoded": 0},
    }
    assert [(row["file"], row["interaction"]) for row in report["not_understood"]] == [
        ("half.yaml", 0),
        ("tape.yaml", 5),
        ("tape.yaml", 6),
    ]
    assert {row["file"]: row["place"] for row in report["problems"]} == {"broken.yaml": "line 2", "settings.json": ""}
    assert report["not_understood"][0]["place"] == "interaction 0 (line 2)"
    assert json.loads(json.dumps(report)) == report


def test_checking_goes_file_by_file_for_whoever_shows_progress(folder: Path) -> None:
    results = check_each(folder, WIRES)
    assert [result.file for result in results] == cassette_files(folder)[1]
    assert not list(folder.glob(".*"))  # checking leaves no index behind


def test_a_single_file_can_be_checked(folder: Path) -> None:
    assert check(folder / "tape.yaml", WIRES).totals["interactions"] == 8


def test_listing_gives_a_line_for_each_entry(folder: Path) -> None:
    lines = {line.id: line for line in listed(open_store([folder], WIRES))}
    assert sorted(lines) == ["tape.yaml#0", "tape.yaml#1", "tape.yaml#2", "tape.yaml#3", "tape.yaml#7"]
    stream = lines["tape.yaml#1"]
    assert (stream.provider, stream.model, stream.events, stream.timing) == ("api.plain.test", "m1", 3, "recorded")
    assert (lines["tape.yaml#2"].outcome, lines["tape.yaml#0"].timing) == ("rate_limited", None)


def test_one_interaction_is_shown_in_full(folder: Path) -> None:
    store = open_store([folder], WIRES)
    stream = shown_json(shown(store, "tape.yaml#1", WIRES))
    assert (stream["text"], stream["ttft_s"], stream["e2e_s"]) == ("ab", 0.75, 2.0)
    assert stream["request"]["messages"] == [{"role": "user", "content": "b"}]
    assert stream["stream_end"]["complete"] is True
    whole = shown_json(shown(store, "tape.yaml#0", WIRES))
    assert whole["completion"]["choices"][0]["content"] == "hi you"
    error = shown_json(shown(store, "tape.yaml#2", WIRES))
    assert error["error"] == {"outcome": "rate_limited", "code": None, "message": "status 429"}
    assert json.loads(json.dumps(error)) == error


@pytest.mark.parametrize(("name", "reason"), [("tape.yaml#99", "no such chat call"), ("tape.yaml#5", "no wire knows")])
def test_an_id_that_cannot_be_shown_is_told_why(folder: Path, name: str, reason: str) -> None:
    store = open_store([folder], WIRES)
    with pytest.raises(CassetteError, match=reason):
        shown(store, name, WIRES)
