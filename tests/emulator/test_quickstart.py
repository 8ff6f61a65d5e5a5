"""The cassettes that ship: made again byte for byte, complete, readable, and saying what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from clawbench.cassettes.formats.vcrpy import Vcrpy
from clawbench.cassettes.interaction import Interaction
from clawbench.emulator.profiles import QUICKSTART, ProviderProfile
from clawbench.emulator.quickstart import MODEL, file_name, interactions, main, offer_of, write_quickstart
from clawbench.types import HttpCall
from clawbench.wires import WIRES, recognise
from clawbench.workloads.prompts import read_prompts

ROOT = Path(__file__).parents[2] / "cassettes"
FILES = [(profile, stream) for profile in QUICKSTART for stream in (True, False)]
PROMPTS = read_prompts(ROOT / "prompts.jsonl")
WIRE = WIRES["openai_chat"]


@pytest.fixture(scope="module")
def committed() -> dict[tuple[str, bool], list[Interaction]]:
    def read(profile: ProviderProfile, stream: bool) -> Iterator[Interaction]:
        path = ROOT / "quickstart" / file_name(profile, stream=stream)
        for interaction in Vcrpy().read(path.read_bytes(), path.name):
            assert isinstance(interaction, Interaction), interaction
            yield interaction

    return {(profile.name, stream): list(read(profile, stream)) for profile, stream in FILES}


def call_in(interaction: Interaction) -> HttpCall:
    return HttpCall(
        method=interaction.method,
        url=interaction.url,
        headers=interaction.request_headers,
        body=interaction.request_body,
    )


def test_the_prompts_are_many_distinct_and_of_several_kinds() -> None:
    kinds = Counter(prompt.kind for prompt in PROMPTS)
    assert len({msgspec.json.encode(prompt.request.messages) for prompt in PROMPTS}) == len(PROMPTS) >= 220
    assert len(kinds) >= 9
    assert min(kinds.values()) >= 15


def test_the_committed_files_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    for path in write_quickstart(tmp_path / "quickstart", PROMPTS):
        kept = ROOT / "quickstart" / path.name
        assert path.read_bytes() == kept.read_bytes(), f"{path.name} is out of date: run `make cassettes`"
    kept_names = {path.name for path in (ROOT / "quickstart").glob("*.yaml")}
    assert kept_names == {path.name for path in (tmp_path / "quickstart").iterdir()}


def test_every_prompt_is_at_every_offer_with_either_stream_flag(
    committed: dict[tuple[str, bool], list[Interaction]],
) -> None:
    for profile, stream in FILES:
        offer = offer_of(profile)
        recorded = committed[profile.name, stream]
        assert len(recorded) == len(PROMPTS)
        for prompt, interaction in zip(PROMPTS, recorded, strict=True):
            call = call_in(interaction)
            request = WIRE.parse(call)
            assert call.url.startswith(offer.base_url + "/")
            assert (request.model, request.stream) == (offer.upstream_model, stream)
            asked = msgspec.structs.replace(request, model="", stream=False, include_usage=False)
            assert asked == prompt.request


def test_every_interaction_decodes_and_has_times_for_all_of_its_bytes(
    committed: dict[tuple[str, bool], list[Interaction]],
) -> None:
    for (_, stream), recorded in committed.items():
        for interaction in recorded:
            assert recognise(call_in(interaction), interaction.body) is WIRE
            assert interaction.timing is not None
            assert interaction.timing.ends[-1] == len(interaction.body)
            if interaction.status != 200:
                error = WIRE.error(interaction.status, interaction.headers, interaction.body)
                assert error.outcome in ("rate_limited", "upstream_5xx")
                continue
            if stream:
                decoder = WIRE.stream()
                assert any(delta.has_output for delta in decoder.feed(interaction.body))
                end = decoder.finish()
                assert end.complete
                usage = end.usage
            else:
                usage = WIRE.decode(200, interaction.headers, interaction.body).usage
            assert usage is not None
            assert (usage.input_tokens or 0) > 0
            assert (usage.output_tokens or 0) > 0


def test_a_few_recordings_are_errors_so_that_fallback_is_seen(
    committed: dict[tuple[str, bool], list[Interaction]],
) -> None:
    everything = [interaction for recorded in committed.values() for interaction in recorded]
    errors = [interaction for interaction in everything if interaction.status != 200]
    assert 0 < len(errors) <= 0.02 * len(everything)
    assert {429, 500} <= {interaction.status for interaction in errors}
    assert all("retry-after" in interaction.headers for interaction in errors if interaction.status == 429)
    failing = {
        stream: {
            (name, item.index)
            for (name, flag), recorded in committed.items()
            for item in recorded
            if flag is stream and item.status != 200
        }
        for stream in (True, False)
    }
    assert failing[True] == failing[False], "a prompt fails at an offer whichever way it is asked"


def test_the_offers_differ_enough_in_speed_to_be_worth_choosing_between(
    committed: dict[tuple[str, bool], list[Interaction]],
) -> None:
    def median_end_s(name: str) -> float:
        ends = sorted(item.timing.chunks[-1][1] for item in committed[name, True] if item.timing and item.status == 200)
        return ends[len(ends) // 2]

    assert median_end_s("swiftsilicon") < median_end_s("evenkeel") / 2 < median_end_s("thriftcloud") / 4


def test_each_file_says_that_it_is_no_recording_of_a_real_provider_and_all_are_small() -> None:
    paths = sorted((ROOT / "quickstart").glob("*.yaml"))
    for path in paths:
        assert path.read_text().startswith(
            "# Made by clawbench's emulator from fixed profiles, not recorded from a real provider."
        )
    assert sum(path.stat().st_size for path in paths) < 8_000_000


def test_a_prompt_more_changes_no_recording_of_another() -> None:
    profile = QUICKSTART[0]
    few = list(interactions(profile, PROMPTS[:4], stream=True))
    assert list(interactions(profile, PROMPTS[1:4], stream=True)) == [
        msgspec.structs.replace(interaction, index=interaction.index - 1) for interaction in few[1:]
    ]


def test_the_command_writes_one_file_an_offer_and_stream_flag(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id":"p1","kind":"x","request":{"messages":[{"role":"user","content":"Why?"}]}}\n')
    arguments = ["--into", str(tmp_path / "made" / "here"), "--prompts", str(prompts)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    made = sorted(path.name for path in (tmp_path / "made" / "here").iterdir())
    assert made == sorted(file_name(profile, stream=stream) for profile, stream in FILES)
    assert all(name in result.output for name in made)


def test_offers_have_the_model_that_clients_ask_for_and_names_of_their_own() -> None:
    offers = [offer_of(profile) for profile in QUICKSTART]
    assert {offer.model for offer in offers} == {MODEL}
    assert len({offer.upstream_model for offer in offers}) == len(offers) >= 4
    assert all(offer.base_url.split("/")[2].endswith(".example") for offer in offers)
