"""Everything stored, checked against each other: lines, index rows, counters and credits.

Independent checks, so that a fault in one of them does not hide:
- each journal line has its checksum, its number and its batch, and no two say what only one may say;
- the databases have the tables, indexes and triggers of their version, and hold what a projection of the journals into
  new ones gives, row by row, column by column;
- sums are sums: balances of credits, totals of days, a trajectory's steps of its session's chunks;
- the master key, where it is there, is the one that sealed the sessions;
- the corpus, if there is one: its lines, and its database against them (`persistence.upkeep.corpus_check`), and its
  index against that (`persistence.upkeep.search_check`);
- the digests of the ledger: that they are a chain, with the roots of the lines of trajectories that they cover
  (`persistence.digests`);
- the tokens, if there are any (`persistence.upkeep.access_check`), the jobs
  (`persistence.upkeep.jobs_check`) and the operations (`persistence.upkeep.operations_check`).

It reads only, and looks at no line twice. What takes more (signatures, stitching and scoring anew) is a closer look,
made of parts that this package does not know: whoever wants it hands it in (`CloserLook`).

While a server runs, the databases are read in one snapshot each, and the journals up to the positions that the snapshot
names; what was written later is checked as lines, not as rows. Between the two snapshots, and between a close and its
trajectory, a running server's sums may differ for a moment, so a sum counts as wrong only when it stays wrong for
`SETTLING_S`, or longer where the server projects less often.
"""

import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import msgspec
import trio

from persistence.databases.database import SchemaRefused
from persistence.databases.fingerprints import Fingerprints
from persistence.databases.key_check import open_check
from persistence.databases.migrations import SESSIONS_SCHEMA
from persistence.databases.reading import connected_to_read, reading_database
from persistence.databases.session_index import SessionIndex
from persistence.databases.session_secrets import SessionSecrets
from persistence.digests import DigestCheck, read_digests
from persistence.files.failures import StorageDamage
from persistence.files.file_system import inline
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED, DigestRecord, JournalName
from persistence.journals.decoding import LineError
from persistence.journals.reading import JournalDamage, JournalReader
from persistence.journals.stored import StoredJournal
from persistence.keys.sealing import MasterKeyError, Sealer, find_master_key
from persistence.settings.storage import StorageSettings
from persistence.upkeep.access_check import check_access, check_audit
from persistence.upkeep.comparison import differences
from persistence.upkeep.corpus_check import check_corpus
from persistence.upkeep.expectation import Expectation, expectation
from persistence.upkeep.findings import Findings
from persistence.upkeep.jobs_check import check_jobs
from persistence.upkeep.operations_check import check_operations
from persistence.upkeep.rebuilding import copy_facts, copy_ledger_times, ledger_facts, restore_trust
from persistence.upkeep.schema_objects import schema_differences
from persistence.upkeep.search_check import check_search
from persistence.upkeep.snapshot import SCHEMAS, UNREADABLE, is_intact, positions, snapshot
from persistence.upkeep.sums import FINISHED_CLOSES, contradictions, wrong_sums

SETTLING_S = 1.0
"""More than a running server takes from a close to its trajectory and its credit in the databases.

Times twice `storage.projection_interval_s` where that is more than half a second: two projections may lie between.
"""

SETTLING_CHECK_S = 0.05

NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a closer look looks at.

    `index` and `fingerprints` are made anew from the journals, up to the line in `ends` of each. `secrets` are the
    stored ones.
    """

    journals: Mapping[JournalName, JournalReader]
    ends: Mapping[JournalName, int]
    index: SessionIndex
    fingerprints: Fingerprints
    secrets: SessionSecrets


class CloserLook(Protocol):
    """A check of what the lines mean, after they were checked as lines."""

    async def look(self, stored: Stored, findings: Findings) -> None:
        """Look at everything stored; a line that is not what it should be is a finding."""
        ...


async def verify(
    data_directory: Path,
    settings: StorageSettings,
    *,
    applied_at: str,
    closes_are_finished: bool = True,
    environment: Mapping[str, str] = NO_ENVIRONMENT,
    closer_look: CloserLook | None = None,
) -> list[str]:
    """Check everything stored; return one line for each place where two things differ, at most `FINDINGS_MAX`.

    Without `closes_are_finished`, a closed session may lack its trajectory: the next start makes it. `environment` may
    hold the master key. Raises SchemaRefused for databases of another version of the program.
    """
    layout = DataLayout(data_directory)
    findings = Findings()
    try:
        sealer = _sealer(layout, environment, findings)
        with snapshot(layout, findings) as databases:
            if databases is None or not is_intact(databases, findings) or not _has_its_tables(databases, findings):
                return findings.lines
            sealer = _fitting(sealer, layout, databases, findings)
            # 0700, and nothing that is sealed is copied there.
            with tempfile.TemporaryDirectory(prefix="central-command-verify-") as folder:
                workplace = DataLayout(Path(folder))
                digests = DigestCheck(await _digests(layout, findings))
                async with expectation(
                    layout, workplace, settings, findings, digests, applied_at=applied_at
                ) as expected:
                    dropped = expected.dropped
                    await _compare(databases, expected, workplace, findings)
                    await expected.project_rest()
                    digests.end()
                    for fault in digests.faults:
                        findings.add(f"digests: {fault}")
                    for contradiction in await contradictions(expected.sessions):
                        findings.add(contradiction)
                    if closer_look is not None:
                        await _look_closer(closer_look, layout, expected, sealer, findings)
            wrong = wrong_sums(databases, dropped)
        await _check_corpus(layout, settings, findings, applied_at=applied_at)
        check_access(layout, findings)
        check_jobs(layout, findings)
        await check_audit(layout, findings)
        await check_operations(layout, findings)
    except SchemaRefused:
        raise
    except UNREADABLE as error:
        findings.add(f"a database cannot be read: {error}")
        return findings.lines
    if not closes_are_finished:
        wrong = {key: finding for key, finding in wrong.items() if key[0] != FINISHED_CLOSES}
    for finding in await _staying_wrong(layout, settings, findings, wrong):
        findings.add(finding)
    return findings.lines


async def _digests(layout: DataLayout, findings: Findings) -> list[DigestRecord]:
    """The digests of the ledger that there are, if they can be read."""
    try:
        return await read_digests(layout, inline)
    except (JournalDamage, LineError) as error:
        findings.add(f"digests: {error.what if isinstance(error, JournalDamage) else error}")
        return []


async def _check_corpus(layout: DataLayout, settings: StorageSettings, findings: Findings, *, applied_at: str) -> None:
    """Check the corpus against the trajectories and texts that there are now: it only follows them."""

    def reached_n() -> dict[str, int]:
        with snapshot(layout, findings) as databases:
            return {} if databases is None else positions(databases, "main")

    await check_corpus(layout, settings, findings, reached_n=reached_n, applied_at=applied_at)
    await check_search(layout, findings)


def _has_its_tables(databases: sqlite3.Connection, findings: Findings) -> bool:
    """Whether all tables are there as they should be; what else of the schema differs is a finding."""
    of_tables = False
    for database, schema in SCHEMAS:
        differing = schema_differences(databases, database, schema)
        of_tables |= differing.of_tables
        for sentence in differing.sentences:
            findings.add(f"{schema.name}: {sentence}")
    return not of_tables


def _sealer(layout: DataLayout, environment: Mapping[str, str], findings: Findings) -> Sealer | None:
    try:
        key = find_master_key(layout.keys, environment)
    except MasterKeyError as error:
        findings.add(str(error))
        return None
    return None if key is None else Sealer(key)


def _fitting(
    sealer: Sealer | None, layout: DataLayout, databases: sqlite3.Connection, findings: Findings
) -> Sealer | None:
    """Return what sealed the sessions; None, which is a finding, when it was another key."""
    for (sealed,) in databases.execute("SELECT sealed FROM main.key_check").fetchall():
        if sealer is None:
            return None
        try:
            open_check(sealer, sealed, keys_folder=layout.keys)
        except (MasterKeyError, StorageDamage) as error:
            findings.add(str(error))
            return None
    return sealer


async def _compare(
    databases: sqlite3.Connection, expected: Expectation, workplace: DataLayout, findings: Findings
) -> None:
    """Project what the databases have seen into new ones, and compare the two."""
    trusted = ledger_facts(databases, "ledger")
    await copy_facts(
        reading_database(databases, SESSIONS_SCHEMA), expected.sessions, expected.dropped, with_secrets=False
    )
    await copy_ledger_times(expected.ledger, trusted)
    await expected.project_seen(positions(databases, "main"), positions(databases, "ledger"))
    await restore_trust(expected.ledger, trusted)
    for database, path in (("main", workplace.sessions_database), ("ledger", workplace.ledger_database)):
        for difference in differences(databases, database, path):
            findings.add(f"{path.name}: {difference}")


async def _look_closer(
    closer_look: CloserLook, layout: DataLayout, expected: Expectation, sealer: Sealer | None, findings: Findings
) -> None:
    # Not the snapshot's: a session may have been opened since, whose lines were read all the same.
    with connected_to_read(layout.sessions_database) as connection:
        stored = Stored(
            journals={name: StoredJournal.of(layout, name) for name in INGESTED},
            ends=expected.ends(),
            index=SessionIndex(expected.sessions),
            fingerprints=Fingerprints(expected.ledger),
            secrets=SessionSecrets(reading_database(connection, SESSIONS_SCHEMA), sealer),
        )
        try:
            await closer_look.look(stored, findings)
        except StorageDamage as damage:
            findings.add(str(damage))


async def _staying_wrong(
    layout: DataLayout, settings: StorageSettings, findings: Findings, wrong: dict[tuple[str, str], str]
) -> list[str]:
    """Look at wrong sums again for a while, each time in new snapshots; return those that stay wrong."""
    deadline = trio.current_time() + SETTLING_S * max(1.0, 2 * settings.projection_interval_s)
    while wrong and trio.current_time() < deadline:
        await trio.sleep(SETTLING_CHECK_S)
        with snapshot(layout, findings) as databases:
            if databases is None:
                break
            current = wrong_sums(databases, StoredJournal.of(layout, JournalName.REFUSED).dropped())
        wrong = {key: current[key] for key in wrong if key in current}
    return list(wrong.values())
