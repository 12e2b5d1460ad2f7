"""Telephone numbers: international with "+", North American with separators, others beside a word for a phone."""

import re
from collections.abc import Iterator

from actors.curation.scrubbing import gate, keywords
from actors.curation.scrubbing.spans import PHONE, Span
from actors.curation.scrubbing.text import Text

_GAP = r"[ .\u00a0\u202f\u2010\u2011\u2012\u2013-]"
_INTERNATIONAL = re.compile(
    r"(?a)\+(?:(?<![\w.+)\]-]\+)|(?<=\\[nrt]\+))(?:\(?[1-9]\d{0,3}\)?)(?:"
    + _GAP
    + r"?\(?\d{1,8}\)?){1,6}+(?!\w|[.:-]\w)"
)
_FIRST = r"[+1(2-9]"
_NORTH_AMERICAN = re.compile(
    rf"(?a){_FIRST}(?:(?<![\w.+-]{_FIRST})|(?<=\\[nrt]{_FIRST})|(?<=[^\w.]-{_FIRST})|(?<=^-{_FIRST}))(?<!\d {_FIRST})"
    rf"(?:(?<=[2-9])\d{{2}}{_GAP}|(?<=\()[2-9]\d{{2}}\){_GAP}?"
    rf"|(?:(?<=\+)1|(?<=1)){_GAP}(?:\([2-9]\d{{2}}\){_GAP}?|[2-9]\d{{2}}{_GAP}))"
    rf"\d{{3}}{_GAP}\d{{4}}(?!\w|[.:/-]\w|[ -]\d)"
)
_WORD = (
    r"(?:tele?phone|phone|tel|mobile?|cell|celular|fax|whatsapp|msisdn|sms|handy|telefon\w{0,8}|rufnummer|tlf"
    r"|téléphone|tél|teléfono|móvil|телефон|тел|電話|电话|手机|携帯|전화)"
)
_NAMED = re.compile(
    r"(?i)(?<![a-z])"
    + _WORD
    + r"(?:[_ -]?\(?(?:number|no|nr|num|office|work|home|e164|番号|号码|번호)\)?)?(?![a-z])"
    + r"[^\w\n+(]{0,6}(?:is|at|number|是)?[^\w\n+(]{0,4}"
    + rf"(\(?\d(?:\)?{_GAP}?(?:/[ ]|[()/])?\d){{6,14}}+)(?![A-Za-z0-9_]|[.:-][A-Za-z0-9_])"
)
_NEAR_CHARS = 48
_NEAR = re.compile(
    r"(?i)(?<![a-z])(?:" + _WORD + r"|call|dial|contact|office|reach|text|ring|hotline|desk|ext)(?![a-z])"
)
_DATE = re.compile(r"(?:19|20)\d{2}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d{2}|\d{2}:\d{2}")


def phone_numbers(text: Text) -> Iterator[Span]:
    """Numbers that are possible in the plan of their country; digits without separators only beside a word for it."""
    spans: list[Span] = []
    if gate.PLUS in text.found:
        spans.extend(_international(text.text))
    if gate.NORTH_AMERICAN in text.found:
        spans.extend(
            Span(each.start(), each.end(), PHONE)
            for each in _NORTH_AMERICAN.finditer(text.text)
            if _is_north_american(text.text, each)
        )
    # Also "call" opens it, which names none itself: the gate lowers ASCII alone, and passes by "TÉL" behind it.
    if gate.DIGITS in text.found and not keywords.PHONES.isdisjoint(text.found):
        spans.extend(
            Span(each.start(1), each.end(1), PHONE)
            for each in _NAMED.finditer(text.text)
            if not _DATE.search(each[1]) and _is_phone_beside_a_word(each[1])
        )
    yield from sorted(spans, key=lambda span: (span.start, -span.end))


def _international(text: str) -> Iterator[Span]:
    for each in _INTERNATIONAL.finditer(text):
        digits = sum(map(str.isdigit, each.group()))
        if not 8 <= digits <= 15 or _DATE.search(each.group()):
            continue
        line_start = text[each.start() - 1 : each.start()] == "\n"
        separated = digits < len(each.group()) - 1
        if _is_valid(each.group(), None, strictly=line_start and not separated):
            yield Span(each.start(), each.end(), PHONE)


def _is_north_american(text: str, found: re.Match[str]) -> bool:
    if _DATE.search(found.group()) or not _is_valid(found.group(), "US", strictly=False):
        return False
    if re.search(r"00\D\d00\D", found.group()):
        return False  # a range of round numbers
    if (
        "(" in found.group()
        or "-" in found.group()
        or any(each in found.group() for each in "\u2010\u2011\u2012\u2013")
    ):
        return True
    if not re.search(r"[2-9]\d\d\D[2-9]\d\d\D", found.group()):
        return False  # no exchange of the plan, and no dash that says what it is
    if found.group().count(".") >= 2:
        return True
    return _NEAR.search(text[max(0, found.start() - _NEAR_CHARS) : found.start()].rpartition("\n")[2]) is not None


def _is_phone_beside_a_word(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    if digits == number:  # without separators: a whole number of the plan, or one with a leading zero
        return (len(number) == 10 and number[0] in "23456789") or (number[0] == "0" and 9 <= len(number) <= 12)
    return 7 <= len(digits) <= 15


def _is_valid(number: str, region: str | None, *, strictly: bool) -> bool:
    import phonenumbers  # noqa: PLC0415 - half a megabyte of tables, only when a candidate is there

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed) if strictly else phonenumbers.is_possible_number(parsed)
