"""Whether some object in a JSON text has two members of one name: readers differ on which of the two counts.

Looked at when a session is stitched, not before an envelope is answered: it takes several times as long as reading and
checking the envelope does (docs/decisions.md, "A name that stands twice").
"""

import json
from collections.abc import Iterable
from typing import Final

import msgspec


class _Repeated(Exception):  # noqa: N818 (it ends the parsing)
    """Found one."""


def _names_differ(members: list[tuple[str, object]]) -> None:
    """Look at one object, of which nothing is kept: an object in memory would be many times its text."""
    if len({name for name, _ in members}) != len(members):
        raise _Repeated


def _nothing(_text: str) -> None:
    """Read a number of any length, and keep nothing of it."""


PLAIN_BYTES_MAX: Final = 65_536
"""A longer text is not made objects in memory, which may take twenty times its bytes."""

_DECODER: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()
_PARSER: Final = json.JSONDecoder(object_pairs_hook=_names_differ, parse_int=_nothing, parse_float=_nothing)


def _is_written_plainly(text: bytes) -> bool:
    """Whether a text is what its values would be written as, as most are; then no name can be in it twice."""
    try:
        return _ENCODER.encode(_DECODER.decode(text)) == text
    except (msgspec.DecodeError, OverflowError, RecursionError):
        return False


def has_repeated_name(texts: Iterable[bytes]) -> bool:
    """Whether an object in one of these JSON texts, at any depth, has a name twice; some 5 ms for a million bytes.

    Names are compared as they are read, whatever escapes they are written with. In memory is one text at a time.
    """
    try:
        for text in texts:
            if len(text) > PLAIN_BYTES_MAX or not _is_written_plainly(text):
                _PARSER.decode(text.decode())
    except _Repeated:
        return True
    return False
