"""What an edit changed: lines that went, that came, and that stand around them."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
from markupsafe import Markup

from central_command.markup.visible import plain

LINES_MAX: Final = 600
"""Lines of both sides together that are compared; guards time. Of more, all of the old is shown, then all the new."""

PAGE_COMPARISONS_MAX: Final = 10_000_000
"""Comparisons of lines that the differences of one page may take together, as estimated; guards time, about half a
second of it. Lines that stand often on both sides take many. Past it all of the old is shown, then all the new."""

POPULAR_LINES: Final = 200
"""From so many lines of the new side on, difflib looks past those that are more than a hundredth of them."""

SHOWN_LINES_MAX: Final = 2_000
AROUND: Final = 3
HEADER_LINES: Final = 2
"""Of a unified difference, those that would name the files."""

_SIGNS: Final = {"+": "added", "-": "removed", " ": "same"}
_PLACES: Final = ("@@", "***", "+++", "---", "diff ", "index ")


class Line(msgspec.Struct, frozen=True):
    """A line of a difference: `added`, `removed`, `same` or `place`, which says where the next ones are."""

    kind: str
    text: str


class Comparing:
    """Compares texts, as long as all of them together take no more than they may."""

    def __init__(self, comparisons_max: int = PAGE_COMPARISONS_MAX) -> None:
        self._left = comparisons_max

    def __repr__(self) -> str:
        return f"<Comparing left={self._left}>"

    def difference(self, old: str, new: str) -> list[Line]:
        """What goes and what comes where one text takes the place of another."""
        before, after = _lines(old), _lines(new)
        if len(before) + len(after) <= LINES_MAX:
            comparisons = _comparisons(before, after)
            if comparisons <= self._left:
                self._left -= comparisons
                found = difflib.unified_diff(before, after, lineterm="", n=AROUND)
                return [_read(text) for text in islice(found, HEADER_LINES, None)]
        return [*(Line("removed", text) for text in before), *(Line("added", text) for text in after)]


def _comparisons(before: list[str], after: list[str]) -> int:
    """How many difflib makes at most, about: pairs of equal lines, looked at once for each block that is found."""
    often = Counter(after)
    if len(after) >= POPULAR_LINES:
        often = Counter({line: count for line, count in often.items() if count <= len(after) // 100 + 1})
    return len(before) + len(after) + sum(often[line] for line in before) * min(len(before), len(after))


def patch(text: str) -> list[Line]:
    """The lines of a text that is a patch already."""
    return [Line("place", line) if line.startswith(_PLACES) else _read(line) for line in _lines(text)]


def shown_lines(lines: Iterable[Line]) -> Markup:
    """The lines as HTML; each says by its sign what it is, and not by its colour alone."""
    return Markup('<pre class="diff">{}</pre>').format(Markup("").join(_rows(lines)))


def _rows(lines: Iterable[Line]) -> Iterator[Markup]:
    signs = {kind: sign for sign, kind in _SIGNS.items()}
    for number, line in enumerate(lines):
        if number == SHOWN_LINES_MAX:
            yield Markup('<span class="d-place">…</span>\n')
            return
        text = plain(line.text)
        yield Markup('<span class="d-{}">{}{}</span>\n').format(line.kind, signs.get(line.kind, ""), text)


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def _read(text: str) -> Line:
    if text.startswith("@@"):
        return Line("place", text)
    kind = _SIGNS.get(text[:1])
    return Line("same", text) if kind is None else Line(kind, text[1:])
