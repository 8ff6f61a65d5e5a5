"""The command line as a user meets it: what it prints and what it ends with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from clawbench.cli import run
from clawbench.clock import LoopClock, run_virtual
from clawbench.config.plan import load_plan
from clawbench.experiments.cell import build_app
from clawbench.experiments.client import ask, client_body
from clawbench.experiments.prepare import Prepared, prepare, recorded_requests
from clawbench.gateway.recorder import RequestContext
from clawbench.gateway.records import MemoryWriter
from clawbench.types import ChatRequest

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
        (["cassettes", "show", str(ROOT / "cassettes" / "pool"), "none.yaml#0"], "none.yaml#0"),
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
    folder = str(ROOT / "cassettes" / "pool")
    assert run(["cassettes", "check", folder, "--json", "--strict"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["decoded"] == report["totals"]["interactions"] == 3408
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


def recorded_by_the_bench(prepared: Prepared, request: ChatRequest) -> tuple[dict[str, Any], str]:
    """What the bench records for this request in virtual time, and the text that it got."""

    async def main() -> tuple[dict[str, Any], str]:
        clock, writer = LoopClock(), MemoryWriter()
        transport = prepared.transport(clock, seed=1, paced=False)
        app = build_app(
            prepared, transport, strategy="price", seed=1, clock=clock, writer=writer, run_id="r", ids=lambda: "id"
        )
        context = RequestContext(request_id="r1", draw_key="1")
        answer = await ask(app, client_body(request, "llama-4-scout@price"), context, keep=True)
        events = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: {")]
        if request.stream:
            pieces = [json.loads(event)["choices"] for event in events]
            text = "".join(piece[0]["delta"].get("content") or "" for piece in pieces if piece)
        else:
            text = json.loads(answer.body)["choices"][0]["message"]["content"] or ""
        return writer.frame("requests").to_dicts()[0], text

    return run_virtual(main)


def test_openais_client_talks_to_a_server_and_gets_what_the_bench_records() -> None:
    prepared = prepare(load_plan(Path(QUICKSTART)))
    offers = list(prepared.catalog.offers_of())
    asked = {
        (request.stream, bool(request.tools)): request
        for request in recorded_requests(prepared.opened, prepared.store, offers)
        if not any(message["role"] == "tool" for message in request.messages)
    }
    with Server(QUICKSTART) as server:
        client: Any = openai.OpenAI(base_url=server.url, api_key="any", max_retries=0)
        chats = client.chat.completions
        assert "llama-4-scout" in [model.id for model in client.models.list()]
        for with_tools in (False, True):
            request = asked[False, with_tools]
            raw = chats.with_raw_response.create(model="llama-4-scout@price", **_arguments(request))
            answer = raw.parse()
            record, text = recorded_by_the_bench(prepared, request)
            assert (answer.choices[0].message.content or "") == text
            assert answer.usage.completion_tokens == record["output_tokens"]
            assert raw.headers["x-clawbench-offer"] == record["offer_id"]
            assert Decimal(raw.headers["x-clawbench-cost-usd"]) == Decimal(record["cost_pico_usd"]) / 10**12
        assert answer.choices[0].message.tool_calls[0].function.name

        request = asked[True, False]
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(chats.create(model="llama-4-scout@price", **options, **_arguments(request)))
        record, text = recorded_by_the_bench(prepared, request)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
        assert chunks[-1].usage.completion_tokens == record["output_tokens"]

        with pytest.raises(openai.NotFoundError) as missing:
            chats.create(model="nope", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model_not_found"
        assert httpx.get(server.url.removesuffix("/v1") + "/health").json() == {"status": "ok"}


def _arguments(request: ChatRequest) -> dict[str, Any]:
    names = {
        "messages": "messages",
        "max_output_tokens": "max_tokens",
        "temperature": "temperature",
        "tools": "tools",
        "tool_choice": "tool_choice",
        "response_format": "response_format",
    }
    return {name: getattr(request, field) for field, name in names.items() if getattr(request, field) is not None}


def test_the_package_can_be_run_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "clawbench", "run", "--help"], capture_output=True, text=True, check=True
    )
    assert "PLAN" in ran.stdout
