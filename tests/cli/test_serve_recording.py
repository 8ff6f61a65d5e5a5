"""`clawbench serve PLAN --record NAME`: what clients were answered is on the tape, however the server is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from clawbench.taping.endpoint import endpoint
from tests.cli.provider_on_loopback import providers
from tests.taping.made import read

MAIN = "from clawbench.cli import main; main()"


@contextmanager
def server(plan: Path, tape: Path) -> Iterator[tuple[subprocess.Popen[str], OpenAI]]:
    """The verb in a process of its own, on a free port, and a client of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", str(plan), "--record", str(tape), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split(" on ")[1].split(" ")[0]
        with OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate(timeout=30)


def say_hello(client: OpenAI) -> tuple[str, str | None]:
    """The texts of a streamed and of a whole answer."""
    events = client.chat.completions.create(
        model="llama", messages=[{"role": "user", "content": "Say hello."}], stream=True
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    whole = client.chat.completions.create(model="llama", messages=[{"role": "user", "content": "Say hello."}])
    return text, whole.choices[0].message.content


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_was_answered_is_kept_and_served_when_the_provider_is_gone(
    sent: signal.Signals, code: int, tmp_path: Path
) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick",)) as loopback, server(loopback.plan, tape) as (process, client):
        live = say_hello(client)
        process.send_signal(sent)
        _, told = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in told) == (code, False), told
    assert [each.name for each in tape.iterdir()] == ["quick-llama.yaml"], "no lock is left behind"
    assert [each.timing is not None for each in read(tape / "quick-llama.yaml")] == [True, True]
    with endpoint(tape) as running, OpenAI(base_url=running.base_url, api_key=running.api_key) as client:
        assert say_hello(client) == live


def test_a_second_server_may_not_record_into_the_same_folder(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with providers(tmp_path, names=("quick",)) as loopback, server(loopback.plan, tape) as (process, client):
        second = subprocess.run(
            [sys.executable, "-c", MAIN, "serve", str(loopback.plan), "--record", str(tape), "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 2
        assert f"being recorded by process {process.pid}" in second.stderr
        assert say_hello(client)[1]
    assert len(read(tape / "quick-llama.yaml")) >= 1, "killed, it loses at most the last answer"
