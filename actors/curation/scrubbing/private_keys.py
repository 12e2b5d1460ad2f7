"""Private keys in armour: PEM, OpenSSH, PGP, and base64 of such a file.

Between the lines of a key stands whatever carried it here: real or escaped line ends, indentation, a diff's signs,
line numbers, the quotes and commas of a list of strings. A key that is cut ends at the first line that is none.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from actors.curation.scrubbing import keywords
from actors.curation.scrubbing.spans import PRIVATE_KEY, Span
from actors.curation.scrubbing.text import Text

_LABEL = r"(?:[A-Z0-9]{1,12} ){0,4}+PRIVATE KEY(?: BLOCK)?"
_BEGIN = re.compile(rf"-----BEGIN {_LABEL.replace('{0,4}+', '{0,4}?')}-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----")
_END = re.compile(r"[-+> ]{0,2}?----[- ]?END (?:[A-Z0-9]{1,12} ){0,4}?PRIVATE KEY(?: BLOCK)?[- ]----?-?")
_CARRIER = re.compile(
    r"""(?:\.{3}|…|\\{1,8}[rnt"']|[\s"'`,>|#*]|\d{1,6}(?:[→|:\t]|[ ]{2})"""
    r"""|[+-](?![-A-Za-z0-9+/])|(?<=[\n])[+-](?!-)|[ ]\+)*+"""
)
_ARMOUR_HEADER = re.compile(
    r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID|Subject): ?[^\n\\\r\x00]{0,200}"
)
_LINE = re.compile(r"[A-Za-z0-9+/]{1,4096}+={0,2}")
_CHECKSUM = re.compile(r"=[A-Za-z0-9+/]{4}(?![A-Za-z0-9+/])")
_ENCODED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}+(?:(?:\r?\n|\\n)[ \t]{0,16}[A-Za-z0-9+/]{20,}+)*+={0,2}")
_LINE_CHARS_MIN = 16
_AFTER_LINE = frozenset(" \t\r\n\\\"'`,-<")


def private_keys(text: Text) -> Iterator[Span]:
    """Every private key in the text; a lone header is one only by the contract's letter."""
    spans = [*_armoured(text), *_encoded(text)]
    yield from sorted(spans)


def _armoured(text: Text) -> Iterator[Span]:
    place = 0
    while (begin := _BEGIN.search(text.text, place)) is not None:
        place = _end_of_key(text.text, begin.end())
        if place > begin.end() or text.literal:
            yield Span(begin.start(), place, PRIVATE_KEY)


def _end_of_key(text: str, start: int) -> int:
    """Where the key ends whose header ends at `start`; `start` itself if no line of a key follows."""
    end = place = start
    while True:
        carried = _CARRIER.match(text, place)
        place = carried.end() if carried else place
        if (last := _END.match(text, place)) is not None:
            return last.end()
        header = _ARMOUR_HEADER.match(text, place) or _CHECKSUM.match(text, place)
        if header is not None:
            place = end = header.end()
            continue
        line = _LINE.match(text, place)
        if line is None or not _belongs(text, line, first=end == start):
            return end
        place = end = line.end()


def _belongs(text: str, line: re.Match[str], *, first: bool) -> bool:
    """Whether a run of base64 is a line of a key and not a word of what follows it."""
    after = text[line.end() : line.end() + 1]
    if after and after not in _AFTER_LINE:
        return after == "." and len(line.group()) >= _LINE_CHARS_MIN and text.startswith("...", line.end())
    if len(line.group()) >= _LINE_CHARS_MIN:
        return True
    carried = _CARRIER.match(text, line.end())
    if _END.match(text, carried.end() if carried else 0) is not None:
        return True
    return not first and (line.group().endswith("=") or not after)


def _encoded(text: Text) -> Iterator[Span]:
    if keywords.ENCODED_ARMOUR not in text.found:
        return
    for each in _ENCODED.finditer(text.text):
        try:
            start = base64.b64decode(each.group()[:80], validate=True)
        except (binascii.Error, ValueError):
            continue
        if b"PRIVATE KEY" in start:
            yield Span(each.start(), each.end(), PRIVATE_KEY)
