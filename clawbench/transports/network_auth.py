"""Keys of providers: one a host, put on a call at the last moment and shown to nobody.

A `Secret` does not show what it holds, so that no message, log or dump can by accident. Which header a key goes into is
a small table by provider; AWS signs each call instead. Reads no environment and no file, and knows no clock: whoever
configures hands keys in, whoever sends hands the present instant in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, get_args
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

AuthStyle = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "sigv4", "none"]
AUTH_STYLES: Final[tuple[str, ...]] = get_args(AuthStyle)

CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "x-amz-security-token"}
)
"""Headers that only this file may put on a call."""

_OF_PROVIDER: Final[dict[str, AuthStyle]] = {
    "anthropic": "x-api-key",
    "gemini": "x-goog-api-key",
    "azure-openai": "api-key",
    "azure-ai": "api-key",
    "bedrock": "sigv4",
    "localhost": "none",
    "ollama": "none",
}
_OF_DIALECT: Final[dict[str, AuthStyle]] = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


class Secret:
    """Text that shows itself to `reveal` alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text, for the header that it goes into and for the scrubber that looks for it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class AwsKeys(Struct, frozen=True, kw_only=True):
    """What AWS signs calls with; `session_token` for temporary ones."""

    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None = None
    region: str
    service: str = "bedrock"


class HostAccess(Struct, frozen=True, kw_only=True):
    """How calls to one host are let in. `key` for the styles that send one, `aws` for `sigv4`."""

    style: AuthStyle = "none"
    key: Secret | None = None
    aws: AwsKeys | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret text in here, for whoever looks for them in what is to be written."""
        held = [self.key]
        if self.aws is not None:
            held += [self.aws.access_key_id, self.aws.secret_access_key, self.aws.session_token]
        return tuple(secret.reveal() for secret in held if secret is not None)

    def headers(self, method: str, url: str, body: bytes, *, at: datetime) -> dict[str, str]:
        """The headers that let a call in; `at` (UTC) is what a signature is dated with."""
        if self.aws is not None:
            return signed(self.aws, method, url, {}, body, at=at)
        if self.key is None or self.style == "none":
            return {}
        if self.style == "bearer":
            return {"authorization": f"Bearer {self.key.reveal()}"}
        return {self.style: self.key.reveal()}


def style_of(provider: str, dialect: str = "") -> AuthStyle:
    """How a provider takes its key, by its name in `catalog/providers.py`, else by its dialect; most take a bearer."""
    return _OF_PROVIDER.get(provider) or _OF_DIALECT.get(dialect, "bearer")


def signed(
    keys: AwsKeys, method: str, url: str, headers: Mapping[str, str], body: bytes, *, at: datetime
) -> dict[str, str]:
    """The headers that AWS's Signature Version 4 adds to a call with `headers`, which are signed too.

    Source: "Create a signed AWS API request", IAM user guide. `at` is UTC.
    """
    parts = urlsplit(url)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp}
    if keys.session_token is not None:
        added["x-amz-security-token"] = keys.session_token.reveal()
    to_sign = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    to_sign |= {"host": parts.netloc.rpartition("@")[2], **added}
    names = ";".join(sorted(to_sign))
    canonical = "\n".join(
        [
            method,
            # Every service but S3 encodes the path as sent once more.
            quote(parts.path or "/", safe="/-_.~"),
            _canonical_query(parts.query),
            *(f"{name}:{to_sign[name]}" for name in sorted(to_sign)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{keys.region}/{keys.service}/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret_access_key.reveal()}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{keys.access_key_id.reveal()}/{scope}"
    added["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return added


def _canonical_query(query: str) -> str:
    fields = [field.partition("=") for field in query.split("&") if field]
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((_encoded(unquote(name)), _encoded(unquote(value))) for name, _, value in fields)
    )


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
