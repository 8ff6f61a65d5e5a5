"""Run folders: what is read, what is shown, and what tells two runs apart."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from clawbench.analysis import plots
from clawbench.analysis.digest import digest
from clawbench.analysis.frames import NotARun, RunFolder
from clawbench.analysis.report import page, write_report
from clawbench.analysis.terminal import print_summary
from clawbench.schema import TABLES, TIMINGS, polars_schema
from tests.analysis.made_run import Row, attempt, frame, manifest, request, write_run


def test_parts_of_all_finished_cells_are_one_frame(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path, strategies=("a", "b"), seeds=(1, 2), requests=30, parts=3))
    assert run.requests().height == 4 * 30
    assert run.attempts(with_cell=True)["strategy"].n_unique() == 2
    assert run.requests().to_pandas().shape[0] == 120
    for table in TABLES:
        assert dict(run.scan(table).collect_schema()) == polars_schema(table)


def test_cells_that_are_not_finished_are_told_and_in_no_table(tmp_path: Path) -> None:
    write_run(tmp_path, strategies=("a", "b"), seeds=(1,), requests=10)
    (tmp_path / "cells" / "c001" / "done.json").unlink()
    (tmp_path / "cells" / ".c002").mkdir()
    run = RunFolder(tmp_path)
    assert run.unfinished == ("c001",)
    assert run.requests()["strategy"].unique().to_list() == ["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "has no manifest.json"), ("{", "cannot be read"), ("[]", "not an object"), ("{}", "version")],
)
def test_what_is_no_run_folder_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(NotARun, match=said) as raised:
        RunFolder(tmp_path)
    assert raised.value.exit_code == 2


def tables_of(run: RunFolder) -> dict[str, pl.DataFrame]:
    return {table: run.scan(table).collect() for table in ("requests", "attempts", "decisions", "ledger")}


def test_neither_row_order_nor_parts_change_the_digest(tmp_path: Path) -> None:
    one = RunFolder(write_run(tmp_path / "one", requests=40, parts=1))
    many = RunFolder(write_run(tmp_path / "many", requests=40, parts=7))
    assert digest(one) == digest(many) == digest(one, piece_rows=7)
    mixed = {table: rows.sample(fraction=1.0, shuffle=True, seed=3) for table, rows in tables_of(one).items()}
    assert digest(mixed) == digest(one)


changes = st.one_of(
    st.tuples(st.just("t_end_s"), st.floats(allow_nan=False).filter(lambda value: value != 2.0)),
    st.tuples(st.just("output_tokens"), st.none() | st.integers(-(2**63), 2**63 - 1).filter(lambda value: value != 16)),
    st.tuples(st.just("offer_id"), st.none() | st.text().filter(lambda value: value != "plain/llama-3.1-8b")),
    st.tuples(st.just("stream"), st.just(False)),
)


@given(changes)
def test_every_changed_value_changes_the_digest(change: tuple[str, object]) -> None:
    rows: list[Row] = [request("c-0"), request("c-1")]
    changed = [request("c-0"), request("c-1", **{change[0]: change[1]})]
    assert digest({"requests": frame("requests", rows)}) != digest({"requests": frame("requests", changed)})


def test_two_rows_of_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="c-0"):
        digest({"requests": frame("requests", [request("c-0"), request("c-0")])})


def printed(run: RunFolder, width: int = 160) -> str:
    out = StringIO()
    print_summary(run, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 100, 200])
def test_the_terminal_shows_doubts_first_and_every_strategy(tmp_path: Path, width: int) -> None:
    run = RunFolder(write_run(tmp_path, strategies=("price", "latency"), warnings=["take care"]))
    text = printed(run, width)
    assert text.index("nearest") < text.index("Outcome and cost")
    assert "take care" in text
    assert max(map(len, text.splitlines())) <= width
    for strategy in ("price", "latency"):
        assert strategy in text


def test_a_single_seed_is_said_to_say_nothing_of_chance(tmp_path: Path) -> None:
    assert "One seed" in printed(RunFolder(write_run(tmp_path, seeds=(1,))))


def small_run(folder: Path, requests: list[Row], attempts: list[Row], **facts: object) -> RunFolder:
    cell = folder / "cells" / "c"
    cell.mkdir(parents=True)
    frame("requests", requests).write_parquet(cell / "requests-00000.parquet")
    frame("attempts", attempts).write_parquet(cell / "attempts-00000.parquet")
    (cell / "done.json").write_text("{}")
    cells = [{"id": "c", "strategy": "price", "seed": 1, "requests": len(requests)}]
    (folder / "manifest.json").write_text(json.dumps(manifest(["price"], [1], cells, **facts)))
    return RunFolder(folder)


@pytest.mark.parametrize(
    ("requests", "attempts"),
    [
        ([], []),
        (
            [request(stream=False, t_first_token_s=None, t_last_token_s=None, cost_pico_usd=None)],
            [attempt(match="nearest")],
        ),
        ([request(status="failed", offer_id=None, t_first_token_s=None)], [attempt(outcome="reset_early", match=None)]),
    ],
    ids=["empty", "nothing streamed, no cost", "all failed"],
)
def test_a_run_without_figures_is_reported_without_a_crash(
    tmp_path: Path, requests: list[Row], attempts: list[Row]
) -> None:
    run = small_run(tmp_path, requests, attempts)
    assert "<svg" in page(run)
    assert printed(run)


@pytest.mark.parametrize("strategies", [1, 8])
def test_figures_are_drawn_for_few_and_many_strategies_and_offers(tmp_path: Path, strategies: int) -> None:
    offers = {f"p{n}/m": (0.2 + n / 50, 50.0 + n, 10_000 + n, 0.02) for n in range(40)}
    names = [f"strategy-{n}" for n in range(strategies)]
    run = RunFolder(write_run(tmp_path, strategies=names, seeds=(1, 2), requests=40, offers=offers))
    for draw in (
        plots.cost_against_ttft, plots.distributions, plots.offers_over_time, plots.status_bars,
        plots.match_and_timing_bars,
    ):  # fmt: skip
        assert draw(run).axes


def bars_of(*kinds: tuple[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Requests with one answered attempt each, so many of each timing; every thousandth request failed."""
    ids = [(f"c-{n:06d}", timing) for timing, many in kinds for n in range(many)]
    ids = [(f"{timing}-{name}", timing) for name, timing in ids]
    requests = [request(name, status="failed" if n % 1000 == 999 else "ok") for n, (name, _) in enumerate(ids)]
    attempts = [attempt(name, match="nearest", timing=timing) for name, timing in ids]
    return frame("requests", requests), frame("attempts", attempts)


