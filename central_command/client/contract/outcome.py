"""How a session ended, as its own steps show it: the contract's `outcome`, nothing invented.

What a transcript cannot show (a quality score, what its user made of it) is left out.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Literal

import msgspec

from central_command.client.contract.changed_files import changed_files, count_files
from central_command.client.contract.steps import Step, StepType

Status = Literal["SUCCESS", "CRASH", "KILLED"]
Place = Callable[[float], float]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's `outcome` of a SESSION_CLOSE: counts of the steps that were sent, and how they end.

    `status`: KILLED when the last step is the user's interruption or an action without an answer, CRASH when it is an
    error, else SUCCESS. An error counts as recovered when the same tool gave a result later. `files_modified` counts
    different files, by calls that went well (`changed_files`).
    """

    status: Status
    user_interventions: int
    total_steps: int
    total_chunks: int
    total_tokens: int
    duration_seconds: int
    files_modified: int
    errors_encountered: int
    errors_recovered: int
    coordination_events: int


class Ending:
    """How a session ends, of its steps one after the other."""

    def __init__(self) -> None:
        self.steps = 0
        self._tokens = self._interruptions = 0
        self._errors = self._recovered = 0
        self._first_s, self._last_s = math.inf, -math.inf
        self._last: tuple[StepType, str | None] = ("resolution", None)
        """Type and intent of the last step."""
        self._open_errors: Counter[str] = Counter()
        """Errors by tool that no result of the same tool has followed yet."""
        self._edits: dict[str, frozenset[str]] = {}
        """Files that calls without a result yet are to change, by call."""
        self._files: set[str] = set()
        self._coordinations = 0

    def take(self, step: Step) -> None:
        """Count one more step."""
        self.steps += 1
        self._tokens += step.token_count
        self._interruptions += step.intent == "interruption"
        self._first_s, self._last_s = min(self._first_s, step.timestamp), max(self._last_s, step.timestamp)
        self._last = (step.type, step.intent)
        match step.type:
            case "error":
                self._errors += 1
                self._edits.pop(step.call_id or "", None)
                if step.tool is not None:
                    self._open_errors[step.tool] += 1
            case "observation":
                self._recovered += self._open_errors.pop(step.tool or "", 0)
                self._files |= self._edits.pop(step.call_id or "", frozenset())
            case "action" if step.tool and step.call_id:
                if files := changed_files(step.tool, step.arguments or {}):
                    self._edits[step.call_id] = files
            case "coordination":
                self._coordinations += 1

    def outcome(self, *, chunks: int, place: Place = float) -> Outcome:
        """The outcome of the steps (at least one), sent in `chunks` chunks; `place` moves their times."""
        return Outcome(
            status=self._status(),
            user_interventions=self._interruptions,
            total_steps=self.steps,
            total_chunks=chunks,
            total_tokens=self._tokens,
            duration_seconds=int(place(self._last_s) - place(self._first_s)),
            files_modified=count_files(self._files),
            errors_encountered=self._errors,
            errors_recovered=self._recovered,
            coordination_events=self._coordinations,
        )

    def _status(self) -> Status:
        kind, intent = self._last
        if intent == "interruption" or kind == "action":
            return "KILLED"
        return "CRASH" if kind == "error" else "SUCCESS"
