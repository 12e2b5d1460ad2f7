"""Whether some object in a JSON text has two members of one name: readers differ on which of the two counts.

Looked at when a session is stitched, not before an envelope is answered: it takes several times as long as reading and
checking the envelope does (docs/decisions.md, "A name that stands twice").
"""

import json
from collections.abc import Iterable, Iterator, Sequence
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


def _together(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield texts in groups of at most `PLAIN_BYTES_MAX`; a longer one is a group by itself."""
    group: list[bytes] = []
    group_bytes = 0
    for text in texts:
        if group and group_bytes + len(text) > PLAIN_BYTES_MAX:
            yield group
            group, group_bytes = [], 0
        group.append(text)
        group_bytes += len(text)
    if group:
        yield group


def _is_plain(group: Sequence[bytes]) -> bool:
    """Whether all are written plainly: looked at together, many short ones take half the time."""
    together = b"[%s]" % b",".join(group)
    return len(together) <= PLAIN_BYTES_MAX + 2 * len(group) and _is_written_plainly(together)


def has_repeated_name(texts: Iterable[bytes]) -> bool:
    """Whether an object in one of these JSON texts, at any depth, has a name twice; some 5 ms for a million bytes.

    Names are compared as they are read, whatever escapes they are written with. In memory is one text at a time, or
    short ones of `PLAIN_BYTES_MAX` together.
    """
    try:
        for group in _together(texts):
            if not _is_plain(group):
                for text in group:
                    if not _is_plain([text]):
                        _PARSER.decode(text.decode())
    except _Repeated:
        return True
    return False
