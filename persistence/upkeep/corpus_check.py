"""The corpus checked against itself: each line, and corpus.db against what the lines say, row by row.

Rows that say why a trajectory has no record follow from no line, but for those that a line has taken back: they are
believed. Beside the process that writes the corpus, its database is read in one snapshot, and the lines up to the
position that this names; what was written later is checked as lines.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from persistence.databases.corpus_records import project_corpus
from persistence.databases.database import SchemaRefused, Statement
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.reading import check_version, connected_to_read
from persistence.format.layout import DataLayout
from persistence.format.records import Committed, JournalName
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalDamage, StoredLine
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings
from persistence.upkeep.comparison import differences
from persistence.upkeep.findings import Findings
from persistence.upkeep.schema_objects import schema_differences
from persistence.upkeep.snapshot import INTEGRITY_FINDINGS_MAX, UNREADABLE, positions

OWN_FACTS: Final = {
    "SELECT trajectory_id, session_id, contributor_id, reason, rules, noted_at FROM passed_over": """
        INSERT OR REPLACE INTO passed_over (trajectory_id, session_id, contributor_id, reason, rules, noted_at)
        VALUES (?, ?, ?, ?, ?, ?)
    """,
    "SELECT record_id, subject, reason, rules, noted_at FROM texts_passed_over": """
        INSERT OR REPLACE INTO texts_passed_over (record_id, subject, reason, rules, noted_at) VALUES (?, ?, ?, ?, ?)
    """,
    "SELECT trajectory_id, begun FROM attempts": "INSERT INTO attempts (trajectory_id, begun) VALUES (?, ?)",
    "SELECT only_one, terms FROM consent_terms": "INSERT INTO consent_terms (only_one, terms) VALUES (?, ?)",
    "SELECT trajectory_id, sha256, attempts, asked_at FROM unanswered": """
        INSERT OR REPLACE INTO unanswered (trajectory_id, sha256, attempts, asked_at) VALUES (?, ?, ?, ?)
    """,
    "SELECT only_one, judge, n, day, tokens FROM judging": """
        INSERT INTO judging (only_one, judge, n, day, tokens) VALUES (?, ?, ?, ?, ?)
    """,
    "SELECT trajectory_id, sha256, rules, title, summary, made_at FROM summaries": """
        INSERT OR REPLACE INTO summaries (trajectory_id, sha256, rules, title, summary, made_at)
        VALUES (?, ?, ?, ?, ?, ?)
    """,
    "SELECT version, applied_at FROM schema_migrations": """
        INSERT OR REPLACE INTO schema_migrations (version, applied_at) VALUES (?, ?)
    """,
    "SELECT journal, n, day, next_offset FROM projection_positions WHERE journal != 'corpus'": """
        INSERT INTO projection_positions (journal, n, day, next_offset) VALUES (?, ?, ?, ?)
    """,
}
"""How what follows from no line is read, and how it is put into another database."""

IN_BOTH: Final = """
SELECT 'trajectory', trajectory_id FROM main.records JOIN main.passed_over USING (trajectory_id)
UNION ALL SELECT 'text', record_id FROM main.texts JOIN main.texts_passed_over USING (record_id) LIMIT 10
"""


OF_NOTHING: Final = """
SELECT trajectory_id FROM main.summaries WHERE trajectory_id NOT IN (SELECT trajectory_id FROM main.records) LIMIT 10
"""


async def check_corpus(
    layout: DataLayout,
    settings: StorageSettings,
    findings: Findings,
    *,
    reached_n: Callable[[], Mapping[str, int]],
    applied_at: str,
) -> None:
    """Check the corpus, if there is one. `reached_n` says how many lines the journals have, and is asked last.

    Raises SchemaRefused for a corpus.db of another version of the program.
    """
    journal = StoredJournal.of(layout, JournalName.CORPUS)
    if not layout.corpus_database.exists():
        if journal.statistics().stored_bytes:
            findings.add("corpus.db is missing: start the server or run `central-command rebuild`")
        return
    for name in journal.foreign_names():
        findings.add(f"corpus: {name!r} is none of its files, and is left alone: move it away")
    try:
        with connected_to_read(layout.corpus_database) as connection:
            connection.execute("BEGIN")
            check_version(connection, CORPUS_SCHEMA)
            await _check(connection, journal, settings, findings, reached_n=reached_n, applied_at=applied_at)
    except SchemaRefused:
        raise
    except UNREADABLE as error:
        findings.add(f"corpus.db cannot be read: {error}")


async def _check(
    connection: sqlite3.Connection,
    journal: StoredJournal,
    settings: StorageSettings,
    findings: Findings,
    *,
    reached_n: Callable[[], Mapping[str, int]],
    applied_at: str,
) -> None:
    damaged = [
        text for (text,) in connection.execute(f"PRAGMA integrity_check({INTEGRITY_FINDINGS_MAX})") if text != "ok"
    ]
    differing = schema_differences(connection, "main", CORPUS_SCHEMA)
    for sentence in (*(f"is damaged: {text}" for text in damaged), *differing.sentences):
        findings.add(f"corpus.db: {sentence}")
    if damaged or differing.of_tables:
        return
    seen = positions(connection, "main")
    reached = reached_n()
    for journal_name in (JournalName.TRAJECTORIES, JournalName.INTAKE):
        followed_n, known_n = seen.get(journal_name, 0), reached.get(journal_name, 0)
        if followed_n > known_n:
            findings.add(f"corpus.db has followed the {journal_name} up to line {followed_n}, and there are {known_n}")
    for kind, name in connection.execute(IN_BOTH):
        findings.add(f"corpus.db: {kind} {name!r} has a record, and is passed over")
    for (name,) in connection.execute(OF_NOTHING):
        findings.add(f"corpus.db: trajectory {name!r} has a summary, and no record")
    # 0700; the rows name sessions and contributors.
    with tempfile.TemporaryDirectory(prefix="central-command-verify-") as folder:
        expected = Path(folder) / "corpus.db"
        await _expect(expected, connection, journal, settings, findings, applied_at=applied_at)
        for difference in differences(connection, "main", expected):
            findings.add(f"corpus.db: {difference}")


async def _expect(
    path: Path,
    connection: sqlite3.Connection,
    journal: StoredJournal,
    settings: StorageSettings,
    findings: Findings,
    *,
    applied_at: str,
) -> None:
    """Make the database that the lines give, up to where the stored one has seen them."""
    seen_n = positions(connection, "main").get(JournalName.CORPUS, 0)
    async with open_inline_database(path, CORPUS_SCHEMA, settings, applied_at=applied_at) as database:
        try:
            async for lines in journal.scan():
                batch = [each for line in lines if (each := _parsed(line, findings)) is not None]
                if seen := [each for each in batch if each.position.n <= seen_n]:
                    await database.write(project_corpus(seen), durable=False)
        except JournalDamage as damage:
            findings.add(f"{journal.name}: {damage.what}")
        facts = [Statement(put, connection.execute(read).fetchall()) for read, put in OWN_FACTS.items()]
        await database.write(facts, durable=False)
        await database.checkpoint()


def _parsed(line: StoredLine, findings: Findings) -> Committed | None:
    try:
        return Committed(parse_line(JournalName.CORPUS, line.text), line.position)
    except LineError as error:
        findings.add(f"corpus: {line.where}: {error}")
        return None
