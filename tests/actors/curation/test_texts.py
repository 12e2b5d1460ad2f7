"""Texts of the intake become records of the corpus: scrubbed, each once, and only while their user agrees."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actors.consent.settings import ConsentSettings
from actors.curation import text_records
from persistence.corpus import Corpus
from persistence.files.failures import StorageDamage, StorageFailure
from persistence.format.consent_events import Decision
from persistence.upkeep.rebuilding import rebuild
from persistence.upkeep.verification import verify
from tests.curated import EMAIL, STORAGE, corpus_lines, corpus_rows, curate, curation, leave_sessions
from tests.running_service import running
from tests.submitted_texts import OTHER, USER, leave_texts, record, say, submit

NOW = "2026-11-20T12:00:00.000000Z"


async def say_later(root: Path, decision: Decision, user_id: str = USER) -> None:
    async with running(root) as run:
        await say(run, decision, user_id)


def shown(root: Path) -> dict[str, dict[str, Any]]:
    """The lines that the database has, by their records' ids."""
    lines = {line["received"]["n"]: line for line in corpus_lines(root)}
    return {record_id: lines[n] for record_id, n in corpus_rows(root, "SELECT record_id, n FROM texts")}


async def checked(root: Path) -> None:
    assert await verify(root, STORAGE, applied_at=NOW) == []


async def test_a_text_becomes_a_record_with_the_contract_s_members_scrubbed_and_tagged(tmp_path: Path) -> None:
    metadata = {"model_name": "qwen3", "author": EMAIL, "latency_ms": 820}
    content = f"def parse(): # python function, compile the code, write to {EMAIL}"
    [record_id] = await leave_texts(tmp_path, content, metadata=metadata)
    statistics = await curate(tmp_path)
    assert (statistics.text_records, statistics.texts_followed_n, statistics.texts_reached_n) == (1, 1, 1)
    [line] = corpus_lines(tmp_path)
    assert (line["kind"], line["record_id"], line["session_id"]) == ("text", record_id, "sess_001")
    assert line["content"] == content.replace(EMAIL, "[EMAIL]")
    assert line["metadata"] == {"model_name": "qwen3", "author": "[EMAIL]", "latency_ms": 820}
    assert (line["domain"], line["content_type"], line["consent_version"]) == ("code", "prompt", "1.0")
    assert line["user_id"].startswith("sha256:")
    assert isinstance(line["timestamp"], float)
    assert (line["scrubbed"]["findings"], line["scrubbed"]["by_category"]) == (2, {"[EMAIL]": 2})
    assert line["consent"] == {"given": True, "version": "1.0", "source": "api"}
    rows = corpus_rows(tmp_path, "SELECT domain, chars, findings, withheld FROM texts")
    assert rows == [("code", len(line["content"]), 2, 0)]
    await checked(tmp_path)


async def test_texts_lie_beside_trajectories_and_each_line_says_which_it_is(tmp_path: Path) -> None:
    await leave_sessions(tmp_path, "sess_1")
    await leave_texts(tmp_path, "one", "two")
    await curate(tmp_path)
    assert [line["kind"] for line in corpus_lines(tmp_path)] == ["trajectory", "text", "text"]
    assert corpus_rows(tmp_path, "SELECT count(*) FROM records") == [(1,)]
    await checked(tmp_path)


