"""Sessions as real ones are, no two of which say the same: steps of a real session, each with something of its own.

A session is a function of its number, so a fork of it can be made at any time.
"""

import random
import time
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from bench.sessions import ChunkSize
from central_command.client.contract.steps import Step
from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.uploading.sources import SUFFIXES

TRANSCRIPTS: Final = Path(__file__).parents[1] / "tests" / "transcripts"
NAMES: Final = ("long", "subagent", "tool_heavy")


@cache
def real_steps() -> tuple[Step, ...]:
    """The steps of some real sessions, one session's behind the other's."""
    found: list[Step] = []
    for name in NAMES:
        with (TRANSCRIPTS / f"{name}{SUFFIXES[0]}").open("rb") as file:
            found += ClaudeCodeReader().read(file)
    return tuple(found)


class RealLogs:
    """The `trajectory_log` of each chunk of the session with this number, from 0; drawn when it is asked for.

    The first `copied_steps` are those of the session `copied_from`, at other times, as a fork's are.
    """

    def __init__(self, number: int, size: ChunkSize, *, copied_from: int | None = None, copied_steps: int = 0) -> None:
        self.size = size
        self._own, self._copied = _Source(number), None if copied_from is None else _Source(copied_from)
        self._copied_steps = copied_steps
        self._at_s = int(time.time()) - 3_600

    def log(self, chunk: int) -> bytes:
        """The log of the chunk number `chunk`, from 0."""
        first = chunk * self.size.steps
        return msgspec.json.encode([self._step(place) for place in range(first, first + self.size.steps)])

    def _step(self, place: int) -> Step:
        source = self._copied if self._copied is not None and place < self._copied_steps else self._own
        return source.step(place, self._at_s + place / 1_000)


class _Source:
    """What a session with a number consists of."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._first = random.Random(number).randrange(len(real_steps()))

    def step(self, place: int, at_s: float) -> Step:
        steps = real_steps()
        step = steps[(self._first + place) % len(steps)]
        own = f"{self._number:x}-{place:x}"
        changed: dict[str, object] = {"step": place + 1, "timestamp": at_s}
        if step.arguments is None:
            changed["content"] = f"{step.content}\n{own}"
        else:
            changed["arguments"] = {**step.arguments, "description": own}
        return msgspec.structs.replace(step, **changed)
