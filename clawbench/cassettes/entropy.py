"""Tokens that look like chance: what a scan stops at where no rule knows the shape of a key.

A token of 20 characters or more with 4.0 bits per character or more, unless it is a hash, is made of words, or stands
under a key where such tokens belong: ids of messages and calls, signatures, encrypted reasoning, media, addresses.
Bits per character are Shannon's, over the token's own characters. Replaces nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import log2
from typing import Final

from clawbench.cassettes.secret_shapes import is_placeholder, plain_name

TOKEN_CHARS_MIN: Final = 20
BITS_PER_CHAR_MIN: Final = 4.0

_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])(?<!;base64,)[A-Za-z0-9+/_-]{20,}")
_SAMPLE_CHARS: Final = 4096  # of a longer token: media
_HASH: Final = re.compile(
    r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})"
)
_UUID: Final = re.compile(r"(?:[a-z]+[-_])*[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(?:-\d+)?")
_IDS: Final = re.compile(
    r"(?:chatcmpl|cmpl|msg|resp|toolu|call|fc|rs|ws|ctc|gen|run|file|batch|ci|cntr|srvtoolu|tool|functions|container"
    r"|reasoning|text|rsn|item|mcp|tooluse|conv|fp|img|ig)(?:_bdrk|_vrtx|_tmp)?[-_][A-Za-z0-9_-]+"
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PART: Final = re.compile(r"[A-Za-z]*\d{0,4}|\d+[A-Za-z]{0,3}")
_WORD_CHARS_MEAN_MIN: Final = 3.0

_RANDOM_FIELDS: Final = frozenset({
    # media and where it lies
    "data", "b64json", "audio", "image", "images", "imageurl", "inlinedata", "inputaudio", "filedata", "fileuri",
    "bytes", "url", "urls", "uri", "displayedurl", "redirecturl", "citations",
    # encrypted reasoning, padding, fingerprints
    "encryptedcontent", "encryptedindex", "redactedcontent", "obfuscation", "p", "systemfingerprint",
    "checksum", "etag", "hash", "sha256", "md5",
    # names with versions in them
    "model", "modelversion",
})  # fmt: skip


def belongs(field: str) -> bool:
    """Whether tokens of chance belong under this key."""
    plain = plain_name(field)
    return plain in _RANDOM_FIELDS or plain.endswith(("id", "ids", "signature"))


def chancy(text: str) -> Iterator[str]:
    """The tokens in a text that look like chance."""
    for match in _TOKEN.finditer(text):
        token = match[0].strip("-_/")
        if (
            len(token) >= TOKEN_CHARS_MIN
            and bits_per_char(token) >= BITS_PER_CHAR_MIN
            and not (_HASH.fullmatch(token) or _UUID.fullmatch(token) or _IDS.fullmatch(token))
            and not is_placeholder(token)
            and not _made_of_words(token)
        ):
            yield token


def bits_per_char(token: str) -> float:
    """Shannon entropy of a token's characters, in bits; of a long token, of its beginning."""
    token = token[:_SAMPLE_CHARS]
    total = len(token)
    return -sum(count / total * log2(count / total) for count in Counter(token).values()) if total else 0.0


def _made_of_words(token: str) -> bool:
    """Whether each part between joints is words, a word with a short number, or a number: `gpt-4o-mini-2024-07-18`."""
    parts = [part for part in re.split(r"[-_/+]+", token) if part]
    if not all(_PART.fullmatch(part) for part in parts):
        return False
    words = [word for part in parts for word in _WORD.findall(part)]
    return bool(words) and sum(map(len, words)) / len(words) >= _WORD_CHARS_MEAN_MIN
