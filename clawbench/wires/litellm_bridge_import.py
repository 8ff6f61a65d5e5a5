"""litellm, imported on first use and kept quiet; and a seal under which it cannot reach a network.

Importing it takes seconds, so nothing imports it but through `import_litellm`. It runs with its own price map and
without telemetry, callbacks, logs and `.env` files. `sealed` refuses sockets, name look-ups and processes to what runs
in it: transformations are pure, and one that is not must not find out. Knows nothing of wires.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from clawbench.errors import UsageError

STOLEN_VERSIONS: Final = frozenset({"1.82.7", "1.82.8"})
"""Releases of litellm that carried somebody else's code."""

_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the price map that came with the package, no download
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_MODE": "PRODUCTION",  # reads no .env file
    "LITELLM_LOG": "ERROR",
}
_REFUSED: Final = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen", "os.system"}
)


def refuse_version(installed: str) -> None:
    """Raises `UsageError` for a release of litellm that must not be run."""
    if installed in STOLEN_VERSIONS:
        way_out = f"pip install 'litellm!={installed}'"
        raise UsageError(f"litellm {installed} is refused: that release was tampered with. Install another: {way_out}")


@cache
def import_litellm() -> Any:
    """The module, quiet and offline. Raises `UsageError` for a release that must not be run."""
    refuse_version(version("litellm"))
    os.environ.update(_ENVIRONMENT)
    # pydantic's remark on litellm's own types, which nobody here can act on.
    warnings.filterwarnings("ignore", message=".*TypedDict class.*ReadOnly.*", category=UserWarning)
    litellm: Any = importlib.import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    for name in ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "input_callback"):
        setattr(litellm, name, [])
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm


@cache
def import_httpx() -> Any:
    """The HTTP library whose replies litellm reads; here as a value type only."""
    return importlib.import_module("httpx")


class _Seal(threading.local):
    """Whether this thread runs sealed code, and what that code tried to reach."""

    def __init__(self) -> None:
        self.depth = 0
        self.reached: list[str] = []


_seal: Final = _Seal()


class SealBroken(OSError):
    """Sealed code asked for a network or a process."""


@contextmanager
def sealed() -> Iterator[list[str]]:
    """Refuses networks and processes to this thread. Yields what was asked for; asking for it was refused each time.

    The code inside may swallow the refusal, so the list is to be looked at afterwards.
    """
    _install()
    if _seal.depth == 0:
        _seal.reached = []
    _seal.depth += 1
    try:
        yield _seal.reached
    finally:
        _seal.depth -= 1


@cache
def _install() -> None:
    sys.addaudithook(_refuse)  # stays for good, and costs one look-up an event


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REFUSED and _seal.depth:
        place = arguments[1] if event == "socket.connect" else arguments[0]
        _seal.reached.append(str(place)[:100])
        raise SealBroken(f"{event} is refused here: {str(place)[:100]}")
