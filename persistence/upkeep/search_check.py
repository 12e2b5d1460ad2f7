"""The index of the corpus checked against the corpus: how far it has come, which records it holds, and its row counts.

It follows corpus.db, so it may be behind; it may never be ahead, nor hold a record that is not there any more, nor lack
one that it has passed. Beside a running server what is wrong for a moment only is no finding: an erasure takes rows
from the one before the other.
"""

import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Final

import trio

from persistence.databases.database import SchemaRefused
from persistence.databases.migrations import CORPUS_SCHEMA, SEARCH_SCHEMA
from persistence.databases.reading import check_version, connected_to_read
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.upkeep.findings import Findings
from persistence.upkeep.schema_objects import schema_differences
from persistence.upkeep.snapshot import UNREADABLE, positions

SETTLING_S: Final = 1.0
NAMED_MAX: Final = 10
"""Sessions that are named of those that differ."""

ADVICE: Final = "remove search.db, and curation makes it anew"

SELECT_INDEXED: Final = "SELECT session_id, n FROM sessions"
SELECT_RECORDS: Final = "SELECT session_id, n FROM records WHERE n <= ?"
SELECT_ROWS: Final = "SELECT coalesce(sum(rows), 0), (SELECT count(*) FROM steps_docsize) FROM sessions"
SELECT_PLACES: Final = (
    "SELECT coalesce(sum(step_count), 0), (SELECT coalesce(sum(steps), 0) FROM step_blocks) FROM sessions"
)


async def check_search(layout: DataLayout, findings: Findings) -> None:
    """Check the index, if there is one."""
    if not layout.search_database.exists() or not layout.corpus_database.exists():
        return
    try:
        found = set(_differences(layout))
        if found:
            await trio.sleep(SETTLING_S)
            found &= set(_differences(layout))
    except SchemaRefused as error:
        found = {str(error)}
    except UNREADABLE as error:
        found = {f"search.db cannot be read: {error}"}
    for sentence in sorted(found):
        findings.add(f"{sentence}: {ADVICE}")


def _differences(layout: DataLayout) -> Iterator[str]:
    # In this order: what the index has passed is in corpus.db, whatever comes meanwhile.
    with connected_to_read(layout.search_database) as index, connected_to_read(layout.corpus_database) as corpus:
        for connection, schema in ((index, SEARCH_SCHEMA), (corpus, CORPUS_SCHEMA)):
            connection.execute("BEGIN")
            check_version(connection, schema)
        ((integrity,),) = index.execute("PRAGMA integrity_check(1)")
        if integrity != "ok" or schema_differences(index, "main", SEARCH_SCHEMA).sentences:
            yield "search.db is damaged, or of other tables"
            return
        ((told, rows),) = index.execute(SELECT_ROWS)
        if told != rows:
            yield f"search.db has rows of {rows} steps, and its sessions say {told}"
        ((told, places),) = index.execute(SELECT_PLACES)
        if told != places:
            yield f"search.db has places of {places} steps, and its sessions say {told}"
        yield from _other_sessions(index, corpus)


def _other_sessions(index: sqlite3.Connection, corpus: sqlite3.Connection) -> Iterator[str]:
    passed_n = positions(index, "main").get(JournalName.CORPUS, 0)
    reached_n = positions(corpus, "main").get(JournalName.CORPUS, 0)
    if passed_n > reached_n:
        yield f"search.db has taken in the corpus up to line {passed_n}, and corpus.db has {reached_n}"
        return
    indexed = set(index.execute(SELECT_INDEXED))
    records = set(corpus.execute(SELECT_RECORDS, (passed_n,)))
    for session_id, _ in islice(sorted(records - indexed), NAMED_MAX):
        yield f"search.db lacks session {session_id!r}"
    if passed_n == reached_n:  # else a later line may have taken its place
        for session_id, _ in islice(sorted(indexed - records), NAMED_MAX):
            yield f"search.db holds session {session_id!r}, of which there is no such record"
