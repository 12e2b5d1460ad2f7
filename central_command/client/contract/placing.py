"""Moves a session in time so that the server takes it: the contract refuses steps older than seven days.

Distances between steps are kept. Only a session that itself spans more than the server's window is compressed, all of
it by one factor, and no more than is needed. What was done is said, never silent.
"""

import math

import msgspec

from actors.envelopes.settings import SchemaSettings

WINDOW_S = SchemaSettings().timestamp_age_s_max
MARGIN_S = 6 * 3_600.0
"""Kept free of the window, for an upload that has to wait and for clocks that differ."""
_DECIMALS = 6
"""A microsecond, of a time in seconds: finer than agents note, and coarser than what such a number holds."""


class Placing(msgspec.Struct, frozen=True, array_like=True):
    """Where a session's times are moved to: `from_s` to `to_s`, and distances from there shrunk by `factor`."""

    from_s: float = 0.0
    to_s: float = 0.0
    factor: float = 1.0

    @property
    def moves(self) -> bool:
        """Whether any time is moved."""
        return self.from_s != self.to_s or self.factor != 1.0

    @property
    def shift_s(self) -> float:
        """By how many seconds the last step is moved: all are, unless distances shrink.

        Whole milliseconds, rounded down, so that nothing comes to lie ahead of now.
        """
        return math.floor((self.to_s - self.from_s) * 1000) / 1000

    def place(self, seconds: float) -> float:
        """A step's time as it is sent, in seconds; unmoved times stay as they are.

        Less `shift_s`, it is again the time that it was, to the microsecond: that of the last step alone where
        distances shrink, which are rounded to whole milliseconds, upwards.
        """
        if not self.moves:
            return seconds
        distance_s = self.from_s - seconds
        if self.factor != 1.0:
            distance_s = math.ceil(distance_s * self.factor * 1000) / 1000
        return round(self.from_s - distance_s + self.shift_s, _DECIMALS)


def placing_for(first_s: float, last_s: float, *, now_s: float) -> Placing:
    """How steps from `first_s` to `last_s` must be moved so that the server takes them at `now_s`, if at all."""
    if is_taken(first_s, last_s, now_s=now_s):
        return Placing()
    room_s = WINDOW_S - MARGIN_S
    factor = min(1.0, room_s / (last_s - first_s)) if last_s > first_s else 1.0
    return Placing(last_s, now_s, factor)


def is_taken(first_s: float, last_s: float, *, now_s: float) -> bool:
    """Whether the server takes steps between these times at `now_s`, and for `MARGIN_S` longer."""
    return first_s >= now_s - (WINDOW_S - MARGIN_S) and last_s <= now_s
