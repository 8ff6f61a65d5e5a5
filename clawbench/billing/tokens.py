"""Tokens of a text whose provider did not count them, for estimates that are flagged as such.

The vocabulary is the one that litellm's package carries, so nothing is downloaded; litellm itself is not imported.
Where the file is missing, tokens are guessed from the size of the text. The first use takes a third of a second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import tiktoken

BY_TOKENIZER: Final = "tiktoken.o200k_base/1"
BY_SIZE: Final = "utf8-bytes-over-4/1"
BYTES_PER_TOKEN: Final = 4

_FILE: Final = "fb374d419588a4632f3f557e76b4b70aebbca790"  # tiktoken's name for the file of o200k_base in its cache


def estimated_tokens(texts: Sequence[str]) -> tuple[int, str]:
    """(tokens, estimator) of pieces of one text."""
    text = "".join(texts)
    encoding = _encoding()
    if encoding is None:
        return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN), BY_SIZE
    return len(encoding.encode_ordinary(text)), BY_TOKENIZER


class RunningCount:
    """The tokens of a text that is still growing, the same as `estimated_tokens` of all of it at each instant.

    Only what is new is tokenized, from the last space that follows something else: no token reaches across it.
    """

    __slots__ = ("_open", "_tokens")

    def __init__(self) -> None:
        self._tokens = 0  # of what is closed; bytes of it, where there is no tokenizer
        self._open = ""  # the last word, which may go on

    def add(self, texts: Sequence[str]) -> tuple[int, str]:
        """(tokens, estimator) of everything so far, with further pieces of it."""
        text = self._open + "".join(texts)
        cut = text.rfind(" ")
        while cut > 0 and text[cut - 1].isspace():
            cut = text.rfind(" ", 0, cut)
        cut = max(cut, 0)
        self._open = text[cut:]
        encoding = _encoding()
        if encoding is None:
            self._tokens += len(text[:cut].encode("utf-8", "replace"))
            return -(-(self._tokens + len(self._open.encode("utf-8", "replace"))) // BYTES_PER_TOKEN), BY_SIZE
        self._tokens += len(encoding.encode_ordinary(text[:cut]))
        return self._tokens + len(encoding.encode_ordinary(self._open)), BY_TOKENIZER


@cache
def _encoding() -> tiktoken.Encoding | None:
    folder = _folder()
    if folder is None:
        return None
    # tiktoken looks into this folder before it would ask the network, which it then never does.
    known = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        return tiktoken.get_encoding("o200k_base")
    finally:
        if known is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = known


def _folder() -> Path | None:
    found = find_spec("litellm")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        folder = Path(place) / "litellm_core_utils" / "tokenizers"
        if (folder / _FILE).is_file():
            return folder
    return None