def test_bars_say_all_of_all_only() -> None:
    requests, _ = bars_of(("header", 1000))
    (axes,) = plots.status_bars(requests).axes
    assert [text.get_text() for text in axes.texts] == [">99 %"]


def test_every_name_of_a_legend_is_on_the_page() -> None:
    requests, attempts = bars_of(*((timing, 3) for timing in TIMINGS))
    picture = plots.match_and_timing_bars(requests, attempts)
    picture.draw_without_rendering()
    width, height = picture.get_size_inches() * picture.dpi
    shown = [each.get_text() for legend in picture.legends for each in legend.get_texts()]
    assert shown == ["nearest", *TIMINGS]
    for legend in picture.legends:
        x0, y0, x1, y1 = legend.get_window_extent().extents
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
    for axes in picture.axes:
        below = axes.get_tightbbox()
        assert below is not None
        assert all(legend.get_window_extent().y1 <= below.y0 for legend in picture.legends)


def test_a_column_of_shares_is_set_as_figures_also_where_one_is_below_all_digits(tmp_path: Path) -> None:
    attempts = [attempt(f"c-{n:06d}", outcome="ok" if n else "timeout_first") for n in range(3000)]
    text = page(small_run(tmp_path, [request(f"c-{n:06d}") for n in range(3000)], attempts))
    assert "<td>&lt;0.1 % (1)</td>" in text


HOSTILE = "<script>alert('x')</script>"


def test_a_page_is_whole_escaped_and_the_same_twice(tmp_path: Path) -> None:
    plan = {"name": HOSTILE, "path": HOSTILE, "hash": "1", "description": HOSTILE}
    run = small_run(tmp_path, [request(offer_id=HOSTILE)], [attempt(offer_id=HOSTILE)], plan=plan, warnings=[HOSTILE])
    text = page(run)
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)=["']?https?:""", text.replace('xlink:href="#', "")), "nothing is loaded"
    assert text == page(run)
    path = write_report(run, tmp_path / "report.html")
    assert path.read_text() == text
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cells", "manifest.json", "report.html"]
