"""A title and a summary of a session, taken out of what its scrubbed record says. Pure, and the same each time.

The title is the first sentence of what was asked for. The summary is what was asked for, what was done (in numbers),
and the last thing that was said of how it ended. Nothing is invented, and nothing is in it that no record shows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from actors.curation.stitched import StitchedStep, StitchedTrajectory

SUMMARY_RULES: Final = "extractive-2"
"""Raised whenever what is taken out changes: then what earlier rules made is made anew."""
TITLE_CHARS_MAX: Final = 80
SENTENCES_CHARS_MAX: Final = 240
READ_CHARS: Final = 4_000
"""Characters at the beginning of a step that a sentence is looked for in. Guards who waits for long ones."""
TOOLS_NAMED: Final = 3

ASKED: Final = ("instruction", "clarification", "delegate")
SAID_AT_LAST: Final = ("resolution", "thought", "correction")
NO_TITLE: Final = "Untitled session"

_FENCED: Final = re.compile(r"```[^`]{0,4000}```")
_EMPHASIS: Final = re.compile(r"[*`~]{1,20}")
_MARKS: Final = re.compile(r"[#>|]{1,20}")
_TAG: Final = re.compile(r"<[/a-zA-Z][^<>]{0,200}>")
_SENTENCE_END: Final = re.compile(r"[.!?]\s")


def title_of(trajectory: StitchedTrajectory) -> str:
    """A line of at most `TITLE_CHARS_MAX` characters."""
    asked = next(_texts(trajectory.trajectory_log, ASKED), None) or next(_any_text(trajectory.trajectory_log), "")
    return _line(asked) or NO_TITLE


def line_of(text: str) -> str:
    """What a text begins with, as a line of at most `TITLE_CHARS_MAX` characters; "" where it has no words."""
    return _line(_plain(text))


def summary_of(trajectory: StitchedTrajectory) -> str:
    """Up to three sentences: what was asked, what was done, how it ended."""
    steps = trajectory.trajectory_log
    asked = next(_texts(steps, ASKED), "")
    said = next(_texts(reversed(steps), SAID_AT_LAST), "")
    parts = [_cut(asked, SENTENCES_CHARS_MAX), _done(steps)]
    if said and said != asked:
        parts.append(_cut(said, SENTENCES_CHARS_MAX))
    return " ".join(part if part.endswith((".", "!", "?", "…")) else f"{part}." for part in parts if part)


def _done(steps: Sequence[StitchedStep]) -> str:
    # The result of a call names its tool, too.
    tools = Counter(step.tool_name for step in steps if step.type == "action" and step.tool_name)
    failed = sum(step.type == "error" for step in steps)
    named = ", ".join(f"{name} {count}" for name, count in tools.most_common(TOOLS_NAMED))
    more = len(tools) - TOOLS_NAMED
    with_tools = f" with {named}{f' and {more} more tools' if more > 0 else ''}" if named else ""
    errors = f", {failed} error{'s' if failed != 1 else ''}" if failed else ""
    return f"{len(steps)} step{'s' if len(steps) != 1 else ''}{with_tools}{errors}"


def _texts(steps: Iterable[StitchedStep], types: Sequence[str]) -> Iterator[str]:
    return (text for step in steps if step.type in types and (text := _plain(step.said)))


def _any_text(steps: Iterable[StitchedStep]) -> Iterator[str]:
    return (text for step in steps if (text := _plain(step.said)))


def _plain(text: str) -> str:
    """A text on one line, without code, tags and marks of Markdown."""
    without = _TAG.sub(" ", _FENCED.sub(" ", text[:READ_CHARS]))
    return " ".join(_EMPHASIS.sub("", _MARKS.sub(" ", without)).split())


def _line(plain: str) -> str:
    return _cut(_first_sentence(plain).rstrip(".:;,"), TITLE_CHARS_MAX)


def _first_sentence(text: str) -> str:
    found = _SENTENCE_END.search(text)
    return text if found is None else text[: found.start() + 1]


def _cut(text: str, chars_max: int) -> str:
    """The text, or as many whole words of it as fit."""
    if len(text) <= chars_max:
        return text
    head = text[: chars_max - 1]
    words = head.rpartition(" ")[0]
    return f"{words or head}…"
