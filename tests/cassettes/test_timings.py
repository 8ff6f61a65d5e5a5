"""What recordings reveal of their times, by header, body or duration."""

from __future__ import annotations

import base64
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.framing import framing
from clawbench.cassettes.interaction import Interaction
from clawbench.cassettes.timings import TIMING_HEADERS, Revealed, revealed


def header(name: str, value: str, *, streamed: bool = False) -> Revealed | None:
    return revealed({name: value}, b"{}", streamed=streamed)


def body(value: Any) -> Revealed | None:
    return revealed({}, json.dumps(value).encode(), streamed=False)


def told(found: Revealed | None) -> tuple[object, ...]:
    """Source, then time to first token, to the end and to the headers, to be compared with tolerance."""
    assert found is not None
    times = (found.ttft_s, found.e2e_s, found.headers_s)
    return (found.source, *(None if time_s is None else pytest.approx(time_s) for time_s in times))


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("row", TIMING_HEADERS, ids=lambda row: row.name)
def test_each_header_is_read_in_its_unit_and_tells_what_the_table_says(row: Any) -> None:
    value = f"x;dur={2000}" if row.name == "server-timing" else str(2 / row.unit_s)
    if row.name == "x-compute-time":
        value = "2000"
    whole, streamed = header(row.name, value), header(row.name, value, streamed=True)
    times = {"headers": (None, 2.0, 2.0), "ttft": (2.0, None, None), "e2e": (None, 2.0, None)}[row.tells]
    assert told(whole) == ("header", *times)
    if row.tells == "e2e":
        assert streamed is None
    else:
        assert streamed is not None
        assert streamed.e2e_s is None


def test_both_times_of_one_provider_come_together() -> None:
    found = revealed({"x-metrics-ttft-ms": "285.3", "x-metrics-e2e-ms": "2004.4"}, b"", streamed=False)
    assert told(found) == ("header", 0.2853, 2.0044, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("x-originResponse;dur=858", 0.858),
        ("gfet4t7; dur=5033", 5.033),
        ("cfL4;desc=x;dur=9000, db;desc=y;dur=12, app;dur=300", 0.3),
    ],
)
def test_server_timing_takes_the_longest_mark_that_is_not_the_proxys(value: str, seconds: float) -> None:
    found = header("server-timing", value, streamed=True)
    assert told(found) == ("header", None, None, seconds)


def test_compute_time_with_a_decimal_point_is_in_seconds() -> None:
    found = header("x-compute-time", "1.5")
    assert found is not None
    assert found.e2e_s == 1.5


@pytest.mark.parametrize("value", ["-5", "nan", "inf", "1e9", "", "soon", "12, 13", "0x10"])
def test_implausible_headers_are_as_if_absent(value: str) -> None:
    assert header("openai-processing-ms", value) is None


@pytest.mark.parametrize("value", ["-5", "nan", "inf", "1e9", "", "soon", "0x10"])
def test_implausible_marks_of_server_timing_are_as_if_absent(value: str) -> None:
    assert header("server-timing", f"x;dur={value}") is None
    assert header("server-timing", f"x;dur={value}, y;dur=12") == header("server-timing", "y;dur=12")


def test_an_implausible_header_lets_the_next_one_speak() -> None:
    headers = {"x-envoy-upstream-service-time": "-1", "openai-processing-ms": "1500"}
    assert revealed(headers, b"", streamed=False) == Revealed(e2e_s=1.5, headers_s=1.5, source="header")


GROQ = {"queue_time": 0.25, "prompt_time": 0.5, "completion_time": 1.0, "total_time": 1.5}


@pytest.mark.parametrize(
    ("value", "ttft_s", "e2e_s"),
    [
        ({"usage": {**GROQ, "prompt_tokens": 3}}, 0.75, 1.75),  # the queue is not in Groq's total
        ({"x_groq": {"id": "x", "usage": GROQ}}, 0.75, 1.75),
        ({"time_info": {**GROQ, "created": 1.0}, "usage": {"total_tokens": 4}}, 0.75, 1.5),  # but in Cerebras's
        ({"timings": {"prompt_n": 1, "prompt_ms": 500.0, "predicted_ms": 1000.0}}, 0.5, 1.5),
        ({"total_duration": 3_000_000_000, "load_duration": 10**9, "prompt_eval_duration": 5 * 10**8}, 1.5, 3.0),
        ({"metrics": {"latencyMs": 8844}, "output": {}}, None, 8.844),
        ({"amazon-bedrock-invocationMetrics": {"invocationLatency": 3042, "firstByteLatency": 791}}, 0.791, 3.042),
    ],
)
def test_bodies_tell_in_their_providers_way(value: Any, ttft_s: float | None, e2e_s: float) -> None:
    expected = ("body", ttft_s, e2e_s, None)
    lines = b'{"done": false}\n' + json.dumps(value).encode() + b"\n"
    assert told(body(value)) == expected
    assert told(revealed({}, json.dumps(value, indent=2).encode(), streamed=False)) == expected
    assert told(revealed({}, sse({"choices": []}, value), streamed=True)) == expected
    assert told(revealed({}, lines, streamed=True)) == expected


