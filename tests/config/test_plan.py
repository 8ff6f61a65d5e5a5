"""Plans: what they may say, and what is said when they say something else."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from clawbench.config import plan as declared
from clawbench.config.network import NetworkTable, RecordTable
from clawbench.config.plan import load_plan, plan_of_cassettes
from clawbench.config.prices import PriceTable, TierTable
from clawbench.config.routing import HedgingTable, ModelTable, RoutingTable
from clawbench.errors import PlanError

PLAN = """
name = "small"
strategies = ["price", "latency"]
seeds = [1]

[replay]
cassettes = ["tapes"]

[[offers]]
provider = "a"
model = "m"
base_url = "https://a.example/v1/"
usd_per_mtok = { input = 0.05, cached_input = "0.025", output = 1 }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "tapes").mkdir()
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_prices_are_taken_exactly_as_written(plan: Path) -> None:
    (offer,) = load_plan(plan).offers
    assert offer.rates is not None
    assert (offer.rates.input, offer.rates.cached_input, offer.rates.output) == (50_000, 25_000, 1_000_000)
    assert offer.base_url == "https://a.example/v1"
    assert (offer.id, offer.upstream_model, offer.price_source) == ("a/m", "m", "plan")


def test_paths_are_relative_to_the_plan(plan: Path) -> None:
    assert load_plan(plan).cassettes == (plan.parent / "tapes",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.rate_rp=5", r'unknown key "workload.rate_rp". Did you mean "rate_rps"\?'),
        ("gateway.zzz=5", r'unknown key "gateway.zzz". Known here in gateway: attempt_timeout_s, attempts_max'),
        ("workload.requests=0", "workload.requests"),
        ("workload.requests=many", "workload.requests"),
        ("workload.kind=fast", "Invalid enum value 'fast'"),
        ("strategies=['pric']", r'strategy "pric" is not known. Did you mean "price"\?'),
        ("strategies=['price','price']", "names one twice"),
        ("strategies=['price','@price']", "names one twice"),
        ("strategies=[]", "strategies is empty"),
        ("seeds=[]", "seeds is empty"),
        ("seeds=[99999999999999999999]", "seeds"),
        ("offers=[]", r"no \[\[offers\]\]"),
        ("replay.cassettes=[]", "replay.cassettes is empty"),
        ("replay.cassettes=['elsewhere']", "elsewhere does not exist"),
        ("workload.prompts=none.jsonl", "none.jsonl does not exist"),
        ("name='no/slashes'", "name"),
        ("workload=5", "workload"),
        ("nonsense", "--set wants key=value"),
        ("name.deeper=1", '"name" is not a table'),
    ],
)
def test_a_wrong_value_is_named_with_its_key(plan: Path, override: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        load_plan(plan, overrides=[override])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("input = 0.05", "input = -1", r"offers.a/m.usd_per_mtok.input must be a price of 0 or more"),
        ("input = 0.05", "input = nan", "usd_per_mtok"),
        ("input = 0.05", "input = 0.0000000001", "finer than 0.000001 USD per million tokens"),
        ("input = 0.05", "inptu = 0.05", r'unknown key "offers\[0\].usd_per_mtok.inptu". Did you mean "input"\?'),
        ('model = "m"', 'modle = "m"', r'unknown key "offers\[0\].modle". Did you mean "model"\?'),
        ("https://a.example/v1/", "a.example", "base_url"),
        ('model = "m"', 'model = "mé"', "must be printable ASCII"),
        ("name =", "name", "not valid TOML"),
    ],
)
def test_a_wrong_offer_is_named_with_its_place(plan: Path, old: str, new: str, message: str) -> None:
    plan.write_text(PLAN.replace(old, new))
    with pytest.raises(PlanError, match=message):
        load_plan(plan)


def test_an_absent_plan_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="There is no plan"):
        load_plan(tmp_path / "none.toml")


def test_an_absent_folder_names_the_way_out_that_the_plan_gives(plan: Path) -> None:
    plan.write_text(PLAN.replace('["tapes"]', '["gone"]\nmissing = "Get them from the shelf."'))
    with pytest.raises(PlanError, match=r"gone does not exist\. Get them from the shelf\."):
        load_plan(plan)


def test_the_run_id_follows_what_can_change_a_result_and_nothing_else(plan: Path, tmp_path: Path) -> None:
    same = load_plan(plan).run_id
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "tapes").mkdir()
    copy = tmp_path / "copy" / "other.toml"
    copy.write_text('description = "words"\n' + PLAN)
    assert load_plan(copy).run_id == same
    assert load_plan(plan, seeds=[2]).run_id != same
    assert load_plan(plan, strategies=["price"]).run_id != same
    assert load_plan(plan, overrides=["workload.rate_rps=11"]).run_id != same


def test_recordings_can_be_served_without_a_plan(tmp_path: Path) -> None:
    plan = plan_of_cassettes([tmp_path])
    assert plan.table.replay.matching == "strict"
    assert plan.cassettes == (tmp_path,)


def test_every_key_of_a_plan_is_documented() -> None:
    text = (Path(__file__).parents[2] / "configs" / "README.md").read_text()
    for table in (
        declared.PlanTable,
        declared.WorkloadTable,
        declared.ReplayTable,
        declared.GatewayTable,
        declared.OfferTable,
        PriceTable,
        TierTable,
        declared.ProfileTable,
        declared.RecordedOffersTable,
        RoutingTable,
        HedgingTable,
        ModelTable,
        NetworkTable,
        RecordTable,
    ):
        for key in typing.get_type_hints(table):
            named = (f"`{key}`", f"`{key}.", f".{key}`", f".{key}.", f"[{key}]", f"[[{key}]]")
            assert any(form in text for form in named), f"{table.__name__}.{key}"


@pytest.mark.parametrize("name", ["quickstart.toml"])
def test_the_plans_that_ship_are_right(name: str) -> None:
    assert load_plan(Path(__file__).parents[2] / "configs" / name).offers
