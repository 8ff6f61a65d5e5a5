"""What gives a secret away: the names that secrets stand under, and the shapes that they have.

Two kinds of rule. A credential opens something and is replaced by `REDACTED`. An identifier only says whose recording
this is (organisation, account, person, request) and becomes a pseudonym: the same value gives the same one everywhere,
so that what belongs together still does. Tables only; what is searched, and how it is put back, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final, Literal

from msgspec import Struct

REDACTED: Final = "REDACTED"
Severity = Literal["credential", "identifier"]

_PSEUDONYM: Final = re.compile(r"anon-[0-9a-f]{12}")
_PLACEHOLDER: Final = re.compile(
    r"\s*|<[^<>]{0,80}>|\[?(?i:redacted|filtered)\]?|\*{3,}|X{3,}|[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-X{3,}|.{0,40}anon-[0-9a-f]{12}"
)


def pseudonym(value: str) -> str:
    """A name that stands for this value everywhere; a pseudonym stands for itself."""
    if _PSEUDONYM.fullmatch(value):
        return value
    return "anon-" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def is_placeholder(value: str) -> bool:
    """Whether something else stands here already: ours, or another project's `<API_KEY>`, `***`, `TOKEN-XXX`."""
    return _PLACEHOLDER.fullmatch(value) is not None


_SECRET_SUFFIXES: Final = (
    "apikey", "apikeys", "secretkey", "secretaccesskey", "accesskey", "accesskeyid", "privatekey", "signingkey",
    "encryptionkey", "subscriptionkey", "secret", "password", "passwd", "passphrase", "accesstoken", "refreshtoken",
    "authtoken", "apitoken", "sessiontoken", "securitytoken", "bearertoken", "idtoken", "authorization", "setcookie",
    "connectionstring",
)  # fmt: skip
_SECRET_NAMES: Final = frozenset({"cookie", "xauthkey", "credentials", "xgoogapikey", "xaccesstoken"})
_SECRET_PARAMETERS: Final = frozenset({"key", "token", "sig", "signature", "xamzsignature", "xamzcredential"})
_SECRET_ENVIRONMENT: Final = ("key", "token", "secret", "password", "passwd", "credentials")
_IDENTIFIER_NAMES: Final = frozenset({
    "organizationid", "orgid", "requestid", "xrequestid", "userid", "accountid", "projectid", "subscriptionid",
    "tenantid",
})  # fmt: skip
_IDENTIFIER: Final = re.compile(r"(?=[^\s]*\d)[^\s/]{12,200}")

_JOINTS: Final = str.maketrans("", "", "-_. ")


def plain_name(name: str) -> str:
    """A name without case and without what joins its words: `X-Api_Key` and `xApiKey` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name (JSON key, form field, header) is a secret whatever it looks like."""
    plain = plain_name(name)
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_SUFFIXES)


def may_name_secrets(text: str) -> bool:
    """Whether a secret name could stand in this text, which is to be in lower case; quick, and rather yes than no."""
    joined = text.translate(_JOINTS)
    return any(name in joined for name in (*_SECRET_SUFFIXES, *_SECRET_NAMES, *_IDENTIFIER_NAMES))


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of environment variables whose names say key, token, secret or password, from 8 characters on."""
    return sorted(
        {
            value
            for name, value in environment.items()
            if plain_name(name).endswith(_SECRET_ENVIRONMENT) and len(value) >= 8 and not is_placeholder(value)
        }
    )


def is_secret_parameter(name: str) -> bool:
    """The same for a URL's query, where shorter names are used."""
    return plain_name(name) in _SECRET_PARAMETERS or is_secret_name(name)


def is_identifier(name: str, value: str) -> bool:
    """Whether this value under this JSON key says whose recording it is."""
    return plain_name(name) in _IDENTIFIER_NAMES and _IDENTIFIER.fullmatch(value) is not None


class Rule(Struct, frozen=True):
    """A shape. The group `secret`, or the whole match where there is no such group, is what is replaced."""

    name: str
    severity: Severity
    pattern: re.Pattern[str]
    hints: tuple[str, ...]  # one of them stands, in lower case, in whatever the pattern matches
    stand_in: Callable[[str], str] = lambda value: REDACTED
    exempt: Callable[[str], bool] = lambda value: False

    def hinted(self, lower: str) -> bool:
        """Whether the pattern could match a text that is this in lower case."""
        for hint in self.hints:  # noqa: SIM110 - a generator costs twice as much, for every event of a stream
            if hint in lower:
                return True
        return False


