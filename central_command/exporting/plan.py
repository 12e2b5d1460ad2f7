"""What an export is going to read and what it has done so far, on disk: so that it goes on where it was.

A SQLite file within the export's own unfinished folder. The records to look at are fixed when an export begins, in the
order in which they are read; what comes into the corpus later is the next export's. Everything that is found out about
them is committed together with the files that a segment has filled (`central_command.exporting.engine`): what was begun
after that never happened.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.corpus.trajectory import Judgement
from central_command.exporting.contents import Entry, Within, WrittenFile
from central_command.exporting.reasons import LeftOutReason
from central_command.exporting.selection import ExportRefused
from persistence.databases.reading import connected_to_read
from persistence.format.records import Position

SCHEMA: Final = (
    """CREATE TABLE gathered (trajectory_id TEXT PRIMARY KEY, record_id TEXT, session_id TEXT, contributor TEXT,
    cluster TEXT, sha256 TEXT, rank REAL, split INTEGER, n INTEGER, day TEXT, "offset" INTEGER, length INTEGER)""",
    """CREATE TABLE candidates (ordinal INTEGER PRIMARY KEY, record_id TEXT, trajectory_id TEXT, session_id TEXT,
    contributor TEXT, cluster TEXT, sha256 TEXT, split INTEGER, n INTEGER, day TEXT, "offset" INTEGER, length INTEGER,
    is_chosen INTEGER)""",
    "CREATE INDEX candidates_by_record ON candidates (record_id)",
    "CREATE TABLE owners (cluster TEXT PRIMARY KEY, split INTEGER)",
    "CREATE TABLE sessions (session_id TEXT PRIMARY KEY, split INTEGER)",
    "CREATE TABLE kept (sequence INTEGER PRIMARY KEY, record_id TEXT UNIQUE, cluster TEXT, sha256 TEXT, entry BLOB)",
    "CREATE INDEX kept_by_cluster ON kept (cluster)",
    "CREATE INDEX kept_by_sha256 ON kept (sha256)",
    "CREATE TABLE embedded (record_id TEXT PRIMARY KEY, parent TEXT, cluster TEXT, sha256 TEXT)",
    "CREATE INDEX embedded_by_cluster ON embedded (cluster)",
    "CREATE INDEX embedded_by_sha256 ON embedded (sha256)",
    """CREATE TABLE agents (ordinal INTEGER PRIMARY KEY, record_id TEXT UNIQUE, trajectory_id TEXT, contributor TEXT,
    name TEXT, id TEXT, parent_id TEXT, is_subagent INTEGER)""",
    "CREATE INDEX agents_by_name ON agents (contributor, name)",
    "CREATE INDEX agents_by_id ON agents (contributor, id)",
    """CREATE TABLE families (record_id TEXT PRIMARY KEY, parent TEXT, place INTEGER, root TEXT, depth INTEGER)""",
    "CREATE INDEX families_by_parent ON families (parent)",
    "CREATE TABLE judgements (trajectory_id TEXT PRIMARY KEY, judgement BLOB)",
    "CREATE TABLE left_out (record_id TEXT PRIMARY KEY, reason TEXT, detail TEXT)",
    "CREATE TABLE files (path TEXT PRIMARY KEY, entry BLOB)",
    "CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB)",
)
PUT_GATHERED: Final = "INSERT OR REPLACE INTO gathered VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# A cluster belongs to the split of its first member: of the columns beside min(), SQLite gives those of that row.
PUT_OWNERS: Final = """
INSERT OR IGNORE INTO owners SELECT cluster, split FROM (
    SELECT cluster, split, min(trajectory_id) FROM gathered WHERE cluster != '' GROUP BY cluster)
"""
PUT_SESSIONS: Final = "INSERT OR IGNORE INTO sessions SELECT session_id, split FROM gathered"
PUT_CANDIDATES: Final = """
INSERT INTO candidates (record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day, "offset",
    length) SELECT record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day, "offset", length
