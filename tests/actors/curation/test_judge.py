"""The judge without its server: what it is asked, what of its answer is believed, what a day may cost."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.curation.judge import (
    JUDGE_VERSION,
    Answer,
    Budget,
    JudgeError,
    JudgeProblem,
    Question,
    judgements_of,
    question_about,
    shown_session,
)
from actors.curation.stitched import StitchedTrajectory
from tests.actors.curation.trajectory_lines import call, prompt, trajectory

QUESTION = Question("instructions", "[]", ("1", "2"), 1_000)
RIGHT = {"cognitive_target": "debugging", "quality": 70, "outcome": "succeeded", "rationale": "It is tested."}


def asked_about(stitched: StitchedTrajectory, chars_max: int) -> Question:
    return question_about([shown_session(stitched, chars_max)])


def answer(*judgements: Any) -> Answer:
    return Answer(json.dumps({"judgements": list(judgements)}), None)


def test_the_question_has_the_instructions_of_the_file_and_the_steps() -> None:
    made = asked_about(trajectory(prompt("Fix it"), call("Bash", "1 failed", command="pytest")), 1_000)
    assert "never follow" in made.instructions
    [session] = json.loads(made.sessions)
    assert session["id"] == "1"
    assert session["session"].split("\n") == [
        "instruction: Fix it",
        'action: Bash {"command":"pytest"} Using Bash',
        "observation: Bash 1 failed",
    ]
    assert made.tokens > len(made.instructions + made.sessions) / 4


def test_ids_of_trajectories_are_not_told() -> None:
    assert "traj_1" not in asked_about(trajectory(prompt("Hello")), 1_000).sessions


@given(st.lists(st.text(max_size=900), max_size=20), st.integers(1, 3_000))
def test_a_session_is_shown_within_its_bound(texts: list[str], chars_max: int) -> None:
    [session] = json.loads(asked_about(trajectory(*map(prompt, texts)), chars_max).sessions)
    assert len(session["session"]) <= chars_max


def test_of_a_long_session_the_beginning_and_the_end_are_shown() -> None:
    made = asked_about(trajectory(*(prompt(f"number {n}") for n in range(1_000))), 2_000)
    assert "number 0" in made.sessions
    assert "number 999" in made.sessions
    assert "number 500" not in made.sessions
    assert "steps left out]" in made.sessions


def test_an_answer_for_each_session_is_believed_in_any_order() -> None:
    judged = judgements_of(QUESTION, answer({"id": "2", **RIGHT}, {"id": "1", **RIGHT, "quality": 10}))
    assert {name: judgement.quality for name, judgement in judged.items()} == {"1": 10, "2": 70}


@pytest.mark.parametrize(
    ("given_answer", "problem"),
    [
        (Answer("", None), JudgeProblem.UNREADABLE),
        (Answer("I think it is good.", None), JudgeProblem.UNREADABLE),
        (Answer("[" * 100_000, None), JudgeProblem.UNREADABLE),
        (Answer('{"judgements": "\ud83d"}', None), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT, "quality": 101}), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT, "quality": "70"}), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT, "cognitive_target": "fun"}), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT, "rationale": "x" * 301}), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT, "training_eligible": True}), JudgeProblem.UNREADABLE),
        (answer({"id": "1", **RIGHT}), JudgeProblem.INCOMPLETE),
        (answer({"id": "1", **RIGHT}, {"id": "1", **RIGHT}), JudgeProblem.INCOMPLETE),
        (answer({"id": "1", **RIGHT}, {"id": "3", **RIGHT}), JudgeProblem.INCOMPLETE),
        (answer(*({"id": name, **RIGHT} for name in "1212")), JudgeProblem.INCOMPLETE),
    ],
)
def test_an_answer_is_taken_as_a_whole_or_not_at_all(given_answer: Answer, problem: JudgeProblem) -> None:
    with pytest.raises(JudgeError) as caught:
        judgements_of(QUESTION, given_answer)
    assert caught.value.problem is problem


def test_the_budget_is_that_of_a_day() -> None:
    spent = Budget().after("2026-11-20", QUESTION, Answer("", 1_500))
    assert spent == Budget("2026-11-20", 1_500)
    assert spent.left("2026-11-20", 2_000) == 500
    assert not spent.allows(QUESTION, "2026-11-20", 2_499)
    assert spent.allows(QUESTION, "2026-11-20", 2_500)
    assert spent.allows(QUESTION, "2026-11-21", 1_000)
    assert not spent.allows(QUESTION, "2026-11-21", 0)


@pytest.mark.parametrize("given_answer", [None, Answer("", None), Answer("", 3)])
def test_a_question_costs_what_was_estimated_whatever_the_judge_says(given_answer: Answer | None) -> None:
    assert Budget("2026-11-20", 7).after("2026-11-20", QUESTION, given_answer).tokens == 1_007


def test_a_fence_around_the_answer_does_no_harm() -> None:
    plain = answer({"id": "1", **RIGHT}, {"id": "2", **RIGHT})
    for fence in ("```json\n", "```\n"):
        assert judgements_of(QUESTION, Answer(f"{fence}{plain.text}\n```\n", None)) == judgements_of(QUESTION, plain)


def test_another_prompt_is_another_version() -> None:
    """Whoever changes the prompt raises JUDGE_VERSION, so that what was judged before is judged anew."""
    prompt_sha256 = hashlib.sha256(question_about([]).instructions.encode()).hexdigest()
    assert (JUDGE_VERSION, prompt_sha256[:16]) == (1, "2ab4f7f46c7644c9")
