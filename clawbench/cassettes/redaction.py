"""Text with its secrets replaced: those that are handed in, in any encoding, and those that a rule recognises.

Knows text and rules; what the text is part of (a URL, a JSON string, a stream) is the callers' business.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, quote_plus

from msgspec import Struct

from clawbench.cassettes.secret_shapes import REDACTED, RULES, Rule, Severity

SECRET_CHARS_MIN: Final = 6
"""Shorter secrets are refused: they would blank ordinary words."""

_ROUNDS: Final = 4  # a replacement may complete another shape beside it


class Hit(Struct, frozen=True):
    """Something that was replaced. The value itself is kept nowhere."""

    rule: str
    severity: Severity
    length: int  # characters of what was replaced
    field: str = ""  # JSON key, form field or header under which it stood


class Span(Struct, frozen=True):
    """A place in a text and what is to stand there."""

    start: int
    end: int
    stand_in: str


class Redactor:
    """Replaces secrets in text. Made once for a list of secrets; stateless afterwards."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Raises `ValueError` for a secret of fewer than 6 characters, which it does not name."""
        variants = sorted(
            {variant for secret in secrets for variant in _variants(secret)}, key=lambda text: (-len(text), text)
        )
        self.rules: tuple[Rule, ...] = RULES
        if variants:
            pattern = re.compile("|".join(map(re.escape, variants)))
            hints = tuple({variant.lower() for variant in variants})
            exempt = (REDACTED).__eq__
            self.rules = (Rule("known secret", "credential", pattern, hints, exempt=exempt), *RULES)

    def active(self, text: str) -> tuple[Rule, ...]:
        """The rules that could apply to this text or to any part of it; no other ones can."""
        lower = text.lower()
        return tuple([rule for rule in self.rules if rule.hinted(lower)])

    def text(self, text: str, rules: Sequence[Rule], log: list[Hit], field: str = "") -> str:
        """The text with everything replaced that one of `rules` recognises; what was replaced goes to `log`."""
        for _ in range(_ROUNDS):
            before = text
            for rule in rules:
                spans = list(found(rule, text))
                if spans:
                    log += [Hit(rule.name, rule.severity, span.end - span.start, field) for span in spans]
                    text = replaced(text, spans)
            if text == before:
                break
        return text


def replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with each span, in order and not overlapping, replaced by what stands in for it."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += (text[at : span.start], span.stand_in)
        at = span.end
    parts.append(text[at:])
    return "".join(parts)


def found(rule: Rule, text: str) -> Iterator[Span]:
    """The places in a text that a rule says are to be replaced, in order, not overlapping."""
    group = "secret" if "secret" in rule.pattern.groupindex else 0
    for match in rule.pattern.finditer(text):
        value = match[group]
        if not rule.exempt(value):
            stand_in = rule.stand_in(value)
            if stand_in != value:
                yield Span(*match.span(group), stand_in)


def _variants(secret: str) -> Iterator[str]:
    """A secret as it may stand in text: as it is, escaped in JSON, in a URL, in HTML, and inside of base64."""
    if len(secret) < SECRET_CHARS_MIN:
        raise ValueError(f"a secret of {len(secret)} characters is refused: {SECRET_CHARS_MIN} are the least")
    yield secret
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (once, once.replace("/", "\\/"), json.dumps(once)[1:-1])
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)
    yield html.escape(secret)
    for shift in range(3):
        inner = _inside_base64(secret.encode("utf-8", "surrogatepass"), shift)
        yield from (inner, inner.replace("+", "-").replace("/", "_"), inner.replace("/", "\\/"))


def _inside_base64(secret: bytes, shift: int) -> str:
    """The characters that a secret has in base64 wherever it stands `shift` bytes after a multiple of three.

    The characters at both ends that also depend on its neighbours are left out.
    """
    text = b64encode(bytes(shift) + secret).decode().rstrip("=")
    first = (0, 2, 3)[shift]
    whole = (shift + len(secret)) * 8 // 6
    return text[first:whole]
