"""A pool of emulated providers for benchmarks: a plan and its cassettes, made in a temporary folder."""

from __future__ import annotations

from pathlib import Path

from clawbench.cassettes.writer import write_cassette
from clawbench.config.plan import Plan, load_plan
from clawbench.emulator.making import made
from clawbench.emulator.profiles import Profile
from clawbench.emulator.specs import OfferSpec, ProviderSpec, drawn_provider
from clawbench.workloads.prompts import read_prompts

ROOT = Path(__file__).parents[2]
ORIGIN = "http://127.0.0.1:1430"
MODEL = "m"

# TTFT of 0.25 s, 0.5 s and 1 s with little spread: far enough apart that no two are mistaken for each other.
SPEEDS = {"quick": (0.25, 400.0), "even": (0.5, 130.0), "slow": (1.0, 90.0)}
PRICES = {"quick": (0.15, 0.30), "even": (0.08, 0.12), "slow": (0.02, 0.03)}


def provider(name: str) -> ProviderSpec:
    ttft_s, rate = SPEEDS[name]
    profile = Profile(
        ttft_s_median=ttft_s, ttft_s_sigma=0.02, token_rate_median=rate, token_rate_sigma=0.1, tokens_per_event=6
    )
    return ProviderSpec(
        name=name, dialects=("openai_chat",), offers=(OfferSpec(model=MODEL, upstream_model=MODEL, profile=profile),)
    )


def pool(folder: Path, *, prompts: int = 40, requests: int, rate_rps: float) -> Plan:
    """A plan over freshly made cassettes of three providers, streamed and not, without errors."""
    chosen = [prompt for prompt in read_prompts(ROOT / "cassettes" / "prompts.jsonl") if prompt.kind == "short"][
        :prompts
    ]
    asked = [(prompt, stream) for prompt in chosen for stream in (False, True)]
    lines = [
        'name = "pool"',
        'strategies = ["random"]',
        f'workload = {{ requests = {requests}, rate_rps = {rate_rps}, model = "{MODEL}" }}',
        'replay = { cassettes = ["tapes"], matching = "strict" }',
    ]
    (folder / "tapes").mkdir()
    for name, (rate_in, rate_out) in PRICES.items():
        spec = provider(name)
        offer = spec.offer(spec.offers[0], ORIGIN)
        file = f"{name}.yaml"
        write_cassette(folder / "tapes" / file, made(offer, drawn_provider(spec), asked, file=file, seed=1))
        lines += [
            "[[offers]]",
            f'provider = "{name}"',
            f'model = "{MODEL}"',
            f'base_url = "{offer.base_url}"',
            f"usd_per_mtok = {{ input = {rate_in}, output = {rate_out} }}",
        ]
    path = folder / "pool.toml"
    path.write_text("\n".join(lines))
    return load_plan(path)
