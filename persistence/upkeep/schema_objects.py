"""Tables, indexes, triggers and views of a database, compared with those that the migrations make.

A missing trigger counts nothing more, a missing unique index lets everything in twice, and neither can be seen in the
rows that are there already.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple

from persistence.databases.migrations import Schema, migrate

OBJECTS: Final = "SELECT type, name, tbl_name, sql FROM {}.sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
"""SQLite's own (`sqlite_sequence`, automatic indexes, what ANALYZE keeps) follow from the others, or do no harm."""


class _Object(NamedTuple):
    type: str
    name: str
    table: str
    sql: str | None


class SchemaDifferences(NamedTuple):
    """What differs, a sentence each, and whether it is a table, so that its rows cannot be compared."""

    sentences: list[str]
    of_tables: bool


def schema_differences(databases: sqlite3.Connection, database: str, schema: Schema) -> SchemaDifferences:
    """Compare a database (attached as `database`) with an empty one of the same version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new, schema, applied_at="")
        expected = _objects(new, "main")
    found = _objects(databases, database)
    differing = {name for name in {*expected, *found} if expected.get(name) != found.get(name)}
    types = {side[name].type for side in (expected, found) for name in differing if name in side}
    return SchemaDifferences(
        list(_sentences(expected, found, sorted(differing))), of_tables=not types.isdisjoint({"table", "view"})
    )


def _objects(connection: sqlite3.Connection, database: str) -> dict[str, _Object]:
    return {row[1]: _Object(*row) for row in connection.execute(OBJECTS.format(database))}


def _sentences(expected: dict[str, _Object], found: dict[str, _Object], names: list[str]) -> Iterator[str]:
    for name in names:
        wanted, there = expected.get(name), found.get(name)
        if there is None:
            assert wanted is not None
            yield f"the {wanted.type} {name} is missing: run `central-command rebuild`"
        elif wanted is None:
            yield f"the {there.type} {name!r} is none of its own: run `central-command rebuild`"
        else:
            yield f"the {there.type} {name} is not as this version makes it: run `central-command rebuild`"
