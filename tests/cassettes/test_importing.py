"""Importing: recordings of any format become scrubbed cassettes that replay as the originals did."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import msgspec
import pytest
import yaml
from vcr.serialize import deserialize, serialize
from vcr.serializers import yamlserializer

from clawbench.cassettes.entry import Entry
from clawbench.cassettes.formats import opened
from clawbench.cassettes.importing import ImportReport, import_cassettes, import_each
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.store import cassette_files, open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError, UsageError, WriteFailed
from clawbench.wires import WIRES
from tests.cassettes import made
from tests.cassettes.made import exchange
from tests.cassettes.planted import SECRETS, har, leaked

TOKEN = "q7Xr2Vb9Kd4Wm1Zt8Yc5Pn3L"


@pytest.fixture
def src(tmp_path: Path) -> Path:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    return tmp_path / "src"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "into"


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def statuses(report: ImportReport) -> dict[str, str]:
    return {result.source: result.status for result in report.files}


@pytest.mark.parametrize("secrets", [(), tuple(SECRETS.values())], ids=["by shape", "by value"])
def test_none_of_fourteen_planted_secrets_is_in_any_written_file(
    src: Path, into: Path, secrets: tuple[str, ...]
) -> None:
    (src / "planted.har").write_bytes(har())
    report = import_cassettes(src, into, secrets=secrets)
    (result,) = report.files
    assert (result.status, result.format, result.interactions, result.taken) == ("written", "har", 14, 14)
    assert {name: leaked(content) for name, content in tree(into).items()} == {"planted.yaml": []}
    assert leaked(json.dumps(report.to_json()).encode()) == []


def test_times_that_a_source_reveals_survive_under_clawbench_also_a_rewrite_by_vcrpy(src: Path, into: Path) -> None:
    (src / "planted.har").write_bytes(har())
    (src / "go.yaml").write_text(
        "version: 2\ninteractions:\n- request: {method: POST, url: 'https://h.test/v1', body: x}\n"
        "  response: {code: 200, body: y, duration: 345.6ms, headers: {X-Request-Id: ['8e52694a22a0'], Server: [z]}}\n"
    )
    timing = RecordedTiming(0.25, ((len(exchange().body), 1.5),))
    write_cassette(src / "own.yaml", [exchange(timing=timing, headers={"openai-processing-ms": "12"})])
    import_cassettes(src, into)
    (item,) = yaml.safe_load((into / "go.yaml").read_text())["interactions"]
    assert item["response"]["clawbench"] == {"version": 1, "duration_s": 0.3456}
    requests, responses = deserialize((into / "go.yaml").read_text(), yamlserializer)
    rewritten = opened(serialize({"requests": requests, "responses": responses}, yamlserializer).encode(), "x").read()
    assert [item.duration_s for item in rewritten if isinstance(item, Interaction)] == [0.3456]
    found = {entry.file: entry for entry in open_store([into], made.WIRES).entries}
    assert found["own.yaml"].timing == timing
    told = found["planted.yaml"].revealed
    assert told is not None
    assert (told.headers_s, told.e2e_s, told.source) == (0.251, 0.751, "duration")


def test_names_follow_the_sources_and_never_collide(src: Path, into: Path) -> None:
    for name in ("a.yaml", "deep/b.yml", "deep/c.json", "x.yaml", "x.yml"):
        write_cassette(src / name, [exchange(name)])
    (src / "d.yaml.gz").write_bytes(gzip.compress((src / "a.yaml").read_bytes()))
    report = import_cassettes(src, into)
    targets = {result.source: result.target for result in report.files}
    assert targets == {
        "a.yaml": "a.yaml",
        "d.yaml.gz": "d.yaml",
        "deep/b.yml": "deep/b.yaml",
        "deep/c.json": "deep/c.yaml",
        "x.yaml": "x.yaml",
        "x.yml": "x.yml.yaml",
    }
    assert sorted(tree(into)) == sorted(targets.values())
    assert report.ok


def test_a_file_already_imported_is_not_done_again_until_something_has_changed(src: Path, into: Path) -> None:
    for name in ("a", "b", "c"):
        write_cassette(src / f"{name}.yaml", [exchange(f"note from {name}")])
    assert set(statuses(import_cassettes(src, into)).values()) == {"written"}
    before = tree(into)
    os.utime(src / "a.yaml", (1, 1))
    again = import_cassettes(src, into)
    assert set(statuses(again).values()) == {"unchanged"}
    assert (again.to_json()["taken"], again.to_json()["interactions"]) == (3, 3)
    write_cassette(src / "b.yaml", [exchange("another note")])
    assert statuses(import_cassettes(src, into)) == {"a.yaml": "unchanged", "b.yaml": "written", "c.yaml": "unchanged"}
    assert tree(into)["a.yaml"] == before["a.yaml"]
    # A secret that is handed in later is looked for in what is there already.
    assert statuses(import_cassettes(src, into, secrets=["note from c"]))["c.yaml"] == "written"
    assert b"note from c" not in tree(into)["c.yaml"]


def test_an_interrupted_import_leaves_whole_files_and_is_taken_up_again(src: Path, into: Path) -> None:
    for name in ("a", "b", "c"):
        write_cassette(src / f"{name}.yaml", [exchange(name)])
    results = import_each(src, into)
    next(results)
    del results
    assert list(tree(into)) == ["a.yaml"]
    assert statuses(import_cassettes(src, into)) == {"a.yaml": "unchanged", "b.yaml": "written", "c.yaml": "written"}


def test_an_interaction_in_which_something_is_left_is_refused_and_told(src: Path, into: Path) -> None:
    write_cassette(src / "mixed.yaml", [exchange("a"), exchange(f"b {TOKEN}"), exchange("c")])
    write_cassette(src / "all.yaml", [exchange(f"x {TOKEN}")])
    for _ in range(2):  # what was left out is told again
        report = import_cassettes(src, into)
        assert statuses(report) == {"all.yaml": "left out", "mixed.yaml": "written"}
        assert not report.ok
        refused = report.to_json()["refused"]
        assert [(row["file"], row["interaction"], row["where"]) for row in refused] == [
            ("all.yaml", 0, "request.body"),
            ("mixed.yaml", 1, "request.body"),
        ]
        assert TOKEN.encode() not in b"".join(tree(into).values())
        assert len(open_store([into], made.WIRES).entries) == 2
    # Handed in as a secret, it is replaced like any other.
    assert import_cassettes(src, into, secrets=[TOKEN]).ok
    assert len(open_store([into], made.WIRES).entries) == 4


def test_what_came_of_an_earlier_source_goes_when_nothing_of_it_may_stay(src: Path, into: Path) -> None:
    write_cassette(src / "a.yaml", [exchange("a")])
    import_cassettes(src, into)
    write_cassette(src / "a.yaml", [exchange(TOKEN)])
    assert statuses(import_cassettes(src, into)) == {"a.yaml": "left out"}
    assert tree(into) == {}


def test_files_that_cannot_be_read_and_interactions_that_make_no_sense_are_told(src: Path, into: Path) -> None:
    (src / "broken.yaml").write_text("interactions:\n- 'cut")
    (src / "other.json").write_text("{}")
    (src / "half.json").write_text('{"log": {"entries": [{"request": {}}]}}')
    write_cassette(src / "good.yaml", [exchange("a")])
    report = import_cassettes(src, into)
    assert statuses(report) == {
        "broken.yaml": "not read", "good.yaml": "written", "half.json": "left out", "other.json": "not read",
    }  # fmt: skip
    content = report.to_json()
    assert {row["file"]: row["place"] for row in content["problems"]} == {"broken.yaml": "line 2", "other.json": ""}
    assert [(row["file"], row["index"]) for row in content["unreadable"]] == [("half.json", 0)]
    assert not report.ok
    assert list(tree(into)) == ["good.yaml"]


def test_a_file_that_was_not_imported_is_never_written_over(src: Path, into: Path) -> None:
    write_cassette(src / "a.yaml", [exchange("a")])
    into.mkdir()
    (into / "a.yaml").write_text("mine\n")
    report = import_cassettes(src, into)
    assert "is there already and was not imported" in report.to_json()["problems"][0]["reason"]
    assert (into / "a.yaml").read_text() == "mine\n"


def test_bad_usage_is_said_before_anything_is_written(src: Path, into: Path) -> None:
    write_cassette(src / "a.yaml", [exchange("a")])
    with pytest.raises(UsageError, match="choose a folder beside it"):
        import_cassettes(src, src / "deep")
    with pytest.raises(UsageError, match="6 are the least"):
        import_cassettes(src, into, secrets=["abc"])
    with pytest.raises(CassetteError, match="no such file"):
        import_cassettes(src / "none", into)
    assert not into.exists()
    into.write_text("a file")
    with pytest.raises(WriteFailed, match="could not be made"):
        import_cassettes(src, into)


def comparable(entry: Entry) -> tuple[object, ...]:
    """What replay and bill rest on."""
    told = (entry.revealed, entry.packed_timing, entry.input_tokens, entry.output_tokens)
    return (entry.dialect, entry.upstream_model, entry.stream, entry.framing, entry.status, entry.outcome, *told)


REAL = {
    "vcrpy": ["AgentOps-AI__agentops", "posit-dev__chatlas"],
    "vcr.rb": ["alexrudall__ruby-openai", "tidyverse__ellmer"],
    "go-vcr": ["braintrustdata__braintrust-sdk-go", "envoyproxy__ai-gateway", "charmbracelet__fantasy"],
    "har": ["traceloop__openllmetry-js"],
    "httprr": ["tmc__langchaingo"],
    "single-exchange": ["DataDog__dd-trace-py"],
}
"""Folders of real recordings, by format; of the others there are none."""


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_replay_as_before(shared: Path, src: Path, into: Path, name: str) -> None:
    real = shared / "real-cassettes"
    for folder in REAL[name]:
        files = cassette_files(real / folder)[1]
        report = import_cassettes(real / folder, into / folder)
        assert not report.to_json()["problems"]
        assert report.ok
        targets = {result.source: result.target for result in report.files}
        before = {
            (targets[entry.file], entry.index): entry
            for entry in open_store([real / folder], WIRES, cache_dir=into / "index").entries
        }
        store = open_store([into / folder], WIRES)
        after = {(entry.file, entry.index): entry for entry in store.entries}
        assert len(store.files) == len(files)
        assert {at: comparable(entry) for at, entry in before.items()} == {
            at: comparable(entry) for at, entry in after.items()
        }
        assert {at: entry.key for at, entry in before.items()} == {at: entry.key for at, entry in after.items()}
        assert msgspec.json.encode(report.to_json())
