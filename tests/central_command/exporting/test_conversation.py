"""How steps become turns: what belongs together, and which call a result answers."""

from typing import Any

import pytest

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.conversation import Conversation, Heard, Inference, read_conversation, said_by
from tests.central_command.exporting.sessions import (
    STEP_TYPES,
    asked,
    call,
    corrected,
    done,
    failed,
    of_every_type,
    result,
    said,
    thinking,
    trajectory,
)


def told(session: Trajectory) -> list[Any]:
    """The turns in short: texts and calls with their results."""
    return [short(turn) for turn in read_conversation(session).turns]


def short(turn: Heard | Inference) -> Any:
    if isinstance(turn, Heard):
        return f"{turn.role}: {turn.step.text}"
    answers = {each.call_id: None if each.result is None else each.result.step.text for each in turn.calls}
    return ([each.step.text for each in (*turn.reasoning, *turn.prose)], answers)


def test_what_the_agent_does_until_it_is_given_something_is_one_inference() -> None:
    session = trajectory(
        asked("q"),
        thinking("t"),
        said("s"),
        call("a"),
        call("b"),
        result("a", "1"),
        result("b", "2"),
        said("u"),
        done("d"),
    )
    assert told(session) == ["user: q", (["t", "s"], {"a": "1", "b": "2"}), (["u", "d"], {})]


def test_a_result_belongs_to_its_call_wherever_it_stands() -> None:
    session = trajectory(asked("q"), call("a"), call("b"), result("b", "2"), said("s"), asked("stop"), result("a", "1"))
    assert told(session) == ["user: q", ([], {"a": "1", "b": "2"}), (["s"], {}), "user: stop"]


def test_a_late_result_ends_no_inference_that_has_begun_meanwhile() -> None:
    session = trajectory(asked("q"), call("a"), asked("r"), said("s"), result("a", "1"), said("u"))
    assert told(session) == ["user: q", ([], {"a": "1"}), "user: r", (["s", "u"], {})]


def test_what_answers_no_call_is_heard() -> None:
    session = trajectory(asked("q"), result("nobody's", "1"), said("s"), failed(None, "2"))
    assert told(session) == ["user: q", "user: 1", (["s"], {}), "user: 2"]


def test_the_second_result_of_a_call_is_heard() -> None:
    session = trajectory(asked("q"), call("a"), result("a", "1"), result("a", "2"))
    assert told(session) == ["user: q", ([], {"a": "1"}), "user: 2"]


def test_calls_of_one_id_are_told_apart() -> None:
    session = trajectory(asked("q"), call("a"), result("a", "1"), call("a"), result("a", "2"))
    assert told(session) == ["user: q", ([], {"a": "1"}), ([], {"a-4": "2"})]


def test_without_ids_the_next_result_answers_the_first_call_that_waits() -> None:
    session = trajectory(asked("q"), call(None), call(None), result(None, "1"), result(None, "2"), result(None, "3"))
    assert told(session) == ["user: q", ([], {"call_2": "1", "call_3": "2"}), "user: 3"]


@pytest.mark.parametrize("members", [{"tool": "Read"}, {"source": "hook"}])
def test_what_is_of_something_else_answers_no_call_without_id(members: dict[str, Any]) -> None:
    session = trajectory(asked("q"), call(None), result(None, "1", **members))
    assert told(session) == ["user: q", ([], {"call_2": None}), "user: 1"]


def test_a_call_with_an_id_is_not_answered_by_a_result_without() -> None:
    assert told(trajectory(asked("q"), call("a"), result(None, "1"))) == ["user: q", ([], {"a": None}), "user: 1"]


def test_ids_that_are_made_up_are_nobodys() -> None:
    session = trajectory(asked("q"), call(None), call("call_2"))
    assert told(session)[1] == ([], {"call_3": None, "call_2": None})


@pytest.mark.parametrize(("source", "turn"), [("user", "user: c"), (None, "user: c"), ("agent", (["c"], {}))])
def test_a_correction_is_whose_its_source_is(source: str | None, turn: Any) -> None:
    assert told(trajectory(asked("q"), corrected("c", source)))[1] == turn


@pytest.mark.parametrize("kind", ["coordination", "delegate", "yield"])
def test_what_is_for_other_agents_is_prose_and_what_comes_from_them_is_heard(kind: str) -> None:
    step = {"type": kind, "content": "x"}
    assert told(trajectory(asked("q"), step))[1] == (["x"], {})
    links = [{"step": 2, "type": kind, "direction": "received"}]
    assert told(trajectory(asked("q"), step, links=links))[1] == "user: x"


@pytest.mark.parametrize("kind", ["coordination", "delegate", "yield", "edit"])
def test_where_a_tool_is_named_it_is_a_call(kind: str) -> None:
    step = {"type": kind, "content": "x", "tool": "Task", "call_id": "a", "arguments": {"to": "y"}}
    assert told(trajectory(asked("q"), step, result("a", "1")))[1] == (["x"], {"a": "1"})


def test_an_action_that_names_neither_tool_nor_arguments_is_prose() -> None:
    assert told(trajectory(asked("q"), {"type": "action", "content": "I press it."}))[1] == (["I press it."], {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Using Bash", ""),
        ("Bash", ""),
        ("Executing: ls -l", ""),
        ("ls -l", ""),
        ("", ""),
        ("I list them: ls -l", "I list them: ls -l"),
        ("To see what is there", "To see what is there"),
    ],
)
def test_a_label_that_repeats_the_call_is_no_prose(content: str, words: str) -> None:
    step = trajectory(call("a", command="ls -l") | {"content": content}).steps[0]
    assert said_by(step) == words


@pytest.mark.parametrize("members", [{"source": "program"}, {"intent": "compaction"}])
def test_what_the_program_says_is_the_systems(members: dict[str, str]) -> None:
    assert told(trajectory(asked("q"), asked("s", **({"source": None} | members))))[1] == "system: s"


def test_each_step_is_in_one_turn() -> None:
    conversation: Conversation = read_conversation(of_every_type())
    places = [place for turn in conversation.turns for place in places_of(turn)]
    assert sorted(places) == list(range(len(STEP_TYPES)))


def places_of(turn: Heard | Inference) -> list[int]:
    if isinstance(turn, Heard):
        return [turn.place]
    return [each.place for each in turn.own_steps] + [each.result.place for each in turn.calls if each.result]
