"""Which recording answers which request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.matching import features, key
from clawbench.cassettes.replay import BoundStore, Found, NoRecording
from clawbench.cassettes.store import open_store
from clawbench.cassettes.writer import write_cassette
from clawbench.rng import Draws, draws
from clawbench.types import ChatRequest, Offer
from tests.cassettes.made import BASE_URL, HOST, WIRES, exchange, offer

TOOL = {"type": "function", "function": {"name": "f"}}


def bound(folder: Path, items: Sequence[Interaction], offers: Sequence[Offer] = (offer(),)) -> BoundStore:
    write_cassette(folder / "tape.yaml", items)
    return open_store([folder], WIRES).bind(offers)


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest(model="any", messages=[{"role": "user", "content": text}], **fields)


def find(store: BoundStore, request: ChatRequest, *, to: str = "plain/m1", seed: int = 0, **options: Any) -> Found:
    return store.find(
        to, key(request), features(request), draw=lambda: draws(seed, "request"), request=request, **options
    )


def never() -> Draws:
    raise AssertionError("nothing was to be drawn")


def test_the_same_request_gets_its_own_recording(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("a"), exchange("b"), exchange("b", stream=True)])
    for index, request in enumerate([ask("a"), ask("b"), ask("b", stream=True)]):
        found = store.find("plain/m1", key(request), features(request), draw=never, strict=True)
        assert (found.match, found.entry.id) == ("exact", f"tape.yaml#{index}")


def test_several_recordings_of_one_request_are_all_drawn(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("a", say=str(n)) for n in range(4)] + [exchange("other")])
    drawn = Counter(find(store, ask("a"), seed=seed).entry.index for seed in range(400))
    assert set(drawn) == {0, 1, 2, 3}
    assert min(drawn.values()) > 60
    assert find(store, ask("a"), seed=7) == find(store, ask("a"), seed=7)


def test_a_recorded_error_replays_on_exact_only(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("aaaa", status=429), exchange("b" * 900)])
    assert find(store, ask("aaaa")).entry.status == 429
    assert find(store, ask("aaab")).entry.status == 200
    assert not store.ineligible


def test_an_offer_with_errors_only_is_ineligible_with_the_reason(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("a", status=429), exchange("b", status=429), exchange("c", status=500)])
    assert store.ineligible == {"plain/m1": "only errors are recorded of this offer (2 rate_limited, 1 upstream_5xx)"}
    assert find(store, ask("c")).entry.status == 500
    with pytest.raises(NoRecording, match="only errors are recorded"):
        find(store, ask("d"))


def test_nearest_keeps_the_stream_flag_before_the_tools_before_the_size(tmp_path: Path) -> None:
    items = [
        exchange("x" * 100, stream=True, tools=[TOOL]),
        exchange("x" * 100, stream=True),
        exchange("x" * 100, tools=[TOOL]),
        exchange("x" * 9000),
    ]
    store = bound(tmp_path, items)
    for stream, tools, expected in [(True, [TOOL], 0), (True, None, 1), (False, [TOOL], 2), (False, None, 3)]:
        found = find(store, ask("y" * 100, stream=stream, tools=tools))
        assert (found.match, found.entry.index) == ("nearest", expected)
    no_streams_with_tools = bound(tmp_path, items[1:])
    assert find(no_streams_with_tools, ask("y" * 100, stream=True, tools=[TOOL])).entry.index == 0
    assert find(bound(tmp_path, items[2:]), ask("y" * 100, stream=True, tools=[TOOL])).entry.index == 0
    assert find(bound(tmp_path, items[3:]), ask("y", stream=True, tools=[TOOL])).entry.index == 0


def test_near_equals_within_ten_percent_share_the_answers(tmp_path: Path) -> None:
    sizes = [50, 96, 100, 104, 160]
    store = bound(tmp_path, [exchange("x" * size) for size in sizes])
    drawn = Counter(find(store, ask("y" * 100), seed=seed).entry.prompt_chars for seed in range(300))
    assert set(drawn) == {96, 100, 104}
    assert min(drawn.values()) > 50


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=20), st.integers(0, 2000), st.integers(0, 9))
def test_no_recording_is_much_nearer_than_the_one_that_is_given(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], wanted: int, seed: int
) -> None:
    store = bound(tmp_path_factory.mktemp("tapes"), [exchange("x" * size) for size in sizes])

    def ratio(size: int) -> float:
        one, two = sorted((max(size, 1), max(wanted, 1)))
        return two / one

    found = find(store, ask("y" * wanted), seed=seed)
    assert ratio(found.entry.prompt_chars) <= 1.1 * min(map(ratio, sizes)) * (1 + 1e-9)


def test_strict_takes_exact_only_and_says_what_differs(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("x" * 500), exchange("hello", temperature=0.5, top_k=3)])
    with pytest.raises(NoRecording) as caught:
        find(store, ask("hello", temperature=0.7), strict=True)
    error = caught.value
    assert (error.offer_id, error.matcher, error.nearest) == ("plain/m1", "exact", "tape.yaml#1")
    assert str(error) == (
        "plain/m1: none of 2 recordings is of exactly this request, and strict replay takes no other; "
        "nearest is tape.yaml#1 (temperature 0.7 vs 0.5; top_k absent vs 3)"
    )


def test_without_the_request_the_message_still_names_the_nearest(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("hello")])
    wanted = ask("secret", stream=True)
    with pytest.raises(NoRecording, match=r"nearest is tape\.yaml#0$"):
        store.find("plain/m1", key(wanted), features(wanted), draw=never, strict=True)


def test_a_pinned_recording_is_given_whatever_else_there_is(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("a"), exchange("b"), exchange("b", status=500)])
    assert find(store, ask("a"), pinned="tape.yaml#0") == find(store, ask("a"))
    found = find(store, ask("a"), pinned="tape.yaml#2")
    assert (found.match, found.entry.status) == ("nearest", 500)
    with pytest.raises(NoRecording, match=r"tape\.yaml#9 is no recording of this offer"):
        find(store, ask("a"), pinned="tape.yaml#9")


def test_an_interaction_belongs_to_the_offer_of_its_host_path_and_model(tmp_path: Path) -> None:
    items = [
        exchange("a"),
        exchange("a", model="m2"),
        exchange("a", url=f"{HOST}:8443/v1/ask"),
        exchange("a", url=f"{HOST}/v1/eu/ask"),
        exchange("a", url=f"{HOST}/v10/ask"),
    ]
    offers = [
        offer(id="general"),
        offer(id="again"),  # the same place and model: the first one has the recordings
        offer(id="eu", base_url=f"{BASE_URL}/eu"),
        offer("m2", id="m2"),
        offer(id="port", base_url=f"{HOST.upper()}:8443/v1"),
    ]
    store = bound(tmp_path, items, offers)
    owned = {of.id: [entry.index for entry in store.entries(of.id)] for of in offers}
    assert owned == {"general": [0], "again": [], "eu": [3], "m2": [1], "port": [2]}
    assert [entry.index for entry in store.unassigned] == [4]


def test_an_offer_without_recordings_is_told_why(tmp_path: Path) -> None:
    offers = [
        offer("m9", id="model"),
        offer(id="host", base_url="https://nowhere.test/v1"),
        offer(id="dialect", dialect="openai_chat"),
    ]
    store = bound(tmp_path, [exchange("a")], offers)
    assert store.unrecorded == {
        "model": f"nothing is recorded of m9 at {BASE_URL}; recorded there: m1",
        "host": "nothing is recorded of m1 at https://nowhere.test/v1",
        "dialect": "recorded there in dialect plain, the offer says openai_chat",
    }
    with pytest.raises(NoRecording, match="nothing is recorded of m9"):
        find(store, ask("a"), to="model")
    with pytest.raises(NoRecording, match="not among those"):
        find(store, ask("a"), to="unheard-of")


def test_the_bound_store_gives_bytes_and_dialects(tmp_path: Path) -> None:
    store = bound(tmp_path, [exchange("a", say="hi there")])
    entry = find(store, ask("a")).entry
    assert store.body(entry) == exchange("a", say="hi there").body
    assert store.headers(entry) == {"content-type": "application/json"}
    assert store.dialect("plain/m1") == "plain"
    assert store.call(entry).url.startswith(BASE_URL)
