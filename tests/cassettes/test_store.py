"""The store gives back what the files hold, keeps an index of it, and never believes that index."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from clawbench.cassettes.index import INDEX_NAME
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.matching import features, key
from clawbench.cassettes.store import CassetteStore, open_store
from clawbench.cassettes.timings import Revealed
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError, UnknownFormat
from clawbench.types import Usage
from clawbench.wires.protocol import Wire
from tests.cassettes.made import URL, WIRES, PlainWire, exchange

LONG_AGO_NS = 1_600_000_000 * 10**9


class OtherPlainWire(PlainWire):
    """The same dialect from other code, which counts tokens differently."""

    def decode(self, status: int, headers: object, body: bytes) -> object:  # type: ignore[override]
        completion = super().decode(status, {}, body)
        return type(completion)(choices=completion.choices, usage=Usage(output_tokens=99))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files in a folder, written long ago, so that their times can be trusted."""
    root = tmp_path / "tapes"
    (root / "deep").mkdir(parents=True)
    record(root / "b.yaml", exchange("one", say="1 2 3"), exchange("two", stream=True, say="a b"))
    record(root / "deep" / "a.yaml", exchange("three", status=429, headers={"retry-after": "7"}))
    return root


def record(path: Path, *items: Interaction, mtime_ns: int = LONG_AGO_NS) -> None:
    write_cassette(path, items)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def opened(path: Path, wires: dict[str, Wire] | None = None, *, cache_dir: Path | None = None) -> CassetteStore:
    return open_store([path], wires or WIRES, cache_dir=cache_dir)


def bodies(store: CassetteStore) -> dict[str, bytes]:
    return {entry.id: store.body(entry) for entry in store.entries}


def test_entries_hold_what_matching_and_replay_need(folder: Path) -> None:
    one, two, three = opened(folder).entries
    assert [entry.id for entry in (one, two, three)] == ["b.yaml#0", "b.yaml#1", "deep/a.yaml#0"]
    assert (one.host, one.path, one.url, one.upstream_model, one.dialect) == (
        "api.plain.test",
        "/v1/ask",
        URL,
        "m1",
        "plain",
    )
    assert (one.outcome, one.is_success, one.input_tokens, one.output_tokens) == ("ok", True, 3, 3)
    assert (one.stream, one.framing, one.event_ends) == (False, "", ())
    assert (two.stream, two.framing, len(two.event_ends), two.event_ends[-1]) == (True, "sse", 3, two.length)
    assert (three.status, three.outcome, three.is_success) == (429, "rate_limited", False)


def test_the_store_gives_back_bodies_headers_and_requests(folder: Path) -> None:
    store = opened(folder)
    for entry, item in zip(
        store.entries, (exchange("one", say="1 2 3"), exchange("two", stream=True, say="a b")), strict=False
    ):
        request = WIRES["plain"].parse(store.call(entry))
        assert store.body(entry) == item.body
        assert store.headers(entry) == item.headers
        assert (store.call(entry).url, store.call(entry).body) == (item.url, item.request_body)
        assert (entry.key, entry.features) == (key(request), features(request))
        assert store.request(entry) == request
    assert store.headers(store.entries[2])["retry-after"] == "7"


def test_recorded_times_and_revealed_ones(tmp_path: Path) -> None:
    item = exchange("x", say="hello")
    timing = RecordedTiming(0.5, ((3, 0.75), (len(item.body) - 3, 1.5)))
    slow = {"openai-processing-ms": "1500"}
    record(tmp_path / "t.yaml", exchange("x", say="hello", timing=timing, headers=slow), exchange("y", headers=slow))
    recorded, told = opened(tmp_path).entries
    assert (recorded.timing, recorded.revealed) == (timing, None)
    assert (told.timing, told.revealed) == (None, Revealed(e2e_s=1.5, headers_s=1.5, source="header"))


def test_what_cannot_be_replayed_is_told_apart(tmp_path: Path) -> None:
    record(
        tmp_path / "mixed.yaml",
        exchange("ok"),
        exchange("x", url="https://api.plain.test/v1/embeddings"),
        exchange("x", url="https://other.test/v1/chat/completions"),
        exchange("x", body=b"<html>"),
        exchange("x", stream=True, body=b'data: {"say": "a"}\n\n'),
        exchange("x", body=b'{"error": "late"}'),
        exchange("x", stream=True, body=b'data: {"error": "cut"}\n\n'),
    )
    store = opened(tmp_path)
    assert [(left.index, left.kind) for left in store.leftovers] == [
        (1, "not_chat"),
        (2, "not_understood"),
        (3, "not_understood"),
    ]
    assert "protocol_error" in store.leftovers[2].reason
    assert [entry.outcome for entry in store.entries] == ["ok", "truncated", "error_200", "error_event"]


