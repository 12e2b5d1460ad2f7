"""Text in which nothing is hidden: what would change how the rest is read is shown as what it is."""

import re
from typing import Final

from markupsafe import Markup, escape

CONTROL_PICTURES: Final = 0x2400
"""Where Unicode has a picture of each control (U+2400, "Control Pictures")."""

DELETE: Final = 0x7F
DELETE_PICTURE: Final = "\u2421"

HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Controls, what turns the direction of text, and what has no width; but for line ends and tabs."""

SURROGATE: Final = re.compile("[\ud800-\udfff]")
JOINER: Final = "\u200d"
"""Joins emoji, and letters of scripts that need it."""
NON_JOINER: Final = "\u200c"


def visible(text: str) -> str:
    """The text with every hidden character shown: controls as their pictures, others as ⟦U+202E⟧."""
    whole = SURROGATE.sub("\ufffd", text.replace("\r\n", "\n"))
    return HIDDEN.sub(_shown, whole)


def plain(text: str) -> Markup:
    """The text as HTML, as it is."""
    return escape(visible(text))


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    if number < 0x20:
        return chr(CONTROL_PICTURES + number)
    if number == DELETE:
        return DELETE_PICTURE
    if character in {JOINER, NON_JOINER}:
        return character
    return f"\u27e6U+{number:04X}\u27e7"