FROM gathered ORDER BY rank, trajectory_id
"""
DROP_GATHERED: Final = "DROP TABLE gathered"
SELECT_CANDIDATES: Final = """
SELECT ordinal, record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day, "offset", length
FROM candidates WHERE ordinal >= ? AND is_chosen IS NOT 0 ORDER BY ordinal LIMIT ?
"""
SELECT_CANDIDATES_AT: Final = """
SELECT ordinal, record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day, "offset", length
FROM candidates WHERE ordinal IN (SELECT value FROM json_each(?)) ORDER BY ordinal
"""
SET_CHOSEN: Final = "UPDATE candidates SET is_chosen = ? WHERE ordinal = ?"
PUT_IN_ORDER: Final = """
CREATE TABLE again AS SELECT * FROM candidates WHERE is_chosen = 1 ORDER BY split, trajectory_id
"""
TAKE_IN_ORDER: Final = """
INSERT INTO candidates (record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day, "offset",
    length, is_chosen) SELECT record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day,
    "offset", length, 1 FROM again ORDER BY rowid
"""
PUT_FAMILIES_IN_ORDER: Final = """
CREATE TABLE again AS SELECT candidates.* FROM candidates LEFT JOIN families USING (record_id)
WHERE is_chosen IS NOT 0 ORDER BY split, coalesce(root, trajectory_id), coalesce(depth, 0), trajectory_id
"""
PUT_AGENT: Final = "INSERT OR REPLACE INTO agents VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_SUBAGENTS: Final = """
SELECT record_id, trajectory_id, contributor, name, id, parent_id, is_subagent, ordinal FROM agents
WHERE ordinal > ? AND (is_subagent OR parent_id != '') ORDER BY ordinal LIMIT ?
"""
SELECT_PARENTS: Final = """
SELECT record_id, trajectory_id, id != '' AND id = ?3 AS is_said FROM agents WHERE contributor = ?1 AND record_id != ?4
AND ((name != '' AND name = ?2) OR (id != '' AND id = ?3)) ORDER BY is_said DESC, is_subagent, ordinal LIMIT ?5
"""
PUT_FAMILY: Final = "INSERT INTO families VALUES (?, ?, ?, ?, ?)"
SELECT_FAMILY: Final = "SELECT parent, root, depth FROM families WHERE record_id = ?"
SELECT_PLACES: Final = "SELECT place FROM families WHERE parent = ? AND place IS NOT NULL"
MOVE_FAMILY: Final = """
WITH RECURSIVE below (record_id, depth) AS (
    SELECT record_id, depth FROM families WHERE parent = ?1
    UNION ALL SELECT families.record_id, families.depth FROM families JOIN below ON families.parent = below.record_id)
UPDATE families SET root = ?2, depth = depth + ?3 WHERE record_id IN (SELECT record_id FROM below)
"""
SELECT_DEEPEST: Final = """
WITH RECURSIVE below (record_id, levels) AS (
    SELECT ?1, 0
    UNION ALL SELECT families.record_id, levels + 1 FROM families JOIN below ON families.parent = below.record_id)
SELECT max(levels) FROM below
"""
SELECT_CHILDREN: Final = """
SELECT place, ordinal, candidates.record_id, trajectory_id, session_id, contributor, cluster, sha256, split, n, day,
    "offset", length
