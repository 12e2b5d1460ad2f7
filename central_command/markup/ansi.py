"""What a terminal would colour, coloured by classes. Every other escape of terminals is shown and does nothing.

Only SGR is understood (ECMA-48, 8.3.117: `ESC [ … m`). The classes: `t-bold`, `t-dim`, `t-italic`, `t-underline`,
`t-strike`, `t-reverse`, and `t-fg-0` to `t-fg-15`, `t-bg-0` to `t-bg-15`, the terminal's sixteen colours; of the 256
and of all others the nearest of these is taken, because the page has colours of its own that can be read.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from markupsafe import Markup, escape

from central_command.markup.visible import visible

SGR: Final = re.compile("\x1b\\[([0-9;:]{0,64})m")

_FLAGS: Final = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike"}
_ENDS: Final = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("reverse",), 29: ("strike",)}
_EXTENDED: Final = {38: "fg", 48: "bg"}
_PALETTE: Final = tuple(
    (red * level, green * level, blue * level)
    for level in (128, 255)
    for blue, green, red in ((code >> 2 & 1, code >> 1 & 1, code & 1) for code in range(8))
)
"""About the sixteen colours, to tell which is the nearest."""


class Look(msgspec.Struct, frozen=True):
    """How text is shown from a place on."""

    flags: frozenset[str] = frozenset()
    fg: int | None = None
    bg: int | None = None

    @property
    def classes(self) -> str:
        """The classes that stand for it."""
        found = [f"t-{flag}" for flag in sorted(self.flags)]
        found += [f"t-{name}-{colour}" for name, colour in (("fg", self.fg), ("bg", self.bg)) if colour is not None]
        return " ".join(found)


PLAIN: Final = Look()


def coloured(text: str) -> Markup:
    """The text as HTML, with its colours."""
    parts = list[Markup]()
    for piece, look in _runs(text):
        shown = escape(visible(piece))
        parts.append(Markup('<span class="{}">{}</span>').format(look.classes, shown) if look != PLAIN else shown)
    return Markup().join(parts)


def uncoloured(text: str) -> str:
    """The text without its colours."""
    return SGR.sub("", text)


def _runs(text: str) -> Iterator[tuple[str, Look]]:
    look, at = PLAIN, 0
    for found in SGR.finditer(text):
        if found.start() > at:
            yield text[at : found.start()], look
        look, at = _changed(look, found[1]), found.end()
    if at < len(text):
        yield text[at:], look


def _changed(look: Look, parameters: str) -> Look:
    numbers = [int(each[:4] or 0) for each in re.split("[;:]", parameters)]
    at = 0
    while at < len(numbers):
        number = numbers[at]
        if number in _EXTENDED:
            colour, taken = _extended(numbers[at + 1 :])
            at += taken
            look = msgspec.structs.replace(look, **{_EXTENDED[number]: colour})
        else:
            look = _with(look, number)
        at += 1
    return look


def _with(look: Look, number: int) -> Look:
    """The look after one parameter; one that is not known changes nothing."""
    match number:
        case 0:
            return PLAIN
        case _ if number in _FLAGS:
            return msgspec.structs.replace(look, flags=look.flags | {_FLAGS[number]})
        case _ if number in _ENDS:
            return msgspec.structs.replace(look, flags=look.flags.difference(_ENDS[number]))
        case 39:
            return msgspec.structs.replace(look, fg=None)
        case 49:
            return msgspec.structs.replace(look, bg=None)
        case _ if 30 <= number <= 37 or 90 <= number <= 97:
            return msgspec.structs.replace(look, fg=number - 30 if number < 90 else number - 82)
        case _ if 40 <= number <= 47 or 100 <= number <= 107:
            return msgspec.structs.replace(look, bg=number - 40 if number < 100 else number - 92)
        case _:
            return look


def _extended(rest: list[int]) -> tuple[int | None, int]:
    """A colour of the 256 or of all, and how many parameters it took."""
    if len(rest) >= 2 and rest[0] == 5:
        return _of_256(rest[1]), 2
    if len(rest) >= 4 and rest[0] == 2:
        return _nearest(rest[1], rest[2], rest[3]), 4
    return None, len(rest)


def _of_256(number: int) -> int:
    if number < 16:
        return number
    if number < 232:
        cube = number - 16
        return _nearest(*(step and 55 + 40 * step for step in (cube // 36, cube // 6 % 6, cube % 6)))
    grey = 8 + 10 * (min(number, 255) - 232)
    return _nearest(grey, grey, grey)


def _nearest(red: int, green: int, blue: int) -> int:
    def distance(colour: int) -> int:
        return sum((one - other) ** 2 for one, other in zip(_PALETTE[colour], (red, green, blue), strict=True))

    return min(range(len(_PALETTE)), key=distance)
