"""`[network]` and `[record]` of a plan: which hosts may be called and where their keys are, and what is recorded.

Keys never stand in a plan: a host names an environment variable or a file. What comes out of here keeps them secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from clawbench.catalog.providers import provider_of
from clawbench.errors import PlanError, did_you_mean
from clawbench.transports.network_auth import AuthStyle, AwsKeys, HostAccess, Secret, style_of
from clawbench.types import Offer

AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
KEY_CHARS_MIN = 6  # shorter ones could not be looked for in recordings


class HostTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[network.hosts."api.example.com"]`: where its key is, and how it is sent."""

    key_env: str | None = None  # environment variable
    key_file: str | None = None  # file that holds nothing else, relative to the plan
    auth: AuthStyle | None = None  # None: as the provider wants it
    region: str | None = None  # sigv4, whose keys are in AWS's own variables


class NetworkTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[network]`: what may be called. Hosts of offers on loopback need no entry, all others do."""

    loopback_http: bool = False  # may offers on this machine be called over plain http?
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 10.0
    hosts: dict[str, HostTable] = {}

    def accesses(self, offers: Iterable[Offer], *, environ: Mapping[str, str], folder: Path) -> dict[str, HostAccess]:
        """How each origin of these offers is entered. `folder` is the plan's. Raises `PlanError`; shows no key."""
        found: dict[str, HostAccess] = {}
        used = set()
        for offer in offers:
            parts = urlsplit(offer.base_url)
            host = parts.netloc.lower()
            used.add(host)
            origin = f"{parts.scheme}://{host}".lower()
            if origin not in found:
                found[origin] = self._access(offer, host, parts.scheme.lower(), environ, folder)
        for host in self.hosts:
            if host.lower() not in used:
                raise PlanError(f'network.hosts: no offer is at "{host}".{did_you_mean(host, used)}')
        return found

    def _access(self, offer: Offer, host: str, scheme: str, environ: Mapping[str, str], folder: Path) -> HostAccess:
        is_loopback = _is_loopback(offer.base_url)
        if "@" in host:
            raise PlanError(f'offer "{offer.id}": a base_url holds no user or password')
        if scheme == "http" and not is_loopback:
            raise PlanError(f'offer "{offer.id}": {host} is called over https only')
        if scheme == "http" and not self.loopback_http:
            raise PlanError(f'offer "{offer.id}": plain http to {host} needs network.loopback_http = true')
        table = next((table for name, table in self.hosts.items() if name.lower() == host), None)
        where = f'network.hosts."{host}"'
        if table is None:
            if is_loopback:
                return HostAccess()
            raise PlanError(f'offer "{offer.id}": {where} is missing; say where its key is: key_env or key_file')
        key = _key(table, where, environ, folder)
        provider = "" if is_loopback and key is not None else provider_of(offer.base_url)
        style = table.auth or style_of(provider, offer.dialect)
        if style == "sigv4":
            return HostAccess(style=style, aws=_aws(table, where, environ))
        if style != "none" and key is None:
            raise PlanError(f'{where}: give key_env or key_file, or auth = "none"')
        return HostAccess(style=style, key=key)


class RecordTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[record]`: what `clawbench record` asks. Every request of the workload goes to every offer that can serve it."""

    streams: Literal["both", "as_planned"] = "both"  # each request streamed and not, or as the workload has it
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 8  # calls under way at once
    output_tokens_expected: Annotated[int, Meta(ge=1)] = 400  # of an answer, where the request sets no lower limit
    retries_max: Annotated[int, Meta(ge=0, le=10)] = 2  # of a call that was told to come again later


def _key(table: HostTable, where: str, environ: Mapping[str, str], folder: Path) -> Secret | None:
    if table.key_env is not None and table.key_file is not None:
        raise PlanError(f"{where}: give one of key_env and key_file, not both")
    if table.key_env is not None:
        return _secret(environ.get(table.key_env, ""), f"{where}: the environment variable {table.key_env}")
    if table.key_file is not None:
        path = folder / table.key_file
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise PlanError(f"{where}: the key file {table.key_file} cannot be read") from None
        return _secret(text, f"{where}: the key file {table.key_file}")
    return None


def _secret(text: str, what: str) -> Secret:
    text = text.strip()
    if len(text) < KEY_CHARS_MIN:
        raise PlanError(f"{what} holds no key")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise PlanError(f"{what} holds something else than one key")
    return Secret(text)


def _aws(table: HostTable, where: str, environ: Mapping[str, str]) -> AwsKeys:
    if table.region is None:
        raise PlanError(f"{where}: sigv4 needs a region")
    name, secret, session = AWS_VARIABLES
    return AwsKeys(
        access_key_id=_secret(environ.get(name, ""), f"{where}: the environment variable {name}"),
        secret_access_key=_secret(environ.get(secret, ""), f"{where}: the environment variable {secret}"),
        session_token=_secret(environ[session], session) if environ.get(session) else None,
        region=table.region,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
