"""JSON text as clients really send it: decoding that also takes lone surrogate escapes.

ECMAScript's strings are UTF-16, so `JSON.stringify` writes half of a pair (a text cut in the middle of an emoji) as an
escape such as `\\ud83d`. That is valid JSON (RFC 8259, section 8.2), but msgspec refuses it, even in parts that it only
skips. Here such an escape is replaced by `\\ufffd` in a copy for decoding. Both are six bytes, so every offset in the
copy is the same offset in the original; whatever is hashed or stored is taken from the original.
"""

import re
from collections.abc import Collection
from typing import TypeVar

import msgspec

T = TypeVar("T")


class NestingError(msgspec.DecodeError):
    """The text is nested too deeply to be decoded at all (some hundred levels, depending on the stack)."""


# One match goes up to and including the next lone surrogate escape, or to the end. Escapes are passed over whole, so
# that an escaped backslash starts none, and so are pairs of surrogates. Possessive, so linear.
_UP_TO_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]"
    rb"|u(?![dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*+"
    rb"(?:\\u([dD][89a-fA-F][0-9a-fA-F]{2}))?",
    re.DOTALL,
)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def lone_surrogates_replaced(text: bytes) -> bytes:
    """Return `text` with every lone surrogate escape replaced by `\\ufffd`, in the same length; linear in its length.

    `text` itself is returned when there is none. The text need not be well-formed.
    """
    if _ESCAPED_SURROGATE.search(text) is None:
        return text
    copy: bytearray | None = None
    for match in _UP_TO_LONE_SURROGATE.finditer(text):
        start, end = match.span(1)
        if start >= 0:
            if copy is None:
                copy = bytearray(text)
            copy[start:end] = b"fffd"
    return text if copy is None else bytes(copy)


def decode(decoder: msgspec.json.Decoder[T], text: bytes | bytearray | memoryview) -> T:
    """Decode `text`, in which lone surrogate escapes count as U+FFFD.

    `msgspec.Raw` members of the result hold the replaced text where there was such an escape: take what must keep the
    client's bytes from `text` itself, at the same offsets.

    Raises msgspec.ValidationError when the text does not fit the decoder's type, and msgspec.DecodeError when it is not
    JSON or not UTF-8; its subclass NestingError when it is nested too deeply. Strings that the decoder skips are not
    checked to be UTF-8.
    """
    try:
        try:
            return decoder.decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            whole = bytes(text)  # itself, where it is no view
            replaced = lone_surrogates_replaced(whole)
            if replaced is whole:
                raise
        return decoder.decode(replaced)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"JSON is malformed: it is not UTF-8 ({error.reason})") from None
    except RecursionError:
        raise NestingError("JSON is nested too deeply to be decoded") from None


def array_of(texts: Collection[str]) -> str:
    """Return a JSON array of texts: what SQLite's `json_each` takes apart."""
    return msgspec.json.encode(list(texts)).decode()
