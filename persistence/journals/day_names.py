"""The name of a day's file."""

import re
from datetime import date
from typing import Final

NAME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.jsonl")


def name_of(day: str) -> str:
    """Return the name of a day's file."""
    return f"{day}.jsonl"


def day_of(name: str) -> str | None:
    """Return the day that a file's name says; None for one that is no journal's file."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    try:
        date.fromisoformat(match[1])
    except ValueError:
        return None
    return match[1]
