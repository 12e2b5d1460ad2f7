"""Credentials in HTTP headers: Authorization with Bearer, Basic and their like, and cookies."""

import base64
import binascii
import re
from collections.abc import Iterator

from actors.curation.scrubbing import keywords
from actors.curation.scrubbing.randomness import is_reference, looks_random
from actors.curation.scrubbing.spans import API_KEY, Span
from actors.curation.scrubbing.text import Text

_SCHEME = re.compile(r"(?i)(?<![A-Za-z0-9_-])(bearer|basic)[ \t]{1,8}+[\"']?([A-Za-z0-9._~+/-]{6,8192}+={0,2})")
_AUTHORIZATION = re.compile(
    r"""(?i)authorization[\\"'\]]{0,6}[ \t]{0,4}[:=,][ \t]{0,4}[\\"'`]{0,6}
        (?:(?:bearer|basic|token|apikey|digest)[ \t]{1,8}+)?""",
    re.VERBOSE,
)
_ARGUMENTS = re.compile(r"(?i)[\"']bearer[\"'], ?[\"']([A-Za-z0-9._~+/-]{6,8192}+={0,2})[\"']")
_VALUE = re.compile(r"[A-Za-z0-9._~+/-]{8,8192}+={0,2}")
_COOKIE = re.compile(r"(?i)(?:set-)?cookie2?[\\\"']{0,6}[ \t]{0,4}[:=,][ \t]{0,4}[\\\"'`]{0,6}")
_COOKIE_PAIR = re.compile(r"([\w.$!~%-]{1,128}+)=([^;\s\"'\\,\x00]{0,4096}+)(?:;[ ]?)?")
_COOKIE_PAIRS_MAX = 64
_COOKIE_ATTRIBUTES = frozenset({"expires", "path", "domain", "max-age", "samesite", "version", "theme", "lang"})


def credentials_in_headers(text: Text) -> Iterator[Span]:
    """The scheme with its credential after Authorization, and after Bearer anywhere; the values of cookies."""
    spans: list[Span] = []
    if not keywords.HEADERS.isdisjoint(text.found):
        spans.extend(_credentials(text.text))
    if not keywords.COOKIES.isdisjoint(text.found):
        spans.extend(_cookies(text.text))
    yield from sorted(set(spans), key=lambda span: (span.start, -span.end))


def _credentials(text: str) -> Iterator[Span]:
    for each in _AUTHORIZATION.finditer(text):
        value = _VALUE.match(text, each.end())
        if value is not None and _is_credential(value.group(), text[value.end() : value.end() + 1]):
            start = each.end()
            scheme = re.search(r"(?i)(?:bearer|basic|token|apikey|digest)[ \t]+$", each.group())
            yield Span(start - len(scheme.group()) if scheme else start, value.end(), API_KEY)
    for each in _ARGUMENTS.finditer(text):
        if _is_credential(each[1], ""):
            yield Span(each.start(1), each.end(1), API_KEY)
    for each in _SCHEME.finditer(text):
        if each[1].lower() == "basic":
            is_credential = _is_basic(each[2])
        else:
            is_credential = _is_credential(each[2], text[each.end() : each.end() + 1])
        if is_credential:
            yield Span(each.start(), each.end(), API_KEY)


def _is_credential(value: str, after: str) -> bool:
    if after in ("(", "=", "$", "{") or is_reference(value):
        return False
    return looks_random(value) or (len(value) >= 20 and any(each.isdigit() for each in value))


def _is_basic(value: str) -> bool:
    """Whether it is base64 of `name:password`."""
    try:
        pair = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return b":" in pair and pair.isascii() and pair.decode().isprintable()


def _cookies(text: str) -> Iterator[Span]:
    for each in _COOKIE.finditer(text):
        place = each.end()
        for _ in range(_COOKIE_PAIRS_MAX):
            pair = _COOKIE_PAIR.match(text, place)
            if pair is None:
                attribute = re.compile(r"[A-Za-z-]{1,16}(?:=[^;\n\"'\\]{0,64})?;[ ]?").match(text, place)
                if attribute is None:
                    break
                place = attribute.end()
                continue
            if pair[1].lower() not in _COOKIE_ATTRIBUTES and len(pair[2]) >= 12 and looks_random(pair[2]):
                yield Span(pair.start(2), pair.end(2), API_KEY)
            place = pair.end()
