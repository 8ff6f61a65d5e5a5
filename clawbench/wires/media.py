"""Images, sound and files inside messages: data URLs taken apart and put together, media types told from names.

Nothing is decoded but the alphabet of base64: some clients write the one for URLs, APIs want the standard one.
Knows no dialect.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from typing import Any, Final

_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*?;base64,", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"\.([A-Za-z0-9]{2,5})(?:[?#].*)?$")
_TO_STANDARD: Final = str.maketrans("-_", "+/")

TYPES: Final[dict[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "m4a": "audio/m4a",
    "pcm16": "audio/L16",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
"""By suffix, or by OpenAI's name of an audio format."""

AUDIO_FORMATS: Final = {kind: suffix for suffix, kind in TYPES.items() if kind.startswith("audio/")} | {
    "audio/mpeg": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}

# The first bytes of a file, as base64 begins them.
_MAGIC: Final = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
)


def split_data_url(url: Any) -> tuple[str, str] | None:
    """(media type, standard base64) of a base64 data URL; None for anything else. The type may be ""."""
    if type(url) is not str or not url.startswith("data:"):
        return None
    head = _DATA_URL.match(url[:300])
    return (head[1].lower(), standard_base64(url[head.end() :])) if head else None


def data_url(media_type: str, base64: str) -> str:
    """The data URL of base64 text."""
    return f"data:{media_type};base64,{standard_base64(base64)}"


def standard_base64(text: str) -> str:
    """The same bytes in the standard alphabet, padded."""
    if "-" in text or "_" in text:
        text = text.translate(_TO_STANDARD)
    return text + "=" * (-len(text) % 4) if len(text) % 4 else text


def joined_base64(one: str, other: str) -> str:
    """The bytes of both, as base64; the second alone where either is none."""
    try:
        return b64encode(b64decode(one) + b64decode(other)).decode()
    except (BadBase64, ValueError):
        return other


def type_of_name(name: Any) -> str | None:
    """The media type of a file name or URL by its suffix, None if that tells nothing."""
    suffix = _SUFFIX.search(name[-200:]) if type(name) is str else None
    return TYPES.get(suffix[1].lower()) if suffix else None


def type_of_base64(text: str) -> str | None:
    """The media type that the first bytes tell, None if they tell nothing."""
    return next((kind for magic, kind in _MAGIC if text.startswith(magic)), None)


def image_url(part: dict[str, Any]) -> Any:
    """The URL in an `image_url` or `video_url` part, which may hold it plainly or in an object."""
    held = part.get(part.get("type", ""))
    return held.get("url") if type(held) is dict else held
