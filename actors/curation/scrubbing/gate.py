"""One look at a text that says which rules can find anything in it at all.

Keywords are found by one Aho-Corasick automaton over the lower-cased UTF-8 bytes; runs of digits, hexadecimal digits,
dots and colons by what stands at each dot, at each colon and, once the bytes are mapped to their classes, at each
digit. All are linear, and most texts pass without a rule being run. A gate may let a rule run for nothing; it must
never keep one from what it would find.
"""

import re
from functools import cache

from ahocorasick_rs import BytesAhoCorasick, Implementation

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
ENCODED_AT = "encoded_at"

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
_HEX = _table({_DIGITS + b"abcdef": b"x"})
_GAPS, _BRACKETS = b" -.\t\xa0\x90\x91\x92\x93\xaf", b"()/"
# The bytes before the last one of a no-break space, a figure dash and their like.
_LEADING = b"\xc2\xe2\x80"
_NUMBERS = _table({_DIGITS: b"0", _GAPS: b"-", _BRACKETS: b")", b"+": b"+"})
_RUNS = _table({_DIGITS: b"0", _GAPS + _BRACKETS + _LEADING: b"-"})
# Each of them begins, or can be looked for, with one byte that is rare: the rest is looked at there alone.
_SEVEN_DIGITS = re.compile(b"-*+".join([b"0"] * 7))
_QUAD = re.compile(rb"\.(?<=[0-9]\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_SEVEN_COLONS = re.compile(rb":(?:[0-9a-f]*+:){6}")
_NORTH_AMERICAN_SHAPES = (b"000-000-0000", b")-000-0000", b")000-0000")
_NOTHING: frozenset[str] = frozenset()
# What the automaton finds, and what each is called: the keywords, and what is no word.
_NAMES: dict[str, str] = {
    **{each: each for each in keywords.ALL},
    "%40": ENCODED_AT,
    "\\u0040": ENCODED_AT,
    "::": COLONS,
}
_NAME_OF = tuple(_NAMES.values())


def is_plain(text: str) -> bool:
    """Whether a text is a word, a UUID or a time, as most texts of a transcript are: no rule finds anything in it."""
    return _PLAIN.fullmatch(text) is not None


def looked_at(text: str) -> frozenset[str]:
    """The keywords (`keywords.ALL`, in lower case) and the classes of runs that occur in a text."""
    raw = text.encode("utf-8", "surrogatepass").lower()
    found = _named_in(raw)
    if b"@" in raw:
        found.add(AT)
    if COLONS not in found and _SEVEN_COLONS.search(raw) is not None:
        found.add(COLONS)
    if len(raw) >= 32 and b"x" * 32 in raw.translate(_HEX):
        found.add(HEX_32)
    if _QUAD.search(raw) is not None:
        found.add(DOTTED)
    if len(raw) >= 7 and _SEVEN_DIGITS.search(raw.translate(_RUNS)) is not None:
        _look_at_numbers(raw, found)
    return frozenset(found) if found else _NOTHING


def _look_at_numbers(raw: bytes, found: set[str]) -> None:
    found.add(DIGITS)
    shape = raw.translate(_NUMBERS, _LEADING)
    if b"000-00-0000" in shape:
        found.add(SSN)
    if any(each in shape for each in _NORTH_AMERICAN_SHAPES):
        found.add(NORTH_AMERICAN)
    if b"+0" in shape or b"+)0" in shape:
        found.add(PLUS)
    if b"0" * 13 in shape.translate(None, b"-"):
        found.add(CARD)


def _named_in(raw: bytes) -> set[str]:
    automaton = _automaton()
    if len(raw) <= BLOCK_BYTES:
        return {_NAME_OF[each[0]] for each in automaton.find_matches_as_indexes(raw, overlapping=True)}
    found: set[int] = set()
    for start in range(0, len(raw), BLOCK_BYTES):
        block = raw[start : start + BLOCK_BYTES + keywords.CHARS_MAX]
        found.update(each[0] for each in automaton.find_matches_as_indexes(block, overlapping=True))
    return {_NAME_OF[each] for each in found}


@cache
def _automaton() -> BytesAhoCorasick:
    # One table of all states (half a megabyte) is looked up once a byte; by itself the library takes the smaller form.
    return BytesAhoCorasick([each.encode() for each in _NAMES], implementation=Implementation.DFA)
