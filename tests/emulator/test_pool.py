"""The pool of cassettes that ships: made again byte for byte, exact at every offer, worth choosing between."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from statistics import median

import msgspec
import pytest

from clawbench.cassettes.matching import key
from clawbench.cassettes.replay import BoundStore
from clawbench.cassettes.store import CassetteStore, open_store
from clawbench.config.emulator import EmulatorPlan, load_emulator
from clawbench.emulator.making import as_asked
from clawbench.emulator.observations import Observation, of_cassettes
from clawbench.emulator.pool import Recording, write_pool
from clawbench.rng import draws
from clawbench.types import Offer
from clawbench.wires import WIRES, wire_for
from clawbench.workloads.prompts import Prompt, read_prompts

ROOT = Path(__file__).parents[2]
POOL = ROOT / "cassettes" / "pool"
PROMPTS = read_prompts(ROOT / "cassettes" / "prompts.jsonl")
MAIN_MODEL = "llama-4-scout"


@cache
def plan() -> EmulatorPlan:
    return load_emulator(ROOT / "configs" / "emulator.toml")


@cache
def opened() -> CassetteStore:
    return open_store([POOL], WIRES)


@cache
def offers() -> tuple[Offer, ...]:
    return tuple(provider.offer(spec, plan().origin) for provider in plan().providers for spec in provider.offers)


@cache
def bound() -> BoundStore:
    return opened().bind(offers())


def test_the_committed_files_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    written = write_pool(tmp_path, plan().providers, plan().recordings, PROMPTS, origin=plan().origin)
    for path, _ in written:
        assert path.read_bytes() == (POOL / path.name).read_bytes(), f"{path.name} is out of date: run `make cassettes`"
    assert {path.name for path in POOL.glob("*.yaml")} == {path.name for path in tmp_path.iterdir()}


def test_there_are_many_prompts_of_many_kinds() -> None:
    kinds = Counter(prompt.kind for prompt in PROMPTS)
    assert len({msgspec.json.encode(prompt.request.messages) for prompt in PROMPTS}) == len(PROMPTS) >= 300
    assert set(kinds) >= {"short", "long", "tools", "json", "vision", "multi-turn", "code"}
    assert min(kinds.values()) >= 15


def test_whatever_is_chosen_replays_exactly() -> None:
    assert not bound().ineligible
    assert not bound().unrecorded
    for recording in plan().recordings:
        serving = [offer for offer in offers() if offer.model == recording.model]
        assert len(serving) >= 6
        for offer in serving:
            wire, recorded = wire_for(offer), {entry.key for entry in bound().entries(offer.id)}
            for prompt, stream in recording.asked(PROMPTS):
                asked = wire.parse(wire.encode(as_asked(prompt, offer.model, stream=stream), offer))
                assert key(asked) in recorded, (offer.id, prompt.id)


def test_everything_is_understood_and_has_times() -> None:
    store = opened()
    assert not store.problems
    assert not store.leftovers
    assert all(entry.timing is not None for entry in store.entries)
    assert all(entry.output_tokens for entry in store.entries if entry.is_success)
    assert len({entry.dialect for entry in store.entries}) >= 7
    assert 0.55 < sum(entry.stream for entry in store.entries) / len(store.entries) < 0.75


def test_errors_and_rate_limits_of_several_kinds_are_among_them() -> None:
    failed = [entry for entry in opened().entries if not entry.is_success]
    assert 0.005 < len(failed) / len(opened().entries) < 0.02
    assert {"rate_limited", "upstream_5xx"} < {entry.outcome for entry in failed}
    assert {429, 500, 503, 529} <= {entry.status for entry in failed}


def test_no_prompt_fails_at_every_offer() -> None:
    """Three attempts at other offers mend nearly everything; a prompt that fails everywhere would mend nothing."""
    serving = [offer for offer in offers() if offer.model == MAIN_MODEL]
    asked = list(Recording(model=MAIN_MODEL).asked(PROMPTS))
    failing: Counter[str] = Counter()
    for offer in serving:
        wire = wire_for(offer)
        lost = {entry.key for entry in bound().entries(offer.id) if not entry.is_success}
        for prompt, stream in asked:
            failing[prompt.id] += (
                key(wire.parse(wire.encode(as_asked(prompt, MAIN_MODEL, stream=stream), offer))) in lost
            )
    assert max(failing.values()) <= 2


def seen(model: str) -> dict[str, list[Observation]]:
    """Observations of a model's successes by provider."""
    names = {spec.upstream_model for provider in plan().providers for spec in provider.offers if spec.model == model}
    found: dict[str, list[Observation]] = {}
    for each in of_cassettes(opened(), by="offer"):
        provider, _, name = each.group.partition("/")
        if name in names and each.outcome == "ok":
            found.setdefault(provider, []).append(each)
    return found


@pytest.mark.parametrize("model", [MAIN_MODEL, "llama-3.3-70b", "qwen3-32b", "gpt-oss-120b"])
def test_the_quickest_first_token_and_the_highest_rate_are_at_different_providers(model: str) -> None:
    ttft = {name: median(each.ttft_s for each in found if each.ttft_s) for name, found in seen(model).items()}
    rate = {name: median(each.token_rate for each in found if each.token_rate) for name, found in seen(model).items()}
    assert min(ttft, key=lambda name: ttft[name]) == "nearwire"
    assert max(rate, key=lambda name: rate[name]) == "swiftsilicon"
    quickest, second = sorted(ttft.values())[:2]
    assert quickest < 0.75 * second
    best, next_best = sorted(rate.values(), reverse=True)[:2]
    assert best > 1.5 * next_best


def test_each_file_says_what_it_is_and_all_are_small() -> None:
    paths = sorted(POOL.glob("*.yaml"))
    assert len(paths) == len(offers()) >= 24
    for path in paths:
        head = path.read_text().splitlines()[:4]
        assert head[0] == "# Made by clawbench's emulator from fixed profiles, not recorded from a real provider."
        assert path.stem.split("-")[0] in head[1]
    assert sum(path.stat().st_size for path in paths) < 13_000_000


def test_a_prompts_recordings_depend_on_it_alone(tmp_path: Path) -> None:
    fewer = [prompt for prompt in PROMPTS if draws(1, prompt.id).random() < 0.2]
    recording = Recording(model=MAIN_MODEL)
    provider = plan().providers[1]

    def bodies(prompts: list[Prompt], folder: str) -> set[bytes]:
        list(write_pool(tmp_path / folder, [provider], [recording], prompts, origin=plan().origin))
        store = open_store([tmp_path / folder], WIRES)
        return {store.body(entry) for entry in store.entries}

    assert bodies(fewer, "few") < bodies(fewer + [prompt for prompt in PROMPTS if prompt not in fewer][:20], "more")


def test_models_share_the_prompts_that_only_some_are_asked() -> None:
    some = {prompt.id for prompt, _ in Recording(model="a", share=0.1).asked(PROMPTS)}
    more = {prompt.id for prompt, _ in Recording(model="b", share=0.3).asked(PROMPTS)}
    assert 0 < len(some) < len(more) < len(PROMPTS)
    assert some < more
