"""`cassettes import`, `scan` and `scrub` as a user meets them: what they print and what they end with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cassettes.writer import write_cassette
from clawbench.cli import run
from tests.cassettes.made import exchange
from tests.cassettes.planted import SECRETS, har, leaked

TOKEN = "q7Xr2Vb9Kd4Wm1Zt8Yc5Pn3L"


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "planted.har").write_bytes(har())
    return folder


def test_an_import_scrubs_and_says_what_it_wrote(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = tmp_path / "into"
    assert run(["cassettes", "scan", str(src)]) == 1
    assert "Credentials" in capsys.readouterr().out
    assert run(["cassettes", "import", str(src), "--into", str(into)]) == 0
    assert "14 of 14 interactions imported: 1 files written" in capsys.readouterr().out
    assert leaked((into / "planted.yaml").read_bytes()) == []
    assert run(["cassettes", "scan", str(into)]) == 0
    assert "14 interactions in 1 files searched" in capsys.readouterr().out
    assert run(["cassettes", "import", str(src), "--into", str(into), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 1
    assert run(["cassettes", "check", str(into), "--json"]) == 0


def test_no_output_shows_what_was_found(src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cassette(src / "token.yaml", [exchange(f"note {TOKEN}")])
    for arguments in (
        ["scan", str(src)], ["scan", str(src), "--json"], ["import", str(src), "--into", str(tmp_path / "into")],
        ["scrub", str(src)], ["scrub", str(src), "--json"],
    ):  # fmt: skip
        assert run(["cassettes", *arguments]) == 1
        printed = capsys.readouterr()
        assert leaked((printed.out + printed.err).encode()) == []
        assert TOKEN not in printed.out + printed.err
        assert "looks like chance" in printed.out


def test_what_is_refused_is_listed_with_exit_1_and_taken_once_it_is_declared(
    src: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cassette(src / "token.yaml", [exchange("a"), exchange(f"note {TOKEN}")])
    into, secrets = tmp_path / "into", tmp_path / "secrets.txt"
    assert run(["cassettes", "import", str(src), "--into", str(into)]) == 1
    printed = capsys.readouterr().out
    assert "15 of 16 interactions" in printed
    assert "token.yaml#1 request.body ask: looks like chance, 24 characters" in printed
    secrets.write_text(f"\n{TOKEN}\n")
    assert run(["cassettes", "import", str(src), "--into", str(into), "--secrets", str(secrets)]) == 0
    assert TOKEN not in (into / "token.yaml").read_text()


def test_secrets_of_the_environment_are_always_looked_for(
    src: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cassette(src / "note.yaml", [exchange("quite ordinary words")])
    monkeypatch.setenv("SOME_API_KEY", "ordinary words")
    assert run(["cassettes", "import", str(src), "--into", str(tmp_path / "into")]) == 0
    assert "ordinary" not in (tmp_path / "into" / "note.yaml").read_text()


def test_scrubbing_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cassette(tmp_path / "a.yaml", [exchange("use sk-Ab3dEf6hIj9lMn2pQr5tUv8x")])
    write_cassette(tmp_path / "b.yaml", [exchange("nothing here")])
    assert run(["cassettes", "scrub", str(tmp_path)]) == 0
    assert "1 files scrubbed, 1 clean, 0 not scrubbed" in capsys.readouterr().out
    assert run(["cassettes", "scrub", str(tmp_path), "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == ["clean", "clean"]
    (tmp_path / "c.har").write_bytes(har())
    assert run(["cassettes", "scrub", str(tmp_path)]) == 1
    assert "import this file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "SRC"], "--into"),
        (["import", "none", "--into", "x"], "no such file or folder"),
        (["import", "SRC", "--into", "SRC/x"], "choose a folder beside it"),
        (["import", "SRC", "--into", "x", "--secrets", "none.txt"], "does not exist"),
        (["scan", "SRC", "--secrets", "SRC/short.txt"], "a secret of 3 characters is refused"),
        (["scrub", "SRC", "--secrets", "SRC/binary.txt"], "cannot be read as text"),
    ],
)
def test_bad_usage_is_said_plainly_and_ends_with_2(
    arguments: list[str], said: str, src: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (src / "short.txt").write_text("abc\n")
    (src / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert run(["cassettes", *(argument.replace("SRC", str(src)) for argument in arguments)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert not any(secret in printed for secret in SECRETS.values())


def test_the_cassettes_that_ship_hold_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cassettes", "scan", str(Path(__file__).parents[2] / "cassettes")]) == 0
    assert "Credentials" not in capsys.readouterr().out
