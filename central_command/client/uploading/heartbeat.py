"""Shows that `watch` lives: what it follows, what waits, and when something will be sent.

On a terminal it is one line on standard error that is always there, cut to its width. Elsewhere it is a line after the
first look, and another when that has changed and the last one is `EVERY_S` old, so that a log of weeks stays readable.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import click
import msgspec
import trio

from central_command.terminal.live_line import LiveLine

EVERY_S = 600.0
_REFRESH_S = 1.0


class Pulse(msgspec.Struct, frozen=True):
    """What a look at the folders found: sessions that are followed, steps that wait, and when they go.

    `next_chunk_at` is in trio's time; None when no step waits. `steps_open` may still change by what their file says
    next, so they do not even wait for a chunk yet.
    """

    files: int
    steps_waiting: int
    next_chunk_at: float | None
    steps_open: int = 0

    def text(self, now: float) -> str:
        """One line; `now` in trio's time."""
        found = f"following {self.files:,} file(s)"
        if not self.files:
            return f"{found}: no session in the folders has changed lately"
        if self.next_chunk_at is None and not self.steps_open:
            return f"{found}, nothing waits to be sent"
        if self.next_chunk_at is not None:
            minutes, seconds = divmod(max(0, round(self.next_chunk_at - now)), 60)
            found += f", {self.steps_waiting:,} step(s) wait, next chunk in {minutes}:{seconds:02d}"
        if self.steps_open:
            found += (
                f", {self.steps_open:,} step(s) wait until their file goes on or is quiet, as they may still change"
            )
        return found


class Heartbeat:
    """Shows the last `Pulse`, on `live` where there is a terminal; `run` keeps its time up to date until cancelled."""

    def __init__(self, live: LiveLine | None, *, say: Callable[[str], None] = click.echo) -> None:
        self._live = live
        self._say = say
        self._pulse = Pulse(0, 0, None)
        self._said: tuple[str, float] | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.show("looking for sessions")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.hide()

    def say(self, text: str) -> None:
        """Print a line on standard output, above the one that is always there."""
        if self._live is not None:
            self._live.hide()
        self._say(text)
        if self._live is not None:
            self._live.again()

    def beat(self, pulse: Pulse) -> None:
        """Show what the last look found."""
        self._pulse = pulse
        now = trio.current_time()
        text = pulse.text(now)
        if self._live is not None:
            self._live.show(text)
        elif self._said is None or (text != self._said[0] and now - self._said[1] >= EVERY_S):
            self._said = (text, now)
            self._say(text)

    async def run(self) -> None:
        """Count down on a terminal, until cancelled."""
        while self._live is not None:
            await trio.sleep(_REFRESH_S)
            self._live.show(self._pulse.text(trio.current_time()))
