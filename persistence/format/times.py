"""Times as they stand in journals, databases and file names: UTC, microseconds, ISO 8601."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DAY: Final = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
DURATION: Final = re.compile(r"\A([1-9][0-9]{0,4})([hdw])\Z")
_UNIT_S: Final = {"h": 3_600, "d": 86_400, "w": 604_800}


@lru_cache(maxsize=64)
def second_text(second: int) -> str:
    """Return a whole second since the epoch as `2026-11-20T10:12:17`; remembered, because many times share theirs."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def to_text(seconds: float) -> str:
    """Return seconds since the epoch as `2026-11-20T10:12:17.123456Z`."""
    second, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{second_text(second)}.{microseconds:06d}Z"


def from_text(text: str) -> float:
    """Return the seconds since the epoch of a time that `to_text` wrote; ValueError for any other text."""
    elapsed = datetime.fromisoformat(text) - EPOCH
    return ((elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds) / 1_000_000


def to_microseconds_precision(seconds: float) -> float:
    """Return the time that survives a round trip through `to_text`."""
    return round(seconds * 1_000_000) / 1_000_000


def day_of(seconds: float) -> str:
    """Return the UTC day as `2026-11-20`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar as `day_of` writes it."""
    if not _DAY.match(text):  # the library also reads days of weeks
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def duration_s(text: str) -> int | None:
    """Seconds of a duration such as `90d`, `12h` or `4w`; None for what is none."""
    found = DURATION.match(text)
    return None if found is None else int(found[1]) * _UNIT_S[found[2]]