# A key may follow a percent escape, or the letter of an escape in doubly escaped JSON.
_START: Final = r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<=\\[nrt]))"
_KEYS: Final = (
    r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek and many more
    r"cla_[A-Za-z0-9_-]{12,}",
    r"AIza[A-Za-z0-9_-]{30,}", r"ya29\.[A-Za-z0-9_-]{20,}", r"GOCSPX-[A-Za-z0-9_-]{20,}", r"AQ\.[A-Za-z0-9_-]{30,}",
    r"gsk_[A-Za-z0-9]{20,}", r"xai-[A-Za-z0-9]{20,}", r"pplx-[A-Za-z0-9]{20,}", r"hf_[A-Za-z0-9]{20,}",
    r"r8_[A-Za-z0-9]{20,}", r"fw_[A-Za-z0-9]{16,}", r"csk-[A-Za-z0-9]{20,}", r"nvapi-[A-Za-z0-9_-]{20,}",
    r"tgp_v1_[A-Za-z0-9_-]{20,}", r"dapi[0-9a-f]{32}", r"tvly-[A-Za-z0-9-]{20,}", r"pa-[A-Za-z0-9_-]{40,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{22,}", r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{30,}", r"lsv2_[a-z]{2}_[0-9a-f]{32}_[0-9a-f]{10}", r"[sp]k-lf-[0-9a-f-]{36}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"bedrock-api-key-[A-Za-z0-9+/=]{20,}", r"ABSK[A-Za-z0-9+/=]{40,}",
)  # fmt: skip
_KEY_HINTS: Final = (
    "sk-", "cla_", "aiza", "ya29.", "gocspx-", "aq.", "gsk_", "xai-", "pplx-", "hf_", "r8_", "fw_", "nvapi-",
    "tgp_v1_", "dapi", "tvly-", "pa-", "gho_", "ghp_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox",
    "k_live_", "k_test_", "npm_", "pypi-", "lsv2_", "k-lf-", "sg.", "akia", "asia", "abia", "acca",
    "bedrock-api-key-", "absk",
)  # fmt: skip
_WORDS: Final = re.compile(r"[a-z]{2,3}-(?:[a-z]{1,12}-)*[a-z]{1,12}")
_ONE_WORD: Final = re.compile(r"[A-Z]?[a-z-]+")
_NAMES: Final = (
    r"(?:api[_-]?key|secret[_-]?key|access[_-]?key(?:[_-]?id)?|(?:access|refresh|auth|api|session)"
    r"[_-]?token|client[_-]?secret|password|passwd|private[_-]?key)"
)
_NAME_HINTS: Final = (
    "secret", "passw",
    *(f"{first}{joint}{last}" for joint in ("", "-", "_") for first, last in (
        ("api", "key"), ("access", "key"), ("private", "key"), ("access", "token"), ("refresh", "token"),
        ("auth", "token"), ("api", "token"), ("session", "token"),
    )),
)  # fmt: skip
# A name in quotes is JSON's or a language's: its value is then in quotes too, or no text.
_IS: Final = r"(?:['\"]\s{0,3}(?:=|:=|=>|:)\s{0,3}['\"]|\s{0,3}(?:=|:=|=>|:)\s{0,3}['\"]?)"
_HEADERS: Final = (
    r"(?:proxy-)?authorization|x-api-key|api-key|x-goog-api-key|x-auth-token|ocp-apim-subscription-key"
    r"|x-amz-security-token"
)
_PARAMETERS: Final = (
    r"key|token|sig|signature|api[_-]?key|access[_-]?token|auth[_-]?token|x-amz-(?:signature|credential|security-token)"
    r"|client[_-]?secret|subscription-key|password"
)
_OURS: Final = re.compile(r"(?:.+\.)?(?:example|test|invalid|localhost|local)(?:\.(?:com|org|net))?", re.IGNORECASE)


def _no_secret(value: str) -> bool:
    return is_placeholder(value) or not re.search(r"\d", value) or len(value) < 12


def _safe_address(value: str) -> bool:
    return _OURS.fullmatch(value.rpartition("@")[2]) is not None or value.startswith(("git@", "noreply@", REDACTED))


def _digits_for(value: str) -> str:
    # Twelve digits like an AWS account's, four zeros first: no account of anybody, and its own pseudonym.
    number = int.from_bytes(blake2b(value.encode(), digest_size=6).digest(), "big")
    return f"0000{number % 10**8:08d}"