def test_broken_files_are_problems_and_do_not_keep_the_others_from_being_used(folder: Path) -> None:
    (folder / "broken.yaml").write_text("interactions:\n- request: {body: 'cut")
    (folder / "evil.yaml").write_text("interactions:\n- !!python/object/apply:os.system [x]\n")
    (folder / "empty.yaml").write_text("")
    (folder / "plan.yaml").write_text("seeds: [1]\n")
    (folder / "notes.md").write_text("not a cassette, and not looked at")
    (folder / ".hidden.yaml").write_text("!!!")
    for _ in range(2):  # compiled, and from the index
        store = opened(folder)
        told = {error.file: error for error in store.problems}
        assert sorted(told) == ["broken.yaml", "empty.yaml", "evil.yaml", "plan.yaml"]
        assert told["broken.yaml"].place == "line 2"
        assert "!!python/object/apply:os.system" in told["evil.yaml"].reason
        assert isinstance(told["plan.yaml"], UnknownFormat)
        assert len(store.entries) == 3


@pytest.mark.parametrize("kind", ["missing", "empty", "no cassettes"])
def test_a_path_without_any_cassette_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tapes"
    if kind != "missing":
        path.mkdir()
    if kind == "no cassettes":
        (path / "readme.md").write_text("hello")
    with pytest.raises(CassetteError) as caught:
        opened(path)
    assert str(path) in str(caught.value)


def test_a_single_file_has_an_index_of_its_own(folder: Path) -> None:
    store = opened(folder / "b.yaml")
    assert [entry.id for entry in store.entries] == ["b.yaml#0", "b.yaml#1"]
    assert (folder / f".b.yaml{INDEX_NAME}").is_file()
    assert [entry.id for entry in opened(folder).entries] == ["b.yaml#0", "b.yaml#1", "deep/a.yaml#0"]


def test_files_of_the_same_name_in_two_folders_keep_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    record(tmp_path / "seed.yaml", exchange("four", say="another"))
    other.mkdir()
    shutil.copy(tmp_path / "seed.yaml", other / "b.yaml")
    store = open_store([folder, other], WIRES)
    assert [entry.id for entry in store.entries] == [
        "tapes/b.yaml#0",
        "tapes/b.yaml#1",
        "tapes/deep/a.yaml#0",
        "more/b.yaml#0",
    ]
    assert store.body(store.entries[3]) == exchange("four", say="another").body
    assert store.body(store.entries[0]) == exchange("one", say="1 2 3").body


