"""`[network]`: hosts are named, keys come from outside, and no message shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clawbench.config.network import NetworkTable
from clawbench.config.read import convert
from clawbench.errors import PlanError
from clawbench.transports.network_auth import HostAccess
from clawbench.types import Offer

KEY = "sk-0123456789abcdef"


def offer(base_url: str, dialect: str = "openai_chat") -> Offer:
    return Offer(id="p/m", provider="p", model="m", upstream_model="m", base_url=base_url, dialect=dialect)


def accesses(
    table: dict[str, Any], *offers: Offer, environ: dict[str, str] | None = None, folder: Path = Path()
) -> dict[str, HostAccess]:
    network = convert(table, NetworkTable, file=Path("plan.toml"))
    return network.accesses(offers, environ=environ or {}, folder=folder)


def sent(access: HostAccess) -> tuple[str, str | None]:
    return access.style, access.key.reveal() if access.key else None


def test_a_key_comes_from_the_environment_in_its_providers_header() -> None:
    hosts = {
        "api.openai.com": {"key_env": "A"},
        "api.anthropic.com": {"key_env": "B"},
        "gateway.example": {"key_env": "C"},
        "plain.example": {"auth": "none"},
        "odd.example": {"key_env": "A", "auth": "api-key"},
    }
    found = accesses(
        {"hosts": hosts},
        offer("https://api.openai.com/v1"),
        offer("https://api.anthropic.com/v1", "anthropic"),
        offer("https://gateway.example/x", "anthropic"),
        offer("https://plain.example"),
        offer("https://odd.example"),
        environ={"A": KEY, "B": KEY + "b\n", "C": KEY + "c"},
    )
    assert {origin: sent(access) for origin, access in found.items()} == {
        "https://api.openai.com": ("bearer", KEY),
        "https://api.anthropic.com": ("x-api-key", KEY + "b"),
        "https://gateway.example": ("x-api-key", KEY + "c"),
        "https://plain.example": ("none", None),
        "https://odd.example": ("api-key", KEY),
    }


def test_a_key_comes_from_a_file_beside_the_plan(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    hosts = {"api.openai.com": {"key_file": "key"}}
    found = accesses({"hosts": hosts}, offer("https://api.openai.com/v1"), folder=tmp_path)
    assert sent(found["https://api.openai.com"]) == ("bearer", KEY)


def test_this_machine_needs_no_key_but_leave_for_plain_http() -> None:
    for url in ("http://127.0.0.1:1430/a/v1", "http://localhost:1430/a", "http://[::1]:1430/a"):
        (access,) = accesses({"loopback_http": True}, offer(url)).values()
        assert sent(access) == ("none", None)
        with pytest.raises(PlanError, match="loopback_http"):
            accesses({}, offer(url))
    hosts = {"127.0.0.1:1430": {"key_env": "A"}}
    table = {"loopback_http": True, "hosts": hosts}
    (access,) = accesses(table, offer("http://127.0.0.1:1430/a", "anthropic"), environ={"A": KEY}).values()
    assert sent(access) == ("x-api-key", KEY)


def test_bedrock_is_signed_with_awss_own_variables() -> None:
    host = "bedrock-runtime.eu-west-1.amazonaws.com"
    at = offer(f"https://{host}", "bedrock_converse")
    environ = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": KEY}
    (access,) = accesses({"hosts": {host: {"region": "eu-west-1"}}}, at, environ=environ).values()
    assert access.style == "sigv4"
    assert set(access.secrets) == {"AKIDEXAMPLE", KEY}
    with pytest.raises(PlanError, match="region"):
        accesses({"hosts": {host: {}}}, at, environ=environ)
    with pytest.raises(PlanError, match="AWS_SECRET_ACCESS_KEY"):
        accesses({"hosts": {host: {"region": "x"}}}, at, environ={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"})


@pytest.mark.parametrize(
    ("table", "url", "says"),
    [
        ({}, "https://api.openai.com/v1", r'network.hosts."api.openai.com" is missing'),
        ({"hosts": {"api.openai.com": {}}}, "https://api.openai.com/v1", "key_env or key_file"),
        ({"hosts": {"api.openai.com": {"key_env": "NOPE"}}}, "https://api.openai.com/v1", "NOPE"),
        ({"hosts": {"api.openai.com": {"key_env": "TWO"}}}, "https://api.openai.com/v1", "something else"),
        ({"hosts": {"api.openai.com": {"key_file": "nope"}}}, "https://api.openai.com/v1", "nope"),
        ({"hosts": {"api.openai.con": {"key_env": "A"}}}, "http://127.0.0.1:1/v1", "no offer is at"),
        ({"loopback_http": True}, "http://api.openai.com/v1", "https only"),
        ({"loopback_http": True}, "http://127.0.0.1.evil.example/v1", "https only"),
        ({"loopback_http": True}, "http://127.0.0.1@evil.example/v1", "no user"),
    ],
)
def test_what_is_missing_or_unsafe_is_told_without_a_key(table: dict[str, Any], url: str, says: str) -> None:
    table = {"loopback_http": True, **table}
    with pytest.raises(PlanError, match=says) as caught:
        accesses(table, offer(url), environ={"A": KEY, "TWO": f"{KEY} {KEY}"})
    assert KEY not in str(caught.value)
