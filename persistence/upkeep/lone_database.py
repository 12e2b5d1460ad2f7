"""A database that nothing else speaks of, checked: readable, whole, with the tables of its version, and what it says.

A server may write it meanwhile: it is looked at in one state.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from persistence.databases.database import SchemaRefused
from persistence.databases.migrations import Schema
from persistence.databases.reading import check_version, connected_to_read
from persistence.upkeep.findings import Findings
from persistence.upkeep.schema_objects import schema_differences
from persistence.upkeep.snapshot import UNREADABLE


def check_database(
    path: Path,
    schema: Schema,
    findings: Findings,
    *,
    advice: str,
    look: Callable[[sqlite3.Connection, Findings], None],
) -> None:
    """Check a database, if there is one; `advice` says what to do with a damaged one. Raises SchemaRefused."""
    if not path.exists():
        return
    try:
        with connected_to_read(path) as connection:
            connection.execute("BEGIN")
            check_version(connection, schema)
            ((integrity,),) = connection.execute("PRAGMA integrity_check(1)")
            if integrity != "ok" or schema_differences(connection, "main", schema).sentences:
                findings.add(f"{schema.name} is damaged, or of other tables: {advice}")
                return
            look(connection, findings)
    except SchemaRefused:
        raise
    except UNREADABLE as error:
        findings.add(f"{schema.name} cannot be read ({error}): {advice}")
