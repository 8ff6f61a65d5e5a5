"""A recorded endpoint for an application's tests: the official client talks to it, at once or at the recorded pace."""

from __future__ import annotations

import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import msgspec
import openai
import pytest
from openai import OpenAI

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.writer import write_cassette
from clawbench.errors import CassetteError, UsageError
from clawbench.taping.endpoint import endpoint
from tests.lab import JSON, SSE, chat, completion, frames

URL = "https://a.example/v1/chat/completions"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
PACE_S = 0.03


def recorded(folder: Path) -> Path:
    """A folder with one streamed and one whole answer, the stream taking `PACE_S` a chunk."""
    parts = frames("one", "two")
    timing = RecordedTiming(PACE_S, tuple((len(part), PACE_S * (place + 1)) for place, part in enumerate(parts)))
    whole = completion("Hello.").chunks[0][1]
    items = [
        (chat(stream=True, stream_options={"include_usage": True}), SSE, b"".join(parts), timing),
        (chat(), JSON, whole, RecordedTiming(60.0, ((len(whole), 60.0),))),
    ]
    tapes = [
        Interaction(
            file="", index=0, method="POST", url=URL, request_body=msgspec.json.encode(asked), status=200,
            headers=dict(headers), body=body, timing=times,
        )
        for asked, headers, body, times in items
    ]  # fmt: skip
    write_cassette(folder / "a.yaml", tapes)
    return folder


def test_a_client_is_answered_from_recordings_at_once(tmp_path: Path) -> None:
    began = perf_counter()
    with endpoint(recorded(tmp_path)) as running:
        assert running.models == ["m"]
        client = OpenAI(base_url=running.base_url, api_key=running.api_key, max_retries=0)
        whole = client.chat.completions.create(model="m", messages=HELLO)
        stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
        text = "".join(event.choices[0].delta.content or "" for event in stream if event.choices)
    assert (whole.choices[0].message.content, text) == ("Hello.", "onetwo")
    assert perf_counter() - began < 30.0  # the whole answer took a minute when it was recorded


def test_the_recorded_pace_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    with endpoint(recorded(tmp_path), pace="recorded") as running:
        began = perf_counter()
        asked = {**chat(stream=True)}
        with httpx.stream("POST", f"{running.base_url}/chat/completions", json=asked) as response:
            for _ in response.iter_bytes():
                pass
        assert perf_counter() - began >= PACE_S * len(frames("one", "two"))


def test_what_was_not_recorded_is_refused_unless_the_nearest_will_do(tmp_path: Path) -> None:
    other: Any = [{"role": "user", "content": "Say something else."}]
    with endpoint(recorded(tmp_path) / "a.yaml") as running:
        client = OpenAI(base_url=running.base_url, api_key="any", max_retries=0)
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="m", messages=other)
    with endpoint(tmp_path, matching="exact_then_nearest") as running:
        client = OpenAI(base_url=running.base_url, api_key="any", max_retries=0)
        assert client.chat.completions.create(model="m", messages=other).choices[0].message.content == "Hello."


def test_nothing_is_left_behind_and_two_may_run_together(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    before = set(threading.enumerate())
    with endpoint(folder) as one, endpoint(folder) as other:
        assert one.base_url != other.base_url
        urls = [one.base_url, other.base_url]
        assert all(httpx.get(f"{url}/models").status_code == 200 for url in urls)
    assert set(threading.enumerate()) == before
    for url in urls:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/models")


def test_recordings_that_cannot_be_served_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one"), endpoint():
        pass
    with pytest.raises(UsageError), endpoint(tmp_path / "nowhere"):
        pass
    (tmp_path / "broken.yaml").write_text("interactions: [")
    with pytest.raises(CassetteError), endpoint(tmp_path / "broken.yaml"):
        pass
