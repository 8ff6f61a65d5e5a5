"""A pool of emulated providers for benchmarks: a plan and its cassettes, made in a temporary folder."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from clawbench.cassettes.writer import write_cassette
from clawbench.config.plan import Plan, load_plan
from clawbench.emulator.profiles import EVENKEEL, SWIFTSILICON, THRIFTCLOUD
from clawbench.emulator.quickstart import interactions, offer_of
from clawbench.workloads.prompts import read_prompts

ROOT = Path(__file__).parents[2]

# TTFT of 0.25 s, 0.5 s and 1 s with little spread: far enough apart that no two are mistaken for each other.
PROFILES = (
    structs.replace(SWIFTSILICON, ttft_s_median=0.25, ttft_s_sigma=0.02, failures=()),
    structs.replace(EVENKEEL, ttft_s_median=0.5, ttft_s_sigma=0.02, failures=()),
    structs.replace(THRIFTCLOUD, ttft_s_median=1.0, ttft_s_sigma=0.02, token_rate_median=90, failures=()),
)
PRICES = ((0.15, 0.30), (0.08, 0.12), (0.02, 0.03))


def pool(
    folder: Path, *, prompts: int = 40, requests: int, rate_rps: float, kinds: tuple[bool, ...] = (False, True)
) -> Plan:
    """A plan over freshly made cassettes of three providers, without errors."""
    chosen = [prompt for prompt in read_prompts(ROOT / "cassettes" / "prompts.jsonl") if prompt.kind == "short"]
    lines = [
        'name = "pool"',
        'strategies = ["random"]',
        f"workload = {{ requests = {requests}, rate_rps = {rate_rps}, model = 'llama-3.1-8b' }}",
        'replay = { cassettes = ["tapes"], matching = "strict" }',
    ]
    (folder / "tapes").mkdir()
    for profile, (rate_in, rate_out) in zip(PROFILES, PRICES, strict=True):
        offer = offer_of(profile)
        for stream in kinds:
            path = folder / "tapes" / f"{profile.name}-{stream}.yaml"
            write_cassette(path, interactions(profile, chosen[:prompts], stream=stream))
        lines += [
            "[[offers]]",
            f'provider = "{offer.provider}"',
            f'model = "{offer.model}"',
            f'upstream_model = "{offer.upstream_model}"',
            f'base_url = "{offer.base_url}"',
            f"usd_per_mtok = {{ input = {rate_in}, output = {rate_out} }}",
        ]
    path = folder / "pool.toml"
    path.write_text("\n".join(lines))
    return load_plan(path)
