"""What the tests of recording share: an exchange in OpenAI's dialect, and stock vcrpy reading a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vcr
import yaml

from clawbench.cassettes.formats import opened
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.scrub import Scrubber
from clawbench.cassettes.tape import RecordMode, Tape

URL = "https://api.plain.test/v1/ask"


def exchange(text: str = "hello", *, url: str = URL, chunks: int = 3) -> Interaction:
    """A streamed exchange; the text is in the request and in the reply."""
    parts = [f"data: {text} {number}\n\n".encode() for number in range(chunks)]
    return Interaction(
        file="",
        index=0,
        method="POST",
        url=url,
        request_headers={"content-type": "application/json"},
        request_body=b'{"ask":"%s"}' % text.encode(),
        status=200,
        headers={"content-type": "text/event-stream"},
        body=b"".join(parts),
        timing=RecordedTiming(0.25, tuple((len(part), 0.25 + 0.125 * place) for place, part in enumerate(parts))),
    )


def tape(path: Path, mode: RecordMode = "new_episodes", *secrets: str, comment: str = "") -> Tape:
    return Tape(path, mode=mode, scrubber=Scrubber(secrets), comment=comment)


def read(path: Path) -> list[Interaction]:
    """The interactions of a file, by our reader; all must be readable."""
    found = list(opened(path.read_bytes(), path.name).read())
    assert all(isinstance(each, Interaction) for each in found)
    return [each for each in found if isinstance(each, Interaction)]


def as_vcrpy_reads(path: Path) -> list[dict[str, Any]]:
    """The responses that stock vcrpy loads from a file."""
    with vcr.use_cassette(str(path), record_mode="none") as cassette:
        return list(cassette.responses)


def keys_at_top(path: Path) -> set[str]:
    """The keys of the file's document."""
    return set(yaml.safe_load(path.read_text()))
