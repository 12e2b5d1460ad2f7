"""What an edit changed: lines that went, that came, and that stand around them."""

import difflib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
from markupsafe import Markup

from central_command.markup.visible import plain

LINES_MAX: Final = 600
"""Lines of both sides together that are compared; guards time. Of more, all of the old is shown, then all the new."""

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


def difference(old: str, new: str) -> list[Line]:
    """What goes and what comes where one text takes the place of another."""
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) > LINES_MAX:
        return [*(Line("removed", text) for text in before), *(Line("added", text) for text in after)]
    found = difflib.unified_diff(before, after, lineterm="", n=AROUND)
    return [_read(text) for text in islice(found, HEADER_LINES, None)]


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
