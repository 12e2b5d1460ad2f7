"""access.db checked: as a database, and that each token, link and browser session says what it is for.

Nothing else speaks of them.
"""

import sqlite3
from typing import Final

from persistence.databases.migrations import ACCESS_SCHEMA
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_audit_line
from persistence.journals.reading import JournalDamage
from persistence.journals.stored import StoredJournal
from persistence.upkeep.findings import Findings
from persistence.upkeep.lone_database import check_database

WRONG: Final = """
SELECT what, id FROM (
    SELECT 'token' AS what, token_id AS id, scopes, sha256 FROM tokens
    UNION ALL SELECT 'link', link_id, scopes, sha256 FROM sign_in_links
    UNION ALL SELECT 'browser session', session_id, scopes, sha256 FROM browser_sessions
) WHERE scopes = '' OR length(sha256) != 64 OR sha256 GLOB '*[^0-9a-f]*' LIMIT 10
"""

ADVICE: Final = "restore it from a backup, or move it away and make new tokens"


def check_access(layout: DataLayout, findings: Findings) -> None:
    """Check access.db, if there is one. Raises SchemaRefused for an access.db of another version of the program."""
    check_database(layout.access_database, ACCESS_SCHEMA, findings, advice=ADVICE, look=_check)


async def check_audit(layout: DataLayout, findings: Findings) -> None:
    """Check every line of the audit journal, if there is one. Raises StorageFailure."""
    scan = StoredJournal.of(layout, JournalName.AUDIT).scan()
    try:
        async for lines in scan:
            for line in lines:
                parse_audit_line(line.text)
    except JournalDamage as damage:
        findings.add(f"the audit journal: {damage.what}")
    except LineError as error:
        findings.add(f"the audit journal holds a line of which {error}")


def _check(connection: sqlite3.Connection, findings: Findings) -> None:
    for what, found_id in connection.execute(WRONG):
        findings.add(f"access.db: {what} {found_id!r} has no scope, or no SHA-256")
