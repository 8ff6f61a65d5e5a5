"""Emulated providers behind a real socket for the tests of recording, and a plan that records them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from clawbench.clock import LoopClock
from clawbench.config.emulator import load_emulator
from clawbench.emulator.http import EmulatorApp
from clawbench.emulator.specs import live_provider
from clawbench.taping.endpoint import serving

KEY = "sk-test-4f9a8b7c6d5e4f3a2b1c"
PROMPTS = "".join(
    f'{{"id": "{number}", "kind": "short", "request": {{"messages": [{{"role": "user", "content": "{text}"}}], '
    '"max_completion_tokens": 40}}\n'
    for number, text in enumerate(("Say hello.", "Name a river.", "Count to ten."))
)
PROVIDERS = {"quick": "openai_chat", "calm": "anthropic", "odd": "gemini"}

_EMULATOR = """
[[providers]]
name = "{name}"
dialects = ["{dialect}"]
{key}
[[providers.offers]]
model = "llama"
profile = {{ ttft_s_median = {ttft_s}, ttft_s_sigma = 0.1, token_rate_median = 400, token_rate_sigma = 0.1, \
network_s = 0.001{more} }}
"""
_OFFER = """
[[offers]]
provider = "{name}"
model = "llama"
dialect = "{dialect}"
base_url = "http://127.0.0.1:{port}/{name}{version}"
usd_per_mtok = {{ input = 1, output = 2 }}
"""


class Loopback(Struct, frozen=True):
    """Running providers: the app that counts what it answered, and the plan."""

    app: EmulatorApp
    port: int
    plan: Path


@contextmanager
def providers(
    folder: Path, *, names: tuple[str, ...] = tuple(PROVIDERS), ttft_s: float = 0.01, more: str = "", key: bool = False
) -> Iterator[Loopback]:
    """Providers that answer in hundredths of a second. `more` goes into their profiles; with `key` they want `KEY`."""
    emulator = folder / "emulator.toml"
    emulator.write_text(
        "".join(
            _EMULATOR.format(
                name=name,
                dialect=PROVIDERS[name],
                ttft_s=ttft_s,
                more=f", {more}" if more else "",
                key=f'api_key = "{KEY}"' if key else "",
            )
            for name in names
        )
    )
    specs = load_emulator(emulator).providers
    made: list[EmulatorApp] = []

    def make() -> EmulatorApp:
        made.append(EmulatorApp([live_provider(spec) for spec in specs], LoopClock(), seed=1, epoch_s=0))
        return made[0]

    with serving(make) as port:
        yield Loopback(made[0], port, write_plan(folder, port, names=names, key=key))


def write_plan(folder: Path, port: int, *, names: tuple[str, ...] = tuple(PROVIDERS), key: bool = False) -> Path:
    """A plan that records every prompt at these providers, streamed and not."""
    (folder / "prompts.jsonl").write_text(PROMPTS)
    plan = folder / "plan.toml"
    offers = "".join(
        _OFFER.format(name=name, dialect=PROVIDERS[name], port=port, version="/v1" if name == "quick" else "")
        for name in names
    )
    host = f'[network.hosts."127.0.0.1:{port}"]\nkey_env = "CLAWBENCH_TEST_KEY"\n' if key else ""
    plan.write_text(
        f"""
name = "taped"
strategies = ["price"]
workload = {{ requests = 3, prompts = "prompts.jsonl", order = "cycle", stream = 0.5 }}
[network]
loopback_http = true
{host}
{offers}
"""
    )
    return plan
