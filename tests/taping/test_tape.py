"""A cassette while it is recorded: whole at every instant, one recorder, four modes, no secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import vcr
from hypothesis import given, settings
from hypothesis import strategies as st

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.reel import Reel
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.tape import appendable
from clawbench.cassettes.writer import cassette_bytes, write_cassette
from clawbench.errors import CassetteError, CassetteInUse, WriteFailed
from tests.cassettes.planted import SECRETS, har, leaked
from tests.taping.made import URL, as_vcrpy_reads, exchange, read, tape

ROOT = Path(__file__).parents[2]


def ask(text: str) -> tuple[str, str, bytes]:
    return "POST", URL, b'{"ask":"%s"}' % text.encode()


def test_what_was_appended_is_read_back_with_its_times(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.yaml"
    recording = tape(path, comment="made by a test\nand by nobody else")
    assert recording.append(exchange("one"))
    assert recording.append(exchange("two"))
    recording.close()
    first, second = read(path)
    assert (first.body, first.timing) == (exchange("one").body, exchange("one").timing)
    assert second.request_body == exchange("two").request_body
    assert path.read_text().startswith("# made by a test\n# and by nobody else\n")


def test_the_file_is_whole_after_every_interaction_without_being_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    recording = tape(path)
    assert not path.exists()
    for count in range(1, 4):
        recording.append(exchange(f"number {count}"))
        assert len(read(path)) == count
        assert len(as_vcrpy_reads(path)) == count
    recording.close()


def test_what_comes_after_the_tape_was_closed_is_refused_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    recording = tape(path)
    recording.append(exchange("one"))
    recording.append(exchange("two"))
    recording.close()
    before = path.read_bytes()
    with pytest.raises(WriteFailed, match="2 are kept"):
        recording.append(exchange("three"))
    assert path.read_bytes() == before


def test_a_process_that_is_killed_leaves_all_that_it_had_appended(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.taping.made import exchange, tape\n"
        "recording = tape(Path(sys.argv[1]))\n"
        "for number in range(5):\n"
        "    recording.append(exchange(str(number)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(read(path)) == len(as_vcrpy_reads(path)) == 5
    recording = tape(path)
    recording.append(exchange("after"))
    recording.close()
    assert len(read(path)) == 6


@settings(max_examples=20)
@given(cut=st.integers(min_value=0), texts=st.lists(st.sampled_from(["a", "b\\n- c", "d: e", "ü 火"]), max_size=3))
def test_a_file_torn_at_any_byte_loses_at_most_its_last_interaction(
    cut: int, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "a.yaml"
    recording = tape(path)
    for text in [*texts, "last"]:
        recording.append(exchange(text))
    recording.close()
    whole = path.read_bytes()
    start = whole.rindex(b"\n- request") + 1
    path.write_bytes(whole[: start + cut % (len(whole) - start)])
    again = tape(path)
    again.append(exchange("after"))
    again.close()
    asked = [each.request_body for each in read(path)]
    before = [exchange(text).request_body for text in texts]
    assert asked in ([*before, exchange("after").request_body], [*before, exchange("last").request_body, asked[-1]])
    assert asked[-1] == exchange("after").request_body
    assert len(as_vcrpy_reads(path)) == len(asked)


def test_a_second_recorder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    first = tape(path)
    with pytest.raises(CassetteInUse) as caught:
        tape(path)
    assert caught.value.holder == str(os.getpid())
    assert "a.yaml" in str(caught.value)
    tape(tmp_path / "b.yaml").close()
    first.append(exchange())
    first.close()
    tape(path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["a.yaml"]


def test_the_lock_of_a_process_that_died_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.taping.made import tape\n"
        "kept = tape(Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, timeout=60)
    assert (tmp_path / ".a.yaml.lock").exists()
    tape(path).close()
    assert not (tmp_path / ".a.yaml.lock").exists()


def test_once_records_a_new_cassette_and_only_plays_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    first = tape(path, "once")
    assert first.may_record
    first.append(exchange("one"))
    assert first.may_record
    first.close()
    second = tape(path, "once")
    assert not second.may_record
    assert second.play(*ask("one")) is not None
    assert second.play(*ask("one")) is None
    second.close()


def test_new_episodes_plays_each_recording_once_and_records_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_cassette(path, [exchange("one"), exchange("one"), exchange("two")])
    recording = tape(path)
    played = [recording.play(*ask("one")) for _ in range(3)]
    assert [each is not None for each in played] == [True, True, False]
    assert recording.play(*ask("three")) is None
    assert recording.may_record
    recording.append(exchange("three"))
    recording.close()
    assert [each.request_body for each in read(path)] == [
        exchange(text).request_body for text in ("one", "one", "two", "three")
    ]


def test_none_needs_a_cassette_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with pytest.raises(CassetteError, match="no such cassette"):
        tape(path, "none")
    write_cassette(path, [exchange("one")])
    before = path.read_bytes()
    one, other = tape(path, "none"), tape(path, "none")
    assert not one.may_record
    assert one.play(*ask("one")) == other.play(*ask("one"))
    one.close()
    other.close()
    assert path.read_bytes() == before


def test_all_replaces_what_it_recorded_anew_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_cassette(path, [exchange("one"), exchange("two")], comment="old")
    recording = tape(path, "all")
    assert recording.play(*ask("one")) is None
    recording.append(exchange("one", chunks=5))
    recording.close()
    kept, new = read(path)
    assert kept.request_body == exchange("two").request_body
    assert new.body == exchange("one", chunks=5).body
    assert path.read_text().startswith("# old\n")


def test_requests_are_the_same_in_any_key_order_of_their_json(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_cassette(path, [exchange("one")])
    recording = tape(path)
    assert recording.play("POST", URL, b'{ "ask" : "one" }') is not None
    recording.close()


def test_a_cassette_that_vcrpy_wrote_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_cassette(path, [exchange("one"), exchange("two")])
    with vcr.use_cassette(str(path), record_mode="new_episodes") as cassette:
        cassette.append(
            vcr.request.Request("GET", "https://x.test/", None, {}),
            {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": b"three"}},
        )
    assert path.read_bytes().endswith(b"\nversion: 1\n")
    recording = tape(path)
    recording.append(exchange("four"))
    recording.close()
    assert len(read(path)) == len(as_vcrpy_reads(path)) == 4


def test_vcrpy_keeps_our_times_when_it_rewrites_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    recording = tape(path)
    recording.append(exchange("one"))
    recording.close()
    with vcr.use_cassette(str(path), record_mode="new_episodes") as cassette:
        cassette.append(
            vcr.request.Request("GET", "https://x.test/", None, {}),
            {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": b"two"}},
        )
    ours, theirs = read(path)
    assert ours.timing == exchange("one").timing
    assert theirs.timing is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"version": 1, "interactions": []}',
        b"interactions:\n- request: {}\n  response: {}\nmetadata: {a: 1}\nversion: 1\n",
        b"interactions:\n  - request: {}\n    response: {}\nversion: 1\n",
        b"other: 1\ninteractions: []\nversion: 1\n",
    ],
)
def test_a_layout_that_cannot_be_appended_to_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(CassetteError, match="cassettes import"):
        tape(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["a.yaml"]


def test_an_empty_cassette_is_one_that_can_be_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"interactions: []\nversion: 1\n")
    recording = tape(path)
    recording.append(exchange("one"))
    recording.close()
    assert len(as_vcrpy_reads(path)) == 1


@given(st.lists(st.sampled_from(["a", "b\\n- c", " d", "ü: 火", "version: 1"]), max_size=4))
def test_laying_out_for_appending_changes_nothing_that_is_read_and_is_done_once(texts: list[str]) -> None:
    content = cassette_bytes([exchange(text) for text in texts], comment="a\nb")
    ready = appendable(content, file="a.yaml")
    assert appendable(ready, file="a.yaml") == ready
    if texts:
        before, after = (list(opened(each, "a.yaml").read()) for each in (content, ready))
        assert [(each.request_body, each.body) for each in before] == [  # type: ignore[union-attr]
            (each.request_body, each.body)  # type: ignore[union-attr]
            for each in after
        ]


@pytest.mark.parametrize("secrets", [(), tuple(SECRETS.values())], ids=["by shape", "by value"])
def test_none_of_fourteen_planted_secrets_reaches_the_file(secrets: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    recording = tape(path, "new_episodes", *secrets)
    planted = [each for each in opened(har(), "x.har").read() if isinstance(each, Interaction)]
    assert len(planted) == 14
    assert all(recording.append(each) for each in planted)
    recording.close()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert leaked(written) == []
    assert len(read(path)) == 14


def test_an_interaction_in_which_a_credential_is_still_found_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    recording = tape(path)
    chancy = "q7Zx2Lw9Tn4Vb8Km1Ry6Pd3Hs5Gf0Jc"
    assert not recording.append(exchange(f"look {chancy} here"))
    assert recording.append(exchange("harmless"))
    recording.close()
    assert chancy.encode() not in path.read_bytes()
    assert len(read(path)) == 1
    assert {finding.severity for finding in recording.withheld} == {"credential"}


def test_a_disk_that_is_full_is_told_and_the_file_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from clawbench.errors import WriteFailed\n"
        "from tests.taping.made import exchange, tape\n"
        "recording = tape(Path(sys.argv[1]))\n"
        "recording.append(exchange('first'))\n"
        "size = recording.size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 + size // 2, resource.RLIM_INFINITY))\n"
        "recording.append(exchange('second'))\n"
        "try:\n"
        "    recording.append(exchange('third'))\n"
        "except WriteFailed as error:\n"
        "    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "recording.append(exchange('fourth'))\n"
        "recording.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, timeout=60, capture_output=True, text=True, check=True
    )
    assert "2 are kept" in done.stdout
    assert [each.request_body for each in read(path)] == [
        exchange(text).request_body for text in ("first", "second", "fourth")
    ]


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CassetteError, match=r"notes\.txt: is a file; give a folder"):
        Reel(tmp_path / "notes.txt", mode="new_episodes", scrubber=Scrubber())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed):
        tape(tmp_path / "file" / "a.yaml")


def test_a_reel_has_a_tape_for_each_name_and_one_recorder(tmp_path: Path) -> None:
    reel = Reel(tmp_path / "reel", mode="new_episodes", scrubber=Scrubber())
    reel.tapes("a/llama-3.1:8b")[-1].append(exchange("one"))
    reel.tapes("b/llama")[-1].append(exchange("two"))
    assert reel.tapes("b/llama") is reel.tapes("b/llama")
    with pytest.raises(CassetteInUse):
        Reel(tmp_path / "reel", mode="new_episodes", scrubber=Scrubber())
    reel.close()
    assert sorted(each.name for each in (tmp_path / "reel").iterdir()) == ["a-llama-3.1-8b.yaml", "b-llama.yaml"]


def test_a_long_tape_goes_on_in_a_further_file_and_is_played_from_all(tmp_path: Path) -> None:
    reel = Reel(tmp_path, mode="new_episodes", scrubber=Scrubber(), tape_bytes_max=10_000)
    reel.tapes("a")[-1].append(exchange("x" * 11_000))
    reel.tapes("a")[-1].append(exchange("next"))
    reel.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a-2.yaml", "a.yaml"]
    again = Reel(tmp_path, mode="new_episodes", scrubber=Scrubber())
    assert [each.play(*ask("next")) is not None for each in again.tapes("a")] == [False, True]
    again.close()
