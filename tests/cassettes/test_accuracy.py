"""The error of nearest matching, measured by leaving one out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clawbench.cassettes.accuracy import leave_one_out, report
from clawbench.cassettes.store import open_store
from clawbench.cli import run
from clawbench.config.plan import load_plan
from clawbench.wires import WIRES

ROOT = Path(__file__).parents[2]


def test_every_recording_that_is_not_alone_is_compared_with_the_nearest_other_one() -> None:
    offers = load_plan(ROOT / "configs" / "quickstart.toml").offers
    with_store = open_store([ROOT / "cassettes" / "pool"], WIRES)
    found = report(list(leave_one_out(with_store.bind(offers), with_store, offers[:1])))
    figures = found.to_json()
    assert found.alone == 0
    assert figures["all"]["compared"] > 250
    assert figures["all"]["same_form"] > 0.95, "there is nearly always one of the same form"
    assert 0 <= figures["all"]["input_tokens"]["p50"] <= figures["all"]["input_tokens"]["p90"]
    assert figures["all"]["input_tokens"]["p50"] < 0.2, "prompt size is what is matched by"
    assert figures["all"]["input_tokens"]["p90"] < 0.5, "and a picture is a part of it"
    assert figures["by_offer"].keys() == {offers[0].id}


def test_a_recording_without_a_neighbour_is_counted_apart() -> None:
    from_one = report([None, None])
    assert (from_one.alone, from_one.to_json()["all"]["compared"]) == (2, 0)
    assert from_one.to_json()["all"]["e2e_s"] == {"n": 0, "p50": None, "p90": None}


def test_offers_of_the_emulator_go_by_their_providers_names(capsys: pytest.CaptureFixture[str]) -> None:
    paths = ROOT / "cassettes" / "pool" / "paperline-llama-3.3-70b.yaml", ROOT / "cassettes" / "pool"
    named = []
    for path in paths:
        assert run(["cassettes", "accuracy", str(path), "--json"]) == 0
        named.append(set(json.loads(capsys.readouterr().out)["by_offer"]))
    assert named[0] == {"paperline/llama-3.3-70b"}
    assert len(named[1]) == 32
    assert {"swiftsilicon/openai/gpt-oss-120b", "thriftcloud/openai/gpt-oss-120b"} < named[1]
