"""The command line as a user meets it: what it prints and what it ends with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest

from clawbench.cli import run
from clawbench.config.plan import load_plan
from clawbench.experiments.prepare import prepare, recorded_requests

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs" / "quickstart.toml")
SMALL = ["--set", "workload.requests=60", "--seed", "1", "--strategy", "random", "--strategy", "price"]


def test_a_run_prints_the_table_and_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", QUICKSTART, "--out", str(tmp_path), *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "random" in printed
    assert "price" in printed
    (report,) = re.findall(r"Report: (\S+)", printed.replace("\n", " "))
    assert Path(report).exists()


def test_json_is_json_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", QUICKSTART, "--out", str(tmp_path), "--json", *SMALL]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [row["strategy"] for row in figures["summary"]] == ["price", "random"]
    assert run(["report", figures["path"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == figures["summary"]
    assert run(["runs", "--out", str(tmp_path), "--json"]) == 0
    assert [found["path"] for found in json.loads(capsys.readouterr().out)] == [figures["path"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.toml"], "There is no plan none.toml"),
        (["run", QUICKSTART, "--set", "workload.rate_rp=1"], 'Did you mean "rate_rps"'),
        (["run", QUICKSTART, "--strategy", "cheap"], 'strategy "cheap" is not known'),
        (["run"], "Missing argument"),
        (["rnu"], "No such command"),
        (["report", "."], "is no run folder"),
        (["plan", "check", QUICKSTART, "--set", "seeds=[]"], "seeds is empty"),
        (["cassettes", "check", "nowhere"], "there is no such file or folder"),
        (["cassettes", "show", str(ROOT / "cassettes" / "quickstart"), "none.yaml#0"], "none.yaml#0"),
        (["serve"], "either a plan or --cassettes"),
    ],
)
def test_bad_usage_is_said_plainly_and_ends_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


def test_a_plan_can_be_checked_without_running_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "check", QUICKSTART]) == 0
    assert "15 cells" in capsys.readouterr().out


def test_the_recordings_that_ship_are_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(ROOT / "cassettes" / "quickstart")
    assert run(["cassettes", "check", folder, "--json", "--strict"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["decoded"] == report["totals"]["interactions"] == 1904
    assert report["not_understood"] == []
    assert run(["cassettes", "ls", folder, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert run(["cassettes", "show", folder, rows[0]["id"]]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == rows[0]["id"]


def test_a_folder_with_a_broken_file_is_reported_with_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text('interactions:\n- request:\n    body: "abc')
    assert run(["cassettes", "check", str(tmp_path)]) == 1
    assert "broken.yaml" in capsys.readouterr().out


def test_real_recordings_are_counted_and_listed(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cassettes", "check", str(shared / "real-cassettes"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["files"] == 1018
    of_vcrpy = report["by_format"]["vcrpy"]
    assert of_vcrpy["files_loaded"] / of_vcrpy["files"] >= 0.99
    assert {"file", "interaction", "reason"} <= set(report["not_understood"][0]) if report["not_understood"] else True


class Server:
    """`clawbench serve` in a process of its own, on a free loopback port."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from clawbench.cli import main; main()", "serve", *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
        assert found, (line, self.process.stderr.read() if self.process.stderr else "")
        self.url = found[0]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.process.pid, signal.SIGINT)
        self.process.communicate(timeout=20)


def test_openais_client_talks_to_a_server_and_gets_what_the_bench_records() -> None:
    prepared = prepare(load_plan(Path(QUICKSTART)))
    offers = prepared.catalog.offers_of()
    asked = {
        (request.stream, bool(request.tools)): request
        for request in recorded_requests(prepared.opened, prepared.store, list(offers))
        if not any(message["role"] == "tool" for message in request.messages)
    }
    with Server(QUICKSTART) as server:
        client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
        assert "llama-3.1-8b" in [model.id for model in client.models.list()]
        plain = asked[False, False]
        answer = client.chat.completions.create(model="llama-3.1-8b@price", messages=plain.messages, **_rest(plain))  # type: ignore[call-overload]
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens > 0
        with_tools = asked[False, True]
        called = client.chat.completions.create(
            model="llama-3.1-8b@price", messages=with_tools.messages, **_rest(with_tools)
        )  # type: ignore[call-overload]
        assert called.choices[0].finish_reason in ("tool_calls", "stop")
        flowing = asked[True, False]
        stream = client.chat.completions.create(
            model="llama-3.1-8b@price",
            messages=flowing.messages,
            stream=True,
            stream_options={"include_usage": True},
            **_rest(flowing),
        )  # type: ignore[call-overload]
        chunks = list(stream)
        assert chunks[-1].usage.completion_tokens > 0
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="nope", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model_not_found"
        assert httpx.get(server.url.removesuffix("/v1") + "/health").json() == {"status": "ok"}


def _rest(request: object) -> dict[str, object]:
    names = {
        "max_output_tokens": "max_tokens",
        "temperature": "temperature",
        "tools": "tools",
        "tool_choice": "tool_choice",
        "response_format": "response_format",
    }
    return {name: getattr(request, field) for field, name in names.items() if getattr(request, field) is not None}
