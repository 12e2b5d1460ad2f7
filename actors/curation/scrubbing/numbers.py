"""Numbers that name a person: social security numbers and payment cards."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing import keywords
from actors.curation.scrubbing.spans import CREDIT_CARD, SSN, Span
from actors.curation.scrubbing.text import Text

_DASH = r"[-\u2010\u2011\u2012\u2013]"
_SSN = re.compile(
    r"(?a)([0-9](?:(?<![\w.][0-9])|(?<=\\[nrt][0-9]))(?<!\w-[0-9])\d{2})"
    + (_DASH + r"(\d{2})" + _DASH + r"(\d{4})(?!\w|[.-]\w)")
)
_SSN_NAMED = re.compile(
    r"(?i)(?:(?<![a-z])ssn|social[ _-]?security|taxpayer|social)"
    r"[^\d\n]{0,40}?(?<!\d)(\d{3})([- .]?)(\d{2})\2(\d{4})(?![\w]|[.-]\w)"
)
_CARD = re.compile(r"(?a)[0-9](?:(?<![\w.][0-9])|(?<=\\[nrt][0-9]))(?<!\w-[0-9])(?:[ \u00a0-]?\d){12,24}+(?!\w|[.-]\w)")
_PART = re.compile(r"\d+")
_GROUPS = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5)})


def social_security_numbers(text: Text) -> Iterator[Span]:
    """With dashes anywhere; with spaces or without separators only behind a word that says what it is."""
    spans = {
        Span(each.start(), each.end(), SSN)
        for each in _SSN.finditer(text.text)
        if _is_issued(each[1], each[2], each[3])
    }
    if not keywords.SSN.isdisjoint(text.found):
        for each in _SSN_NAMED.finditer(text.text):
            if _is_issued(each[1], each[3], each[4]):
                spans.add(Span(each.start(1), each.end(), SSN))
    yield from sorted(spans)


def _is_issued(area: str, group: str, serial: str) -> bool:
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def payment_cards(text: Text) -> Iterator[Span]:
    """Numbers with a brand's prefix and length, in its grouping or in none, whose check digit is right."""
    for each in _CARD.finditer(text.text):
        start = each.start()
        parts = list(_PART.finditer(each.group()))
        place = 0
        while place < len(parts):
            size = next(
                (
                    size
                    for size in (5, 4, 3, 1)
                    if _is_card([part.group() for part in parts[place : place + size]], size)
                ),
                0,
            )
            if size:
                yield Span(start + parts[place].start(), start + parts[place + size - 1].end(), CREDIT_CARD)
            place += size or 1


def _is_card(parts: list[str], size: int) -> bool:
    number = "".join(parts)
    grouped = size > 1
    if len(parts) != size or (grouped and tuple(map(len, parts)) not in _GROUPS) or not 13 <= len(number) <= 19:
        return False
    return _is_of_a_brand(number, grouped=grouped) and _check_digit_is_right(number)


def _is_of_a_brand(number: str, *, grouped: bool) -> bool:
    length, two, three, four = len(number), int(number[:2]), int(number[:3]), int(number[:4])
    if number[0] == "4":
        return length in (13, 16) or (length == 19 and grouped)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if 300 <= three <= 305 or two in (36, 38, 39):
        return length == 14
    if four == 6011 or 644 <= three <= 649 or two in (65, 62) or 3528 <= four <= 3589:
        return length == 16 or (length == 19 and (grouped or two == 62))
    return two in (50, 56, 57, 58, 63, 67) and length == 16 and grouped


def _check_digit_is_right(number: str) -> bool:
    """Luhn's sum (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(each), 10)) for each in number[-2::-2])
    return (sum(doubled) + sum(int(each) for each in number[::-2])) % 10 == 0
