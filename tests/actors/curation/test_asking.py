"""Records are judged once each, beside curation, within the budget, and only while their contributors agree."""

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.consent.register import Said, Statement
from actors.consent.settings import ConsentSettings
from actors.curation import asking, following
from actors.curation.asking import Asking
from actors.curation.consent import Consented, RecordedConsent
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import Answer, JudgeError, JudgeProblem, Question, question_about
from actors.curation.settings import CurationSettings
from actors.erasure.job import Report
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import Corpus, open_corpus
from persistence.format.consent_events import ConsentSource, Decision
from persistence.journals.erasure_register import ErasureSubject
from persistence.settings.storage import StorageSettings
from persistence.upkeep.corpus_reading import record_line
from persistence.upkeep.rebuilding import rebuild
from tests.actors.curation.deaths import Killed
from tests.actors.erasure.test_job import erased, holding
from tests.curated import (
    EMAIL,
    NOW,
    STORAGE,
    corpus_lines,
    corpus_rows,
    curate,
    curation,
    leave_sessions,
    refused,
    shown,
)
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

NAMES = ("sess_a", "sess_b", "sess_c")
DAY_S = 86_400.0
ONE_QUESTION = question_about(["x"]).tokens


class FakeJudge:
    """Satisfies `Judge`: notes what it is asked, and answers well, or with what `answers` makes of the question."""

    def __init__(self, answers: Callable[[Question], Awaitable[Answer]] | None = None) -> None:
        self.questions: list[Question] = []
        self._answers = answers or well

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return await self._answers(question)

    @property
    def asked(self) -> list[int]:
        """How many sessions each question was about."""
        return [len(each.ids) for each in self.questions]


async def well(question: Question) -> Answer:
    return judging(question)


def judging(question: Question, *, quality: int = 70, rationale: str = "Done.", tokens: int | None = None) -> Answer:
    said = {"cognitive_target": "debugging", "quality": quality, "outcome": "succeeded", "rationale": rationale}
    return Answer(json.dumps({"judgements": [{"id": name, **said} for name in question.ids]}), tokens)


def without(problem: JudgeProblem) -> Callable[[Question], Awaitable[Answer]]:
    async def answers(question: Question) -> Answer:
        raise JudgeError(problem)

    return answers


async def nonsense(question: Question) -> Answer:
    return Answer("It is good.", None)


@pytest.fixture(scope="module")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked") / "data"

    async def leave() -> None:
        await leave_sessions(root, *NAMES)
        await curate(root)

    trio.run(leave)
    return root


@pytest.fixture
def root(_stored: Path, tmp_path: Path) -> Path:
    """A data directory with a corpus of three records."""
    return Path(shutil.copytree(_stored, tmp_path / "data"))


@asynccontextmanager
async def opened(
    root: Path,
    judge: FakeJudge,
    *,
    now: float = NOW,
    consented: Consented | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Asking, Corpus]]:
    async with (
        open_closed_sessions(root) as sessions,
        open_corpus(root, STORAGE, clock=lambda: now) as corpus,
    ):
        recorded = RecordedConsent(sessions.consents, ConsentSettings())
        yield (
            Asking(
                corpus,
                judge,
                consented=consented or recorded,
                is_to_be_erased=sessions.is_to_be_erased,
                settings=EnrichmentSettings(**{"judge_model": "judge-a", **settings}),
                curation=CurationSettings(),
                clock=lambda: now,
            ),
            corpus,
        )


async def ask(root: Path, judge: FakeJudge, **options: Any) -> bool:
    async with opened(root, judge, **options) as (asking_, _):
        return await asking_.ask_all()


def judged(root: Path) -> dict[str, tuple[str, int]]:
    """By whom each session is judged, and how good it is found."""
    rows = corpus_rows(
        root, "SELECT session_id, j.model, j.quality FROM judgements AS j JOIN records USING (trajectory_id)"
    )
    return {session_id: (model, quality) for session_id, model, quality in rows}


def opinions(root: Path) -> list[dict[str, Any]]:
    """The judge's lines of the corpus."""
    return [line for line in corpus_lines(root) if "judgement" in line]


async def test_each_record_is_judged_once_and_shows_it(root: Path) -> None:
    judge = FakeJudge()
    assert await ask(root, judge)
    assert judge.asked == [3]
    assert judged(root) == dict.fromkeys(NAMES, ("judge-a", 70))
    assert [line["session_id"] for line in opinions(root)] == [*NAMES]
    assert await ask(root, judge)
    assert judge.asked == [3]
    line = json.loads(await record_line(root, "sess_b"))
    assert line["judgement"]["rationale"] == "Done."
    assert line["enrichment"] == shown(root)["sess_b"]["enrichment"], "what was derived stays apart"
    assert await findings(root) == []