def test_the_digest_depends_on_names_and_contents_alone(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "tapes"
    shutil.copytree(folder, copy)
    digest = opened(folder).digest()
    assert opened(copy).digest() == digest == opened(folder).digest()
    record(copy / "b.yaml", exchange("one", say="1 2 3!"))
    assert opened(copy).digest() != digest


def test_the_index_says_the_same_as_the_files(folder: Path) -> None:
    first = opened(folder)
    assert (folder / INDEX_NAME).is_file()
    again = opened(folder)
    assert again.entries == first.entries
    assert bodies(again) == bodies(first)


def test_only_changed_files_are_compiled_again(folder: Path) -> None:
    opened(folder)
    kept = (folder / INDEX_NAME).stat().st_mtime_ns
    opened(folder)
    assert (folder / INDEX_NAME).stat().st_mtime_ns == kept  # nothing changed, nothing written
    record(folder / "b.yaml", exchange("new", say="new"), mtime_ns=LONG_AGO_NS + 10**9)
    record(folder / "c.yaml", exchange("third"))
    (folder / "deep" / "a.yaml").unlink()
    store = opened(folder)
    assert [entry.id for entry in store.entries] == ["b.yaml#0", "c.yaml#0"]
    assert store.body(store.entries[0]) == exchange("new", say="new").body


def test_a_changed_file_of_the_same_size_and_a_new_time_is_noticed(folder: Path) -> None:
    before = opened(folder)
    size = (folder / "b.yaml").stat().st_size
    items = (exchange("one", say="9 2 3"), exchange("two", stream=True, say="a b"))
    record(folder / "b.yaml", *items, mtime_ns=LONG_AGO_NS + 1)
    assert (folder / "b.yaml").stat().st_size == size
    after = opened(folder)
    assert after.body(after.entries[0]) == items[0].body != before.body(before.entries[0])


def test_a_file_changed_right_after_the_index_was_written_is_noticed_though_its_time_did_not_move(folder: Path) -> None:
    now_ns = (folder / "b.yaml").parent.stat().st_mtime_ns  # the moment at which the folder was last written to
    items = (exchange("one", say="9 2 3"), exchange("two", stream=True, say="a b"))
    record(folder / "b.yaml", exchange("one", say="1 2 3"), exchange("two", stream=True, say="a b"), mtime_ns=now_ns)
    opened(folder)
    record(folder / "b.yaml", *items, mtime_ns=now_ns)
    after = opened(folder)
    assert after.body(after.entries[0]) == items[0].body


@pytest.mark.parametrize("damage", ["empty", "head", "foot", "middle", "cut", "text", "other code"])
def test_a_damaged_or_foreign_index_is_ignored_and_made_again(folder: Path, damage: str) -> None:
    good = opened(folder)
    path = folder / INDEX_NAME
    content = bytearray(path.read_bytes())
    if damage == "other code":
        changed: dict[str, Wire] = {"plain": OtherPlainWire()}  # type: ignore[dict-item]
        assert opened(folder, changed).entries[0].output_tokens == 99
        assert opened(folder).entries == good.entries
        return
    if damage == "head":
        content[3] ^= 1
    if damage == "foot":
        content[-5] ^= 1
    if damage == "middle":
        content[-200] ^= 1
    spoiled = {"empty": b"", "text": b"not an index at all" * 20, "cut": bytes(content[:-100])}.get(
        damage, bytes(content)
    )
    path.unlink()
    path.write_bytes(spoiled)
    again = opened(folder)
    assert again.entries == good.entries
    assert bodies(again) == bodies(good)
    assert path.read_bytes() != spoiled


def test_bytes_that_were_damaged_behind_an_entry_are_never_replayed(folder: Path) -> None:
    entry = opened(folder).entries[0]
    path = folder / INDEX_NAME
    content = bytearray(path.read_bytes())
    content[entry.offset] ^= 1
    path.unlink()
    path.write_bytes(content)
    store = opened(folder)
    with pytest.raises(CassetteError, match="damaged"):
        store.body(store.entries[0])


def test_a_read_only_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    folder.chmod(0o555)
    before = sorted(folder.iterdir())
    in_memory = opened(folder)
    cached = opened(folder, cache_dir=tmp_path / "cache")
    assert sorted(folder.iterdir()) == before
    assert len(list((tmp_path / "cache").iterdir())) == 1
    again = opened(folder, cache_dir=tmp_path / "cache")
    assert in_memory.entries == cached.entries == again.entries
    assert bodies(in_memory) == bodies(cached) == bodies(again)


def test_a_cache_that_cannot_be_made_is_done_without(folder: Path, tmp_path: Path) -> None:
    folder.chmod(0o555)
    (tmp_path / "file").write_text("in the way")
    assert len(opened(folder, cache_dir=tmp_path / "file" / "cache").entries) == 3


def open_and_sum(folder: str) -> tuple[int, int]:
    """What another process sees."""
    total = 0
    count = 0
    for _ in range(20):
        (Path(folder) / INDEX_NAME).unlink(missing_ok=True)
        store = opened(Path(folder))
        count = len(store.entries)
        total = sum(len(store.body(entry)) for entry in store.entries)
    return count, total


def test_two_processes_that_build_the_index_at_once_both_get_a_whole_one(folder: Path) -> None:
    expected = len(opened(folder).entries), sum(map(len, bodies(opened(folder)).values()))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(open_and_sum, [str(folder)] * 2)) == [expected, expected]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [INDEX_NAME]
    assert len(opened(folder).entries) == expected[0]


def test_an_open_store_outlives_its_files_and_can_be_closed(folder: Path) -> None:
    store = opened(folder)
    shutil.rmtree(folder)
    assert store.body(store.entries[0]) == exchange("one", say="1 2 3").body
    store.close()


def test_a_wire_that_breaks_on_one_recording_spoils_that_one_only(tmp_path: Path) -> None:
    record(tmp_path / "x.yaml", exchange("fine"), exchange("odd", body=b'{"nothing": 1}'), exchange("fine too"))
    store = opened(tmp_path)
    assert [entry.index for entry in store.entries] == [0, 2]
    assert "plain broke on it: KeyError" in store.leftovers[0].reason
