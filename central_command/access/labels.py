"""What people call a thing, or say of it, in one line: a token's name, the reason of a ban. Pure."""

from typing import Final

_REPLACEMENT: Final = "\ufffd"  # what half of a surrogate pair was read as


def is_label(text: str, chars_max: int) -> bool:
    """Whether a text can stand for itself in a list: some characters, all of which can be printed, or none."""
    return len(text) <= chars_max and text.isprintable() and _REPLACEMENT not in text