async def test_only_what_is_scrubbed_is_sent_and_no_id(root: Path) -> None:
    judge = FakeJudge()
    await ask(root, judge)
    [question] = judge.questions
    assert "write to [EMAIL]" in question.sessions
    for secret in (EMAIL, CONTRIBUTOR, "traj_", "rec_"):
        assert secret not in question.instructions + question.sessions


async def test_what_the_judge_writes_is_scrubbed(root: Path) -> None:
    async def telling(question: Question) -> Answer:
        return judging(question, rationale=f"{EMAIL} was asked.")

    await ask(root, FakeJudge(telling))
    assert {line["judgement"]["rationale"] for line in opinions(root)} == {"[EMAIL] was asked."}


async def withdraw(root: Path) -> None:
    async with running(root) as run:
        statement = Statement(
            contributor_id=CONTRIBUTOR, decision=Decision.WITHDRAWN, version="1.0", source=ConsentSource.API
        )
        assert isinstance(await run.service.desk.say(statement), Said)
        await run.projected()


async def test_who_has_withdrawn_is_never_asked_about(root: Path) -> None:
    """Also when curation has not looked at it yet, and their records are still there."""
    await ask(root, FakeJudge(nonsense))
    await withdraw(root)
    judge = FakeJudge()
    assert await ask(root, judge)
    assert judge.questions == []
    assert corpus_rows(root, "SELECT * FROM unanswered") == []


async def test_what_is_to_be_erased_is_never_asked_about_and_its_judgement_is_erased(root: Path) -> None:
    """From the request on, and when it is done nothing of the judge's words is left."""

    async def telling(question: Question) -> Answer:
        return judging(question, rationale="words of the judge alone")

    await ask(root, FakeJudge(telling))
    await ask(root, FakeJudge(nonsense), judge_model="judge-b")
    judge = FakeJudge()
    async with running(root) as run:
        assert isinstance(await run.service.ask_erasure(ErasureSubject.CONTRIBUTOR, CONTRIBUTOR), Report)
        await ask(root, judge, judge_model="judge-c")
        assert judge.questions == []
        await erased(run, ErasureSubject.CONTRIBUTOR, CONTRIBUTOR)
    assert holding(root, "words of the judge alone") == []
    for table in ("judgements", "unanswered", "records"):
        assert corpus_rows(root, f"SELECT * FROM {table}") == [], table
    assert await findings(root) == []


async def test_who_withdraws_while_it_is_asked_is_not_judged(root: Path) -> None:
    given = True

    async def consented(contributor_id: str) -> Any:
        return await (refused() if given else refused(CONTRIBUTOR))(contributor_id)

    async def late(question: Question) -> Answer:
        nonlocal given
        given = False
        return judging(question)

    await ask(root, FakeJudge(late), consented=consented)
    assert (judged(root), opinions(root)) == ({}, [])


async def test_a_record_that_is_taken_back_loses_its_judgement_and_gets_another_when_it_is_back(root: Path) -> None:
    judge = FakeJudge()
    await ask(root, judge)
    await curate(root, anew=True, consented=refused(CONTRIBUTOR))
    assert corpus_rows(root, "SELECT * FROM judgements") == []
    assert await ask(root, judge)
    await curate(root, anew=True)
    await ask(root, judge)
    assert judge.asked == [3, 3]
    assert set(judged(root)) == {*NAMES}
    assert await findings(root) == []


async def test_other_rules_keep_the_judgement_of_the_same_steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = FakeJudge()
    await ask(root, judge)
    monkeypatch.setattr(following, "RULES", "other-2")
    assert (await curate(root, anew=True)).records == 3
    await ask(root, judge)
    assert judge.asked == [3]
    assert set(judged(root)) == {*NAMES}
    assert await findings(root) == []


