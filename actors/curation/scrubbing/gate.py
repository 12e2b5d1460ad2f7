"""One look at a text that says which rules can find anything in it at all.

Keywords are found by one Aho-Corasick automaton over the lower-cased UTF-8 bytes; runs of digits, hexadecimal digits,
dots and colons by mapping the bytes to their classes and asking for the run. Both are linear, and most texts pass
without a rule being run. A gate may let a rule run for nothing; it must never keep one from what it would find.
"""

import re
from functools import cache

from ahocorasick_rs import BytesAhoCorasick

from actors.curation.scrubbing import keywords

# Matches are listed by the automaton before they are looked at: blocks keep that list small, whatever the text holds.
BLOCK_BYTES = 65_536

DIGITS = "digits"
CARD = "card"
SSN = "ssn"
NORTH_AMERICAN = "north_american"
PLUS = "plus"
DOTTED = "dotted"
COLONS = "colons"
HEX_32 = "hex_32"
AT = "at"

# Words and ids in which no rule finds anything.
_PLAIN = re.compile(
    r"[a-z_ ]{0,24}|[A-Za-z]{1,11}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def _table(classes: dict[bytes, bytes]) -> bytes:
    table = bytearray(b" " * 256)
    for members, name in classes.items():
        for member in members:
            table[member] = name[0]
    return bytes(table)


_DIGITS = b"0123456789"
_HEX_DIGITS = b"0123456789abcdef"
_HEX = _table({_HEX_DIGITS: b"x"})
_COLONS = _table({b":": b":"})
_DOTS = _table({_DIGITS: b"0", b".": b"."})
_NUMBERS = _table({_DIGITS: b"0", b" -.\t\xa0\x90\x91\x92\x93\xaf": b"-", b"()/": b")", b"+": b"+"})
# The bytes before the last one of a no-break space, a figure dash and their like.
_LEADING = b"\xc2\xe2\x80"
_QUAD = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")
_NORTH_AMERICAN_SHAPES = (b"000-000-0000", b")-000-0000", b")000-0000")
_NOTHING: frozenset[str] = frozenset()


def is_plain(text: str) -> bool:
    """Whether a text is a word, a UUID or a time, as most texts of a transcript are: no rule finds anything in it."""
    return _PLAIN.fullmatch(text) is not None


def looked_at(text: str) -> frozenset[str]:
    """The keywords (`keywords.ALL`, in lower case) and the classes of runs that occur in a text."""
    raw = text.encode("utf-8", "surrogatepass").lower()
    found = _keywords_in(raw)
    if b"@" in raw or b"%40" in raw or b"\\u0040" in raw:
        found.add(AT)
    if b"::" in raw or (raw.count(b":") >= 7 and b":" * 7 in raw.translate(_COLONS, _HEX_DIGITS)):
        found.add(COLONS)
    if len(raw) >= 32 and b"x" * 32 in raw.translate(_HEX):
        found.add(HEX_32)
    if len(raw) >= 7:
        _look_at_numbers(raw, found)
    return frozenset(found) if found else _NOTHING


def _look_at_numbers(raw: bytes, found: set[str]) -> None:
    if raw.count(b".") >= 3 and _QUAD.search(raw.translate(_DOTS)):
        found.add(DOTTED)
    shape = raw.translate(_NUMBERS, _LEADING)
    if b"0000000" not in shape.translate(None, b"-)"):
        return
    found.add(DIGITS)
    if b"000-00-0000" in shape:
        found.add(SSN)
    if any(each in shape for each in _NORTH_AMERICAN_SHAPES):
        found.add(NORTH_AMERICAN)
    if b"+0" in shape or b"+)0" in shape:
        found.add(PLUS)
    if b"0" * 13 in shape.translate(None, b"-"):
        found.add(CARD)


def _keywords_in(raw: bytes) -> set[str]:
    automaton = _automaton()
    if len(raw) <= BLOCK_BYTES:
        return {keywords.ALL[each[0]] for each in automaton.find_matches_as_indexes(raw, overlapping=True)}
    found: set[int] = set()
    for start in range(0, len(raw), BLOCK_BYTES):
        block = raw[start : start + BLOCK_BYTES + keywords.CHARS_MAX]
        found.update(each[0] for each in automaton.find_matches_as_indexes(block, overlapping=True))
    return {keywords.ALL[each] for each in found}


@cache
def _automaton() -> BytesAhoCorasick:
    return BytesAhoCorasick([each.encode() for each in keywords.ALL])
