"""The scrubber: the rules in their order, and the text built once from what they found.

Every rule looks at the original text. Of spans that overlap, the one of the earlier rule stays. Placeholders that are
there already are hidden from the rules, so that they are neither changed nor grown. What stands beside a placeholder
can look different from what stood beside the value; so a text in which something was found is looked at again until
nothing more is, which makes scrubbing twice the same as scrubbing once.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

from actors.curation.scrubbing import gate, json_values, keywords
from actors.curation.scrubbing.addresses import email_addresses, ipv4_addresses, ipv6_addresses
from actors.curation.scrubbing.assignments import assigned_secrets
from actors.curation.scrubbing.findings import Finding, Scrubbed, SessionOrdinals
from actors.curation.scrubbing.headers import credentials_in_headers
from actors.curation.scrubbing.hex_strings import hex_strings
from actors.curation.scrubbing.json_values import JSONValue
from actors.curation.scrubbing.numbers import payment_cards, social_security_numbers
from actors.curation.scrubbing.paths import user_paths
from actors.curation.scrubbing.phones import phone_numbers
from actors.curation.scrubbing.private_keys import private_keys
from actors.curation.scrubbing.spans import PLACEHOLDERS, WITHHELD, Span, merged
from actors.curation.scrubbing.text import Text
from actors.curation.scrubbing.tokens import aws_keys, json_web_tokens, provider_keys
from actors.curation.scrubbing.urls import secret_urls

CHARS_MAX = 16 * 1024 * 1024
PASSES_MAX = 8
# Pieces of a text are joined in lots, because each of them costs more memory than its characters.
_PIECES_MAX = 1024

_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))
_HIDDEN_AT_ONCE_CHARS = 65_536
"""Of a longer text the pieces between its placeholders would take more memory than the text. Guards memory."""

Rule = Callable[[Text], Iterator[Span]]

# In the order in which they win, each with what the gate must have found for it to find anything.
RULES: tuple[tuple[Rule, frozenset[str]], ...] = (
    (private_keys, keywords.PRIVATE_KEYS),
    (secret_urls, keywords.URLS),
    (credentials_in_headers, keywords.HEADERS | keywords.COOKIES),
    (json_web_tokens, keywords.JWTS),
    (provider_keys, frozenset(keywords.PREFIXES) | {gate.HEX_32}),
    (aws_keys, keywords.AWS | {"secret"}),
    (user_paths, keywords.PATHS),
    (email_addresses, frozenset({gate.AT, gate.ENCODED_AT})),
    (hex_strings, frozenset({gate.HEX_32})),
    (assigned_secrets, keywords.ASSIGNED | keywords.COMMANDS),
    (ipv6_addresses, frozenset({gate.COLONS})),
    (ipv4_addresses, frozenset({gate.DOTTED})),
    (social_security_numbers, keywords.SSN | {gate.SSN}),
    (payment_cards, frozenset({gate.CARD})),
    (phone_numbers, keywords.PHONES | {gate.NORTH_AMERICAN, gate.PLUS}),
)


class PIIScrubber:
    """Replaces personal data and secrets in text by placeholders (docs/privacy.md, "What it finds").

    `PIIScrubber()` follows the contract's letter; `for_trajectories()` keeps what code needs. Nothing raises: a text
    that cannot be scrubbed, or is longer than `chars_max` characters, becomes `[WITHHELD]` and is counted. `counts` is
    what was found so far, by placeholder. Scrubbing is safe from any thread; the counts are exact from one.
    """

    def __init__(self, *, chars_max: int = CHARS_MAX) -> None:
        self._chars_max = chars_max
        self._literal = True
        self.counts: Counter[str] = Counter()

    @classmethod
    def for_trajectories(cls, *, chars_max: int = CHARS_MAX) -> Self:
        """The profile for coding agents: hashes in clear context are cut, loopback and the tail of paths stay."""
        scrubber = cls(chars_max=chars_max)
        scrubber._literal = False
        return scrubber

    def scrub(self, text: str) -> str:
        """The text with a placeholder for all that was found."""
        return self.scrub_with_findings(text, None).text

    def scrub_value(self, value: JSONValue) -> JSONValue:
        """A JSON value whose texts are scrubbed, also in JSON within text; keys and ids of the protocol stay."""
        return json_values.scrubbed(value, self._scrub_member)

    def scrub_with_findings(self, text: str, ordinals: SessionOrdinals | None, *, name: str = "") -> Scrubbed:
        """The scrubbed text, and where its new placeholders stand if `ordinals` of the session are given.

        `name` is the member of a JSON object whose value the text is, where that decides what the text means.
        """
        try:
            return self._scrubbed(text, ordinals, f"{name}=" if name else "")
        except Exception:  # noqa: BLE001 - whatever fails, the text must not be handed on as it is
            self.counts[WITHHELD] += 1
            return Scrubbed(WITHHELD, ())

    def scrub_part(self, text: str, start: int, end: int) -> str:
        """The part of a text from `start` to `end`, scrubbed as it stands in the whole.

        What crosses an end of it is replaced as a whole, and what it is known by may stand outside.
        """
        try:
            part = self._part(text, start, end)
        except Exception:  # noqa: BLE001 - whatever fails, the text must not be handed on as it is
            self.counts[WITHHELD] += 1
            return WITHHELD
        return self.scrub(part)

    def _scrub_member(self, name: str, text: str) -> str:
        return self.scrub_with_findings(text, None, name=name).text

    def _scrubbed(self, text: str, ordinals: SessionOrdinals | None, prefix: str) -> Scrubbed:
        if gate.is_plain(text):
            return Scrubbed(text, ())
        if len(text) > self._chars_max:
            raise ValueError("longer than is scrubbed")
        # What a gate finds in a scrubbed text, it finds in the original: placeholders are hidden from it, and hashes
        # lose their end alone.
        found = gate.looked_at(prefix + text)
        rules = _needed(found)
        if not rules:
            return Scrubbed(text, ())
        findings: list[Finding] = []
        counted: list[str] = []
        for _ in range(PASSES_MAX):
            spans = self._spans(rules, text, prefix, found)
            if not spans:
                for each in counted:
                    self.counts[each] += 1
                return Scrubbed(text, tuple(findings))
            if ordinals is not None:
                findings = _moved(findings, spans, text, ordinals)
            counted += [span.replacement for span in spans if span.replacement]
            text = _built(text, spans)
            spans.clear()
        raise ValueError("does not come to rest")

    def _part(self, text: str, start: int, end: int) -> str:
        if gate.is_plain(text):
            return text[start:end]
        if len(text) > self._chars_max:
            raise ValueError("longer than is scrubbed")
        found = gate.looked_at(text)
        pieces: list[str] = []
        counted: Counter[str] = Counter()
        place = start
        for span in self._spans(_needed(found), text, "", found):
            if start < span.end and span.start < end:
                pieces += (text[place : max(place, span.start)], span.replacement)
                counted.update([span.replacement] if span.replacement else [])
                place = span.end
        self.counts.update(counted)
        return "".join([*pieces, text[place:end]])

    def _spans(self, rules: list[Rule], text: str, prefix: str, found: frozenset[str]) -> list[Span]:
        seen = prefix + text
        looked_at = Text(_without_placeholders(seen), found, literal=self._literal)
        spans: list[Span] = []
        for rule in rules:
            if of_rule := list(rule(looked_at)):
                spans = merged(spans, of_rule)
        if not prefix:
            return spans
        shift = len(prefix)
        return [Span(start - shift, end - shift, by) for start, end, by in spans if start >= shift]


def _needed(found: frozenset[str]) -> list[Rule]:
    """The rules that may find something, by what a gate has found."""
    return [rule for rule, needed in RULES if not needed.isdisjoint(found)]


def _without_placeholders(text: str) -> str:
    """The text of the same length with characters in their place that no rule matches."""
    if "[" not in text:
        return text
    if len(text) <= _HIDDEN_AT_ONCE_CHARS:
        return _PLACEHOLDER.sub(_hidden, text)
    for each in PLACEHOLDERS:  # as often over the text as there are some, and never in pieces
        text = text.replace(each, "\0" * len(each))
    return text


def _hidden(placeholder: re.Match[str]) -> str:
    return "\0" * len(placeholder.group())


def _built(text: str, spans: list[Span]) -> str:
    parts: list[str] = []
    pieces: list[str] = []
    place = 0
    for start, end, replacement in spans:
        pieces += (text[place:start], replacement)
        place = end
        if len(pieces) >= _PIECES_MAX:
            parts.append("".join(pieces))
            pieces.clear()
    return "".join([*parts, *pieces, text[place:]])


def _moved(findings: list[Finding], spans: list[Span], text: str, ordinals: SessionOrdinals) -> list[Finding]:
    """The findings of earlier passes at their new offsets, with those of this pass between them."""
    result: list[Finding] = []
    shift = 0
    known = iter([*findings, None])
    earlier = next(known)
    for start, end, replacement in spans:
        while earlier is not None and earlier.offset < start:
            result.append(Finding(earlier.offset + shift, earlier.category, earlier.ordinal))
            earlier = next(known)
        if replacement:
            result.append(Finding(start + shift, replacement, ordinals.ordinal(replacement, text[start:end])))
        shift += len(replacement) - (end - start)
    while earlier is not None:
        result.append(Finding(earlier.offset + shift, earlier.category, earlier.ordinal))
        earlier = next(known)
    return result
