"""Each record gets a title and a summary, by rules or a model, which go with it and hold nothing that was scrubbed."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import Answer, JudgeError, JudgeProblem, Question
from actors.curation.stitched import StitchedTrajectory, read_stitched
from actors.curation.summaries import NO_TITLE, SUMMARY_RULES, TITLE_CHARS_MAX, summary_of, title_of
from actors.curation.summarizing import Asked, Summarizing
from central_command.background.worker import Order, answer_to
from central_command.curating.orders import Order as CurationOrder
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import open_corpus
from persistence.journals.erasure_register import ErasureSubject
from persistence.settings.storage import StorageSettings
from persistence.upkeep.corpus_reading import record_line
from persistence.upkeep.rebuilding import rebuild
from tests.actors.erasure.test_job import erased
from tests.curated import EMAIL, NOW, STORAGE, corpus_rows, curate, curation, leave_sessions, refused
from tests.running_service import running, settings_with
from tests.signing_client import CONTRIBUTOR
from tests.stored_state import findings

SUMMARIES = "SELECT title, summary, rules FROM summaries ORDER BY trajectory_id"
MODEL = EnrichmentSettings(judge_url="http://judge.test", judge_model="m")
AT = "2026-11-20T10:00:00.000000Z"


def stitched(*steps: dict[str, Any]) -> StitchedTrajectory:
    log = [{"step": number, "timestamp": 1, **step} for number, step in enumerate(steps, start=1)]
    return read_stitched(json.dumps({"trajectory_id": "t", "metadata": {}, "trajectory_log": log}).encode())


def test_a_title_is_the_first_sentence_of_what_was_asked_and_the_summary_what_was_done() -> None:
    session = stitched(
        {"type": "thought", "content": "hm"},
        {
            "type": "instruction",
            "content": "# Fix the *flaky* test in `parser.py`. It is old.\n```py\nx\n```",
        },
        {"type": "action", "tool": "edit", "content": "…"},
        {"type": "observation", "tool": "edit", "content": "…"},
        {"type": "action", "tool": "bash", "content": "…"},
        {"type": "action", "tool": "bash", "content": "…"},
        {"type": "error", "tool": "bash", "content": "1 failed"},
        {"type": "resolution", "content": "The clock is injected now, and the test passes"},
    )
    assert title_of(session) == "Fix the flaky test in parser.py"
    assert summary_of(session) == (
        "Fix the flaky test in parser.py. It is old. 8 steps with bash 2, edit 1, 1 error. "
        "The clock is injected now, and the test passes."
    )
    assert (title_of(session), summary_of(session)) == (title_of(session), summary_of(session))


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("word " * 100, "word " * 14 + "word…"),
        ("x" * 500, "x" * 79 + "…"),
        ("<system>ignored</system> Do it now!", "ignored Do it now!"),
        ("```\nonly code\n```", NO_TITLE),
        ("", NO_TITLE),
        ("one\n\ntwo three", "one two three"),
    ],
)
def test_a_title_is_one_line_that_fits(content: str, title: str) -> None:
    session = stitched({"type": "instruction", "content": content})
    assert title_of(session) == title
    assert len(title_of(session)) <= TITLE_CHARS_MAX


def test_a_session_of_nothing_has_a_title_and_a_summary() -> None:
    assert (title_of(stitched()), summary_of(stitched())) == (NO_TITLE, "0 steps.")


class Model:
    """Satisfies `Judge`: sums up as `says` does."""

    def __init__(self, says: Callable[[Question], str] | None = None) -> None:
        self.questions: list[Question] = []
        self.says = says or summing

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return Answer(self.says(question), None)


def summing(question: Question) -> str:
    said = {"title": f"Write to {EMAIL}", "summary": f"Somebody wrote to {EMAIL}."}
    return json.dumps({"summaries": [{"id": name, **said} for name in question.ids]})


def unreachable(question: Question) -> str:
    raise JudgeError(JudgeProblem.UNREACHABLE)


async def summed(root: Path, model: Model | None = None, *, limit: int = 100, **options: Any) -> int:
    async with (
        open_closed_sessions(root) as sessions,
        open_corpus(root, STORAGE, clock=lambda: NOW) as corpus,
    ):
        asked = None
        if model is not None:
            consented = options.get("consented") or refused()
            settings = options.get("settings", MODEL)
            asked = Asked(model, settings, consented, sessions.is_to_be_erased)
        return await Summarizing(corpus, asked, lambda: NOW).make(limit)


async def curated(root: Path, *names: str) -> None:
    await leave_sessions(root, *names)
    await curate(root)


async def test_each_record_gets_one_once_and_it_is_shown_with_the_record(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a", "sess_b", "sess_c")
    assert await summed(tmp_path, limit=2) == 2
    assert await summed(tmp_path) == 1
    assert await summed(tmp_path) == 0
    rows = corpus_rows(tmp_path, SUMMARIES)
    assert len(rows) == 3
    assert {rules for _, _, rules in rows} == {SUMMARY_RULES}
    assert all(EMAIL not in f"{row}" for row in rows)
    line = await record_line(tmp_path, "sess_a")
    assert isinstance(line, bytes)
    assert [*json.loads(line)][:2] == ["title", "summary"]
    assert await findings(tmp_path) == []


async def test_what_earlier_rules_made_is_made_anew_once_and_what_a_model_said_stays(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a", "sess_b", "sess_c")
    await summed(tmp_path)
    [first], [second], _ = corpus_rows(tmp_path, "SELECT trajectory_id FROM summaries")
    with closing(sqlite3.connect(tmp_path / "corpus.db")) as database, database:
        database.execute("UPDATE summaries SET summary = 'earlier'")
        database.execute("UPDATE summaries SET rules = 'extractive-0' WHERE trajectory_id = ?", (first,))
        database.execute("UPDATE summaries SET rules = 'model m' WHERE trajectory_id = ?", (second,))
    assert await summed(tmp_path) == 1
    assert await summed(tmp_path) == 0
    rows = corpus_rows(tmp_path, SUMMARIES)
    assert {made_by for _, summary, made_by in rows if summary == "earlier"} == {"model m", SUMMARY_RULES}
    assert [made_by for _, summary, made_by in rows if summary != "earlier"] == [SUMMARY_RULES]


async def test_a_model_s_words_are_scrubbed_and_paid_for_before_it_is_asked(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a", "sess_b")
    model = Model()
    assert await summed(tmp_path, model) == 2
    [question] = model.questions
    assert EMAIL not in question.sessions
    assert {*corpus_rows(tmp_path, SUMMARIES)} == {("Write to [EMAIL]", "Somebody wrote to [EMAIL].", "model m")}
    assert corpus_rows(tmp_path, "SELECT tokens FROM judging") == [(question.tokens,)]
    await curated(tmp_path, "sess_d")
    poor = EnrichmentSettings(judge_url="x", judge_model="m", judge_tokens_per_day_max=question.tokens)
    assert await summed(tmp_path, model, settings=poor) == 1
    assert len(model.questions) == 1, "what the day has no tokens for, the rules make"


@pytest.mark.parametrize("says", [unreachable, lambda question: "no JSON", lambda question: '{"summaries": []}'])
async def test_no_record_waits_for_a_model_that_says_nothing(tmp_path: Path, says: Callable[[Question], str]) -> None:
    await curated(tmp_path, "sess_a")
    assert await summed(tmp_path, Model(says)) == 1
    assert [rules for _, _, rules in corpus_rows(tmp_path, SUMMARIES)] == [SUMMARY_RULES]


async def test_of_whom_does_not_agree_nothing_is_shown_to_a_model(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a")
    model = Model()
    assert await summed(tmp_path, model, consented=refused(CONTRIBUTOR)) == 1
    assert model.questions == []


async def test_they_go_with_what_is_taken_back_or_erased_and_are_made_again_after_a_rebuild(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a", "sess_b")
    await summed(tmp_path)
    before = corpus_rows(tmp_path, SUMMARIES)
    await rebuild(tmp_path, StorageSettings(free_bytes_min=0), applied_at=AT)
    await summed(tmp_path)
    assert corpus_rows(tmp_path, SUMMARIES) == before
    async with running(tmp_path) as run:
        await erased(run, ErasureSubject.SESSION, "sess_b")
    assert len(corpus_rows(tmp_path, SUMMARIES)) == 1
    async with curation(tmp_path, consented=refused(CONTRIBUTOR)) as (curating, _):
        await curating.begin_anew()
        await curating.catch_up()
    assert corpus_rows(tmp_path, SUMMARIES) == []
    assert await findings(tmp_path) == []


async def test_a_process_of_its_own_makes_them(tmp_path: Path) -> None:
    await curated(tmp_path, "sess_a")
    settings = settings_with()
    order = Order(
        data_directory=str(tmp_path),
        storage=settings.storage,
        curation=CurationOrder.of(settings, tmp_path),
        summaries_max=10,
    )
    answer = await trio.to_thread.run_sync(answer_to, order)
    assert (answer.summaries, answer.refused) == (1, None)
    async with open_corpus(tmp_path, STORAGE, clock=lambda: NOW):
        answer = await trio.to_thread.run_sync(answer_to, order)
    assert answer.refused is not None
    assert "corpus" in answer.refused
