"""How a session ended, as its own steps show it: the contract's `outcome` and `feedback`, nothing invented.

What a transcript cannot show (a quality score, a tier, whether it is fit for training) is left out.
"""

from typing import Literal

import msgspec

from central_command.client.contract.chunking import as_written
from central_command.client.contract.steps import Step

_FILE_TOOLS = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"})

Status = Literal["SUCCESS", "CRASH", "KILLED"]
Signal = Literal["accepted", "iterated", "rejected"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's `outcome` of a SESSION_CLOSE: counts of the steps that were sent, and how they end.

    `status`: KILLED when the last step is the user's interruption or an action without an answer, CRASH when it is an
    error, else SUCCESS. An error counts as recovered when the same tool gave a result later.
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


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's `feedback`, as far as the transcript shows what the user made of the work."""

    signal: Signal
    timestamp: float
    context: str
    target_step: int
    revision_rounds: int
    delta_summary: None = None


def outcome_of(steps: tuple[Step, ...], *, chunks: int) -> Outcome:
    """The outcome of `steps` (at least one), sent in `chunks` chunks."""
    errors, recovered = _errors(steps)
    times = [step.timestamp for step in steps]
    return Outcome(
        status=_status(steps),
        user_interventions=sum(1 for step in steps if step.intent == "interruption"),
        total_steps=len(steps),
        total_chunks=chunks,
        total_tokens=sum(step.token_count for step in steps),
        duration_seconds=int(max(times) - min(times)),
        files_modified=_files_modified(steps),
        errors_encountered=errors,
        errors_recovered=recovered,
        coordination_events=0,
    )


def feedback_of(steps: tuple[Step, ...]) -> Feedback | None:
    """What the user made of `steps` (at least one); None when they end in an error or in mid-action: nobody said."""
    if _status(steps) != "SUCCESS" and steps[-1].intent != "interruption":
        return None
    rounds = max(0, sum(1 for step in steps if step.type == "instruction" and step.intent is None) - 1)
    signal: Signal
    if steps[-1].intent == "interruption":
        signal, seen = "rejected", "the user interrupted the agent and said no more"
    elif rounds:
        signal, seen = "iterated", f"the user gave {rounds} more instruction(s) after the first"
    else:
        signal, seen = "accepted", "the session ended without another instruction"
    return Feedback(
        signal=signal,
        timestamp=as_written(max(step.timestamp for step in steps)),
        context=f"derived from the transcript: {seen}",
        target_step=steps[-1].step,
        revision_rounds=rounds,
    )


def _status(steps: tuple[Step, ...]) -> Status:
    last = steps[-1]
    if last.intent == "interruption" or last.type == "action":
        return "KILLED"
    return "CRASH" if last.type == "error" else "SUCCESS"


def _errors(steps: tuple[Step, ...]) -> tuple[int, int]:
    """Errors, and how many of them were followed by a result of the same tool."""
    errors = recovered = 0
    worked_later: set[str | None] = set()
    for step in reversed(steps):
        if step.type == "error":
            errors += 1
            recovered += step.tool in worked_later
        elif step.type == "observation" and step.tool is not None:
            worked_later.add(step.tool)
    return errors, recovered


def _files_modified(steps: tuple[Step, ...]) -> int:
    worked = {step.call_id for step in steps if step.type == "observation" and step.call_id}
    paths = {
        (step.arguments or {}).get("file_path") or (step.arguments or {}).get("notebook_path")
        for step in steps
        if step.type == "action" and step.tool in _FILE_TOOLS and step.call_id in worked
    }
    return len({path for path in paths if isinstance(path, str)})
