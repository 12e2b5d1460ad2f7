"""A JSON value as HTML: objects and arrays that open and close, texts as they are read, never as they are escaped."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from markupsafe import Markup

from central_command.markup.visible import plain

NODES_MAX: Final = 400
"""Values that are shown by themselves; guards the page. What is behind them is shown as JSON text."""

DEPTH_MAX: Final = 8
OPEN_ITEMS: Final = 6
"""An object or array with no more than so many is open from the start."""

INLINE_CHARS_MAX: Final = 120
LEFT_CHARS_MAX: Final = 8_192
"""Characters of JSON text that are shown of what is too deep or too much."""


def folded(value: object) -> Markup:
    """The value as HTML."""
    return _Folding().value(value, 0)


def members(value: Mapping[str, object]) -> Markup:
    """The members of an object; few of them stand open, without anything to close."""
    folding = _Folding()
    if len(value) > OPEN_ITEMS:
        return folding.value(value, 0)
    template = Markup('<div class="j-row">{}</div>')
    return Markup("").join(template.format(row) for row in folding.rows(value.items(), 0))


def json_text(value: object) -> str:
    """The value as compact JSON, its letters as they are."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
        return "(cannot be shown)"


class _Folding:
    def __init__(self) -> None:
        self._left = NODES_MAX

    def value(self, value: object, depth: int) -> Markup:
        self._left -= 1
        match value:
            case str():
                return self._text(value)
            case dict() | list() if self._left < 0 or depth >= DEPTH_MAX:
                return Markup('<code class="j-cut">{}</code>').format(plain(json_text(value)[:LEFT_CHARS_MAX]))
            case dict():
                return self._items("{", "}", value.items(), len(value), depth)
            case list():
                return self._items("[", "]", enumerate(value), len(value), depth)
            case _:
                return Markup('<span class="j-atom">{}</span>').format(json_text(value))

    def _text(self, text: str) -> Markup:
        if "\n" in text or len(text) > INLINE_CHARS_MAX:
            return Markup('<pre class="j-text">{}</pre>').format(plain(text))
        return Markup('<span class="j-string">{}</span>').format(plain(text))

    def rows(self, items: Iterable[tuple[object, object]], depth: int) -> Iterator[Markup]:
        for name, value in items:
            if self._left < 0:
                yield Markup("…")
                return
            row = Markup('<span class="j-name">{}</span> {}')
            yield row.format(plain(str(name)), self.value(value, depth + 1))

    def _items(
        self, opening: str, closing: str, items: Iterable[tuple[object, object]], count: int, depth: int
    ) -> Markup:
        if not count:
            return Markup('<span class="j-atom">{}{}</span>').format(opening, closing)
        rows = [Markup("<div>{}</div>").format(row) for row in self.rows(items, depth)]
        is_open = Markup(" open") if count <= OPEN_ITEMS and depth < 2 else ""
        template = Markup('<details class="j"{}><summary>{}{:,}{}</summary>{}</details>')
        return template.format(is_open, opening, count, closing, Markup("").join(rows))