FROM families JOIN candidates USING (record_id) WHERE parent = ? AND is_chosen IS NOT 0 ORDER BY ordinal
"""
PUT_JUDGEMENT: Final = "INSERT OR REPLACE INTO judgements VALUES (?, ?)"
SELECT_JUDGEMENT: Final = "SELECT judgement FROM judgements WHERE trajectory_id = ?"
SELECT_POSITION: Final = 'SELECT n, day, "offset", length FROM candidates WHERE record_id = ?'
PUT_EMBEDDED: Final = "INSERT OR REPLACE INTO embedded VALUES (?, ?, ?, ?)"
SELECT_WITHIN: Final = "SELECT parent FROM embedded WHERE record_id = ?"
SELECT_EMBEDDED: Final = "SELECT record_id, parent FROM embedded"
PUT_KEPT: Final = "INSERT INTO kept (record_id, cluster, sha256, entry) VALUES (?, ?, ?, ?)"
PUT_LEFT_OUT: Final = "INSERT OR REPLACE INTO left_out VALUES (?, ?, ?)"
PUT_FILE: Final = "INSERT OR REPLACE INTO files VALUES (?, ?)"
PUT_STATE: Final = "INSERT OR REPLACE INTO state VALUES (?, ?)"
PUT_OWNER: Final = "INSERT OR IGNORE INTO owners VALUES (?, ?)"
PUT_SESSION: Final = "INSERT OR IGNORE INTO sessions VALUES (?, ?)"
SELECT_OWNER: Final = "SELECT split FROM owners WHERE cluster = ?"
SELECT_SESSION: Final = "SELECT split FROM sessions WHERE session_id = ?"
SELECT_SAME_CLUSTER: Final = """
SELECT 1 FROM kept WHERE cluster = ?1 UNION ALL SELECT 1 FROM embedded WHERE cluster = ?1 LIMIT 1
"""
SELECT_SAME_STEPS: Final = """
SELECT 1 FROM kept WHERE sha256 = ?1 UNION ALL SELECT 1 FROM embedded WHERE sha256 = ?1 LIMIT 1
"""
SELECT_IS_KEPT: Final = "SELECT 1 FROM kept WHERE record_id = ?"
SELECT_KEPT: Final = "SELECT sequence, entry FROM kept WHERE sequence > ? ORDER BY sequence LIMIT ?"
SELECT_KEPT_IDS: Final = "SELECT record_id FROM kept ORDER BY sequence"
SELECT_FILES: Final = "SELECT entry FROM files ORDER BY path"
SELECT_REASONS: Final = "SELECT reason, count(*) FROM left_out GROUP BY reason ORDER BY reason"
SELECT_LEFT_OUT: Final = "SELECT record_id, reason, detail FROM left_out ORDER BY record_id"
SELECT_STATE: Final = "SELECT value FROM state WHERE name = ?"
SELECT_TOTALS: Final = """
SELECT count(*), coalesce(sum(length), 0) FROM candidates WHERE is_chosen IS NOT 0 AND ordinal < ?
"""

ROWS_AT_ONCE: Final = 1_000
CACHE_KIB: Final = 16_384
ORDINAL_MAX: Final = 2**62


_encode: Final = msgspec.json.Encoder().encode


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """A record that is looked at: its place in the order of the export, and what is known of it without reading it."""

    ordinal: int
    record_id: str
    trajectory_id: str
    session_id: str
    contributor: str
    cluster: str
    sha256: str
    split: int
    position: Position


class PlannedAgent(msgspec.Struct, frozen=True, array_like=True):
    """Whose session a record is: by what it is joined with its parent and its sub-agents (`families`)."""

    record_id: str
    trajectory_id: str
    contributor: str
    name: str
    id: str
    parent_id: str
    is_subagent: bool
    ordinal: int


class Plan:
    """The plan of one export. What is changed counts once `commit` returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        return "<Plan>"

    def state(self, name: str) -> bytes | None:
        """A value that was set; None before."""
        rows = self._connection.execute(SELECT_STATE, (name,)).fetchall()
        return bytes(rows[0][0]) if rows else None

    def set_state(self, name: str, value: bytes) -> None:
        """Set a value."""
        self._connection.execute(PUT_STATE, (name, value))

    def gather(self, candidates: Iterable[tuple[Candidate, float]]) -> None:
        """Take in what is to be looked at, each with its rank: by this and by id they will be ordered."""
        rows = (
            (
                each.trajectory_id,
                each.record_id,
                each.session_id,
                each.contributor,
                each.cluster,
                each.sha256,
                rank,
                each.split,
                each.position.n,
                each.position.day,
                each.position.offset,
                each.position.length,
            )
            for each, rank in candidates
        )
        self._connection.executemany(PUT_GATHERED, rows)
        for statement in (PUT_OWNERS, PUT_SESSIONS, PUT_CANDIDATES, DROP_GATHERED):
            self._connection.execute(statement)

    def candidates(self, first: int) -> Iterator[Candidate]:
        """Yield what is to be looked at from a place on, in order."""
        while rows := self._connection.execute(SELECT_CANDIDATES, (first, ROWS_AT_ONCE)).fetchall():
            yield from map(_candidate, rows)
            first = rows[-1][0] + 1

    def candidates_at(self, ordinals: Sequence[int]) -> list[Candidate]:
        """Those at some places, which are in order."""
        rows = self._connection.execute(SELECT_CANDIDATES_AT, (msgspec.json.encode(ordinals).decode(),)).fetchall()
        return [_candidate(row) for row in rows]

    def choose(self, ordinal: int, *, is_chosen: bool) -> None:
        """Decide on one before anything is written."""
        self._connection.execute(SET_CHOSEN, (int(is_chosen), ordinal))

    def put_in_order(self) -> None:
        """Keep what was chosen alone, by split and id."""
        self._take_in_order(PUT_IN_ORDER)

    def put_families_in_order(self) -> None:
        """Put each sub-agent behind its parent: so it is known whether it stands within it."""
        self._take_in_order(PUT_FAMILIES_IN_ORDER)

    def _take_in_order(self, statement: str) -> None:
        self._connection.execute(statement)
        self._connection.execute("DELETE FROM candidates")
        self._connection.execute(TAKE_IN_ORDER)
        self._connection.execute("DROP TABLE again")

    def totals(self, before: int = ORDINAL_MAX) -> tuple[int, int]:
        """How many records are to be looked at before a place in their order, and their bytes."""
        ((count, size_bytes),) = self._connection.execute(SELECT_TOTALS, (before,))
        return count, size_bytes

    def keep(self, entry: Entry) -> None:
        """Note that a record is in the export, and where."""
        self._connection.execute(PUT_KEPT, (entry.record_id, entry.cluster, entry.sha256, _encode(entry)))
        if not entry.embedded:
            return
        rows = [(each.record_id, entry.record_id, each.cluster, each.sha256) for each in entry.embedded]
        self._connection.executemany(PUT_EMBEDDED, rows)

    def take_over(self, entry: Entry, split: int | None) -> None:
        """Note a record of an earlier run, whose split holds for its cluster.

        Without a split it is one that has gone: nothing is a copy of it, and no cluster is in its split.
        """
        if split is None:
            self._connection.execute(PUT_KEPT, (entry.record_id, "", "", msgspec.json.encode(entry)))
            return
        self.keep(entry)
        told: tuple[Entry | Within, ...] = (entry, *entry.embedded)
        for each in told:
            if each.cluster:
                self._connection.execute(PUT_OWNER, (each.cluster, split))
            self._connection.execute(PUT_SESSION, (each.session_id, split))

    def embedded(self) -> Iterator[tuple[str, str]]:
        """Yield the sub-agents that stand within others, with the record that they are in."""
        yield from self._connection.execute(SELECT_EMBEDDED)

    def within(self, record_id: str) -> str | None:
        """The record that a sub-agent stands in; None for one that stands in none."""
        row = self._connection.execute(SELECT_WITHIN, (record_id,)).fetchone()
        return None if row is None else str(row[0])

    def note_agent(self, agent: PlannedAgent) -> None:
        """Note whose session a candidate is."""
        row = (agent.ordinal, *msgspec.structs.astuple(agent)[:-1])
        self._connection.execute(PUT_AGENT, row)

    def subagents(self) -> Iterator[PlannedAgent]:
        """Yield the candidates that another agent has begun, in order."""
        last = -1
        while rows := self._connection.execute(SELECT_SUBAGENTS, (last, ROWS_AT_ONCE)).fetchall():
            for *texts, is_subagent, ordinal in rows:
                yield msgspec.convert([*texts, bool(is_subagent), ordinal], PlannedAgent)
            last = rows[-1][-1]

    def parents(self, child: PlannedAgent, limit: int) -> list[tuple[str, str, bool]]:
        """What may have begun a sub-agent: record, trajectory, and whether its client says so; those first."""
        values = (child.contributor, child.name, child.parent_id, child.record_id, limit)
        rows = self._connection.execute(SELECT_PARENTS, values).fetchall()
        return [(record_id, trajectory_id, bool(is_said)) for record_id, trajectory_id, is_said in rows]

    def position(self, record_id: str) -> Position:
        """Where a candidate's line is."""
        ((n, day, offset, length),) = self._connection.execute(SELECT_POSITION, (record_id,))
        return Position(n=n, day=day, offset=offset, length=length, at=0.0)

    def taken_places(self, parent: str) -> frozenset[int]:
        """The steps of a record that sub-agents are known to come from."""
        return frozenset(place for (place,) in self._connection.execute(SELECT_PLACES, (parent,)))

    def join(self, child: str, parent: str, parent_trajectory: str, place: int | None, *, depth_max: int) -> bool:
        """Join a sub-agent with its parent; False, and nothing, where that makes a circle or goes too deep."""
        ancestor = parent
        root, depth = parent_trajectory, 1
        while (row := self._connection.execute(SELECT_FAMILY, (ancestor,)).fetchone()) is not None:
            if ancestor == parent:
                root, depth = row[1], row[2] + 1
            ancestor = row[0]
            if ancestor == child:
                return False
        ((levels,),) = self._connection.execute(SELECT_DEEPEST, (child,))
        if depth + levels > depth_max:
            return False
        self._connection.execute(PUT_FAMILY, (child, parent, place, root, depth))
        self._connection.execute(MOVE_FAMILY, (child, root, depth))
        return True

    def put_judgements(self, judgements: Iterable[tuple[str, Judgement]]) -> None:
        """Take in what the judge has said by now, by trajectories' ids: what it says later is the next export's."""
        rows = ((trajectory_id, msgspec.json.encode(each)) for trajectory_id, each in judgements)
        self._connection.executemany(PUT_JUDGEMENT, rows)

    def judgement(self, trajectory_id: str) -> Judgement | None:
        """What the judge said of a trajectory; None of one that was not judged."""
        row = self._connection.execute(SELECT_JUDGEMENT, (trajectory_id,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Judgement)

    def children(self, record_id: str) -> list[tuple[int | None, Candidate]]:
        """The candidates that are a record's own sub-agents, with the place of the step that each comes from."""
        found = []
        for place, *named, n, day, offset, length in self._connection.execute(SELECT_CHILDREN, (record_id,)).fetchall():
            position = Position(n=n, day=day, offset=offset, length=length, at=0.0)
            found.append((place, msgspec.convert([*named, position], Candidate)))
        return found

    def forget_kept(self) -> None:
        """Forget what was kept, before it is decided anew."""
        self._connection.execute("DELETE FROM kept")

    def leave_out(self, record_id: str, reason: LeftOutReason, detail: str = "") -> None:
        """Note that a record is not in the export, and why."""
        self._connection.execute(PUT_LEFT_OUT, (record_id, reason, detail))

    def add_file(self, file: WrittenFile) -> None:
        """Note a file that is whole."""
        self._connection.execute(PUT_FILE, (file.path, msgspec.json.encode(file)))

    def remove_file(self, path: str) -> None:
        """Forget a file."""
        self._connection.execute("DELETE FROM files WHERE path = ?", (path,))

    def files(self) -> list[WrittenFile]:
        """The files that are whole, by their paths."""
        return [msgspec.json.decode(entry, type=WrittenFile) for (entry,) in self._connection.execute(SELECT_FILES)]

    def kept(self) -> Iterator[Entry]:
        """Yield the records that are in the export, in their order in it."""
        return map(msgspec.json.Decoder(Entry).decode, self.kept_texts())

    def kept_texts(self) -> Iterator[bytes]:
        """Yield the same, each as its JSON text."""
        last = 0
        while rows := self._connection.execute(SELECT_KEPT, (last, ROWS_AT_ONCE)).fetchall():
            for _, entry in rows:
                yield entry
            last = rows[-1][0]

    def kept_ids(self) -> Iterator[str]:
        """Yield the ids of the records that are in the export, in their order in it."""
        for (record_id,) in self._connection.execute(SELECT_KEPT_IDS):
            yield record_id

    def replace_kept(self, entries: Iterable[Entry]) -> None:
        """Put these in the place of all that were kept."""
        self._connection.execute("CREATE TABLE fewer AS SELECT record_id, cluster, sha256, entry FROM kept WHERE 0")
        rows = ((each.record_id, each.cluster, each.sha256, msgspec.json.encode(each)) for each in entries)
        self._connection.executemany("INSERT INTO fewer VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("DELETE FROM kept")
        self._connection.execute(
            "INSERT INTO kept (record_id, cluster, sha256, entry) SELECT * FROM fewer ORDER BY rowid"
        )
        self._connection.execute("DROP TABLE fewer")

    def is_kept(self, record_id: str) -> bool:
        """Whether a record is in the export."""
        return self._has(SELECT_IS_KEPT, record_id)

    def has_cluster(self, cluster: str) -> bool:
        """Whether a near copy is in the export."""
        return self._has(SELECT_SAME_CLUSTER, cluster)

    def has_steps(self, sha256: str) -> bool:
        """Whether a trajectory of the same steps is in the export."""
        return self._has(SELECT_SAME_STEPS, sha256)

    def split_of_cluster(self, cluster: str) -> int | None:
        """The split that a cluster belongs to."""
        return self._split(SELECT_OWNER, cluster)

    def split_of_session(self, session_id: str) -> int | None:
        """The split of a session's contributor; None for one that is not looked at."""
        return self._split(SELECT_SESSION, session_id)

    def reasons(self) -> Counter[str]:
        """How many records were left out, by reason."""
        return Counter(dict(self._connection.execute(SELECT_REASONS).fetchall()))

    def left_out(self) -> Iterator[tuple[str, str, str]]:
        """Yield what was left out: record, reason, and what else there is to say of it."""
        yield from self._connection.execute(SELECT_LEFT_OUT)

    def commit(self) -> None:
        """Make all of it count."""
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")

    def _has(self, query: str, value: str) -> bool:
        return self._connection.execute(query, (value,)).fetchone() is not None

    def _split(self, query: str, value: str) -> int | None:
        row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else int(row[0])


def _candidate(row: Sequence[Any]) -> Candidate:
    *named, split, n, day, offset, length = row
    ordinal, record_id, trajectory_id, session_id, contributor, cluster, sha256 = named
    position = Position(n=n, day=day, offset=offset, length=length, at=0.0)
    return Candidate(ordinal, record_id, trajectory_id, session_id, contributor, cluster, sha256, split, position)


@contextmanager
def open_plan(path: Path) -> Iterator[Plan]:
    """Open the plan of an export, made if missing; what was not committed when the block ends is forgotten.

    Raises ExportRefused where it cannot be read or written.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("BEGIN")
            if not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                for statement in SCHEMA:
                    connection.execute(statement)
            yield Plan(connection)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: sqlite3.Error) -> ExportRefused:
    return ExportRefused(f"the plan {path} cannot be used ({error}): make room, or remove {path.parent} to begin anew.")


@contextmanager
def open_plan_to_read(path: Path) -> Iterator[Plan]:
    """Open the plan of an export that another process makes: what is read of it is what was committed by then.

    Raises ExportRefused where it cannot be read.
    """
    try:
        with connected_to_read(path) as connection:
            yield Plan(connection)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
