"""Fault plans: which fault is in force where and when, and what a plan may not say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbench.errors import PlanError
from clawbench.faults.kinds import AnyFault, Brownout, Cut, Outage, SharedQuota
from clawbench.faults.plan import FaultPlan


def plan(*faults: AnyFault) -> FaultPlan:
    return FaultPlan(name="test", faults=faults)


def test_a_fault_strikes_from_its_beginning_until_just_before_its_end() -> None:
    outage = Outage(offers=("a/m",), from_s=10.0, until_s=20.0)
    known = plan(outage)
    assert [known.fault_at("a/m", t_s) for t_s in (9.999, 10.0, 19.999, 20.0)] == [None, outage, outage, None]
    assert known.fault_at("b/m", 15.0) is None


def test_where_two_strike_the_first_of_the_plan_counts() -> None:
    first, second = Brownout(offers=("*",), factor=2.0, until_s=5.0), Outage(offers=("a/m",))
    assert plan(first, second).fault_at("a/m", 1.0) is first
    assert plan(first, second).fault_at("a/m", 6.0) is second


@given(st.floats(0, 1e6), st.integers(0, 20))
def test_what_is_in_force_depends_on_the_instant_alone(t_s: float, asked_before: int) -> None:
    known = plan(
        Brownout(offers=("a/m",), factor=3.0, from_s=100.0, until_s=5e5), SharedQuota(offers=("*",), requests=1)
    )
    expected = known.fault_at("a/m", t_s)
    for _ in range(asked_before):
        known.fault_at("a/m", t_s / 2)
    assert known.fault_at("a/m", t_s) is expected


@given(st.floats(0, 1e5), st.floats(0.1, 1e3))
def test_a_quotas_window_ends_when_the_next_one_begins(t_s: float, window_s: float) -> None:
    quota = SharedQuota(offers=("*",), requests=1, window_s=window_s)
    assert 0 <= quota.left_s(t_s) <= window_s * 1.000001
    assert quota.window(t_s + quota.left_s(t_s) + window_s / 2) == quota.window(t_s) + 1


def test_faults_are_read_from_plain_tables_by_their_kind() -> None:
    table = [{"kind": "outage", "offers": ["a/m"], "how": "silent"}, {"kind": "cut", "offers": ["*"], "share": 0.5}]
    assert msgspec.convert(table, tuple[AnyFault, ...]) == (
        Outage(offers=("a/m",), how="silent"),
        Cut(offers=("*",), share=0.5),
    )


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "earthquake", "offers": ["*"]},
        {"kind": "brownout", "offers": ["*"], "factor": 0.5},
        {"kind": "error_burst", "offers": ["*"], "share": 1.5},
        {"kind": "outage", "offers": ["*"], "from_s": -1},
        {"kind": "outage", "offers": ["*"], "form_s": 1},
    ],
)
def test_what_is_no_fault_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, AnyFault)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Outage(offers=("a/n",)), 'there is no offer "a/n". Did you mean "a/m"'),
        (Outage(offers=()), "offers is empty"),
        (Outage(offers=("a/m",), from_s=9.0, until_s=9.0), "until_s = 9 must be after from_s = 9"),
    ],
)
def test_a_plan_that_cannot_strike_is_refused_with_the_place(fault: AnyFault, said: str) -> None:
    with pytest.raises(PlanError, match=r"faults\[0\] \(outage\)") as raised:
        plan(fault).check(["a/m", "b/m"])
    assert said in str(raised.value)
