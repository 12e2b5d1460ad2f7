"""What a rule finds in a text, and what stands there afterwards."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

EMAIL = "[EMAIL]"
PHONE = "[PHONE]"
IP = "[IP]"
SSN = "[SSN]"
CREDIT_CARD = "[CREDIT_CARD]"
AWS_KEY = "[AWS_KEY]"
PRIVATE_KEY = "[PRIVATE_KEY]"
API_KEY = "[API_KEY]"
FILE_PATH = "[FILE_PATH]"
REDACTED_URL = "[REDACTED_URL]"
# Not one of the contract's: stands for a whole text that could not be scrubbed.
WITHHELD = "[WITHHELD]"

PLACEHOLDERS = (EMAIL, PHONE, IP, SSN, CREDIT_CARD, AWS_KEY, PRIVATE_KEY, API_KEY, FILE_PATH, REDACTED_URL, WITHHELD)

# Where a match may start: no letter or digit goes before it, but for that of an escape sequence (`\n`, two characters).
# Letters are those of ASCII, here and wherever an edge is asked for: Chinese and Japanese put no space before a number.
WORD_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"


def word_edge_behind(first: str) -> str:
    """`WORD_EDGE` for what `first` has matched already, a regular expression of one length.

    A regular expression that begins with what it looks for is looked for from place to place; one that begins with
    what must stand before it is tried at each character.
    """
    return rf"(?:(?<![A-Za-z0-9]{first})|(?<=\\[nrt]{first}))"


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text, and what they become; "" cuts them off."""

    start: int
    end: int
    replacement: str


def merged(taken: Sequence[Span], found: Iterable[Span]) -> list[Span]:
    """Both, in order of place; of what overlaps, the span taken earlier stays, then the one that starts first."""
    result: list[Span] = []
    place, end = 0, 0
    for span in found:
        if span.start < end:
            continue
        while place < len(taken) and taken[place].end <= span.start:
            result.append(taken[place])
            place += 1
        if place < len(taken) and taken[place].start < span.end:
            continue
        result.append(span)
        end = span.end
    result.extend(taken[place:])
    return result
