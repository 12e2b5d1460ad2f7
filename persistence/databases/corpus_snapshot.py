"""corpus.db as it is at one moment, for who reads all of it beside the process that writes it. Blocking.

A snapshot is held no longer than it takes to go through the rows: meanwhile the write-ahead log is not moved into the
database.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from persistence.databases.corpus_records import COLUMNS, StoredRecord, stored_record
from persistence.databases.corpus_texts import COLUMNS as TEXT_COLUMNS
from persistence.databases.corpus_texts import StoredText, stored_text
from persistence.databases.database import SQLITE_ERRORS, failure_of
from persistence.databases.judgements import Judged
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.databases.reading import check_version, connected_to_read
from persistence.databases.summaries import Summary
from persistence.files.failures import none_of_a_corpus
from persistence.format.json_text import array_of
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName

SELECT_ALL: Final = f"SELECT {COLUMNS} FROM records ORDER BY n"  # noqa: S608
SELECT_ALL_TEXTS: Final = f"SELECT {TEXT_COLUMNS} FROM texts ORDER BY n"  # noqa: S608
SELECT_BEHIND: Final = f"""
SELECT {COLUMNS} FROM records WHERE trajectory_id > ? ORDER BY trajectory_id LIMIT ?
"""  # noqa: S608
SELECT_TEXTS_BEHIND: Final = f"SELECT {TEXT_COLUMNS} FROM texts WHERE record_id > ? ORDER BY record_id LIMIT ?"  # noqa: S608
SELECT_OF_SESSION: Final = f"SELECT {COLUMNS} FROM records WHERE session_id = ?"  # noqa: S608
SELECT_BEGINNING: Final = """
SELECT session_id FROM records WHERE session_id >= ?1 AND session_id < ?2 ORDER BY session_id LIMIT ?3
"""
SELECT_NAMES: Final = """
SELECT record_id, contributor_id, session_id FROM records WHERE record_id IN (SELECT value FROM json_each(?))
"""
SELECT_USERS: Final = "SELECT record_id, subject FROM texts WHERE record_id IN (SELECT value FROM json_each(?))"
SELECT_JUDGEMENTS: Final = """
SELECT trajectory_id, j.rules, j.model, j.sha256, j.cognitive_target, j.quality, j.outcome, j.rationale
FROM judgements AS j JOIN records USING (trajectory_id) WHERE j.sha256 = records.sha256
"""
SELECT_SUMMARIES: Final = """
SELECT session_id, title, summary, summaries.rules FROM records JOIN summaries USING (trajectory_id, sha256)
WHERE session_id IN (SELECT value FROM json_each(?))
"""
SELECT_REACHED: Final = "SELECT n FROM projection_positions WHERE journal = ?"
SELECT_PROVIDERS: Final = "SELECT DISTINCT provider FROM records ORDER BY provider"
SELECT_REASON: Final = """
SELECT reason FROM passed_over WHERE session_id = ?1
UNION ALL SELECT reason FROM texts_passed_over WHERE record_id = ?2 LIMIT 1
"""
ROWS_AT_ONCE: Final = 1_000

_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class CorpusSnapshot:
    """The records of a corpus.db, all of the same moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute(SELECT_REACHED, (JournalName.CORPUS,)).fetchall()
        self.reached_n: int = rows[0][0] if rows else 0
        """The number of the last line of the corpus that is in it."""

    def records(self) -> Iterator[StoredRecord]:
        """Yield the records in the order of their lines."""
        return map(stored_record, self._rows(SELECT_ALL))

    def texts(self) -> Iterator[StoredText]:
        """Yield the texts of the intake in the order of their lines."""
        return map(stored_text, self._rows(SELECT_ALL_TEXTS))

    def records_behind(self, trajectory_id: str, count: int) -> list[StoredRecord]:
        """The next records by the ids of their trajectories, which stay when a record is made anew."""
        return [stored_record(row) for row in self._connection.execute(SELECT_BEHIND, (trajectory_id, count))]

    def texts_behind(self, record_id: str, count: int) -> list[StoredText]:
        """The next texts by their ids."""
        return [stored_text(row) for row in self._connection.execute(SELECT_TEXTS_BEHIND, (record_id, count))]

    def judgements(self) -> Iterator[tuple[str, Judged]]:
        """Yield what a judge said of records, by the ids of their trajectories, in no order."""
        for trajectory_id, *judged in self._connection.execute(SELECT_JUDGEMENTS):
            yield trajectory_id, Judged(*judged)

    def summaries(self, session_ids: Collection[str]) -> dict[str, Summary]:
        """Titles and summaries of sessions, by the ids of those that have one, of the steps that they have now."""
        rows = self._connection.execute(SELECT_SUMMARIES, (array_of(session_ids),))
        return {session_id: Summary(*found) for session_id, *found in rows}

    def of_session(self, session_id: str) -> StoredRecord | None:
        """The record of a session by the session's id; None likewise."""
        rows = self._connection.execute(SELECT_OF_SESSION, (session_id,)).fetchall()
        return stored_record(rows[0]) if rows else None

    def sessions_beginning(self, text: str, limit: int) -> list[str]:
        """The sessions whose ids begin with `text`, in their order, at most `limit`."""
        rows = self._connection.execute(SELECT_BEGINNING, (text, text + _LAST, limit))
        return [session_id for (session_id,) in rows]

    def names(self, record_ids: Collection[str]) -> list[tuple[str, str, str]]:
        """Of sessions' records, those that there are: the record, its contributor and its session."""
        return self._connection.execute(SELECT_NAMES, (array_of(record_ids),)).fetchall()

    def users(self, record_ids: Collection[str]) -> list[tuple[str, str]]:
        """Of texts' records, those that there are: the record, and its user's digest."""
        return self._connection.execute(SELECT_USERS, (array_of(record_ids),)).fetchall()

    def providers(self) -> list[str]:
        """The agents that there are sessions of, by their names."""
        return [provider for (provider,) in self._connection.execute(SELECT_PROVIDERS)]

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._connection.execute(query)
        cursor.arraysize = ROWS_AT_ONCE
        while rows := cursor.fetchmany():
            yield from rows

    def reason(self, session_id: str, record_id: str) -> str | None:
        """Why a session, or a text by its record, has no record; None where nothing is known of it."""
        rows = self._connection.execute(SELECT_REASON, (session_id, record_id)).fetchall()
        return rows[0][0] if rows else None


@contextmanager
def corpus_snapshot(layout: DataLayout) -> Iterator[CorpusSnapshot]:
    """Open the corpus.db of a data directory, as it is now.

    Raises NoDataDirectory where there is none, DatabaseFailure when it is of another version of the program.
    """
    if not layout.corpus_database.exists():
        raise none_of_a_corpus(layout.root, "corpus")
    try:
        with connected_to_read(layout.corpus_database) as connection:
            connection.execute("BEGIN")
            check_version(connection, CORPUS_SCHEMA)
            yield CorpusSnapshot(connection)
    except SQLITE_ERRORS as error:
        raise failure_of(error, CORPUS_SCHEMA.name) from error
