"""Steps that wait for the first time of their file, and no longer than a bound."""

import pytest

from central_command.client.contract import steps as module
from central_command.client.contract.steps import StepList


def test_steps_before_the_first_time_get_it() -> None:
    """They are held back until it is there; what comes later keeps its own."""
    steps = StepList()
    steps.add("instruction", steps.at, "before")
    assert list(steps.drain()) == []
    steps.take_time(None)
    steps.take_time(7.0)
    steps.add("thought", steps.at, "then")
    steps.take_time(9.0)
    steps.add("thought", steps.at, "later")
    assert [(step.step, step.timestamp) for step in steps.drain()] == [(1, 7.0), (2, 7.0), (3, 9.0)]
    assert (steps.count, steps.first_s, steps.last_s, steps.has_times) == (3, 7.0, 9.0, True)
    assert list(steps.finish()) == []


def test_a_file_without_times_ends_at_0() -> None:
    """All of it, at its end."""
    steps = StepList()
    steps.add("thought", steps.at, "x")
    assert [step.timestamp for step in steps.finish()] == [0.0]
    assert not steps.has_times


def test_no_more_than_a_bound_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past it the file counts as one without times, whatever comes: what was handed on stays as it is."""
    monkeypatch.setattr(module, "UNDATED_CHARS_MAX", 100)
    steps = StepList()
    for _ in range(3):
        steps.add("thought", steps.at, "x" * 40)
    assert len(list(steps.drain())) == 3
    steps.take_time(7.0)
    steps.add("thought", steps.at, "later")
    assert [step.timestamp for step in steps.drain()] == [0.0]
    assert not steps.has_times
