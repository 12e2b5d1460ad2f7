"""The time at which a long run is to end by itself, as its command line has it."""

from datetime import datetime, time, timedelta


def next_time_of_day(text: str) -> float:
    """The next `HH:MM` of this machine's clock, in seconds since the epoch; ValueError for anything else."""
    now = datetime.now().astimezone()
    named = time.fromisoformat(text)
    at = now.replace(hour=named.hour, minute=named.minute, second=0, microsecond=0)
    return (at if at > now else at + timedelta(days=1)).timestamp()
