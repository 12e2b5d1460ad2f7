"""Both databases of a data directory, read in one state each."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from persistence.databases.database import SQLITE_ERRORS, DatabaseFailure, SchemaRefused
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA, Schema
from persistence.databases.reading import check_version, connected_to_read, readable
from persistence.format.layout import DataLayout
from persistence.upkeep.findings import Findings

UNREADABLE: Final = (*SQLITE_ERRORS, DatabaseFailure, TypeError)
"""What reading a damaged database raises; the last when a value in it has another type than its column."""

INTEGRITY_FINDINGS_MAX: Final = 10
"""Findings about one damaged database: the first says enough, it has to be rebuilt."""

SCHEMAS: Final[tuple[tuple[str, Schema], ...]] = (("main", SESSIONS_SCHEMA), ("ledger", LEDGER_SCHEMA))
"""As what each database is attached."""


@contextmanager
def snapshot(layout: DataLayout, findings: Findings) -> Iterator[sqlite3.Connection | None]:
    """Give both databases read-only, sessions as `main` and the ledger as `ledger`, in one transaction.

    None where there is none to give, which is a finding. Raises SchemaRefused for those of another version.
    """
    missing = [path.name for path in (layout.sessions_database, layout.ledger_database) if not path.exists()]
    for name in missing:
        findings.add(f"{name} is missing: start the server or run `central-command rebuild`")
    if missing:
        yield None
        return
    with ExitStack() as stack:
        databases = None
        try:
            databases = stack.enter_context(_attached(layout))
        except SchemaRefused:
            raise
        except UNREADABLE as error:
            findings.add(f"a database cannot be read: {error}")
        yield databases


@contextmanager
def _attached(layout: DataLayout) -> Iterator[sqlite3.Connection]:
    with readable(layout.ledger_database) as ledger, connected_to_read(layout.sessions_database) as connection:
        connection.execute("ATTACH ? AS ledger", (ledger,))
        connection.execute("BEGIN")
        # The ledger first: it is projected last, so its position can only be behind the other's.
        for database, schema in reversed(SCHEMAS):
            check_version(connection, schema, database)
        yield connection


def is_intact(databases: sqlite3.Connection, findings: Findings) -> bool:
    """Whether both are whole as databases: a query may see a row through an index, and not that the two differ."""
    intact = True
    for database, schema in SCHEMAS:
        for (text,) in databases.execute(f"PRAGMA {database}.integrity_check({INTEGRITY_FINDINGS_MAX})"):
            if text != "ok":
                findings.add(f"{schema.name} is damaged: {text}")
                intact = False
    return intact


def positions(databases: sqlite3.Connection, database: str) -> dict[str, int]:
    """Return up to which line one of them has seen each journal."""
    return dict(databases.execute(f"SELECT journal, n FROM {database}.projection_positions"))  # noqa: S608
