"""Outcomes: counts of the steps, nothing invented."""

from typing import Any

import pytest

from central_command.client.contract.outcome import Ending, Outcome
from central_command.client.contract.steps import Step, StepType


def steps(*made: tuple[StepType, dict[str, Any]]) -> tuple[Step, ...]:
    return tuple(
        Step(step=number, type=kind, timestamp=float(number * 10), content="x", token_count=2, **members)
        for number, (kind, members) in enumerate(made, start=1)
    )


def ending_of(made: tuple[Step, ...]) -> Ending:
    ending = Ending()
    for step in made:
        ending.take(step)
    return ending


def outcome_of(made: tuple[Step, ...], *, chunks: int) -> Outcome:
    return ending_of(made).outcome(chunks=chunks)


ASK = ("instruction", {"source": "user"})
STOP = ("instruction", {"source": "user", "intent": "interruption"})
EDIT = ("action", {"tool": "Edit", "arguments": {"file_path": "a.py"}, "call_id": "1"})
DONE = ("observation", {"tool": "Edit", "call_id": "1"})
FAILED = ("error", {"tool": "Edit", "call_id": "0"})
SAID = ("thought", {})


def test_counts_are_those_of_the_steps() -> None:
    """Errors, those after which the tool worked again, files that were really changed, tokens and time."""
    outcome = outcome_of(steps(ASK, STOP, ASK, FAILED, EDIT, DONE, FAILED, EDIT, SAID), chunks=3)
    assert (outcome.total_steps, outcome.total_chunks, outcome.total_tokens) == (9, 3, 18)
    assert (outcome.errors_encountered, outcome.errors_recovered) == (2, 1)
    assert (outcome.files_modified, outcome.user_interventions, outcome.duration_seconds) == (1, 1, 80)


def test_a_file_whose_edit_failed_was_not_modified() -> None:
    """Only an edit with a good result counts."""
    refused = ("error", {"tool": "Edit", "call_id": "1"})
    assert outcome_of(steps(EDIT, refused), chunks=1).files_modified == 0


@pytest.mark.parametrize(
    ("last", "status"),
    [(SAID, "SUCCESS"), (DONE, "SUCCESS"), (("resolution", {}), "SUCCESS"), (STOP, "KILLED"), (EDIT, "KILLED"),
     (FAILED, "CRASH")],
)  # fmt: skip
def test_the_status_is_how_the_steps_end(last: tuple[StepType, dict[str, Any]], status: str) -> None:
    """Interrupted or left in mid-action, ended in an error, or neither."""
    assert outcome_of(steps(ASK, SAID, last), chunks=1).status == status
