"""What is asked: drawing from recorded requests, and files of prompts with named mistakes."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from clawbench.errors import PlanError
from clawbench.rng import stream
from clawbench.types import ChatRequest
from clawbench.workloads.prompts import Order, PromptFile, RecordedPrompts, StreamFlags, read_prompts, with_model


def asking(*contents: str, streamed: bool = False) -> list[ChatRequest]:
    return [
        ChatRequest(
            model="recorded",
            messages=[{"role": "user", "content": content}],
            stream=streamed,
            include_usage=streamed,
        )
        for content in contents
    ]


def contents(source: RecordedPrompts | PromptFile, draws: int, seed: int = 3) -> list[str]:
    return [request.messages[0]["content"] for request in islice(source.requests(stream(seed, "prompts")), draws)]


def test_cycling_keeps_the_order_given_and_starts_again() -> None:
    assert contents(RecordedPrompts(asking("a", "b", "c"), order="cycle"), 7) == list("abcabca")


def test_shuffling_gives_every_request_equally_often_in_an_order_that_changes() -> None:
    drawn = contents(RecordedPrompts(asking(*"abcdefgh")), 80)
    assert Counter(drawn) == dict.fromkeys("abcdefgh", 10)
    assert drawn[:8] != drawn[8:16]
    assert drawn[:8] != list("abcdefgh")


@pytest.mark.parametrize("order", ["shuffled", "cycle"])
def test_the_same_seed_gives_the_same_requests(order: Order) -> None:
    source = RecordedPrompts(asking(*"abcdefgh"), order=order, stream=0.5)
    first, second = (list(islice(source.requests(stream(9, "prompts")), 50)) for _ in range(2))
    assert first == second


def test_recorded_requests_are_given_out_untouched() -> None:
    recorded = asking("a", streamed=True) + asking("b")
    drawn = list(islice(RecordedPrompts(recorded, order="cycle").requests(stream(1)), 4))
    assert all(given is kept for given, kept in zip(drawn, recorded * 2, strict=True))


def test_a_share_decides_who_streams_and_nothing_else() -> None:
    requests = asking(*"abcdefgh", streamed=True)
    drawn = list(islice(RecordedPrompts(requests, stream=0.25).requests(stream(5)), 4000))
    assert sum(request.stream for request in drawn) == pytest.approx(1000, rel=0.1)
    assert all(request.include_usage is request.stream for request in drawn)
    untouched = islice(RecordedPrompts(requests).requests(stream(5)), 4000)
    assert [request.messages for request in drawn] == [request.messages for request in untouched]


@pytest.mark.parametrize(("share", "streamed"), [(0, 0), (1, 20), (0.0, 0), (1.0, 20)])
def test_the_shares_zero_and_one_leave_nothing_to_chance(share: float, streamed: int) -> None:
    drawn = islice(RecordedPrompts(asking("a", "b"), stream=share).requests(stream(2)), 20)
    assert sum(request.stream for request in drawn) == streamed


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "sometimes"])
def test_a_share_that_is_none_is_refused(share: StreamFlags) -> None:
    with pytest.raises(PlanError, match="stream must be"):
        RecordedPrompts(asking("a"), stream=share)


def test_no_requests_and_an_unknown_order_are_refused() -> None:
    with pytest.raises(PlanError, match="no requests"):
        RecordedPrompts([])
    with pytest.raises(PlanError, match='order must be "shuffled" or "cycle"'):
        RecordedPrompts(asking("a"), order="sorted")  # type: ignore[arg-type]


def test_with_model_changes_the_model_and_nothing_else() -> None:
    (request,) = asking("a", streamed=True)
    renamed = with_model(request, "llama-3.1-8b@price")
    assert renamed.model == "llama-3.1-8b@price"
    assert with_model(renamed, request.model) == request


def test_a_prompt_file_gives_requests_with_everything_that_its_lines_state(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"id":"p1","kind":"json","request":{"messages":[{"role":"user","content":"one"}],'
        '"response_format":{"type":"json_object"},"max_completion_tokens":50,"temperature":0}}\n\n'
        '{"id":"p2","kind":"short","request":{"messages":[{"role":"user","content":"two\\u2028lines"}]}}\n'
    )
    first, second = read_prompts(path)
    assert (first.id, first.kind, first.request.model) == ("p1", "json", "")
    assert first.request.response_format == {"type": "json_object"}
    assert (first.request.max_output_tokens, first.request.temperature) == (50, 0)
    assert second.request.max_output_tokens is None
    assert contents(PromptFile(path, order="cycle"), 3) == ["one", "two\u2028lines", "one"]


@pytest.mark.parametrize(
    ("second_line", "complaint"),
    [
        ("not json", "line 2: no prompt"),
        ('{"id":"p2","kind":"x"}', "line 2: no prompt: .*request"),
        ('{"id":"p2","kind":"x","request":{"messages":[],"max_token":5}}', "line 2: no prompt: .*max_token"),
        ('{"id":"p1","kind":"x","request":{"messages":[]}}', "line 2: id 'p1' was given before"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, second_line: str, complaint: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"id":"p1","kind":"x","request":{"messages":[]}}\n' + second_line)
    with pytest.raises(PlanError, match=complaint) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)


def test_a_missing_an_empty_and_a_binary_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, complaint in (("missing", "cannot be read"), ("empty", "holds no prompts"), ("binary", "cannot be read")):
        with pytest.raises(PlanError, match=complaint) as caught:
            read_prompts(tmp_path / name)
        assert name in str(caught.value)
