"""Files that were packed as a whole: gzip, base64 of gzip (a serializer of LangChain's), zlib (one of Ruby's VCR).

Knows no layout. What is unpacked is bounded while it is produced.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from clawbench.cassettes.bodies import inflated_file, is_gzip, is_zlib
from clawbench.cassettes.formats.yaml_safe import MAX_FILE_BYTES
from clawbench.errors import CassetteError

_GZIP_IN_BASE64: Final = re.compile(rb"\s*H4sI[A-Za-z0-9+/=\s]*\Z")
_UTF8_BOM: Final = b"\xef\xbb\xbf"


def unwrapped(content: bytes, file: str) -> bytes:
    """A file's own bytes, without a byte-order mark. Raises `CassetteError` for bombs and what does not unpack."""
    if content[:64].lstrip().startswith(b"H4sI") and _GZIP_IN_BASE64.match(content):
        try:
            content = b64decode(b"".join(content.split()), validate=True)
        except (Base64Error, ValueError) as error:
            raise CassetteError(f"the file is not base64 ({error}; is it cut short?)", file=file) from None
    if is_gzip(content) or is_zlib(content):
        content = inflated_file(content, file=file, limit=MAX_FILE_BYTES)
    return content.removeprefix(_UTF8_BOM)