def _prefixed(value: str) -> str:
    prefix = re.match(r"[a-z]+[-_]", value)
    return f"{prefix[0] if prefix else ''}{pseudonym(value)}"


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "private key",
        "credential",
        re.compile(
            r"-----BEGIN ([A-Z0-9 ]{1,40})-----(?:(?:(?!-----)[^\"]){0,20000}+-----END \1-----"
            r"|(?:(?:\\[nr]|\s){0,4}+[A-Za-z0-9+/=]{16,}+)++(?:(?:\\[nr]|\s){0,4}+[A-Za-z0-9+/=]++)?)",
        ),
        ("-----begin ",),
    ),
    Rule(
        "json web token",
        "credential",
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"),
        ("eyj",),
    ),
    Rule(
        "provider key",
        "credential",
        re.compile(_START + "(?:" + "|".join(_KEYS) + ")"),
        _KEY_HINTS,
        exempt=lambda value: _WORDS.fullmatch(value) is not None,
    ),
    Rule(
        "bearer token",
        "credential",
        re.compile(r"\b(?:bearer|basic)(?:\s|%20|\+){1,4}(?P<secret>[A-Za-z0-9._~+/=-]{16,})", re.IGNORECASE),
        ("bearer", "basic"),
        exempt=lambda value: _ONE_WORD.fullmatch(value) is not None,
    ),
    Rule(
        "AWS signature",
        "credential",
        re.compile(r"\bSignature=(?P<secret>[0-9a-f]{64})"),
        ("signature=",),
    ),
    Rule(
        "user info in an address",
        "credential",
        re.compile(
            r"\b[a-z][a-z0-9+.-]{1,20}://(?P<secret>[^\s/?#@:\"'<>\\]{1,100}+:[^\s/?#@\"'<>\\]{1,200}+)@", re.IGNORECASE
        ),
        ("://",),
        exempt=is_placeholder,
    ),
    Rule(
        "key in a query",
        "credential",
        re.compile(rf"[?&](?:{_PARAMETERS})=(?P<secret>[^&\s\"'<>\\#]{{8,}})", re.IGNORECASE),
        ("key=", "token=", "sig=", "signature=", "credential=", "secret=", "password="),
        exempt=is_placeholder,
    ),
    Rule(
        "header in text",
        "credential",
        re.compile(
            rf"\b(?:{_HEADERS}){_IS}(?:(?:bearer|basic)\s+)?(?P<secret>[^\s'\",;<>\\]{{8,}})",
            re.IGNORECASE,
        ),
        ("authorization", "api-key", "auth-token", "subscription-key", "security-token"),
        exempt=_no_secret,
    ),
    Rule(
        "cookie in text",
        "credential",
        re.compile(r"\bcookie['\"]?\s{0,3}:\s{0,3}['\"]?(?P<secret>[\w.-]{1,60}=[^\s'\",<>\\]{6,})", re.IGNORECASE),
        ("cookie",),
        exempt=is_placeholder,
    ),
    Rule(
        "named field",
        "credential",
        re.compile(rf"{_NAMES}\"\s{{0,3}}:\s{{0,3}}\"(?P<secret>[^\"\\]+)\"", re.IGNORECASE),
        _NAME_HINTS,
        exempt=is_placeholder,
    ),
    Rule(
        "assignment",
        "credential",
        re.compile(rf"{_NAMES}{_IS}(?P<secret>[A-Za-z0-9+/_.~-]{{12,}})", re.IGNORECASE),
        _NAME_HINTS,
        exempt=_no_secret,
    ),
    Rule(
        "e-mail address",
        "identifier",
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}\b"),
        ("@",),
        stand_in=lambda value: f"{pseudonym(value)}@example.invalid",
        exempt=_safe_address,
    ),
    Rule(
        "organisation, project, user or request",
        "identifier",
        re.compile(r"(?<![A-Za-z0-9_-])(?:org-|user-|org_|proj_|user_|req_|acct_)(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{14,}"),
        ("org-", "org_", "proj_", "user_", "user-", "req_", "acct_"),
        stand_in=_prefixed,
    ),
    Rule(
        "AWS account",
        "identifier",
        re.compile(
            r"arn(?::|%3A)aws[\w-]*(?::|%3A)[\w-]+(?::|%3A)[\w-]*(?::|%3A)(?P<secret>\d{12})(?=:|%3A)", re.IGNORECASE
        ),
        ("arn:", "arn%3a"),
        stand_in=_digits_for,
        exempt=lambda value: value.startswith("0000"),
    ),
    Rule(
        "cloud account",
        "identifier",
        re.compile(
            r"(?:googleapis\.com/[\w/.]{0,30}?projects/(?P<project>)|/accounts/|/subscriptions/)"
            r"(?P<secret>(?(project)[a-z0-9-]{4,40}|(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27})))(?=/)"
        ),
        ("projects/", "/accounts/", "/subscriptions/"),
        stand_in=pseudonym,
        exempt=is_placeholder,
    ),
)
