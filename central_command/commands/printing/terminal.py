"""The terminal: what is written to it, and what is kept from it.

Contents come from outside. They are never read as markup, and characters that steer a terminal (escape sequences,
direction overrides) are replaced, so that a session's text can neither colour nor rewrite what an operator sees.
"""

import re

from rich.console import Console

from central_command.process.steering import STEERING_IN_BLOCKS

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")


def console() -> Console:
    """A console that takes nothing in its texts as markup."""
    return Console(highlight=False, markup=False, emoji=False)


def clean(text: str) -> str:
    """`text` with every character that steers a terminal replaced by U+FFFD; tabs become spaces."""
    return STEERING_IN_BLOCKS.sub("\ufffd", text.replace("\r\n", "\n").expandtabs(4))


def clean_json(line: str) -> str:
    """JSON text that means the same: steering characters, which can only stand inside its strings, as escapes.

    Also for what goes to another program: `| head` and `| less -R` end on a terminal.
    """
    return STEERING_IN_BLOCKS.sub(lambda match: f"\\u{ord(match.group()):04x}", line)


def counted(count: int, noun: str) -> str:
    """How many there are of something, one or several: `1 chunk`, `1,200 chunks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def words(name: str) -> str:
    """`modelMultiplier` or `model_multiplier` as `model multiplier`."""
    return clean(_WORD_START.sub(" ", name).lower())