async def test_other_steps_are_judged_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a rule of scrubbing finds something else: what was said of the earlier ones goes with them."""
    judge = FakeJudge()
    await ask(root, judge)
    monkeypatch.setattr(following, "RULES", "other-2")
    made = following.scrub_trajectory

    def otherwise(line: bytes, *args: Any, **options: Any) -> Any:
        return made(line.replace(b"sess_b: done", b"sess_b: gone"), *args, **options)

    monkeypatch.setattr(following, "scrub_trajectory", otherwise)
    await curate(root, anew=True)
    assert set(judged(root)) == {"sess_a", "sess_c"}
    await ask(root, judge)
    assert judge.asked == [3, 1]
    assert set(judged(root)) == {*NAMES}


@pytest.mark.parametrize("change", ["model", "version"])
async def test_another_model_or_version_judges_all_of_them_anew(
    root: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one: what was judged before stays until then."""
    await ask(root, FakeJudge())
    options = {"judge_model": "judge-b"} if change == "model" else {}
    if change == "version":
        monkeypatch.setattr(asking, "JUDGE_RULES", "judge-2")

    async def better(question: Question) -> Answer:
        return judging(question, quality=90)

    judge = FakeJudge(better)
    await ask(root, judge, judge_batch_sessions_max=2, **options)
    assert judge.asked == [2, 1]
    assert {quality for _, quality in judged(root).values()} == {90}
    await ask(root, judge, **options)
    assert judge.asked == [2, 1]


async def test_a_record_is_asked_about_only_so_often(root: Path) -> None:
    """Together at first, then alone, and in the end not at all; a new version asks again."""
    judge = FakeJudge(nonsense)
    for _ in range(9):
        assert not await ask(root, judge, judge_attempts_max=3) or len(judge.questions) == 7
    assert judge.asked == [3, 1, 1, 1, 1, 1, 1]
    assert corpus_rows(root, "SELECT DISTINCT attempts FROM unanswered") == [(3,)]
    assert await findings(root) == []
    await ask(root, FakeJudge(), judge_model="judge-b")
    assert set(judged(root)) == {*NAMES}
    assert corpus_rows(root, "SELECT * FROM unanswered") == []


async def test_one_that_spoils_every_answer_spoils_only_its_own(root: Path) -> None:
    async def stumbling(question: Question) -> Answer:
        return await (nonsense if "sess_b" in question.sessions else well)(question)

    judge = FakeJudge(stumbling)
    for _ in range(9):
        await ask(root, judge)
    assert set(judged(root)) == {"sess_a", "sess_c"}
    assert sum("sess_b" in each.sessions for each in judge.questions) == 3


@pytest.mark.parametrize("problem", [JudgeProblem.UNREACHABLE, JudgeProblem.UNAVAILABLE])
async def test_a_judge_that_is_not_there_counts_for_no_record(root: Path, problem: JudgeProblem) -> None:
    judge = FakeJudge(without(problem))
    for _ in range(5):
        assert not await ask(root, judge, judge_attempts_max=1)
    assert judge.asked == [3] * 5
    assert await ask(root, FakeJudge(), judge_attempts_max=1)
    assert set(judged(root)) == {*NAMES}


async def test_a_day_costs_no_more_than_its_budget_whatever_was_answered_and_restarted(root: Path) -> None:
    """What the model counted counts when it is more than was estimated; another day has a budget of its own."""

    async def dear(question: Question) -> Answer:
        return judging(question, tokens=question.tokens + 5_000)

    judge = FakeJudge(dear)
    settings: dict[str, Any] = {"judge_batch_sessions_max": 1, "judge_tokens_per_day_max": ONE_QUESTION + 5_000}
    for _ in range(3):
        assert await ask(root, judge, **settings)
        assert judge.asked == [1]
    await ask(root, judge, now=NOW + DAY_S, **settings)
    assert judge.asked == [1, 1]
    assert await findings(root) == []


async def test_where_a_batch_is_too_dear_fewer_are_asked_about(root: Path) -> None:
    judge = FakeJudge()
    await ask(root, judge, judge_tokens_per_day_max=ONE_QUESTION + 100)
    assert judge.asked == [1]
    assert len(judged(root)) == 1
    await ask(root, judge)
    assert len(judged(root)) == 3


