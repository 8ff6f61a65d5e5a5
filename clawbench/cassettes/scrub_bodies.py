"""Bodies with their secrets replaced, piece by piece: server-sent events, JSON lines, binary frames, or the whole.

A stream is divided where its events end, so that arrival times can be fitted to what each event has become. A secret
that a model spelled out over several events is found in their joined text and replaced in the event where it begins.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final
from urllib.parse import quote_plus, unquote_plus

from msgspec import Struct

from clawbench.cassettes.framing import event_ends, framing
from clawbench.cassettes.json_strings import escaped, rewritten, unescaped
from clawbench.cassettes.redaction import Hit, Redactor, Span, found, replaced
from clawbench.cassettes.secret_shapes import (
    REDACTED,
    Rule,
    is_identifier,
    is_placeholder,
    is_secret_name,
    is_secret_parameter,
    may_name_secrets,
    pseudonym,
)
from clawbench.wires.event_stream import FrameSplitter, encode_frame

_FORM: Final = re.compile(r"[\w.%+\[\]-]{1,200}=[^&\s{}\"]*(?:&[\w.%+\[\]-]{1,200}=[^&\s{}\"]*)*\s*")
_PART: Final = re.compile(r'(\bname="([^"\r\n]{1,200})"[^\r\n]{0,200}\r?\n(?:[^\r\n]{1,200}\r?\n){0,4}\r?\n)([^\r\n]+)')
_WRAPPED: Final = re.compile(r'("bytes"\s*:\s*")([A-Za-z0-9+/=]+)(")')
# What a model says in a stream, under the names that the dialects give it.
_SAID: Final = re.compile(
    r'"(content|text|partial_json|arguments|thinking|reasoning_content|reasoning|delta|response|refusal|transcript|input)"'
    r'\s*:\s*"((?:[^"\\]++|\\.)*+)"'
)
_SHORT: Final = 6  # between the strings of a JSON text: punctuation and short numbers


class Pieces(Struct, frozen=True):
    """A body in pieces: how long each one was, and what it has become."""

    lengths: tuple[int, ...]
    new: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.new)


class BodyScrubber:
    """Scrubs bodies with one redactor."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def scrub(self, body: bytes, headers: dict[str, str], log: list[Hit]) -> Pieces:
        """The body with its secrets replaced; `log` takes what was. `headers` tell how it is framed."""
        framed = framing(headers, body, stream_asked=True)
        if framed == "frames":
            return self._frames(body, log)
        ends = event_ends(body, framed) or (len(body),)
        starts = (0, *ends[:-1])
        texts = [_text(body[start:end]) for start, end in zip(starts, ends, strict=True)]
        spelled_out = len(texts) > 1 and _join_spelled_out(texts, self._redactor.rules, log)
        text = "".join(texts)
        rules = self._redactor.active(text)
        if "\\u00" in text or (len(texts) == 1 and _FORM.fullmatch(text)):
            rules = self._redactor.rules  # a letter may be hidden in an escape, of JSON or of a form
        elif not rules and not spelled_out and not may_name_secrets(text.lower()):
            return Pieces((len(body),), (body,))
        new = tuple(_bytes(self._piece(piece, rules, log)) for piece in texts)
        return Pieces(tuple(end - start for start, end in zip(starts, ends, strict=True)), new)

    def texts(self, body: bytes, headers: dict[str, str]) -> Iterator[str]:
        """What is to be read in a body, whichever way it is wrapped: the payloads of frames, or all of it."""
        if framing(headers, body, stream_asked=True) != "frames":
            yield _text(body)
            return
        for frame in FrameSplitter(bytes_max=len(body)).feed(body):
            yield _WRAPPED.sub(_laid_open, _text(frame.payload))

    def _piece(self, text: str, rules: Sequence[Rule], log: list[Hit]) -> str:
        if '"' in text and ("{" in text or "[" in text):
            text = self._json(text, rules, log)
        elif _FORM.fullmatch(text):
            return self._form(text, rules, log)
        if 'name="' in text:
            text = _PART.sub(lambda part: self._part(part, log), text)
        return self._redactor.text(text, rules, log)

    def _json(self, text: str, rules: Sequence[Rule], log: list[Hit]) -> str:
        def value(plain: str, key: str) -> str:
            if key and is_secret_name(key) and not is_placeholder(plain):
                log.append(Hit("named secret", "credential", len(plain), key))
                return REDACTED
            if key and is_identifier(key, plain) and not is_placeholder(plain):
                log.append(Hit("named identifier", "identifier", len(plain), key))
                return pseudonym(plain)
            return self._redactor.text(plain, rules, log, key) if rules else plain

        def between(part: str) -> str:
            return part if len(part) < _SHORT or not rules else self._redactor.text(part, rules, log)

        return rewritten(text, value, between)

    def _form(self, text: str, rules: Sequence[Rule], log: list[Hit]) -> str:
        fields = []
        for field in text.split("&"):
            name, equals, raw = field.partition("=")
            plain = unquote_plus(raw)
            if is_secret_parameter(unquote_plus(name)) and not is_placeholder(plain.strip()):
                log.append(Hit("form field", "credential", len(plain), name))
                raw = REDACTED
            elif (new := self._redactor.text(plain, rules, log, name)) != plain:
                raw = quote_plus(new)
            if (named := self._redactor.text(unquote_plus(name), rules, log)) != unquote_plus(name):
                name = quote_plus(named)
            fields.append(f"{name}{equals}{raw}")
        return "&".join(fields)

    def _part(self, part: re.Match[str], log: list[Hit]) -> str:
        if not is_secret_name(part[2]) or is_placeholder(part[3]):
            return part[0]
        log.append(Hit("form field", "credential", len(part[3]), part[2]))
        return part[1] + REDACTED

    def _frames(self, body: bytes, log: list[Hit]) -> Pieces:
        """Frames whose payload holds a secret are composed anew, checksums included; the others keep their bytes."""
        splitter = FrameSplitter(bytes_max=len(body))
        frames = splitter.feed(body)
        lengths: list[int] = []
        new: list[bytes] = []
        for number, frame in enumerate(frames):
            end = frames[number + 1].offset if number + 1 < len(frames) else _end_of_frame(body, frame.offset)
            old = body[frame.offset : end]
            payload = self._payload(frame.payload, log)
            headers = {
                name: self._redactor.text(told, self._redactor.active(told), log) if isinstance(told, str) else told
                for name, told in frame.headers.items()
            }
            changed = payload != frame.payload or headers != frame.headers
            lengths.append(len(old))
            new.append(encode_frame(headers, payload) if changed else old)
        rest = body[sum(lengths) :]
        if rest:  # broken or cut off: no frame, so no checksum either
            lengths.append(len(rest))
            new.append(_bytes(self._piece(_text(rest), self._redactor.rules, log)))
        return Pieces(tuple(lengths), tuple(new))

    def _payload(self, payload: bytes, log: list[Hit]) -> bytes:
        text = _text(payload)
        rules = self._redactor.active(text)
        new = _WRAPPED.sub(lambda match: self._unwrapped(match, log), text)
        if rules or may_name_secrets(new.lower()) or "\\u00" in new:
            new = self._piece(new, self._redactor.rules if "\\u00" in new else rules, log)
        return payload if new == text else _bytes(new)

    def _unwrapped(self, match: re.Match[str], log: list[Hit]) -> str:
        try:
            inner = _text(b64decode(match[2], validate=True))
        except ValueError:
            return match[0]
        new = self._piece(inner, self._redactor.active(inner), log)
        return match[0] if new == inner else match[1] + b64encode(_bytes(new)).decode() + match[3]


