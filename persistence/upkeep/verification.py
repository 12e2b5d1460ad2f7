"""Everything stored, checked against each other: lines, index rows, counters and credits.

Three independent checks, so that a fault in one of them does not hide:
- each journal line has its checksum and its number, and says the same twice where it says something twice;
- the databases hold what a projection of the journals into new ones gives, row by row, column by column;
- sums are sums: balances of credits, totals of days, a trajectory's steps of its session's chunks.

It reads only. While a server runs, the databases are read in one snapshot each, and the journals up to the positions
that the snapshot names; what was written later is checked as lines, not as rows. Between the two snapshots, and between
a close and its trajectory, a running server's sums may differ for a moment, so a sum counts as wrong only when it stays
wrong for `SETTLING_S`.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from persistence.databases.database import SQLITE_ERRORS, DatabaseFailure
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import (
    connect_read_only,
    open_inline_database,
    read_only_uri,
    reading_database,
)
from persistence.databases.projection import project_ledger, project_sessions
from persistence.format.layout import DataLayout
from persistence.format.records import Committed, JournalName
from persistence.journals.lines import LineError, parse_line
from persistence.journals.reading import JournalDamage, Scan, StoredLine
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings
from persistence.upkeep.comparison import differences
from persistence.upkeep.rebuilding import copy_facts, copy_ledger_times, ledger_facts, restore_trust
from persistence.upkeep.sums import FINISHED_CLOSES, wrong_sums

FINDINGS_MAX = 1_000
"""More findings than anyone reads; a missing file alone can make millions."""

SETTLING_S = 1.0
"""More than a running server takes from a close to its trajectory and its credit in the databases."""

SETTLING_CHECK_S = 0.05

INTEGRITY_FINDINGS_MAX = 10
"""Findings about one damaged database: the first says enough, it has to be rebuilt."""

UNREADABLE = (*SQLITE_ERRORS, DatabaseFailure, TypeError)
"""What reading a damaged database raises; the last when a value in it has another type than its column."""


async def verify(
    data_directory: Path, settings: StorageSettings, *, applied_at: str, closes_are_finished: bool = True
) -> list[str]:
    """Check everything stored; return one line for each place where two things differ, at most FINDINGS_MAX.

    Without `closes_are_finished`, a closed session may lack its trajectory: the next start makes it.
    """
    layout = DataLayout(data_directory)
    findings = _Findings()
    try:
        with _snapshot(layout, findings) as databases:
            if databases is None or not _is_intact(databases, findings):
                return findings.lines
            with tempfile.TemporaryDirectory(prefix="central-command-verify-") as workplace:
                expected = DataLayout(Path(workplace))
                await _project_expected(layout, expected, databases, settings, findings, applied_at=applied_at)
                for schema, path in (("main", expected.sessions_database), ("ledger", expected.ledger_database)):
                    for difference in differences(databases, schema, path):
                        findings.add(f"{path.name}: {difference}")
            wrong = wrong_sums(databases)
    except UNREADABLE as error:
        findings.add(f"a database cannot be read: {error}")
        return findings.lines
    if not closes_are_finished:
        wrong = {key: finding for key, finding in wrong.items() if key[0] != FINISHED_CLOSES}
    for finding in await _staying_wrong(layout, findings, wrong):
        findings.add(finding)
    return findings.lines


async def _staying_wrong(layout: DataLayout, findings: "_Findings", wrong: dict[tuple[str, str], str]) -> list[str]:
    """Look at wrong sums again for `SETTLING_S`, each time in new snapshots; return those that stay wrong."""
    deadline = trio.current_time() + SETTLING_S
    while wrong and trio.current_time() < deadline:
        await trio.sleep(SETTLING_CHECK_S)
        with _snapshot(layout, findings) as databases:
            if databases is None:
                break
            current = wrong_sums(databases)
        wrong = {key: current[key] for key in wrong if key in current}
    return list(wrong.values())


class _Findings:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        if len(self.lines) < FINDINGS_MAX:
            self.lines.append(line)
        elif len(self.lines) == FINDINGS_MAX:
            self.lines.append(f"more than {FINDINGS_MAX} findings; the rest is not listed")


@contextmanager
def _snapshot(layout: DataLayout, findings: _Findings) -> Iterator[sqlite3.Connection | None]:
    """Open both databases read-only, sessions as `main` and the ledger as `ledger`, in one transaction."""
    missing = [path.name for path in (layout.sessions_database, layout.ledger_database) if not path.exists()]
    for name in missing:
        findings.add(f"{name} is missing: start the server or run `central-command rebuild`")
    if missing:
        yield None
        return
    try:
        connection = _attached(layout)
    except UNREADABLE as error:
        findings.add(f"a database cannot be read: {error}")
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def _attached(layout: DataLayout) -> sqlite3.Connection:
    connection = connect_read_only(layout.sessions_database)
    try:
        connection.execute("ATTACH ? AS ledger", (read_only_uri(layout.ledger_database),))
        connection.execute("BEGIN")
        # The ledger first: it is projected last, so its position can only be behind the other's.
        connection.execute("SELECT count(*) FROM ledger.totals").fetchall()
        connection.execute("SELECT count(*) FROM main.totals").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_intact(databases: sqlite3.Connection, findings: _Findings) -> bool:
    """Whether both are whole as databases: a query may see a row through an index, and not that the two differ."""
    intact = True
    for schema, name in (("main", "sessions.db"), ("ledger", "ledger.db")):
        for (text,) in databases.execute(f"PRAGMA {schema}.integrity_check({INTEGRITY_FINDINGS_MAX})"):
            if text != "ok":
                findings.add(f"{name} is damaged: {text}")
                intact = False
    return intact


def _positions(databases: sqlite3.Connection, schema: str) -> dict[str, int]:
    return dict(databases.execute(f"SELECT journal, n FROM {schema}.projection_positions"))  # noqa: S608


async def _project_expected(
    layout: DataLayout,
    expected: DataLayout,
    databases: sqlite3.Connection,
    settings: StorageSettings,
    findings: _Findings,
    *,
    applied_at: str,
) -> None:
    """Check every line, and project those that the databases have seen into new databases."""
    trusted = ledger_facts(databases, "ledger")
    async with (
        open_inline_database(expected.sessions_database, SESSIONS_SCHEMA, settings, applied_at=applied_at) as sessions,
        open_inline_database(expected.ledger_database, LEDGER_SCHEMA, settings, applied_at=applied_at) as ledger,
    ):
        await copy_facts(reading_database(databases, SESSIONS_SCHEMA), sessions)
        await copy_ledger_times(ledger, trusted)
        seen, seen_by_ledger = _positions(databases, "main"), _positions(databases, "ledger")
        for name in JournalName:
            n = 0
            journal = StoredJournal.of(layout, name)
            for foreign in journal.foreign_names():
                findings.add(f"{name}: {foreign!r} in its folder is not the journal's and is left alone: move it away")
            scan = journal.scan()
            while batch := await _next_batch(scan, name, findings):
                n = batch[-1].position.n
                new = [each for each in batch if each.position.n <= seen.get(name, 0)]
                if new:
                    await sessions.write(project_sessions(name, new), durable=False)
                credited = [each for each in batch if each.position.n <= seen_by_ledger.get(name, 0)]
                if credited:
                    await ledger.write(project_ledger(credited), durable=False)
            for database, position in (("sessions.db", seen), ("ledger.db", seen_by_ledger)):
                if position.get(name, 0) > n:
                    findings.add(f"{name}: {database} has seen line {position[name]}, but the journal ends at {n}")
        await restore_trust(ledger, trusted)


async def _next_batch(scan: Scan, name: JournalName, findings: _Findings) -> list[Committed]:
    """Return a journal's next good lines; none at its end, or where it is damaged."""
    try:
        async for lines in scan:
            batch = [each for line in lines if (each := _parsed(name, line, findings)) is not None]
            if batch:
                return batch
    except JournalDamage as damage:
        findings.add(f"{name}: {damage.what}")
    return []


def _parsed(name: JournalName, line: StoredLine, findings: _Findings) -> Committed | None:
    try:
        record = parse_line(name, line.text)
    except LineError as error:
        findings.add(f"{name}: {line.where}: {error}")
        return None
    return Committed(record, line.position)
