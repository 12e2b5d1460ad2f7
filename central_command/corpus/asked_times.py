"""A time as people and programs ask for it, as times stand in the corpus: text of UTC with microseconds. Pure.

Taken is a time of RFC 3339, with `Z` or an offset, or in UTC without; and the beginning of one, which stands for its
first moment: a year, a month, a day, an hour, a minute. A beginning has no offset, but for a time of hours and minutes.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

TIME: Final = re.compile(
    r"\A([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:[Tt]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?+)?+([Zz]|[+-][0-9]{2}:[0-9]{2})?+)?+)?+)?+)?+\Z"
)
MICROSECOND_DIGITS: Final = 6
TIME_CHARS_MAX: Final = 40
REMEMBERED_MAX: Final = 256
"""Times that are remembered, because each record is compared with the same two; guards memory."""


@lru_cache(maxsize=REMEMBERED_MAX)
def first_moment(text: str) -> str:
    """The first moment of a time, or of the beginning of one, as `2026-11-20T10:12:17.123456Z`.

    Of a fraction of a second the first six digits count. Raises ValueError for what is no time, or none that there is
    (`2026-13-45`); its text ends a sentence that begins with what the time is for.
    """
    found = TIME.match(text[: TIME_CHARS_MAX + 1])
    if found is None:
        raise ValueError(
            f"is {text[:TIME_CHARS_MAX]!r}, which is no time such as 2026-11-20, nor the beginning of one."
        )
    *parts, fraction, offset = found.groups()
    year, month, day, hour, minute, second = (
        int(part or least) for part, least in zip(parts, (0, 1, 1, 0, 0, 0), strict=True)
    )
    zone = (offset or "Z").upper().replace("Z", "+00:00")
    microsecond = (fraction or "").ljust(MICROSECOND_DIGITS, "0")[:MICROSECOND_DIGITS]
    whole = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microsecond}{zone}"
    try:
        moment = datetime.fromisoformat(whole).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"is {text!r}, which is no time that there is.") from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
