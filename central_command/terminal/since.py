"""What `--since` of a command takes: a length of time that ends now, or a day."""

from typing import Final

from persistence.format.times import duration_s, from_text, is_day

TAKES: Final = "takes a whole number and h, d or w, such as 90d, or a UTC day such as 2026-11-20"


def moment_s(text: str, *, now_s: float) -> float:
    """Seconds since the epoch of the first moment that is meant; raises ValueError for what says none."""
    lasting_s = duration_s(text)
    if lasting_s is not None:
        return now_s - lasting_s
    if not is_day(text):
        raise ValueError(TAKES)
    return from_text(f"{text}T00:00:00.000000Z")