def _laid_open(match: re.Match[str]) -> str:
    try:
        return f'"bytes":{_text(b64decode(match[2], validate=True))}'
    except ValueError:
        return match[0]


class _Fragment(Struct):
    """What one event adds to what is said under a name: where its raw text stands, and the text."""

    piece: int
    start: int
    end: int
    raw: str
    text: str


def _join_spelled_out(texts: list[str], rules: Sequence[Rule], log: list[Hit]) -> bool:
    """Replaces, in place, what a rule finds only in the joined fragments of several events; whether there was any."""
    before = len(log)
    said = _said(texts)
    for rule in rules:
        for name in tuple(said):
            spans = _spanning(said[name], rule)
            if spans:
                log += [Hit(rule.name, rule.severity, span.end - span.start) for span in spans]
                _rewrite(texts, said[name], spans)
                said = _said(texts)
    return len(log) > before


def _said(texts: list[str]) -> dict[str, list[_Fragment]]:
    said: dict[str, list[_Fragment]] = {}
    for number, text in enumerate(texts):
        for match in _SAID.finditer(text):
            fragment = _Fragment(number, *match.span(2), match[2], unescaped(match[2]))
            said.setdefault(match[1], []).append(fragment)
    return said


def _spanning(fragments: list[_Fragment], rule: Rule) -> list[Span]:
    """The places in the joined text that reach over more than one fragment; the others are found without joining."""
    joined = "".join(fragment.text for fragment in fragments)
    if not rule.hinted(joined.lower()):
        return []
    ends = _ends(fragments)
    return [span for span in found(rule, joined) if bisect_right(ends, span.start) != bisect_left(ends, span.end)]


def _rewrite(texts: list[str], fragments: list[_Fragment], spans: list[Span]) -> None:
    """Puts each stand-in into the fragment in which its span begins, and takes the rest out of those that follow."""
    ends = _ends(fragments)
    edits: dict[int, list[Span]] = {}  # by fragment, in order
    for span in spans:
        first, last = bisect_right(ends, span.start), bisect_left(ends, span.end)
        for position in range(first, last + 1):
            length = len(fragments[position].text)
            begin = ends[position] - length
            here = Span(
                max(span.start - begin, 0), min(span.end - begin, length), span.stand_in if position == first else ""
            )
            edits.setdefault(position, []).append(here)
    raw_edits: dict[int, list[Span]] = {}  # by piece, in order
    for position in sorted(edits):
        fragment = fragments[position]
        raw = escaped(replaced(fragment.text, edits[position]), fragment.raw)
        raw_edits.setdefault(fragment.piece, []).append(Span(fragment.start, fragment.end, raw))
    for piece, spans_of_piece in raw_edits.items():
        texts[piece] = replaced(texts[piece], spans_of_piece)


def _ends(fragments: list[_Fragment]) -> list[int]:
    return list(accumulate(len(fragment.text) for fragment in fragments))


def _end_of_frame(body: bytes, offset: int) -> int:
    return offset + int.from_bytes(body[offset : offset + 4], "big")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
