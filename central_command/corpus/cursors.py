"""Where the next page begins, as a text that means nothing to whoever carries it. Pure.

It is good for the question that it came with: a digest of that is in it. So one that was made up, or of another
question, is told.
"""

import base64
import binascii
import hashlib
from typing import Any, Final, Generic, TypeVar

import msgspec

P = TypeVar("P")

CURSOR_CHARS_MAX: Final = 400
DIGEST_CHARS: Final = 16


class CursorError(ValueError):
    """It is none of this question's cursors."""


class Cursors(Generic[P]):
    """The cursors of one kind of question; `kinds` are the structs of places, `noun` what a question is called."""

    def __init__(self, kinds: Any, noun: str) -> None:  # noqa: ANN401 (a type, or a union of some)
        self._noun = noun
        self._decoder: msgspec.json.Decoder[tuple[str, P]] = msgspec.json.Decoder(tuple[str, kinds])

    def __repr__(self) -> str:
        return f"<Cursors of a {self._noun}>"

    def text(self, digest: str, place: P) -> str:
        """The cursor of a place."""
        return base64.urlsafe_b64encode(msgspec.json.encode((digest, place))).rstrip(b"=").decode()

    def place(self, text: str, digest: str) -> P:
        """The place that a cursor stands for; raises CursorError."""
        try:
            if len(text) > CURSOR_CHARS_MAX:
                raise CursorError
            decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            found, place = self._decoder.decode(decoded)
        except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
            sentence = f"The cursor is none of this {self._noun}: leave it out to begin with the first page."
            raise CursorError(sentence) from None
        if found != digest:
            sentence = f"The cursor is one of another {self._noun}: leave it out to begin with the first page."
            raise CursorError(sentence)
        return place


def digest_of(question: object) -> str:
    """What stands for a question."""
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:DIGEST_CHARS]