async def test_the_texts_within_a_conversation_are_scrubbed_and_it_stays_json(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": f"I am {EMAIL}"}, {"role": "assistant", "content": "hello"}]
    await leave_texts(tmp_path, json.dumps(messages), content_type="conversation")
    await curate(tmp_path)
    [line] = corpus_lines(tmp_path)
    assert json.loads(line["content"])[0] == {"role": "user", "content": "I am [EMAIL]"}


async def test_each_is_taken_once_however_often_curation_runs(tmp_path: Path) -> None:
    await leave_texts(tmp_path, *(f"text {n}" for n in range(40)))
    await curate(tmp_path)
    await leave_more(tmp_path, "text 40")
    await curate(tmp_path)
    assert (await curate(tmp_path, anew=True)).text_records == 0
    assert [line["content"] for line in corpus_lines(tmp_path)] == [f"text {n}" for n in range(41)]
    await checked(tmp_path)


async def leave_more(root: Path, *contents: str) -> None:
    async with running(root) as run:
        await submit(run, *(record(content) for content in contents))


@pytest.mark.parametrize("dies_at", range(6))
async def test_each_is_taken_once_whatever_dies_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """Between a line and its row, between rows and position, and in the middle of a batch."""
    await leave_texts(tmp_path, *(f"text {n}" for n in range(20)))
    calls = 0

    def dying(method: Any) -> Any:
        async def die_now_and_then(self: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == dies_at + 1:
                raise StorageFailure("it died")
            return await method(self, *arguments, **options)

        return die_now_and_then

    async with curation(tmp_path) as (curating, corpus):
        database = corpus._database
        with monkeypatch.context() as patch:
            patch.setattr(type(database), "write", dying(type(database).write))
            with suppress(StorageFailure):
                await curating.catch_up()
    await curate(tmp_path)
    assert sorted(line["content"] for line in corpus_lines(tmp_path)) == sorted(f"text {n}" for n in range(20))
    assert corpus_rows(tmp_path, "SELECT count(*) FROM texts") == [(20,)]
    await checked(tmp_path)


async def test_withdrawn_they_leave_the_corpus_and_given_again_they_come_back(tmp_path: Path) -> None:
    mine = await leave_texts(tmp_path, "mine", "mine, too")
    [other] = await leave_texts(tmp_path, "another's", user_id=OTHER)
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {*mine, other}
    await say_later(tmp_path, Decision.WITHDRAWN)
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {other}
    assert corpus_rows(tmp_path, "SELECT reason, count(*) FROM texts_passed_over GROUP BY 1") == [("no_consent", 2)]
    taken_back = [line for line in corpus_lines(tmp_path) if "taken_back" in line]
    assert [line["record_id"] for line in taken_back] == mine
    assert all("content" not in line and "metadata" not in line for line in taken_back)
    await checked(tmp_path)
    await say_later(tmp_path, Decision.GIVEN)
    await curate(tmp_path)
    assert set(shown(tmp_path)) == {*mine, other}
    assert corpus_rows(tmp_path, "SELECT count(*) FROM texts_passed_over") == [(0,)]
    await checked(tmp_path)
    lines = len(corpus_lines(tmp_path))
    await curate(tmp_path)
    assert len(corpus_lines(tmp_path)) == lines, "nothing is made again for what was heeded"


async def test_withdrawn_before_they_are_curated_they_never_enter(tmp_path: Path) -> None:
    await leave_texts(tmp_path, "mine")
    await say_later(tmp_path, Decision.WITHDRAWN)
    assert (await curate(tmp_path)).texts_passed_over["no_consent"] >= 1
    assert corpus_lines(tmp_path) == []


async def test_other_terms_ask_everybody_again(tmp_path: Path) -> None:
    mine = await leave_texts(tmp_path, "mine")
    await curate(tmp_path)
    await curate(tmp_path, consent=ConsentSettings(current_version="2.0"))
    assert shown(tmp_path) == {}
    await curate(tmp_path)
    assert list(shown(tmp_path)) == mine


async def test_what_cannot_be_scrubbed_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await leave_texts(tmp_path, f"secret {EMAIL} " * 10, "short")
    await curate(tmp_path, text_chars_max=20)
    assert corpus_rows(tmp_path, "SELECT reason FROM texts_passed_over") == [("scrubbing_failed",)]
    assert [line["content"] for line in corpus_lines(tmp_path)] == ["short"]
    assert EMAIL not in caplog.text


async def test_what_fails_says_nothing_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_texts(tmp_path, f"secret {EMAIL}")

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError(EMAIL)

    monkeypatch.setattr("actors.curation.texts.text_record", fail)
    assert set((await curate(tmp_path)).texts_passed_over) == {"scrubbing_failed"}
    assert (corpus_lines(tmp_path), EMAIL in caplog.text) == ([], False)


async def test_other_rules_make_a_record_anew_by_curate_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await leave_texts(tmp_path, "mine")
    await curate(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(text_records, "TEXT_RULES", "later")
        patch.setattr("actors.curation.texts.TEXT_RULES", "later")
        await curate(tmp_path)
        assert len(corpus_lines(tmp_path)) == 1
        await curate(tmp_path, anew=True)
    assert [line["rules"] for line in corpus_lines(tmp_path)] == [text_records.TEXT_RULES, "later"]
    assert len(shown(tmp_path)) == 1
    await checked(tmp_path)


async def test_without_room_curation_waits_and_loses_nothing(tmp_path: Path, autojump_clock: Any) -> None:
    await leave_texts(tmp_path, "mine")
    put, refusals = Corpus._put, [True, True]
    said: list[bool] = []

    async def written(self: Corpus, made: Sequence[Any], *more: Any) -> bool:
        return not (refusals and refusals.pop()) and await put(self, made, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Corpus, "_put", written)
        await curate(tmp_path, report=lambda figures: said.append(figures.is_out_of_room))
    assert (len(shown(tmp_path)), True in said, said[-1]) == (1, True, False)


async def test_rows_and_positions_follow_from_the_journals(tmp_path: Path) -> None:
    """Rebuilt, both databases hold what they held."""
    mine = await leave_texts(tmp_path, "one", "two")
    await curate(tmp_path)
    (tmp_path / "corpus.db").unlink()
    await rebuild(tmp_path, STORAGE, applied_at=NOW)
    assert sorted(shown(tmp_path)) == sorted(mine)
    await curate(tmp_path)
    assert len(corpus_lines(tmp_path)) == 2
    await checked(tmp_path)


@pytest.mark.parametrize("damaged", ["one", "two", "three"])
async def test_a_damaged_text_keeps_none_behind_it_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    """Nor does the last of all end curation: what comes after it is taken."""
    texts = ["one", "two", "three"]
    await leave_texts(tmp_path, "one", "two")
    await leave_more(tmp_path, "three")
    [path] = (tmp_path / "intake").glob("*.jsonl")
    path.write_bytes(
        path.read_bytes().replace(f'"content":"{damaged}"'.encode(), b'"content":"' + b"X" * len(damaged) + b'"')
    )
    await curate(tmp_path)
    assert [line["content"] for line in corpus_lines(tmp_path)] == [each for each in texts if each != damaged]
    assert "the intake journal is damaged" in caplog.text


async def test_an_intake_that_is_shorter_than_was_stored_is_not_passed_by(tmp_path: Path) -> None:
    """What is missing may come back with a backup; nothing shows where the journal goes on."""
    await leave_texts(tmp_path, "one", "two")
    [path] = (tmp_path / "intake").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageDamage, match="an incomplete line"):
        await curate(tmp_path)


async def test_a_text_that_is_damaged_later_leaves_the_corpus_with_the_others(tmp_path: Path) -> None:
    await leave_texts(tmp_path, "one", "two")
    await curate(tmp_path)
    await say_later(tmp_path, Decision.WITHDRAWN)
    [path] = (tmp_path / "intake").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"content":"one"', b'"content":"onX"'))
    await curate(tmp_path)
    assert shown(tmp_path) == {}
