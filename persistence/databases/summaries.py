"""Titles and summaries of records, in corpus.db: made of the records' lines, and made again where they are missing.

They are of the steps whose `sha256` they name: a record that gets others, or that goes, takes its summary with it.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from persistence.databases.database import Database, Statement
from persistence.databases.judgements import Candidate, candidate_of

PUT_SUMMARY: Final = """
INSERT OR REPLACE INTO summaries (trajectory_id, sha256, rules, title, summary, made_at)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM records WHERE trajectory_id = ?1 AND sha256 = ?2)
"""
SELECT_WITHOUT: Final = """
SELECT n, trajectory_id, session_id, contributor_id, sha256, day, "offset", length, curated_at FROM records
WHERE n > ?2 AND NOT EXISTS (
    SELECT 1 FROM summaries AS s WHERE s.trajectory_id = records.trajectory_id AND s.sha256 = records.sha256
    AND (s.rules = ?3 OR s.rules LIKE 'model %'))
ORDER BY n LIMIT ?1
"""
SELECT_SUMMARY: Final = """
SELECT title, summary, summaries.rules FROM summaries JOIN records USING (trajectory_id, sha256) WHERE trajectory_id = ?
"""


class Summary(msgspec.Struct, frozen=True):
    """A record's title and summary, and what made them: rules, or a model's name."""

    title: str
    summary: str
    rules: str


def put_summaries(made: Iterable[tuple[Candidate, Summary]], at: str) -> Statement:
    """The statement that keeps summaries of those records that still have these steps."""
    rows = [(each.trajectory_id, each.sha256, found.rules, found.title, found.summary, at) for each, found in made]
    return Statement(PUT_SUMMARY, rows)


class SummaryIndex:
    """The summaries of a corpus.db, and which records have none, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def without(self, limit: int, *, behind_n: int, rules: str) -> list[Candidate]:
        """Records that have none by a model or by these rules, behind a line of the corpus; at most `limit`.

        They come in the order of their lines.
        """
        rows = await self._database.read(SELECT_WITHOUT, (limit, behind_n, rules))
        return [candidate_of(row) for row in rows]

    async def of_trajectory(self, trajectory_id: str) -> Summary | None:
        """That of a trajectory's record; None while there is none."""
        rows = await self._database.read(SELECT_SUMMARY, (trajectory_id,))
        return Summary(*rows[0]) if rows else None
