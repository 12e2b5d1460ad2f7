"""How long sending takes under the limits that a server has by default; whoever waits for hours wants to know."""

import math

from actors.sessions.settings import SessionSettings

OPENS_PER_H = SessionSettings().opens_per_machine_per_h
"""New sessions of one machine that a server takes in an hour."""
SIGNED_OPENS_PER_H = SessionSettings().opens_per_contributor_per_h
"""The same of one contributor who signs them with their key, in place of the machine's."""
REQUESTS_PER_MINUTE = 100
"""Requests of one address that a server takes in a minute (contract, "Rate limiting")."""
_REQUESTS_PER_SESSION = 1
"""Opening it: what is accepted is given back, and the rest is of the session's own budget."""


def opens_per_h(*, is_signed: bool) -> int:
    """How many sessions a server lets be opened in an hour, whether with a contributor's key or without."""
    return SIGNED_OPENS_PER_H if is_signed else OPENS_PER_H


def duration_s(*, sessions: int, opens_per_h: int = OPENS_PER_H, opened: int = 0) -> float:
    """Seconds that so many new sessions take at least, whatever they hold.

    `opened` sessions were opened within the last hour: an hour's number may be opened at once, the rest as that passes.
    """
    opening_s = max(0, sessions + opened - opens_per_h) * 3_600 / opens_per_h
    requests = sessions * _REQUESTS_PER_SESSION
    return max(opening_s, max(0, requests - REQUESTS_PER_MINUTE) * 60 / REQUESTS_PER_MINUTE)


def in_words(seconds: float) -> str:
    """A length of time in hours and minutes, rounded up."""
    minutes = math.ceil(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes))
