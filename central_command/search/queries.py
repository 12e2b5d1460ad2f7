"""What people type, read as a query, and as an expression of FTS5 that can be no error there. Pure.

Words, "phrases", the beginning of a word (`wor*`), what must not be there (`-word`), and `OR` between two of those that
are wanted; all that stand side by side must be in the same step. What is neither a letter nor a digit separates words,
in the index as here: so `foo_bar` is the phrase "foo bar".
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import msgspec

QUERY_CHARS_MAX: Final = 1_000
TERMS_MAX: Final = 32
PREFIX_CHARS_MIN: Final = 3
"""A shorter beginning stands for too many words to be looked for."""

OR: Final = "OR"
OR_ALONE: Final = "OR stands between two words; here one is missing."
PIECES: Final = re.compile(r'-?"[^"]*+"?\*?|[^\s"]++')
"""A phrase with what belongs to it, or a run of anything but space and quotes."""


class QueryError(ValueError):
    """What was typed is no query: one sentence says why."""


class Term(msgspec.Struct, frozen=True):
    """Words in a row, in lower case and without diacritics; of a prefix the last is the beginning of one."""

    words: tuple[str, ...]
    is_prefix: bool = False

    @property
    def phrase(self) -> str:
        """As FTS5 has it: words hold letters and digits alone, so nothing in the quotes can end them."""
        return f'"{" ".join(self.words)}"{" *" if self.is_prefix else ""}'


class Query(msgspec.Struct, frozen=True):
    """All of `wanted` must be there, of each any; none of `unwanted`."""

    wanted: tuple[tuple[Term, ...], ...]
    unwanted: tuple[Term, ...] = ()

    @property
    def expression(self) -> str:
        """The same in FTS5's syntax (sqlite.org/fts5.html, section 3)."""
        every = " AND ".join(f"({' OR '.join(term.phrase for term in any_of)})" for any_of in self.wanted)
        return f"({every}) NOT ({' OR '.join(term.phrase for term in self.unwanted)})" if self.unwanted else every

    @property
    def words(self) -> list[str]:
        """Each of its words by itself, in FTS5's syntax."""
        terms = (*self.terms, *self.unwanted)
        return [
            Term((word,), is_prefix=term.is_prefix and word is term.words[-1]).phrase
            for term in terms
            for word in term.words
        ]

    @property
    def terms(self) -> list[Term]:
        """What is looked for, and marked where it is found."""
        return [term for any_of in self.wanted for term in any_of]


def read_query(text: str) -> Query:
    """Read what somebody has typed; raises QueryError."""
    if len(text) > QUERY_CHARS_MAX:
        raise QueryError(f"The query is longer than {QUERY_CHARS_MAX:,} characters.")
    if text.count('"') % 2:
        raise QueryError("The query opens a quotation that it does not close.")
    reading = _Reading()
    for piece in PIECES.findall(text):
        reading.take(piece)
    return reading.query()


class _Reading:
    """A query while it is read, a piece at a time."""

    def __init__(self) -> None:
        self._wanted: list[list[Term]] = []
        self._unwanted: list[Term] = []
        self._after_or = False

    def take(self, piece: str) -> None:
        """Take in the next piece; what holds nothing to look for is passed by."""
        if piece == OR:
            self._take_or()
        elif (term := _term(piece.removeprefix("-"))) is not None:
            if piece.startswith("-"):
                self._take_unwanted(term)
            elif self._after_or:
                self._wanted[-1].append(term)
            else:
                self._wanted.append([term])
            self._after_or = False

    def query(self) -> Query:
        """All that was read."""
        if self._after_or:
            raise QueryError(OR_ALONE)
        if not self._wanted:
            raise QueryError(
                "The query names only what must not be there: name something to look for, too."
                if self._unwanted
                else "The query holds no letter and no digit to look for."
            )
        if sum(map(len, self._wanted)) + len(self._unwanted) > TERMS_MAX:
            raise QueryError(f"The query has more than {TERMS_MAX} terms.")
        return Query(tuple(map(tuple, self._wanted)), tuple(self._unwanted))

    def _take_or(self) -> None:
        if self._after_or or not self._wanted:
            raise QueryError(OR_ALONE)
        self._after_or = True

    def _take_unwanted(self, term: Term) -> None:
        if self._after_or:
            raise QueryError("OR stands between two words that are wanted, not before one that is not.")
        self._unwanted.append(term)


def _term(piece: str) -> Term | None:
    """What one piece asks for; None where it holds nothing that could be looked for."""
    is_prefix = piece.endswith("*") and len(piece) > 1 and (piece[-2] == '"' or _is_word(piece[-2]))
    words = tuple(words_of(piece))
    if not words:
        return None
    if is_prefix and len(words[-1]) < PREFIX_CHARS_MIN:
        raise QueryError(f"The beginning of a word needs at least {PREFIX_CHARS_MIN} letters before its *.")
    return Term(words, is_prefix)


def words_of(text: str) -> Iterator[str]:
    """The words of a text as the index has them."""
    composed = unicodedata.normalize("NFC", text)
    return (word for word in "".join(map(folded, composed)).split(" ") if word)


def folded(character: str) -> str:
    """A letter or digit in lower case without its diacritics, a space for what separates words; one character."""
    if character.isascii():
        return character.lower() if character.isalnum() else " "
    base = unicodedata.normalize("NFD", character)[0].lower()
    base = base if len(base) == 1 else character
    return base if _is_word(base) else character if _is_word(character) else " "


def _is_word(character: str) -> bool:
    """Whether it belongs to a word: a letter, a digit or of private use, as the index's tokenizer has it."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"
