"""Files searched for secrets, and our own scrubbed in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawbench.cassettes.cleaning import scan_each, scrub_each
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.tape import Tape
from clawbench.cassettes.writer import cassette_bytes, write_cassette
from clawbench.errors import UsageError
from tests.cassettes.made import exchange
from tests.cassettes.planted import SECRETS, har, leaked

KEY = "sk-Ab3dEf6hIj9lMn2pQr5tUv8x"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "planted.har").write_bytes(har())
    write_cassette(tmp_path / "clean.yaml", [exchange("a")])
    write_cassette(tmp_path / "dirty.yaml", [exchange("a"), exchange(f"b {KEY}")], comment="by hand\nin May")
    write_cassette(tmp_path / "named.yaml", [exchange(headers={"x-request-id": "8e52694a-22a0-42fa"})])
    (tmp_path / "broken.yaml").write_text("interactions:\n- 'cut")
    return tmp_path


def test_files_of_any_format_are_searched_and_never_changed(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = {result.file: result for result in scan_each(folder)}
    assert {file: result.ok for file, result in found.items()} == {
        "broken.yaml": False, "clean.yaml": True, "dirty.yaml": False, "named.yaml": True, "planted.har": False,
    }  # fmt: skip
    assert {finding.interaction for finding in found["dirty.yaml"].findings} == {1}
    assert [finding.severity for finding in found["named.yaml"].findings] == ["identifier"]
    assert len({finding.interaction for finding in found["planted.har"].findings}) == 14
    assert found["broken.yaml"].to_json()["problem"]["place"] == "line 2"
    assert leaked(str([result.to_json() for result in found.values()]).encode()) == []
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_own_files_are_scrubbed_in_place_and_keep_their_comment(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    results = {result.after.file: result for result in scrub_each(folder)}
    assert {file: result.status for file, result in results.items()} == {
        "broken.yaml": "not read", "clean.yaml": "clean", "dirty.yaml": "scrubbed", "named.yaml": "scrubbed",
        "planted.har": "not read",
    }  # fmt: skip
    expected = cassette_bytes([exchange("a"), exchange("b REDACTED")], comment="by hand\nin May")
    assert (folder / "dirty.yaml").read_bytes() == expected
    for name in ("clean.yaml", "planted.har", "broken.yaml"):
        assert (folder / name).read_bytes() == before[name]
    problem = results["planted.har"].after.problem
    assert problem is not None
    assert "import this file" in problem.reason
    assert {result.status for result in scrub_each(folder)} == {"clean", "not read"}


def test_a_cassette_that_is_being_recorded_is_left_alone_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dirty.yaml"
    write_cassette(path, [exchange(f"a {KEY}")])
    tape = Tape(path, mode="new_episodes", scrubber=Scrubber())
    tape.append(exchange("b"))
    (result,) = scrub_each(tmp_path)
    assert result.status == "not read"
    assert "is being recorded by process" in str(result.after.problem)
    tape.append(exchange("c"))
    tape.close()
    (result,) = scrub_each(tmp_path)
    assert (result.status, result.after.interactions) == ("scrubbed", 3)
    assert [each.name for each in tmp_path.iterdir()] == ["dirty.yaml"]


def test_a_file_that_would_lose_an_interaction_is_not_touched(tmp_path: Path) -> None:
    text = cassette_bytes([exchange(f"a {KEY}")]).decode().replace("interactions:\n", "interactions:\n- cut\n")
    (tmp_path / "half.yaml").write_text(text)
    (result,) = scrub_each(tmp_path)
    assert result.status == "not read"
    assert result.after.problem is not None
    assert "would be lost" in result.after.problem.reason
    assert (tmp_path / "half.yaml").read_text() == text


def test_secrets_that_are_handed_in_are_searched_for_and_replaced(tmp_path: Path) -> None:
    write_cassette(tmp_path / "a.yaml", [exchange("quite ordinary words")])
    (before,) = scan_each(tmp_path)
    (found,) = scan_each(tmp_path, secrets=["ordinary words"])
    assert (before.ok, found.ok) == (True, False)
    (result,) = scrub_each(tmp_path, secrets=["ordinary words"])
    assert (result.status, result.after.ok) == ("scrubbed", True)
    assert b"ordinary" not in (tmp_path / "a.yaml").read_bytes()
    with pytest.raises(UsageError, match="6 are the least"):
        scan_each(tmp_path, secrets=[*SECRETS.values(), "abc"])
