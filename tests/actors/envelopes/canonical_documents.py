"""Random JSON texts in every spelling that the grammar allows: what `JSON.stringify` must have made the same again.

Texts are written directly, not from values, because the spellings are the point: white space, escapes, numbers with
more digits than a double holds, names that occur twice, come in any order or look like array indices.
"""

import json
import random
import struct
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

_NAMES = ("a", "b", "attestation", "__proto__", "constructor", "toString", "length", "", "é", "日", '"', "\\", "\ud83d")
_INDEX_LIKE = (
    *("0", "1", "2", "10", "9", "01", "00", "-0", "-1", "1.5", "1e3", "+1", " 1", "٣", "²"),
    *("4294967294", "4294967295", "4294967296", "2147483648", "9007199254740993", "99999999999"),
)
_CHARACTERS = (
    *"abcxyz 09{}[]:,'</>&",
    *('"', "\\", "/", "\b", "\f", "\n", "\r", "\t", "\0", "\x1f", "\x7f", "\x80", "\x85"),
    *("é", "ß", "\u2028", "\u2029", "\ufeff", "\ufffd", "\uffff", "日", "本", "😀", "🚀", "\U0010ffff"),
    *("\ud83d", "\ude00", "\ud800", "\udbff", "\udc00", "\udfff"),
)
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_WHITE_SPACE = ("", " ", "\n", "\r\n", "\t", "  \n\t")
_ODD_NUMBERS = (
    *("0", "-0", "0.0", "-0.0", "0e5", "-0E-7", "0e999999999999", "1e400", "-1e400", "1E+400", "1e-400", "-1e-400"),
    *("5e-324", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2.2250738585072011e-308"),
    *("2.2250738585072014e-308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308"),
    *("1e21", "1e20", "999999999999999999999", "999999999999999900000", "1e-6", "1e-7", "0.000001", "0.0000001"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993", "9007199254740994.5"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"),
    *("1.0", "1.50", "100", "1E2", "1e+2", "1e00002", "10e-1", "123456789012345678", "0.1", "0.30000000000000004"),
    *("0.1e1", "1" + "0" * 400, "0." + "0" * 400 + "1", "1" * 40, "0." + "3" * 60),
)


class Style(NamedTuple):
    """How a document is spelt: white space between tokens, and how likely a character is escaped needlessly."""

    spaces: Sequence[str]
    escaping: float


_STYLES = (
    Style(("",), 0.0),
    Style(("",), 0.2),
    Style(("",), 1.0),
    Style((" ",), 0.0),
    Style(_WHITE_SPACE, 0.1),
)


class Documents:
    """A source of random texts; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._values: tuple[Callable[[Style, int], str], ...] = (
            self._word,
            self._number_text,
            self._number_text,
            self._text,
            self._array,
            self._object,
        )

    def any_text(self) -> bytes:
        """Any JSON text."""
        style = self._random.choice(_STYLES)
        return _encoded(self._space(style) + self._value(style, 5) + self._space(style))

    def body(self) -> bytes:
        """An object with an attestation somewhere among its members, perhaps pretty-printed or with names twice."""
        style = self._random.choice(_STYLES)
        members = [(name, self._value(style, 3)) for name in self._random.sample(_NAMES + _INDEX_LIKE, 3)]
        members.append(("session_id", self.text_literal("sess_1", style)))
        members.append(("attestation", self._object(style, 1)))
        members.append(("trajectory_log", self._array(style, 3)))
        self._random.shuffle(members)
        return self.spelt(self.object_literal(members, style))

    def style(self) -> Style:
        """A style for one document."""
        return self._random.choice(_STYLES)

    def spelt(self, literal: str) -> bytes:
        """The bytes of a text; sometimes indented as whoever pretty-prints bodies does."""
        if self._random.random() < 0.1:
            value = json.loads(literal, parse_float=_finite)
            indent: int | str = self._random.choice((1, 2, "\t"))
            literal = json.dumps(value, indent=indent)
        return _encoded(literal)

    def object_literal(self, members: Sequence[tuple[str, str]], style: Style) -> str:
        """An object of names and the texts of their values."""
        if not members:
            return "{" + self._space(style) + "}"
        space = self._space
        written = [
            f"{space(style)}{self.text_literal(name, style)}{space(style)}:{space(style)}{value}{space(style)}"
            for name, value in members
        ]
        return "{" + ",".join(written) + "}"

    def text_literal(self, text: str, style: Style) -> str:
        """A string in one of its spellings; lone surrogates are always escaped, for UTF-8 has none."""
        return '"' + "".join(map(self._character if not style.escaping else self._escaping(style), text)) + '"'

    def _escaping(self, style: Style) -> Callable[[str], str]:
        return lambda character: (
            self._escaped(character) if self._random.random() < style.escaping else self._character(character)
        )

    def _character(self, character: str) -> str:
        if character in '"\\' or character < " " or "\ud800" <= character <= "\udfff":
            return self._escaped(character)
        return character

    def _escaped(self, character: str) -> str:
        if character in _SHORT_ESCAPES and self._random.random() < 0.5:
            return _SHORT_ESCAPES[character]
        digits = "%04x" if self._random.random() < 0.5 else "%04X"
        code = ord(character)
        if code < 0x10000:
            return "\\u" + digits % code
        code -= 0x10000
        return "\\u" + digits % (0xD800 + (code >> 10)) + "\\u" + digits % (0xDC00 + (code & 0x3FF))

    def _space(self, style: Style) -> str:
        return self._random.choice(style.spaces)

    def _value(self, style: Style, depth: int) -> str:
        kinds = self._values if depth else self._values[:4]
        return self._random.choice(kinds)(style, depth)

    def _word(self, style: Style, depth: int) -> str:
        return self._random.choice(("null", "true", "false"))

    def _text(self, style: Style, depth: int) -> str:
        return self.text_literal(self.text(), style)

    def _array(self, style: Style, depth: int) -> str:
        items = [self._space(style) + self._value(style, depth - 1) for _ in range(self._random.randrange(5))]
        return "[" + ("," + self._space(style)).join(items) + self._space(style) + "]"

    def _object(self, style: Style, depth: int) -> str:
        # From a small set, so that names often occur twice.
        names = [self.name() for _ in range(self._random.randrange(5))]
        return self.object_literal([(name, self._value(style, max(depth - 1, 0))) for name in names], style)

    def name(self) -> str:
        """A member's name."""
        kind = self._random.random()
        if kind < 0.4:
            return self._random.choice(_NAMES)
        return self._random.choice(_INDEX_LIKE) if kind < 0.8 else self.text()

    def text(self) -> str:
        """A short text of all kinds of characters."""
        return "".join(self._random.choices(_CHARACTERS, k=self._random.randrange(7)))

    def _number_text(self, style: Style, depth: int) -> str:
        return self.number()

    def number(self) -> str:
        """A number in one of its spellings."""
        source = self._random
        match source.randrange(8):
            case 0:
                return source.choice(_ODD_NUMBERS)
            case 1:
                return str(source.choice((1, -1)) * (2 ** source.randrange(48, 70) + source.randrange(-3, 4)))
            case 2:
                return str(source.randrange(-(10 ** source.randrange(1, 25)), 10 ** source.randrange(1, 25)))
            case 3:
                return f"{10 ** source.randrange(14, 24) + source.randrange(-5, 6)}"
            case 4:
                return (
                    f"{source.randrange(1_000_000)}.{source.randrange(1000)}{source.choice(('', '0', 'e-5', 'E+12'))}"
                )
            case 5:
                return f"{source.randrange(1, 10**6)}e{source.randrange(-335, 310)}"
            case _:
                return self._double()

    def _double(self) -> str:
        """A double of any magnitude: its shortest text, too many digits, or the very middle between two of them."""
        bits = self._random.getrandbits(64)
        if self._random.random() < 0.2:
            bits &= 0x800F_FFFF_FFFF_FFFF  # denormal
        (number,) = struct.unpack("<d", bits.to_bytes(8, "little"))
        if number != number or abs(number) == float("inf"):  # noqa: PLR0124 - NaN is the value that differs from itself
            return "1e309"
        kind = self._random.randrange(8)
        if kind > 1:
            return repr(number) if kind > 4 else f"{number:.{kind + 15}e}"
        (above,) = struct.unpack("<d", ((bits & ~(1 << 63)) + 1).to_bytes(8, "little"))
        if kind == 0 or above == float("inf"):
            return format(number, ".30f") if 1e-5 < abs(number) < 1e30 else f"{number:.40e}"
        with localcontext() as context:
            context.prec = 800
            middle = (Decimal(abs(number)) + Decimal(above)) / 2
            # A hair's breadth beside the middle decides, some hundred digits later.
            return f"{middle * (1 + self._random.choice((-1, 0, 1)) * Decimal(10) ** -780):e}"


def _finite(text: str) -> float:
    """Python would write an infinite number as a word that is not JSON."""
    return max(-sys.float_info.max, min(float(text), sys.float_info.max))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8")
