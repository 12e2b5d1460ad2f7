"""Sessions are found by what they are about: all are compared, and what has gone is found no more."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

from actors.curation.session_embedding import SessionEmbedder
from central_command.search.questions import Mode, Question
from central_command.search.searching import RANK_CONSTANT, Searcher
from persistence.format.quantised_vectors import SCALE, quantised
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import prompt
from tests.corpus_maker import session
from tests.indexed import ask, found, index, put

np = pytest.importorskip("numpy")

AXES = ("parser", "disk", "colour")


def embedded(line: bytes) -> bytes:
    """Of a session that names one of three things, that direction; of one that names none, nothing."""
    vector = [float(line.count(axis.encode())) for axis in AXES]
    return quantised([value / math.hypot(*vector) for value in vector]) if any(vector) else b""


def put_about(root: Path, *texts: str, begin: int = 0) -> None:
    put(root, *(session(begin + number, [prompt(text)]) for number, text in enumerate(texts)))
    index(root, embedded, semantic=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put_about(root, "parser", "disk", "disk disk colour", "nothing of it", "colour")
    return root


def near(root: Path, vector: list[float], **members: Any) -> list[str]:
    return [hit.session_id for hit in ask(root, "x", mode=Mode.SEMANTIC, vector=vector, **members).hits]


def test_the_nearest_come_first_each_by_its_first_words(root: Path) -> None:
    answer = ask(root, "x", mode=Mode.SEMANTIC, vector=[0.0, 1.0, 0.0], limit=2)
    assert [(hit.session_id, hit.step) for hit in answer.hits] == [("sess_1", 1), ("sess_2", 1)]
    assert answer.order is None
    assert answer.hits[0].score == pytest.approx(1.0, abs=0.001)
    assert answer.hits[1].score == pytest.approx(2 / math.sqrt(5), abs=0.01)
    assert answer.hits[1].snippet[0].text == "disk disk colour"
    rest = ask(root, "x", mode=Mode.SEMANTIC, vector=[0.0, 1.0, 0.0], limit=2, cursor=answer.cursor)
    assert {hit.session_id for hit in rest.hits} == {"sess_0", "sess_4"}
    assert rest.cursor is None


def test_filters_leave_the_sessions_that_pass_them(root: Path) -> None:
    assert near(root, [0.0, 1.0, 0.0], after="2026-11-03") == ["sess_2", "sess_4"]


def test_both_are_joined_by_reciprocal_ranks(root: Path) -> None:
    answer = ask(root, "colour", mode=Mode.HYBRID, vector=[0.0, 1.0, 0.0])
    by_words = [session for session, _ in found(root, "colour")]
    by_meaning = near(root, [0.0, 1.0, 0.0])
    expected = {
        session: sum(
            1 / (RANK_CONSTANT + 1 + each.index(session)) for each in (by_words, by_meaning) if session in each
        )
        for session in {*by_words, *by_meaning}
    }
    assert {hit.session_id: hit.score for hit in answer.hits} == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in answer.hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-6)
    assert {*by_words} == {"sess_2", "sess_4"}


def test_what_came_later_is_found_and_what_has_gone_is_not(root: Path) -> None:
    searcher, question = Searcher(root, SearchSettings()), Question(q="x", mode=Mode.SEMANTIC)

    def asked() -> list[str]:
        answer: Any = searcher.answer(question, limit=1, vector=[0.0, 0.0, 1.0])
        return [hit.session_id for hit in answer.hits]

    assert asked() == ["sess_4"]
    put_about(root, "colour colour", begin=7)
    assert asked() == ["sess_7"]
    put_about(root, "parser", begin=7)
    assert asked() != ["sess_7"]


def test_no_more_are_held_than_may(root: Path) -> None:
    held = SearchSettings(embeddings_max=2)
    assert len(near(root, [1.0, 1.0, 1.0], settings=held)) <= 2


def test_each_session_is_embedded_once(root: Path) -> None:
    def never(_: bytes) -> bytes:
        raise AssertionError("it has one already, or nothing in it tells")

    index(root, never, semantic=True)


def test_a_vector_in_bytes_is_nearly_the_vector() -> None:
    source = random.Random(1)
    vector = [source.gauss() for _ in range(384)]
    packed = quantised(vector)
    (scale,) = SCALE.unpack_from(packed)
    again = np.frombuffer(packed[SCALE.size :], dtype=np.int8) * scale
    assert len(packed) == 388
    cosine = again @ vector / (np.linalg.norm(again) * np.linalg.norm(vector))
    assert cosine > 0.9999
    assert quantised([0.0] * 3) == bytes(4 + 3)


def test_a_session_is_embedded_by_the_text_that_its_fields_are_told_from() -> None:
    class Engine:
        def tokenise(self, text: str) -> list[int]:
            self.text = text
            return [1]

        def run(self, rows: Any, width: int) -> list[bytes]:
            assert (rows, width) == ([[[1]]], 1)
            return [np.asarray([0.0, 1.0], dtype="<f4").tobytes()]

    engine: Any = Engine()
    line = b'{"trajectory_id":"t","metadata":{},"trajectory_log":[%b]}'
    step = b'{"type":"instruction","source":"user","content":"mend the parser"}'
    assert SessionEmbedder(engine)(line % step) == quantised([0.0, 1.0])
    assert "mend the parser" in engine.text
    assert SessionEmbedder(engine)(line % b"") == b""
