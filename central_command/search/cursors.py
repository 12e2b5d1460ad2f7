"""Where the next page begins, as a text that means nothing to whoever carries it. Pure.

It is good for the question that it came with: a digest of that is in it. So one that was made up, or of another
question, is told.
"""

import base64
import binascii
import hashlib
from typing import Final

import msgspec

CURSOR_CHARS_MAX: Final = 200
DIGEST_CHARS: Final = 16


class Newest(msgspec.Struct, frozen=True, tag="n", array_like=True):
    """Behind a row, from the newest to the oldest."""

    row: int


class Ranked(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """Behind a hit with a score, from the best to the worst."""

    score: float
    row: int


class Offset(msgspec.Struct, frozen=True, tag="o", array_like=True):
    """Behind so many hits."""

    hits: int


Place = Newest | Ranked | Offset


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    digest: str
    place: Place


_DECODER: Final = msgspec.json.Decoder(_Cursor)


class CursorError(ValueError):
    """It is none of this question's cursors."""


def digest_of(question: object) -> str:
    """What stands for a question."""
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:DIGEST_CHARS]


def cursor_of(digest: str, place: Place) -> str:
    """The cursor of a place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(digest, place))).rstrip(b"=").decode()


def read_cursor(text: str, digest: str) -> Place:
    """The place that a cursor stands for; raises CursorError."""
    try:
        if len(text) > CURSOR_CHARS_MAX:
            raise CursorError
        found = _DECODER.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        raise CursorError("The cursor is none of this search: leave it out to begin with the first page.") from None
    if found.digest != digest:
        raise CursorError("The cursor is one of another search: leave it out to begin with the first page.")
    return found.place
