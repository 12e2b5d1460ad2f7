"""A JSON string of any length read a piece at a time, by parts of its bytes. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from persistence.format import json_text

PIECE_BYTES: Final = 65_536
TAIL_BYTES: Final = 12
"""Of a piece, those that may belong to a character that ends in the next one: two escapes of six bytes."""

ReadBytes = Callable[[int, int], bytes]
"""Reads the bytes from an offset up to another."""

_TEXT: Final = msgspec.json.Decoder(str)


def beginning_of(piece: bytes) -> str:
    """What the beginning of a JSON string says, as far as it is whole; empty for what is none."""
    if not piece.startswith(b'"'):
        return ""
    return _decoded(piece[1:])[0]


def pieces_of(read: ReadBytes, start: int, end: int) -> Iterator[str]:
    """Yield what a JSON string says that stands between two offsets, its quotes included; some at a time."""
    at, last, rest = start + 1, end - 1, b""
    while at < last:
        piece = read(at, min(at + PIECE_BYTES, last))
        if not piece:
            return
        at += len(piece)
        if at >= last:
            yield _whole(rest + piece)
            return
        text, used = _decoded(rest + piece)
        rest = (rest + piece)[used:]
        yield text


def _decoded(piece: bytes) -> tuple[str, int]:
    """The longest part of a piece that is whole, and its bytes."""
    for missing in range(min(TAIL_BYTES, len(piece)) + 1):
        used = len(piece) - missing
        try:
            return _TEXT.decode(b'"%s"' % piece[:used]), used
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    used = max(0, len(piece) - TAIL_BYTES)
    return _whole(piece[:used]), used


def _whole(piece: bytes) -> str:
    try:
        return json_text.decode(_TEXT, b'"%s"' % piece)
    except msgspec.DecodeError:
        return piece.decode(errors="replace")
