"""The pytest plugin, as an application uses it: in a pytest of its own."""

from __future__ import annotations

import socket
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.taping.made import read
from tests.taping.test_endpoint import recorded

pytest_plugins = ["pytester"]

PLUGIN = [] if entry_points(group="pytest11", name="clawbench") else ["-p", "clawbench.pytest_plugin"]

RECORDS = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest


class Provider(BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self):
        type(self).asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = HTTPServer(("127.0.0.1", PORT), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("word", ["one two"])
def test_it(word, url, clawbench_recording):
    assert httpx.post(url, json={"word": word}).json() == {}
    assert Provider.asked == ASKED
"""

SERVED = """
import openai
import pytest

pytestmark = pytest.mark.clawbench(cassettes="tapes")


def test_it(clawbench_endpoint):
    client = openai.OpenAI(base_url=clawbench_endpoint.base_url, api_key=clawbench_endpoint.api_key)
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Say hello."}])
    assert answer.choices[0].message.content == "Hello."


@pytest.mark.clawbench(matching="exact_then_nearest")
def test_a_nearer_marker_adds_to_the_outer_one(clawbench_endpoint):
    client = openai.OpenAI(base_url=clawbench_endpoint.base_url, api_key=clawbench_endpoint.api_key)
    assert client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Other."}])
"""


def test_a_tests_calls_are_recorded_beside_it_and_played_the_next_time(pytester: pytest.Pytester) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for asked in (1, 0):
        pytester.makepyfile(test_calls=RECORDS.replace("PORT", str(port)).replace("ASKED", str(asked)))
        pytester.runpytest_subprocess(*PLUGIN, timeout=60).assert_outcomes(passed=1)
    (tape,) = Path(pytester.path, "cassettes", "test_calls").glob("*.yaml")
    assert tape.name == "test_it-one-two.yaml"
    (item,) = read(tape)
    assert item.timing is not None


def test_nothing_is_recorded_where_the_mode_forbids_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_calls=RECORDS.replace("PORT", "0").replace("ASKED", "1"))
    result = pytester.runpytest_subprocess(*PLUGIN, "--clawbench-record=none", timeout=60)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no such cassette*"])


def test_an_endpoint_serves_the_cassettes_that_the_marker_or_the_configuration_names(
    pytester: pytest.Pytester,
) -> None:
    recorded(pytester.mkdir("tapes"))
    pytester.makepyfile(test_marked=SERVED, test_configured=SERVED.replace('cassettes="tapes"', ""))
    pytester.makeini("[pytest]\nclawbench_cassettes = tapes")
    pytester.runpytest_subprocess(*PLUGIN, timeout=60).assert_outcomes(passed=4)


def test_an_endpoint_without_recordings_says_what_it_needs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(clawbench_endpoint): pass")
    result = pytester.runpytest_subprocess(*PLUGIN, timeout=60)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*clawbench_endpoint needs recordings*"])
