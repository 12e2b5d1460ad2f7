"""The piece of a text that is shown of a hit, with what was looked for marked: as structure, never as markup. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from central_command.search.queries import Term, folded

SNIPPET_CHARS: Final = 240
BEFORE_CHARS: Final = 60
"""Of those that stand before the first mark."""

LOOKED_AT_CHARS_MAX: Final = 262_144
"""Characters of a text that marks are looked for in; guards time. What is found behind them is shown unmarked."""

_folded = lru_cache(maxsize=4_096)(folded)


class Part(msgspec.Struct, frozen=True):
    """A piece of a text, and whether it is what was looked for."""

    text: str
    hit: bool = False


class Marker:
    """Marks what a query looks for."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._found = re.compile("|".join(_pattern(term) for term in terms)) if terms else None

    def __repr__(self) -> str:
        return f"<Marker {self._found}>"

    def snippet(self, text: str) -> tuple[Part, ...] | None:
        """The piece of a text around the first mark, on one line; None where there is none."""
        looked_at = text[:LOOKED_AT_CHARS_MAX]
        if self._found is None:
            return None
        # Of the same length: a place in the one is the same place in the other.
        words = "".join(map(_folded, looked_at))
        first = self._found.search(words)
        if first is None:
            return None
        start = max(0, first.start() - BEFORE_CHARS)
        end = min(len(looked_at), start + SNIPPET_CHARS)
        parts, at = list[Part](), start
        for match in self._found.finditer(words, first.start(), end):
            parts += [Part(looked_at[at : match.start()]), Part(looked_at[match.start() : match.end()], hit=True)]
            at = match.end()
        parts.append(Part(looked_at[at:end]))
        opening, ending = "…" if start else "", "…" if end < len(text) else ""
        return tuple(_on_one_line(parts, opening, ending))


def beginning(text: str) -> tuple[Part, ...]:
    """The first piece of a text, unmarked."""
    return tuple(_on_one_line([Part(text[:SNIPPET_CHARS])], "", "…" if len(text) > SNIPPET_CHARS else ""))


def _pattern(term: Term) -> str:
    """Words in a row with anything but words between, and none that goes on at either end."""
    words = " +".join(map(re.escape, term.words))
    return f"(?<![^ ]){words}" if term.is_prefix else f"(?<![^ ]){words}(?![^ ])"


def _on_one_line(parts: Sequence[Part], opening: str, ending: str) -> list[Part]:
    joined = [Part(" ".join(re.split(r"\s+", part.text)), part.hit) for part in parts]
    shown = [part for part in (Part(opening), *joined, Part(ending)) if part.text]
    merged = list[Part]()
    for part in shown:
        if merged and merged[-1].hit == part.hit:
            merged[-1] = Part(merged[-1].text + part.text, part.hit)
        else:
            merged.append(part)
    return merged
