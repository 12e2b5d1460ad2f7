"""What a data directory holds, to compare before and after."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from persistence.format.records import JournalName

Journals = dict[str, bytes]
"""All bytes of each journal, its days one after the other; not `operations/`, where the server notes what it did."""

Tables = dict[str, list[tuple[Any, ...]]]
"""The rows of each table of both databases."""

_OF_DEAD_LETTERS = ("sessions.db sessions", "sessions.db refused_envelopes")
_COUNTED_BY_DEAD_LETTERS = frozenset({"sessions_unused", "refused_without_body"})
"""Columns of totals: a session's first letter is a use of it. `verify` compares them with the rows."""
_POSITIONS = "projection_positions"  # follows the journals, whose bytes are compared


def journals(root: Path) -> Journals:
    """Read all journals."""
    found: Journals = {}
    for path in sorted(root.glob("*/*.jsonl")):
        if path.parent.name == JournalName.OPERATIONS:
            continue
        found[path.parent.name] = found.get(path.parent.name, b"") + path.read_bytes()
    return found


def tables(root: Path) -> Tables:
    """Read both databases; no server may be running."""
    found: Tables = {}
    for name in ("sessions.db", "ledger.db"):
        connection = sqlite3.connect(root / name)
        try:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                if table != _POSITIONS:
                    columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
                    compared = ", ".join(f'"{each}"' for each in columns if each not in _COUNTED_BY_DEAD_LETTERS)
                    found[f"{name} {table}"] = sorted(connection.execute(f"SELECT {compared} FROM {table}"), key=repr)
        finally:
            connection.close()
    return found


def rows_changed(before: Tables, after: Tables, *, kept_of: frozenset[str] = frozenset()) -> list[str]:
    """Each row that was added or removed, in words, but for what follows from the dead letters of these sessions."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        was, now = Counter(before.get(table, [])), Counter(after.get(table, []))
        for verb, rows in (("added", now - was), ("removed", was - now)):
            found += [
                f"{table}: {verb} {row}"
                for row in rows.elements()
                if table not in _OF_DEAD_LETTERS or not kept_of.intersection(row)
            ]
    return found
