"""Interactions without secrets: what opens an account is replaced, what names its owner gets a pseudonym.

`Scrubber.scrubbed` rewrites headers, address and both bodies; `Scrubber.scan` says what is still there. Kept is all
that bears on a bill or a time: usage, model, tier, finish reason, limits, processing times, and arrival times, whose
chunks are fitted to a body that has changed its length. Scrubbing twice changes nothing more. Knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from clawbench.cassettes.entropy import belongs, chancy
from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.json_strings import rewritten
from clawbench.cassettes.kept_headers import IDENTIFIER_HEADERS, is_kept
from clawbench.cassettes.redaction import Hit, Redactor
from clawbench.cassettes.scrub_bodies import BodyScrubber, Pieces
from clawbench.cassettes.secret_shapes import (
    REDACTED,
    Severity,
    is_placeholder,
    is_secret_name,
    is_secret_parameter,
    pseudonym,
)

RULES_VERSION: Final = 1
"""Counted up when scrubbing comes to replace more, so that what was scrubbed by older rules is done again."""

_URL: Final = re.compile(
    r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?(?:(?P<user>[^/?#@]*)@)?(?P<rest>[^?#]*)(?P<query>\?[^#]*)?(?P<end>#.*)?",
    re.DOTALL,
)
_SCHEME_WORD: Final = re.compile(r"(?i)\s*(?:bearer|basic|token|apikey)\s+")
_NOT_TEXT_SHARE: Final = 0.1


Where = Literal["request.url", "request.headers", "request.body", "response.headers", "response.body"]


class Finding(Struct, frozen=True, kw_only=True):
    """Something that should not be in a recording. The value itself is never told.

    A credential keeps a recording from being written; an identifier is a warning.
    """

    file: str
    interaction: int
    where: Where
    field: str  # header, JSON key or parameter under which it stands; "" for none
    rule: str
    severity: Severity
    length: int  # in characters


class Scrubber:
    """Scrubs and scans with one list of secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` are found in any encoding. Raises `ValueError` for one of fewer than 6 characters."""
        self._redactor = Redactor(secrets)
        self._bodies = BodyScrubber(self._redactor)

    def scrubbed(self, interaction: Interaction) -> Interaction:
        """The interaction without what `scan` would find, except tokens that only look like chance."""
        log: list[Hit] = []
        sent = self._bodies.scrub(interaction.request_body, interaction.request_headers, log)
        came = self._bodies.scrub(interaction.body, interaction.headers, log)
        return msgspec.structs.replace(
            interaction,
            url=self._url(interaction.url, log),
            request_headers=self._headers(interaction.request_headers, log),
            request_body=sent.body,
            headers=self._headers(interaction.headers, log),
            body=came.body,
            timing=refitted(interaction.timing, came) if interaction.timing is not None else None,
        )

    def scan(self, interaction: Interaction) -> list[Finding]:
        """What is to be found in an interaction, credentials first."""
        found: dict[Finding, None] = {}
        _note(found, interaction, "request.headers", self._in_headers(interaction.request_headers))
        _note(found, interaction, "response.headers", self._in_headers(interaction.headers))
        _note(found, interaction, "request.url", self._in_url(interaction.url))
        sent = self._in_body(interaction.request_body, interaction.request_headers)
        _note(found, interaction, "request.body", sent)
        _note(found, interaction, "response.body", self._in_body(interaction.body, interaction.headers))
        return sorted(found, key=lambda finding: finding.severity)

    def known_secret_in(self, text: str) -> bool:
        """Whether one of the secrets that were handed in stands in a text, in any encoding."""
        known = [rule for rule in self._redactor.rules if rule.name == "known secret"]
        return any(rule.pattern.search(text) is not None for rule in known)

    def _headers(self, headers: Mapping[str, str], log: list[Hit]) -> dict[str, str]:
        return {
            name: self._header(name, value, log)
            for name, value in headers.items()
            if is_kept(name) and not is_secret_name(name)
        }

    def _header(self, name: str, value: str, log: list[Hit]) -> str:
        if name in IDENTIFIER_HEADERS and not is_placeholder(value):
            log.append(Hit("identifying header", "identifier", len(value), name))
            return pseudonym(value)
        return self._redactor.text(value, self._redactor.active(value), log, name)

    def _in_headers(self, headers: Mapping[str, str]) -> list[Hit]:
        hits: list[Hit] = []
        for name, value in headers.items():
            if is_secret_name(name):
                if not is_placeholder(_SCHEME_WORD.sub("", value)):
                    hits.append(Hit("secret header", "credential", len(value), name))
                continue
            clean = self._header(name, value, hits)
            if name not in IDENTIFIER_HEADERS and not belongs(name):
                hits += [Hit("looks like chance", "credential", len(token), name) for token in chancy(clean)]
        return hits

    def _url(self, url: str, log: list[Hit]) -> str:
        parts = _parts(url)
        user = parts["user"]
        if user is not None and not is_placeholder(user):
            log.append(Hit("user info in an address", "credential", len(user)))
            user = None
        rest = self._redactor.text(parts["rest"] or "", self._redactor.rules, log)
        query = self._query(parts["query"], log) if parts["query"] else ""
        end = self._redactor.text(parts["end"] or "", self._redactor.rules, log)
        return f"{parts['scheme'] or ''}{f'{user}@' if user else ''}{rest}{query}{end}"

    def _in_url(self, url: str) -> list[Hit]:
        hits: list[Hit] = []
        parts = _parts(self._url(url, hits))
        pieces = [*unquote(parts["rest"] or "").split("/"), *re.split("[?&=]", unquote(parts["query"] or ""))]
        hits += [Hit("looks like chance", "credential", len(token)) for piece in pieces for token in chancy(piece)]
        return hits

    def _query(self, query: str, log: list[Hit]) -> str:
        fields = []
        for field in query[1:].split("&"):
            name, equals, raw = field.partition("=")
            plain = unquote(raw)
            if is_secret_parameter(unquote(name)) and not is_placeholder(plain):
                log.append(Hit("key in a query", "credential", len(plain), name))
                raw = REDACTED
            elif (new := self._redactor.text(plain, self._redactor.rules, log, name)) != plain:
                raw = quote(new, safe="")
            if (named := self._redactor.text(unquote(name), self._redactor.rules, log)) != unquote(name):
                name = quote(named, safe="")
            fields.append(f"{name}{equals}{raw}")
        return "?" + "&".join(fields)

    def _in_body(self, body: bytes, headers: dict[str, str]) -> list[Hit]:
        hits: list[Hit] = []
        clean = self._bodies.scrub(body, headers, hits).body
        for text in self._bodies.texts(clean, headers):
            # The rules once more over all of the text, so that the way a body is taken apart can hide nothing.
            self._redactor.text(text, self._redactor.active(text), hits)
            if _is_text(text) and any(True for _ in chancy(text)):
                hits += _chancy_in(text)
        return hits


def scrubbed(interaction: Interaction, secrets: Iterable[str] = ()) -> Interaction:
    """One interaction scrubbed; for many, make one `Scrubber`."""
    return Scrubber(secrets).scrubbed(interaction)


def scan(interaction: Interaction, secrets: Iterable[str] = ()) -> list[Finding]:
    """What is to be found in one interaction; for many, make one `Scrubber`."""
    return Scrubber(secrets).scan(interaction)


def refitted(timing: RecordedTiming, pieces: Pieces) -> RecordedTiming:
    """Arrival times for a body whose pieces have changed their lengths: the instants stay, the chunks end where the
    same share of the same piece ends, and together they hold the new body. A chunk of which nothing is left goes.
    """
    old_ends = list(accumulate(pieces.lengths))
    new_ends = list(accumulate(map(len, pieces.new)))
    if old_ends == new_ends:
        return timing
    chunks: list[tuple[int, float]] = []
    piece = done = 0
    for end, (length, t_s) in zip(timing.ends, timing.chunks, strict=True):
        while piece < len(old_ends) - 1 and old_ends[piece] < end:
            piece += 1
        old_start = old_ends[piece] - pieces.lengths[piece]
        new_length = len(pieces.new[piece])
        share = (end - old_start) * new_length // pieces.lengths[piece] if pieces.lengths[piece] else 0
        new_end = new_ends[piece] - new_length + share
        if new_end > done or not length:
            chunks.append((new_end - done, t_s))
        done = new_end
    if chunks:
        chunks[-1] = (chunks[-1][0], timing.chunks[-1][1])  # the end stays the end
    return RecordedTiming(timing.headers_s, tuple(chunks))


def _chancy_in(text: str) -> list[Hit]:
    hits: list[Hit] = []

    def value(plain: str, key: str) -> str:
        if not belongs(key):
            hits.extend(Hit("looks like chance", "credential", len(token), key) for token in chancy(plain))
        return plain

    def between(part: str) -> str:
        return value(part, "")

    rewritten(text, value, between)
    return hits


def _is_text(text: str) -> bool:
    """Whether this is no binary body, in which everything looks like chance."""
    strange = sum(1 for char in text[:4096] if char < "\t" or "\udc80" <= char <= "\udcff")
    return strange <= _NOT_TEXT_SHARE * min(len(text), 4096)


def _parts(url: str) -> dict[str, str | None]:
    match = _URL.fullmatch(url)
    return match.groupdict() if match else {"scheme": None, "user": None, "rest": url, "query": None, "end": None}


def _note(
    found: dict[Finding, None],
    interaction: Interaction,
    where: Where,
    hits: Iterable[Hit],
) -> None:
    for hit in hits:
        finding = Finding(
            file=interaction.file,
            interaction=interaction.index,
            where=where,
            field=hit.field,
            rule=hit.rule,
            severity=hit.severity,
            length=hit.length,
        )
        found[finding] = None
