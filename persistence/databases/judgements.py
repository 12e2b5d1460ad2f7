"""What a judge said of records, in corpus.db, and what is known of asking it.

`judgements` is a projection of lines of corpus/. The rest is curation's own: up to which record everything was looked
at, what the day has cost, and which records were asked about without an answer.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from persistence.databases.database import Database, Row, Statement
from persistence.format import times
from persistence.format.records import JudgementRecord, Position

PUT_JUDGEMENT: Final = """
INSERT OR REPLACE INTO judgements (trajectory_id, rules, model, sha256, cognitive_target, quality, outcome, rationale,
    judged_at, n)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
WHERE EXISTS (SELECT 1 FROM records WHERE trajectory_id = ?1 AND sha256 = ?4)
"""
DELETE_OF_OTHER_STEPS: Final = "DELETE FROM judgements WHERE trajectory_id = ? AND sha256 != ?"
DELETE_UNANSWERED_OF_OTHER_STEPS: Final = "DELETE FROM unanswered WHERE trajectory_id = ? AND sha256 != ?"
DELETE_SUMMARY_OF_OTHER_STEPS: Final = "DELETE FROM summaries WHERE trajectory_id = ? AND sha256 != ?"
DELETE_UNANSWERED: Final = "DELETE FROM unanswered WHERE trajectory_id = ?"
DELETE_ALL_UNANSWERED: Final = "DELETE FROM unanswered"
COUNT_QUESTION: Final = """
INSERT INTO unanswered (trajectory_id, sha256, attempts, asked_at) VALUES (?, ?, 1, ?)
ON CONFLICT (trajectory_id) DO UPDATE SET attempts = attempts + 1, asked_at = excluded.asked_at
"""
TAKE_BACK_QUESTION: Final = "UPDATE unanswered SET attempts = attempts - 1 WHERE trajectory_id = ?"
PUT_STANDING: Final = "INSERT OR REPLACE INTO judging (only_one, judge, n, day, tokens) VALUES (1, ?, ?, ?, ?)"
SELECT_STANDING: Final = "SELECT judge, n, day, tokens FROM judging"
SELECT_NEW: Final = """
SELECT n, trajectory_id, session_id, contributor_id, sha256, day, "offset", length, curated_at,
    EXISTS (SELECT 1 FROM judgements AS j
        WHERE j.trajectory_id = records.trajectory_id AND j.rules = ?2 AND j.model = ?3)
    OR EXISTS (SELECT 1 FROM unanswered AS u WHERE u.trajectory_id = records.trajectory_id)
FROM records WHERE n > ?1 ORDER BY n LIMIT ?4
"""
SELECT_UNANSWERED: Final = """
SELECT n, trajectory_id, session_id, contributor_id, records.sha256, day, "offset", length, curated_at, attempts
FROM unanswered JOIN records USING (trajectory_id) WHERE attempts < ? ORDER BY asked_at, trajectory_id LIMIT ?
"""
SELECT_JUDGEMENT: Final = """
SELECT rules, model, sha256, cognitive_target, quality, outcome, rationale FROM judgements WHERE trajectory_id = ?
"""


class Judged(msgspec.Struct, frozen=True):
    """A judgement as it is stored; of which record is known to whoever has it."""

    rules: str
    model: str
    sha256: str
    cognitive_target: str
    quality: int
    outcome: str
    rationale: str


class Standing(msgspec.Struct, frozen=True):
    """How far asking has come: whom is asked, up to which line of the corpus, and the tokens of a UTC day.

    `judge` is None before anybody was asked.
    """

    judge: str | None = None
    n: int = 0
    day: str = ""
    tokens: int = 0


class Candidate(msgspec.Struct, frozen=True):
    """A record that may be asked about. `attempts` is how often it was without an answer."""

    trajectory_id: str
    session_id: str
    contributor_id: str
    sha256: str
    position: Position
    is_settled: bool = False
    """It has this judge's judgement of these steps, or was asked about without an answer."""
    attempts: int = 0


def project_judgement(record: JudgementRecord, place: Position) -> list[Statement]:
    """The statements for a judge's line."""
    row = (
        record.trajectory_id,
        record.rules,
        record.model,
        record.sha256,
        record.cognitive_target,
        record.quality,
        record.outcome,
        record.rationale,
        times.to_text(place.at),
        place.n,
    )
    return [Statement(PUT_JUDGEMENT, [row]), Statement(DELETE_UNANSWERED, [(record.trajectory_id,)])]


def drop_judgement(trajectory_id: str, sha256: str) -> list[Statement]:
    """The statements for a record whose steps are these from now on ("" for none): what was said of others goes."""
    rows = [(trajectory_id, sha256)]
    of_others = (DELETE_OF_OTHER_STEPS, DELETE_UNANSWERED_OF_OTHER_STEPS, DELETE_SUMMARY_OF_OTHER_STEPS)
    return [Statement(sql, rows) for sql in of_others]


def set_standing(standing: Standing) -> Statement:
    """The statement that notes how far asking has come."""
    return Statement(PUT_STANDING, [(standing.judge, standing.n, standing.day, standing.tokens)])


def count_question(candidates: Iterable[Candidate], at: str) -> Statement:
    """The statement that notes that a judge is asked about records."""
    return Statement(COUNT_QUESTION, [(each.trajectory_id, each.sha256, at) for each in candidates])


def take_back_question(candidates: Iterable[Candidate]) -> Statement:
    """The statement for when the judge was not there: it counts for none of them."""
    return Statement(TAKE_BACK_QUESTION, [(each.trajectory_id,) for each in candidates])


def forget_questions() -> Statement:
    """The statement for when another judge is asked from now on."""
    return Statement(DELETE_ALL_UNANSWERED, [()])


def forget_questions_about(candidates: Iterable[Candidate]) -> Statement:
    """The statement for records that are asked about no more."""
    return Statement(DELETE_UNANSWERED, [(each.trajectory_id,) for each in candidates])


class JudgementIndex:
    """The judgements of a corpus.db, and what waits for one, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self) -> Standing:
        """How far asking has come."""
        rows = await self._database.read(SELECT_STANDING)
        return Standing(*rows[0]) if rows else Standing()

    async def of_trajectory(self, trajectory_id: str) -> Judged | None:
        """What was said last of the steps that a trajectory's record has; None where nothing was."""
        rows = await self._database.read(SELECT_JUDGEMENT, (trajectory_id,))
        return Judged(*rows[0]) if rows else None

    async def behind(self, n: int, rules: str, model: str, limit: int) -> list[Candidate]:
        """Records behind line `n` of the corpus, in order, at most `limit`; some may be settled already."""
        rows = await self._database.read(SELECT_NEW, (n, rules, model, limit))
        return [candidate_of(row[:-1], is_settled=bool(row[-1])) for row in rows]

    async def unanswered(self, attempts_max: int, limit: int) -> list[Candidate]:
        """Records that were asked about fewer than so often, without an answer, those asked longest ago first."""
        rows = await self._database.read(SELECT_UNANSWERED, (attempts_max, limit))
        return [candidate_of(row[:-1], attempts=int(row[-1])) for row in rows]


def candidate_of(row: Row, *, is_settled: bool = False, attempts: int = 0) -> Candidate:
    """The record of a row of these queries."""
    n, trajectory_id, session_id, contributor_id, sha256, day, offset, length, curated_at = row
    place = Position(n=n, day=day, offset=offset, length=length, at=times.from_text(curated_at))
    return Candidate(trajectory_id, session_id, contributor_id, sha256, place, is_settled, attempts)
