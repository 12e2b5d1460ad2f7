"""Tokens that say by their form what they are: JSON web tokens, the providers' formats, AWS keys, long hexadecimals."""

import re
from collections.abc import Iterator
from functools import cache

from actors.curation.scrubbing import gate, keywords
from actors.curation.scrubbing.randomness import looks_random
from actors.curation.scrubbing.spans import API_KEY, AWS_KEY, WORD_EDGE, Span, word_edge_behind
from actors.curation.scrubbing.text import Text

_JWT = re.compile(
    "eyJ"
    + word_edge_behind("eyJ")
    + r"[A-Za-z0-9_-]{8,8192}+\.[A-Za-z0-9_-]{4,65536}+(?:\.[A-Za-z0-9_-]{0,8192}+){0,3}+"
)
_TWILIO = re.compile(r"SK(?<![A-Za-z0-9]SK)[0-9a-f]{32}(?![A-Za-z0-9])")
_AWS = re.compile(r"A(?<![A-Z0-9]A)(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Z0-9])")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_AWS_SECRET_NAMED = re.compile(
    r"""(?i)(?:secret[_\ -]?access[_\ -]?key|aws[_-]?secret(?:[_-]?key)?)[\\"'\]\s]{0,6}
        (?:=>|[=:,]|\s)[\\"'\s]{0,6}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])""",
    re.VERBOSE,
)
# How far from an access key its secret may stand, in characters.
_BESIDE_CHARS = 160


def json_web_tokens(text: Text) -> Iterator[Span]:
    """Tokens of two to five base64url parts that start with a JSON object."""
    for each in _JWT.finditer(text.text):
        yield Span(each.start(), each.end(), API_KEY)


def provider_keys(text: Text) -> Iterator[Span]:
    """Keys in the format of a known provider."""
    spans: list[Span] = []
    for lower in text.found & keywords.PREFIXES.keys():
        spans.extend(_with_prefix(text.text, keywords.PREFIXES[lower]))
    if gate.HEX_32 in text.found:
        spans.extend(Span(each.start(), each.end(), API_KEY) for each in _TWILIO.finditer(text.text))
    yield from sorted(spans, key=lambda span: (span.start, -span.end))


def _with_prefix(text: str, prefix: str) -> Iterator[Span]:
    pattern = _pattern(prefix)
    place = text.find(prefix)
    while place >= 0:
        end = place + len(prefix)
        found = pattern.match(text, place)
        if found is not None:
            end = max(end, place + len(found.group().rstrip("-_.")))
            if prefix in keywords.PROVIDERS or looks_random(found.group()[len(prefix) :]):
                yield Span(place, end, API_KEY)
        place = text.find(prefix, end)


@cache
def _pattern(prefix: str) -> re.Pattern[str]:
    rest = keywords.PROVIDERS.get(prefix) or keywords.PROVIDERS_IF_RANDOM[prefix]
    return re.compile(WORD_EDGE + r"(?<!-)" + re.escape(prefix) + rest + r"(?![A-Za-z0-9])")


def aws_keys(text: Text) -> Iterator[Span]:
    """Access keys, the secrets that stand beside them, and secrets that are called so."""
    spans: list[Span] = []
    if "secret" in text.found:
        spans.extend(
            Span(each.start(1), each.end(1), AWS_KEY)
            for each in _AWS_SECRET_NAMED.finditer(text.text)
            if not (each[1].islower() or each[1].isupper() or each[1].isdigit())
        )
    if not keywords.AWS.isdisjoint(text.found):
        seen = 0
        for key in _AWS.finditer(text.text):
            spans.append(Span(key.start(), key.end(), AWS_KEY))
            start = max(seen, key.start() - _BESIDE_CHARS)
            seen = key.end() + _BESIDE_CHARS
            spans.extend(
                Span(each.start(), each.end(), AWS_KEY)
                for each in _AWS_SECRET.finditer(text.text, start, seen)
                if looks_random(each.group()) and not _is_hex(each.group())
            )
    yield from sorted(set(spans))


def _is_hex(value: str) -> bool:
    return all(each in "0123456789abcdef" for each in value.lower())
