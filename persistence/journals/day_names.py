"""The name of a day's file."""

import re
from typing import Final

from persistence.format import times

NAME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")


def name_of(day: str) -> str:
    """Return the name of a day's file."""
    return f"{day}.jsonl"


def day_of(name: str) -> str | None:
    """Return the day that a file's name says; None for one that is no journal's file."""
    match = NAME.fullmatch(name)
    return match[1] if match is not None and times.is_day(match[1]) else None
