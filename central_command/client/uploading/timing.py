"""Moves a session in time so that the server takes it: the contract refuses steps older than seven days.

Distances between steps are kept. Only a session that itself spans more than the server's window is compressed, all of
it by one factor, and no more than is needed. What was done is said, never silent.
"""

import math

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.steps import Step

WINDOW_S = SchemaSettings().timestamp_age_s_max
MARGIN_S = 6 * 3_600.0
"""Kept free of the window, for an upload that has to wait and for clocks that differ."""


class Shift(msgspec.Struct, frozen=True):
    """By how many seconds the last step was moved (towards now when positive) and how much the span was compressed.

    `span_factor` is 1.0 when all distances were kept, below when the session was longer than the server's window.
    """

    seconds: float
    span_factor: float = 1.0


def shift_to_now(steps: tuple[Step, ...], *, now_s: float) -> tuple[tuple[Step, ...], Shift | None]:
    """The steps as they may be sent at `now_s`, and the shift that they needed; None when they stay as they are."""
    if not steps:
        return steps, None
    first = min(step.timestamp for step in steps)
    last = max(step.timestamp for step in steps)
    room = WINDOW_S - MARGIN_S
    if first >= now_s - room and last <= now_s:
        return steps, None
    factor = min(1.0, room / (last - first)) if last > first else 1.0
    moved = tuple(
        msgspec.structs.replace(step, timestamp=_milliseconds(now_s - (last - step.timestamp) * factor))
        for step in steps
    )
    return moved, Shift(now_s - last, factor)


def _milliseconds(seconds: float) -> float:
    """Rounded down to a whole millisecond, so that nothing comes to lie ahead of now."""
    return math.floor(seconds * 1000) / 1000
