"""A judge is asked about failures that no known cause fits, within its budget, and what it says is known again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.curation.judge import Answer, JudgeError, JudgeProblem, Question
from actors.observer.advice import question_about
from actors.observer.at_rest import look
from actors.observer.operation import OperationRefused
from actors.observer.settings import ObserverSettings
from persistence.format.layout import DataLayout
from persistence.operations import stored_operations
from tests.actors.observer.observing import Watched, watching

STRANGE = "the flux is out of phase"


class Adviser:
    """Satisfies `Judge`: notes what it is asked, and answers with what `says` makes of the question's ids."""

    def __init__(self, says: Callable[[Question], str] | None = None) -> None:
        self.questions: list[Question] = []
        self.says = says or recommending

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer(self.says(question), None)


def recommending(question: Question) -> str:
    said = {"cause": "flux out of phase", "recommendation": "Turn the flux."}
    return json.dumps({"recommendations": [{"id": name, **said} for name in question.ids]})


def unreachable(question: Question) -> str:
    raise JudgeError(JudgeProblem.UNREACHABLE)


async def fail(watched: Watched, *errors: str, times: int = 3) -> None:
    for error in errors:
        for _ in range(times):
            await watched.say(endpoint="/flux", error=error)
    await watched.observer.cycle()


def advising(watched: Watched, judge: Any) -> Any:
    return watched.observer._advising(judge)


async def test_what_no_known_cause_fits_is_explained_by_the_judge_and_known_after_a_start(tmp_path: Path) -> None:
    judge = Adviser()
    async with watching(tmp_path) as watched:
        await fail(watched, STRANGE, "connection refused")
        advice = advising(watched, judge)
        assert await advice.ask() is None
        await watched.observer.cycle()
        assert await advice.ask() is None
        [question] = judge.questions
        assert question.ids == ("1",)
        assert STRANGE in question.sessions
        assert "connection refused" not in question.sessions
    async with watching(tmp_path) as watched:
        await watched.observer.cycle()
        found = {each.message: each for each in watched.observer.failures}
        assert (found[STRANGE].cause, found[STRANGE].recommendation) == ("flux out of phase", "Turn the flux.")
        assert {each.recommended_by for each in found.values()} == {"judge", "table"}
        await fail(watched, STRANGE)
        assert await advising(watched, judge).ask() is None
        assert len(judge.questions) == 1, "a group is explained once"
    shown = await look(stored_operations(DataLayout(tmp_path)), ObserverSettings())
    assert {each.recommended_by for each in shown.failures} == {"judge", "table"}, "a command shows the same"


async def test_a_few_failures_are_worth_no_question(tmp_path: Path) -> None:
    judge = Adviser()
    async with watching(tmp_path) as watched:
        await fail(watched, STRANGE, times=2)
        assert await advising(watched, judge).ask() is None
    assert judge.questions == []


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        '{"recommendations": []}',
        '{"recommendations": [{"id": "2", "cause": "x", "recommendation": "y"}]}',
        '{"recommendations": [{"id": "1", "cause": "x"}]}',
        '{"recommendations": [{"id": "1", "cause": "x", "recommendation": ""}]}',
        json.dumps({"recommendations": [{"id": "1", "cause": "x" * 61, "recommendation": "y"}]}),
        json.dumps({"recommendations": [{"id": "1", "cause": "x", "recommendation": "y", "run": "rm"}]}),
        "[" * 100_000,
    ],
)
async def test_an_answer_is_taken_as_a_whole_or_not_at_all(tmp_path: Path, said: str) -> None:
    async with watching(tmp_path) as watched:
        await fail(watched, STRANGE)
        problem = await advising(watched, Adviser(lambda question: said)).ask()
        assert problem in {JudgeProblem.UNREADABLE, JudgeProblem.INCOMPLETE}
        await watched.observer.cycle()
        [group] = watched.observer.failures
        assert (group.cause, group.recommended_by) == (None, "nobody")


async def test_a_group_is_asked_about_so_often_and_a_day_has_its_tokens(tmp_path: Path) -> None:
    judge = Adviser(unreachable)
    async with watching(tmp_path) as watched:
        await fail(watched, STRANGE)
        for _ in range(5):
            await advising(watched, judge).ask()
            await watched.observer.cycle()
        assert len(judge.questions) == 3
    cost = judge.questions[0].tokens
    again = Adviser()
    async with watching(tmp_path, judge_tokens_per_day_max=3 * cost) as watched:
        await watched.observer.cycle()
        await fail(watched, "the hull sings at night")
        assert await advising(watched, again).ask() is None
        assert again.questions == [], "what was spent before the start counts"
        watched.now += 86_400
        await advising(watched, again).ask()
        assert len(again.questions) == 1


async def test_it_is_asked_beside_the_cycles_and_after_a_failure_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    judge = Adviser(unreachable)
    async with watching(tmp_path, judge=judge) as watched, trio.open_nursery() as nursery:
        for _ in range(3):
            await watched.say(endpoint="/flux", error=STRANGE)
        nursery.start_soon(watched.observer.run)
        await trio.sleep(100)
        assert len(judge.questions) == 1
        judge.says = recommending
        await trio.sleep(60)
        assert len(judge.questions) == 2
        assert watched.observer.failures[0].recommended_by == "judge"
        nursery.cancel_scope.cancel()


async def test_another_program_cannot_say_what_this_server_did(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        with pytest.raises(OperationRefused, match=r"source central_command is this server's own"):
            await watched.say(source="central_command", endpoint="observer:recommendation", sig_hash="0" * 16)


def test_a_question_about_nothing_is_short() -> None:
    assert question_about([]).ids == ()
