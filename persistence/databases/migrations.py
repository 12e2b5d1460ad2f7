"""The tables of the databases, as migrations numbered from 1; `schema_migrations` notes which were applied, and when.

A migration, once released, is never changed: a later one is added. Tables with a text key and short rows have no rowid,
so that equal contents are stored equally. Triggers hold what must hold between tables: sessions are counted where they
are inserted, a credit and its balance are one fact.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from persistence.databases.access_tables import ACCESS_1, ACCESS_2
from persistence.databases.corpus_tables import CORPUS_1, CORPUS_2, CORPUS_3, CORPUS_4
from persistence.databases.database import SchemaRefused
from persistence.databases.jobs_tables import JOBS_1
from persistence.databases.ledger_tables import LEDGER_1, LEDGER_2, LEDGER_3, LEDGER_4, LEDGER_5, LEDGER_6
from persistence.databases.search_tables import SEARCH_1, SEARCH_2
from persistence.databases.sessions_tables import (
    SESSIONS_1,
    SESSIONS_2,
    SESSIONS_3,
    SESSIONS_4,
    SESSIONS_5,
    SESSIONS_6,
    SESSIONS_7,
)


class Schema(msgspec.Struct, frozen=True):
    """A database's name, for people, and its migrations; the first has number 1.

    `pragmas` are those of its writer, beside what all have.
    """

    name: str
    migrations: tuple[str, ...]
    pragmas: tuple[str, ...] = ()


SESSIONS_SCHEMA = Schema(
    "sessions.db", (SESSIONS_1, SESSIONS_2, SESSIONS_3, SESSIONS_4, SESSIONS_5, SESSIONS_6, SESSIONS_7)
)
# With so large a cache what is gathered is put in order within it, and not in a temporary file.
LEDGER_SCHEMA = Schema(
    "ledger.db",
    (LEDGER_1, LEDGER_2, LEDGER_3, LEDGER_4, LEDGER_5, LEDGER_6),
    ("PRAGMA cache_size = -16384",),
)
CORPUS_SCHEMA = Schema("corpus.db", (CORPUS_1, CORPUS_2, CORPUS_3, CORPUS_4))
SEARCH_SCHEMA = Schema("search.db", (SEARCH_1, SEARCH_2), ("PRAGMA secure_delete = ON", "PRAGMA cache_size = -32768"))
ACCESS_SCHEMA = Schema("access.db", (ACCESS_1, ACCESS_2))
JOBS_SCHEMA = Schema("jobs.db", (JOBS_1,))


class NewerSchema(SchemaRefused):
    """The database was written by a later version of this program."""


def migrate(connection: sqlite3.Connection, schema: Schema, *, applied_at: str) -> int:
    """Apply the migrations that are missing, each in a transaction of its own; answer how many.

    `connection` has `isolation_level` None. Raises `NewerSchema`, and `sqlite3.Error` with the failed migration undone.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)"
    )
    found = version_of(connection)
    known = len(schema.migrations)
    if found > known:
        raise NewerSchema(
            f"{schema.name} has schema version {found}, and this version of the program knows only versions up to "
            f"{known}: start the newer program, or restore a backup"
        )
    for version, script in enumerate(schema.migrations[found:], start=found + 1):
        _apply(connection, script, version, applied_at)
    return known - found


def version_of(connection: sqlite3.Connection, database: str = "main") -> int:
    """Return the number of the last migration that was applied to a database (attached as `database`), 0 for none."""
    ((version,),) = connection.execute(f"SELECT coalesce(max(version), 0) FROM {database}.schema_migrations")  # noqa: S608
    if not isinstance(version, int):
        raise sqlite3.DatabaseError("schema_migrations holds something else than numbers")
    return version


def _apply(connection: sqlite3.Connection, script: str, version: int, applied_at: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in split_statements(script):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_migrations (version, applied_at) VALUES (?, ?)", (version, applied_at))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def split_statements(script: str) -> Sequence[str]:
    """Cut a script into its statements (`executescript` would commit the transaction that a migration runs in)."""
    statements: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text.strip())
            text = ""
    assert not text.strip(), f"the script ends within a statement: {text!r}"
    return statements