def frame(payload: bytes) -> bytes:
    return (16 + len(payload)).to_bytes(4, "big") + bytes(8) + payload + b"\x01\x02\x03\x04"


def test_binary_frames_tell_too() -> None:
    metadata = frame(b'{"text":"a"}') + frame(b'{"metrics":{"latencyMs":1841},"usage":{}}')
    assert revealed({}, metadata, streamed=True) == Revealed(e2e_s=1.841, source="body")
    stop = {"amazon-bedrock-invocationMetrics": {"invocationLatency": 2000, "firstByteLatency": 500}}
    wrapped = json.dumps({"bytes": base64.b64encode(json.dumps(stop).encode()).decode()}, separators=(",", ":"))
    assert revealed({}, frame(wrapped.encode()), streamed=True) == Revealed(ttft_s=0.5, e2e_s=2.0, source="body")


@pytest.mark.parametrize(
    "value",
    [
        {"usage": {"total_time": -1.0}},
        {"usage": {"total_time": 1e300}},
        {"usage": {"total_time": "soon"}},
        {"total_duration": 10**400},
        {"metrics": "none"},
        {"timings": []},
        {"content": 'the model says "total_time": 5 and {"metrics":{"latencyMs":1}}'},
    ],
)
def test_what_makes_no_sense_in_a_body_is_as_if_absent(value: Any) -> None:
    assert body(value) is None


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"bytes":"A"}', b'\x00\x00"latencyMs":5', b'{"metrics":{"latencyMs":1}', b"\xff\xfe"]
)
def test_broken_bodies_reveal_nothing(raw: bytes) -> None:
    assert revealed({}, raw, streamed=True) is None


def test_a_first_token_after_the_end_is_dropped() -> None:
    stop = {"amazon-bedrock-invocationMetrics": {"invocationLatency": 500, "firstByteLatency": 2000}}
    assert body(stop) == Revealed(e2e_s=0.5, source="body")


def test_headers_win_unless_they_tell_less_of_a_stream_than_its_body() -> None:
    headers, events = {"openai-processing-ms": "100"}, sse({"x_groq": {"usage": GROQ}})
    by_body, by_header = (
        revealed(headers, events, streamed=True),
        revealed(headers, json.dumps(GROQ).encode(), streamed=False),
    )
    assert by_body is not None
    assert by_header is not None
    assert (by_body.source, by_header.source) == ("body", "header")


def test_a_duration_ends_with_the_headers_and_comes_last() -> None:
    assert revealed({}, b"{}", streamed=True, duration_s=0.5) == Revealed(headers_s=0.5, source="duration")
    assert revealed({}, b"{}", streamed=False, duration_s=0.5) == Revealed(headers_s=0.5, e2e_s=0.5, source="duration")
    assert revealed({}, b"{}", streamed=False, duration_s=-0.5) is None


@pytest.mark.parametrize("streamed", [True, False])
def test_a_recorders_clock_may_know_the_end_alone_or_both(streamed: bool) -> None:
    assert revealed({}, b"{}", streamed=streamed, e2e_s=2.0) == Revealed(e2e_s=2.0, source="duration")
    both = revealed({}, b"{}", streamed=streamed, duration_s=0.5, e2e_s=2.0)
    assert both == Revealed(headers_s=0.5, e2e_s=2.0, source="duration")
    crossed = revealed({}, b"{}", streamed=streamed, duration_s=3.0, e2e_s=2.0)
    assert crossed == Revealed(e2e_s=2.0, source="duration")


def test_no_recording_that_is_known_to_reveal_a_time_is_missed(shared: Path) -> None:
    known: dict[tuple[str, str, int], dict[str, str]] = {}
    with gzip.open(shared / "traces/provider-latency/latency_observations.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            times = {name: row[name] for name in row if name.endswith(("_ms", "_s")) and row[name]}
            times = {name: value for name, value in times.items() if name not in ("responses_wall_s", "client_e2e_ms")}
            if times:
                known[row["repo"], row["path"], int(row["i"])] = times
    with (shared / "real-cassettes/CATALOGUE.csv").open() as file:
        files = sorted({(row["repo"], row["path"]) for row in csv.DictReader(file) if row["format"] == "vcrpy"})
    checked = 0
    for repo, path in files:
        content = (shared / "real-cassettes" / repo.replace("/", "__") / path).read_bytes()
        for item in Vcrpy().read(content, path):
            times = known.get((repo, path, item.index), {})
            if not times or not isinstance(item, Interaction):
                continue
            streamed = framing(item.headers, item.body, stream_asked=b'"stream"' in item.request_body) != ""
            found = revealed(item.headers, item.body, streamed=streamed)
            assert found is not None, (item.id, times)
            if "total_time_s" in times and found.source == "body":
                assert found.e2e_s is not None
                assert found.e2e_s >= float(times["total_time_s"]) - 1e-9
            if "ollama_total_ms" in times and found.source == "body":
                assert found.e2e_s == pytest.approx(float(times["ollama_total_ms"]) / 1000)
            if "bedrock_latency_ms" in times and found.source == "body":
                assert found.e2e_s == pytest.approx(float(times["bedrock_latency_ms"]) / 1000)
            checked += 1
    assert checked > 200
