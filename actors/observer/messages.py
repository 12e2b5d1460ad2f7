"""What two wordings of the same failure have in common: a message without its numbers, ids, paths, times. Pure.

Everything that is different each time is replaced by what it is (`<n>`, `<id>`, `<path>`, `<time>`, `<addr>`, `<str>`,
`<url>`). A status of HTTP stays: 404 and 503 are different failures.
"""

import re
from typing import Final

import msgspec

MESSAGE_CHARS_MAX: Final = 300
"""Characters of a message that are compared; more of it rarely tells anything."""
READ_CHARS_MAX: Final = 2_000

_TAKEN_OUT: Final = re.compile(
    r"""
      (?P<status>\b(?:http|status|code)(?:/[12](?:\.[01])?)?[ :=]{1,3}[1-5][0-9]{2}(?![\w.]))
    | (?P<str>"[^"\n]{0,200}+" | `[^`\n]{0,200}+` | (?<!\w)'[^'\n]{0,200}+'(?!\w))
    | (?P<url>\b[a-z][a-z0-9+.-]{1,15}://[^\s"'<>]++)
    | (?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)
    | (?P<time>\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T\ ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)?
        (?:Z|[+-][0-9]{2}:?[0-9]{2})?(?!\w)
      | \b[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?![\w:]))
    | (?P<addr>\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?(?![\w.])
      | (?<![\w:])\[?(?:[0-9a-f]{1,4})?(?::{1,2}[0-9a-f]{1,4}){2,7}\]?(?::[0-9]{1,5})?(?![\w:])
      | (?<![\w.@-])[a-z0-9_.+-]{1,64}+@[a-z0-9.-]{1,255}+
      | (?<![\w.-])(?:localhost|[a-z0-9-]{1,63}+(?:\.[a-z0-9-]{1,63}+){1,8}):[0-9]{1,5}(?!\w))
    | (?P<path>(?<![\w./~-])(?:~|\.{1,2})?(?:/[\w.@%+=~-]{1,255}+){1,64}/?|(?<!\w)[a-z]:\\[^\s"']{1,255}+)
    | (?P<word>(?<![\w-])[\w-]{1,200}+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_QUANTITY: Final = re.compile(r"\A-?[0-9][0-9_]*+(?:[a-z]{1,3})?\Z", re.IGNORECASE)
_DIGIT: Final = re.compile(r"[0-9]")
_HEX: Final = re.compile(r"\A(?:0x)?[0-9a-f]{8,}\Z", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"<[a-z]{1,4}>|\[[A-Z_]{2,30}\]")
_SPACE: Final = re.compile(r"\s++")
_WORD: Final = re.compile(r"[a-z]{2,}+")
_STATUS: Final = re.compile(r"\b[1-5][0-9]{2}\b")
_NUMBER_BEFORE_NUMBER: Final = re.compile(r"<n>(?:[.,]<n>){1,8}")

# fmt: off
STOP_WORDS: Final = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "does", "for", "from", "had", "has",
    "have", "in", "into", "is", "it", "its", "no", "not", "of", "on", "or", "our", "so", "than", "that", "the",
    "their", "then", "there", "this", "to", "was", "were", "while", "will", "with", "would", "you", "your", "we",
    "after", "before", "when", "which",
))
# fmt: on


class Wording(msgspec.Struct, frozen=True):
    """A message as it is compared: its text, the words in it that say something, and the statuses of HTTP in it."""

    text: str
    words: frozenset[str]
    statuses: frozenset[str]


def normalised(message: str) -> str:
    """The message without what differs from one time to the next, in small letters."""
    text = _TAKEN_OUT.sub(_replaced, message[:READ_CHARS_MAX])
    text = _NUMBER_BEFORE_NUMBER.sub("<n>", _SPACE.sub(" ", text)).strip().lower()
    return text[:MESSAGE_CHARS_MAX]


def wording_of(message: str) -> Wording:
    """A message made ready to be compared."""
    text = normalised(message)
    said = _PLACEHOLDER.sub(" ", text)
    words = frozenset(word for word in _WORD.findall(said) if word not in STOP_WORDS)
    return Wording(text, words, frozenset(_STATUS.findall(said)))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of the words of both that are in each of them (Jaccard), from 0 to 1."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if both else 0.0


def _replaced(found: re.Match[str]) -> str:
    kind, text = found.lastgroup, found[0]
    match kind:
        case "status":
            return f"http {text[-3:]}"
        case "uuid":
            return "<id>"
        case "word":
            return _replaced_word(text)
        case _:
            return f"<{kind}>"


def _replaced_word(word: str) -> str:
    if _DIGIT.search(word) is None:
        return word
    if _QUANTITY.match(word):
        return "<n>"
    return "<hex>" if _HEX.match(word) else "<id>"
