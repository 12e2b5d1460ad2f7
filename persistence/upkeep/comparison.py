"""Two databases compared, row by row and column by column, in bounded memory: both are read in key order and merged."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

TYPE_ORDER: Final = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}
"""How SQLite orders values of different types."""


SEALED: Final = {"sessions": {"server_private_key", "shared_secret"}, "key_check": {"sealed"}}
"""Columns that are not compared: they follow from nothing, so that what they hold need not leave the data directory."""


def differences(databases: sqlite3.Connection, schema: str, expected_path: Path) -> Iterator[str]:
    """Compare each table of a database with the expected one, both read in the order of the primary key."""
    expected = sqlite3.connect(expected_path)
    try:
        tables = expected.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (table,) in tables.fetchall():
            columns = expected.execute(f"PRAGMA table_info({table})").fetchall()
            names = [column[1] for column in columns if column[1] not in SEALED.get(table, ())]
            keys = [column[1] for column in sorted(columns, key=lambda column: column[5]) if column[5]]
            listed = ", ".join(f'"{column}"' for column in names)
            order = ", ".join(f'"{column}"' for column in keys)
            stored = databases.execute(f"SELECT {listed} FROM {schema}.{table} ORDER BY {order}")  # noqa: S608
            projected = expected.execute(f"SELECT {listed} FROM {table} ORDER BY {order}")  # noqa: S608
            places = [names.index(key) for key in keys]
            for difference in _row_differences(names, places, iter(stored), iter(projected)):
                yield f"table {table}: {difference}"
    finally:
        expected.close()


def _row_differences(
    names: list[str], keys: list[int], stored: Iterator[tuple[object, ...]], projected: Iterator[tuple[object, ...]]
) -> Iterator[str]:
    """Merge two row streams in key order and say how they differ."""

    def key_of(row: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(row[place] for place in keys)

    def order_of(row: tuple[object, ...]) -> list[tuple[int, Any]]:
        # Damage may change a value's type; SQLite's order of types is this one.
        return [(TYPE_ORDER[type(value)], 0 if value is None else value) for value in key_of(row)]

    have, want = next(stored, None), next(projected, None)
    while have is not None or want is not None:
        if want is None or (have is not None and order_of(have) < order_of(want)):
            assert have is not None
            yield f"row {key_of(have)} does not follow from the journals"
            have = next(stored, None)
        elif have is None or order_of(want) < order_of(have):
            yield f"row {key_of(want)} is missing"
            want = next(projected, None)
        else:
            if have != want:
                for name, one, other in zip(names, have, want, strict=True):
                    if one != other:
                        yield f"row {key_of(have)}: {name} is {one!r}, and the journals say {other!r}"
            have, want = next(stored, None), next(projected, None)
