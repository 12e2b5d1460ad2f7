"""What is in the corpus is found, by words and filters, in pages, with the hit marked."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from central_command.search.questions import Mode, Order, Question, Refusal, Unable
from central_command.search.searching import Searcher
from persistence.databases.search_reading import SearchReader
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import call, prompt, thought
from tests.corpus_maker import session
from tests.indexed import ask, found, put, shown


def said(number: int, *texts: str, **members: Any) -> dict[str, Any]:
    return session(number, [prompt(texts[0]), *map(thought, texts[1:])], **members)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put(
        root,
        said(0, "the parser fails", "a torn line in the journal"),
        said(1, "the Résumé of a journal", "no torn page", contributor=2),
        session(2, [prompt("list files"), *call("Bash", "total 0", command="ls -la /journal"), thought("parser done")]),
        said(3, "journal journal journal", metadata={"provider": "codex", "model_engine": "gpt-5"}, outcome=None),
    )
    return root


def test_words_must_stand_in_the_same_step(root: Path) -> None:
    assert found(root, "torn journal") == [("sess_0", 2)]
    assert found(root, "torn parser") == []


def test_phrases_prefixes_exclusions_and_alternatives_are_heeded(root: Path) -> None:
    assert found(root, '"torn line"') == [("sess_0", 2)]
    assert {*found(root, "pars*")} == {("sess_0", 1), ("sess_2", 4)}
    assert found(root, "torn -page") == [("sess_0", 2)]
    assert {*found(root, "fails OR page")} == {("sess_0", 1), ("sess_1", 2)}


def test_diacritics_and_case_make_no_difference(root: Path) -> None:
    hit = ask(root, "RESUME").hits[0]
    assert (hit.session_id, shown(hit)) == ("sess_1", "the [Résumé] of a journal")


def test_tools_and_arguments_are_found_and_the_snippet_says_where(root: Path) -> None:
    hit = ask(root, '"ls la"').hits[0]
    assert (hit.session_id, hit.step, hit.type, hit.tool) == ("sess_2", 2, "action", "Bash")
    assert (hit.field, shown(hit)) == ("arguments", "[ls -la] /journal")


def test_the_best_come_first_and_the_newest_where_that_is_asked(root: Path) -> None:
    ranked = ask(root, "journal")
    assert ranked.order is Order.RELEVANCE
    assert ranked.hits[0].session_id == "sess_3"
    assert found(root, "journal", order=Order.NEWEST) == [("sess_3", 1), ("sess_2", 2), ("sess_1", 1), ("sess_0", 2)]


def test_words_that_are_too_common_are_not_ranked(root: Path) -> None:
    answer = ask(root, "journal", settings=SearchSettings(ranked_matches_max=3))
    assert answer.order is Order.NEWEST
    assert [hit.score for hit in answer.hits] == [None] * 4


@pytest.mark.parametrize(
    ("filters", "sessions"),
    [
        ({"providers": ("codex",)}, {"sess_3"}),
        ({"providers": ("Codex", "nobody")}, {"sess_3"}),
        ({"models": ("GPT-5",)}, {"sess_3"}),
        ({"outcomes": ("none",)}, {"sess_3"}),
        ({"outcomes": ("SUCCESS",)}, {"sess_0", "sess_1", "sess_2"}),
        ({"domains": ("none",)}, {"sess_0", "sess_1", "sess_2", "sess_3"}),
        ({"domains": ("databases",)}, set()),
        ({"tools": ("bash",)}, {"sess_2"}),
        ({"after": "2026-11-03"}, {"sess_2", "sess_3"}),
        ({"after": "2026-11-03T12:12:00+02:00"}, {"sess_2", "sess_3"}),
        ({"after": "2026-11-03T10:12:01Z"}, {"sess_3"}),
        ({"before": "2026-11-02"}, {"sess_0"}),
        ({"tiers": ("C",), "providers": ("codex",)}, {"sess_3"}),
        ({"contributors": ("con_nobody",)}, set()),
    ],
)
@pytest.mark.parametrize("order", list(Order))
def test_filters_leave_the_sessions_that_pass_them(
    root: Path, order: Order, filters: dict[str, Any], sessions: set[str]
) -> None:
    assert {session_id for session_id, _ in found(root, "journal", order=order, **filters)} == sessions


def test_filters_that_leave_many_sessions_find_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = {"outcomes": ("SUCCESS",), "order": Order.NEWEST, "tools": ("Bash",)}
    one_by_one = found(root, "journal", **filters)
    monkeypatch.setattr("persistence.databases.search_reading.FEW_SESSIONS", 0)
    assert found(root, "journal", **filters) == one_by_one == [("sess_2", 2)]


def test_contributors_are_chosen_and_named_by_their_pseudonyms_alone(root: Path) -> None:
    others = {hit.contributor for hit in ask(root, "journal").hits}
    assert len(others) == 2
    (theirs,) = {hit.contributor for hit in ask(root, "resume").hits}
    assert found(root, "journal", contributors=(theirs,)) == [("sess_1", 1)]
    assert theirs.startswith("con_")


@pytest.mark.parametrize("order", list(Order))
def test_pages_have_every_hit_once_and_in_order(tmp_path: Path, order: Order) -> None:
    root = tmp_path / "data"
    put(root, *(said(number, *[f"word {'word ' * (number % 3)}"] * 4) for number in range(9)))
    whole, pages, cursor = found(root, "word", order=order), [], None
    for _ in itertools.count():
        answer = ask(root, "word", order=order, limit=5, cursor=cursor)
        pages += [(hit.session_id, hit.step) for hit in answer.hits]
        cursor = answer.cursor
        if cursor is None:
            break
        assert len(answer.hits) == 5
    assert pages == whole
    assert len({*whole}) == len(whole) == 36


@pytest.mark.parametrize("cursor", ["", "x", "!", "bm8", "W10", "A" * 300, "é"])
def test_made_up_cursors_are_refused(root: Path, cursor: str) -> None:
    refused = Searcher(root, SearchSettings()).answer(Question(q="journal"), limit=5, cursor=cursor)
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.NOT_READABLE


def test_a_cursor_of_another_question_is_refused(root: Path) -> None:
    cursor = ask(root, "journal", limit=1).cursor
    refused = Searcher(root, SearchSettings()).answer(Question(q="parser"), limit=1, cursor=cursor)
    assert isinstance(refused, Refusal)
    assert "another search" in refused.sentence


def test_without_an_index_one_sentence_says_so(tmp_path: Path) -> None:
    refused = Searcher(tmp_path, SearchSettings()).answer(Question(q="journal"), limit=5)
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.NO_INDEX


def test_a_question_ends_with_its_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.databases.search_reading.PROGRESS_STEPS", 1)
    refused = Searcher(root, SearchSettings(timeout_s=1e-9)).answer(Question(q="journal"), limit=5)
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.TIMED_OUT


def test_what_was_found_before_the_time_ended_is_a_page_that_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.databases.search_reading.WINDOW_LINES", 0)
    searched = SearchReader._matches
    calls = itertools.count()

    def matches(self: SearchReader, *args: Any) -> list[int]:
        if next(calls) == 2:
            self._deadline = 0.0
            self._connection.set_progress_handler(self._is_over, 1)
        return searched(self, *args)

    monkeypatch.setattr(SearchReader, "_matches", matches)
    answer = ask(root, "journal", order=Order.NEWEST)
    assert not answer.complete
    first = [hit.session_id for hit in answer.hits]
    rest = [hit.session_id for hit in ask(root, "journal", order=Order.NEWEST, cursor=answer.cursor).hits]
    assert first + rest == ["sess_3", "sess_2", "sess_1", "sess_0"]
    assert first


def test_long_texts_are_cut_around_the_hit_and_markup_stays_text(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, said(0, "<b>x</b> " * 100 + "the needle\n\nis here " + "y " * 500))
    (hit,) = ask(root, "needle").hits
    text = shown(hit)
    assert "[needle] is here" in text
    assert text.startswith("…")
    assert text.endswith("…")
    assert len(text) < 300


def test_lines_that_are_too_long_to_be_read_are_hits_without_a_snippet(root: Path) -> None:
    answer = ask(root, "resume", settings=SearchSettings(snippet_bytes_max=10))
    assert [(hit.session_id, hit.step, hit.snippet) for hit in answer.hits] == [("sess_1", 1, ())]


def test_searching_by_meaning_without_embeddings_is_refused(root: Path) -> None:
    refused = Searcher(root, SearchSettings()).answer(Question(q="journal", mode=Mode.SEMANTIC), limit=5)
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.NO_EMBEDDINGS
