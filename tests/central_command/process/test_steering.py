"""What could steer a terminal is made visible, and nothing else is changed."""

import os
import sys
import unicodedata

import pytest

from central_command.process.steering import STEERING, STEERING_IN_BLOCKS, escaped

CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\x9b2J\x85\x7f", r"a\x9b2J\x85\x7f"),
        ("\u202eexe.\u2066", r"\u202eexe.\u2066"),
        (os.fsdecode(b"\xff\x9b.jsonl"), r"\xff\x9b.jsonl"),
        ("\ud83d", r"\ud83d"),
        ("a\tb\n", r"a\x09b\x0a"),
        ("grün, 日本語, 👩‍👩‍👧, עברית", "grün, 日本語, 👩‍👩‍👧, עברית"),
    ],
)
def test_what_steers_is_escaped(text: str, shown: str) -> None:
    """Controls, direction, and bytes that are no UTF-8; joined emoji and other scripts stay."""
    assert escaped(text) == shown


def test_no_control_is_left_out() -> None:
    """What Unicode calls a control, a surrogate or a separator of lines; what overrides or isolates direction."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        steers = unicodedata.category(character) in CATEGORIES or unicodedata.bidirectional(character) in DIRECTIONS
        if steers:
            assert STEERING.match(character), hex(code)
            assert bool(STEERING_IN_BLOCKS.match(character)) == (character not in "\t\n"), hex(code)