def dying(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Let the process end at one of the boundaries between a question and its row."""
    init = Corpus.__init__

    def opened_(self: Corpus, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        note, write, commit = self.ask, self._end.write, self._commit

        async def asking_(*args: Any, **options: Any) -> None:
            if where == "after the note":
                await note(*args, **options)
            raise Killed

        def writing(lines: Any) -> Any:
            if where == "after the line":
                write(lines)
            raise Killed

        async def committing(*args: Any, **options: Any) -> None:
            if where == "after the row":
                await commit(*args, **options)
            raise Killed

        if where.endswith("the note"):
            self.ask = asking_  # type: ignore[method-assign]
        elif where.endswith("the line"):
            self._end.write = writing  # type: ignore[method-assign]
        else:
            self._commit = committing  # type: ignore[method-assign]

    monkeypatch.setattr(Corpus, "__init__", opened_)


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("before the note", 3),
        ("after the note", 3),
        ("before the line", 6),
        ("after the line", 3),
        ("before the row", 3),
        ("after the row", 3),
    ],
)
async def test_whatever_dies_when_each_record_is_judged_once_and_paid_for(root: Path, where: str, asked: int) -> None:
    judge = FakeJudge()
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying(monkeypatch, where)
        with pytest.raises((Killed, BaseExceptionGroup)):
            await ask(root, judge)
    await ask(root, judge)
    assert set(judged(root)) == {*NAMES}
    assert sorted(line["session_id"] for line in opinions(root)) == [*NAMES]
    assert sum(judge.asked) == asked
    assert corpus_rows(root, "SELECT * FROM unanswered") == []
    [(spent,)] = corpus_rows(root, "SELECT tokens FROM judging")
    assert spent >= sum(each.tokens for each in judge.questions)
    assert await findings(root) == []


async def test_a_lost_database_has_its_judgements_again(root: Path) -> None:
    await ask(root, FakeJudge())
    rows = corpus_rows(root, "SELECT * FROM judgements")
    (root / "corpus.db").unlink()
    await rebuild(root, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")
    assert corpus_rows(root, "SELECT * FROM judgements") == rows
    judge = FakeJudge()
    await ask(root, judge)
    assert judge.questions == []


async def test_a_judge_that_never_answers_delays_nothing(root: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A session that comes meanwhile is in the corpus, and is asked about when the judge answers again."""
    answered = trio.Event()

    async def waiting(question: Question) -> Answer:
        if len(judge.questions) == 1:
            await answered.wait()
            raise JudgeError(JudgeProblem.TOO_LATE)
        return judging(question)

    judge = FakeJudge(waiting)
    settings = EnrichmentSettings(judge_model="judge-a")
    async with curation(root) as (curating, corpus), trio.open_nursery() as nursery:
        asking_ = Asking(
            corpus,
            judge,
            consented=refused(),
            is_to_be_erased=lambda contributor_id, session_id: False,
            settings=settings,
            curation=CurationSettings(),
            clock=lambda: NOW,
        )
        nursery.start_soon(curating.run)
        nursery.start_soon(asking_.run)
        await trio.testing.wait_all_tasks_blocked()
        assert judge.asked == [3]
        await leave_sessions(root, "sess_d")
        await trio.sleep(2)
        assert set(shown(root)) == {*NAMES, "sess_d"}
        answered.set()
        await trio.sleep(10_000)
        assert (asking_.statistics().judged, asking_.statistics().problems) == (4, {"too_late": 1})
        nursery.cancel_scope.cancel()
    assert set(judged(root)) == {*NAMES, "sess_d"}


async def test_pauses_grow_while_there_is_no_answer(root: Path, autojump_clock: trio.testing.MockClock) -> None:
    judge = FakeJudge(without(JudgeProblem.UNREACHABLE))
    async with opened(root, judge, judge_retry_s=60, judge_retry_max_s=240) as (asking_, _):
        with trio.move_on_after(60 + 120 + 240 + 240 + 1):
            await asking_.run()
    assert len(judge.questions) == 5


async def test_what_was_said_waits_for_room(root: Path, autojump_clock: trio.testing.MockClock) -> None:
    judge = FakeJudge()
    async with opened(root, judge) as (asking_, corpus), trio.open_nursery() as nursery:
        free = corpus._files.free_bytes
        corpus._files.free_bytes = lambda path: 0  # type: ignore[method-assign]
        corpus._settings = StorageSettings(free_bytes_min=1)
        nursery.start_soon(asking_.ask_all)
        await trio.sleep(20)
        assert opinions(root) == []
        corpus._files.free_bytes = free  # type: ignore[method-assign]
    assert (len(judged(root)), judge.asked) == (3, [3])


async def test_a_record_beyond_the_bound_or_damaged_is_not_judged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    judge = FakeJudge()
    await ask(root, judge, judge_record_bytes_max=100)
    assert judge.questions == []
    (day,) = (root / "corpus").glob("*.jsonl")
    day.write_bytes(day.read_bytes().replace(b"sess_b: done", b"sess_b: gone"))
    await ask(root, judge, judge_model="judge-b")
    assert set(judged(root)) == {"sess_a", "sess_c"}
    assert "is not judged (JournalDamage)" in caplog.text
