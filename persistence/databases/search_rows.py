"""The rows of search.db: what a line of the corpus puts there, and how it is taken out again.

What is taken out of `steps` has to be named word for word, because the table holds no texts: they are told from the
record's line once more. Until its parts are merged, SQLite keeps the words beside the note that they count no more
(sqlite.org/fts5.html, "The 'delete' command"); `unmerged` says so, durably.

Steps are nearly all of the work, so all of many records are put in by one statement, from one text: SQLite gives the
interpreter's lock away once and not for each row, and whatever else has to be computed is, meanwhile. There must not be
many such statements in a transaction: at either end of one that inserts several rows, FTS5 may write what it has
gathered as a part of its own (its xSavepoint and xRelease), and parts have to be merged.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database, Row, Statement, Value
from persistence.format.indexed_line import IndexedLine
from persistence.format.json_text import array_of
from persistence.format.records import CorpusRecord, Position
from persistence.format.searched_steps import SearchedLine, SearchedStep
from persistence.format.step_places import StepBlock

PLACE_BITS: Final = 24
"""Of a row's number in `steps`, those that are the step's place; the rest is the number of the record's line."""

COLUMNS: Final = (
    "n, session_id, record_id, contributor_id, provider, model, domain, tier, outcome, started_at, rows, "
    'day, "offset", length, ended_at, step_count, tokens, quality, points, failed, lineage, parent_lineage, '
    "continues_session, log_start, log_end"
)
VALUES: Final = ", ".join("?" * (COLUMNS.count(",") + 1))
PUT_SESSION: Final = f"INSERT INTO sessions ({COLUMNS}) VALUES ({VALUES})"  # noqa: S608
PUT_BLOCK: Final = """
INSERT INTO step_blocks (n, first, steps, turns, failed, counts, places) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
PUT_TOOL: Final = "INSERT OR IGNORE INTO tools (tool, n) VALUES (?, ?)"
PLACE_FORMAT: Final = b"%020d%010d%010d%010d%010d"
"""Where a step's texts are among all: the number of its row, where its text begins, and the bytes of its three."""

PUT_STEPS: Final = """
INSERT INTO steps (rowid, text, tool, arguments)
WITH RECURSIVE places (at) AS (VALUES (1) UNION ALL SELECT at + 60 FROM places WHERE at + 60 < length(?1)),
found (n, start, text, tool, arguments) AS (
    SELECT CAST(substr(?1, at, 20) AS INTEGER), CAST(substr(?1, at + 20, 10) AS INTEGER),
        CAST(substr(?1, at + 30, 10) AS INTEGER), CAST(substr(?1, at + 40, 10) AS INTEGER),
        CAST(substr(?1, at + 50, 10) AS INTEGER)
    FROM places
)
SELECT n, CAST(substr(?2, start, text) AS TEXT), CAST(substr(?2, start + text, tool) AS TEXT),
    CAST(substr(?2, start + text + tool, arguments) AS TEXT)
FROM found
"""
"""?1 is a `PLACE_FORMAT` for each step, by their numbers; ?2 their texts in UTF-8. Both BLOBs, cut without a look at
what is before."""

STEPS_BYTES_MAX: Final = 67_108_864
"""Of texts that one statement puts in, and a step's more; SQLite holds a billion in one value. Guards memory."""

TAKE_STEP: Final = "INSERT INTO steps (steps, rowid, text, tool, arguments) VALUES ('delete', ?, ?, ?, ?)"
PUT_CALLS: Final = """
INSERT INTO tool_calls (tool, n, calls, failures, timed, total_ms, slowest_ms, slowest_step)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
PUT_FINDINGS: Final = "INSERT INTO findings (category, n, found) VALUES (?, ?, ?)"
DELETE_CALLS: Final = "DELETE FROM tool_calls WHERE n = ?"
DELETE_FINDINGS: Final = "DELETE FROM findings WHERE n = ?"
DELETE_SESSION: Final = "DELETE FROM sessions WHERE n = ?"
DELETE_BLOCKS: Final = "DELETE FROM step_blocks WHERE n = ?"
DELETE_TOOLS: Final = "DELETE FROM tools WHERE n = ?"
DELETE_EMBEDDING: Final = "DELETE FROM embeddings WHERE n = ?"
PUT_EMBEDDING: Final = "INSERT OR IGNORE INTO embeddings (n, vector) VALUES (?, ?)"
SET_OPTION: Final = "INSERT INTO steps (steps, rank) VALUES (?, ?)"

SELECT_OF_SESSIONS: Final = f"""
SELECT {COLUMNS} FROM sessions WHERE session_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608
SELECT_OF_CONTRIBUTORS: Final = f"""
SELECT {COLUMNS} FROM sessions WHERE contributor_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608
SELECT_NOT_EMBEDDED: Final = f"""
SELECT {COLUMNS} FROM sessions WHERE n NOT IN (SELECT n FROM embeddings) ORDER BY n DESC LIMIT ?
"""  # noqa: S608
NOTE_UNMERGED: Final = "INSERT OR IGNORE INTO unmerged (only_one) VALUES (1)"
FORGET_UNMERGED: Final = "DELETE FROM unmerged"
SELECT_UNMERGED: Final = "SELECT 1 FROM unmerged"
SELECT_PARTS: Final = "SELECT count(DISTINCT segid) FROM steps_idx"


class IndexedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A record as the index knows it: what it is chosen and sorted by, and where its line is.

    `rows` are its steps that have a row, `failed` those that failed. `log_start` and `log_end` are where its line has
    its steps; both 0 where they cannot be told apart.
    """

    n: int
    session_id: str
    record_id: str
    contributor_id: str
    provider: str
    model: str
    domain: str | None
    tier: str
    outcome: str | None
    started_at: str | None
    rows: int
    day: str
    offset: int
    length: int
    ended_at: str | None
    step_count: int
    tokens: int
    quality: int
    points: float
    failed: int
    lineage: str | None
    parent_lineage: str | None
    continues_session: str | None
    log_start: int
    log_end: int

    @property
    def position(self) -> Position:
        """Where its line is."""
        return Position(n=self.n, day=self.day, offset=self.offset, length=self.length, at=0.0)


def indexed_session(row: Row) -> IndexedSession:
    """A row of COLUMNS as what it stands for."""
    return IndexedSession(**dict(zip(IndexedSession.__struct_fields__, row, strict=True)))


def row_of(n: int, place: int) -> int:
    """The number of a step's row."""
    return n << PLACE_BITS | place


def line_and_place(row: int) -> tuple[int, int]:
    """Of a step's row, the number of its record's line, and its place there."""
    return row >> PLACE_BITS, row & (1 << PLACE_BITS) - 1


def take_session(n: int, line: SearchedLine) -> list[Statement]:
    """The statements that take a record out again: `line` is the one that it was put in by, as it stands."""
    rows = [(row_of(n, step.place), step.text, step.tool, step.arguments) for step in line.steps()]
    key = [(n,)]
    return [
        Statement(NOTE_UNMERGED, [()]),
        Statement(TAKE_STEP, rows),
        Statement(DELETE_BLOCKS, key),
        Statement(DELETE_TOOLS, key),
        Statement(DELETE_CALLS, key),
        Statement(DELETE_FINDINGS, key),
        Statement(DELETE_EMBEDDING, key),
        Statement(DELETE_SESSION, key),
    ]


def put_embeddings(vectors: Sequence[tuple[int, bytes]]) -> Statement:
    """The statement that notes embeddings of sessions by the numbers of their lines; empty ones where nothing tells."""
    return Statement(PUT_EMBEDDING, vectors)


def forget_unmerged() -> Statement:
    """The statement that notes that nothing of what was taken out is left."""
    return Statement(FORGET_UNMERGED, [()])


def set_option(name: str, value: int) -> Statement:
    """The statement that sets an option of the full-text table, or has it do something."""
    return Statement(SET_OPTION, [(name, value)])


def _block_row(n: int, block: StepBlock) -> tuple[int, int, int, int, int, str, bytes]:
    return n, block.first, block.steps, block.turns, block.failed, block.counts.decode(), block.places


class SessionRows:
    """The rows of some records, to be put in together, in the order of their lines. Their sessions are not there."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Sequence[Value]]] = {}
        self._places: list[bytes] = []
        self._texts: list[bytes] = []
        self._size = 0
        self._steps: list[Statement] = []

    def __repr__(self) -> str:
        return f"<SessionRows {len(self._rows.get(PUT_SESSION, ()))}>"

    def add(self, record: CorpusRecord, place: Position, line: IndexedLine) -> None:
        """Add those of a record, whose line was read."""
        n, found = place.n, line.blocks
        self._of(PUT_SESSION).append(_session_row(record, place, line))
        self._of(PUT_BLOCK).extend(_block_row(n, block) for block in found)
        self._of(PUT_TOOL).extend((tool, n) for tool in sorted({step.tool for step in line.steps} - {""}))
        self._of(PUT_CALLS).extend(
            (each.tool, n, each.calls, each.failures, each.timed, each.total_ms, each.slowest_ms, each.slowest_step)
            for each in line.figures.tools
        )
        self._of(PUT_FINDINGS).extend((category, n, count) for category, count in line.figures.findings.items())
        for step in line.steps:
            self._add_step(n, step)

    def statements(self) -> list[Statement]:
        """The statements that put in all but the steps, a row at a time."""
        return [Statement(sql, rows) for sql, rows in self._rows.items()]

    def steps(self) -> list[Statement]:
        """The statements that put in the steps: one, but where their texts are very large."""
        self._end_steps()
        return self._steps

    def _add_step(self, n: int, step: SearchedStep) -> None:
        text, tool, arguments = step.text.encode(), step.tool.encode(), step.arguments.encode()
        sizes = len(text), len(tool), len(arguments)
        self._places.append(PLACE_FORMAT % (row_of(n, step.place), self._size + 1, *sizes))
        self._texts += (text, tool, arguments)
        self._size += sum(sizes)
        if self._size >= STEPS_BYTES_MAX:
            self._end_steps()

    def _end_steps(self) -> None:
        if self._places:
            self._steps.append(Statement(PUT_STEPS, [(b"".join(self._places), b"".join(self._texts))]))
        self._places, self._texts, self._size = [], [], 0

    def _of(self, sql: str) -> list[Sequence[Value]]:
        return self._rows.setdefault(sql, [])


def _session_row(record: CorpusRecord, place: Position, line: IndexedLine) -> Sequence[Value]:
    facets, found = line.facets, line.blocks
    return (
        place.n,
        record.session_id,
        record.record_id,
        record.contributor_id,
        record.provider,
        record.model,
        facets.domain or record.domain,
        record.tier,
        facets.outcome,
        record.started_at,
        len(line.steps),
        place.day,
        place.offset,
        place.length,
        facets.ended_at,
        sum(block.steps for block in found),
        record.tokens,
        record.quality,
        facets.points,
        sum(block.failed for block in found),
        facets.lineage,
        facets.parent_lineage,
        facets.continues_session,
        line.log.start,
        line.log.end,
    )


class SearchRows:
    """The rows of a search.db, for the one that writes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_sessions(self, session_ids: Collection[str]) -> list[IndexedSession]:
        """Those of these sessions."""
        return self._found(await self._database.read(SELECT_OF_SESSIONS, (array_of(session_ids),)))

    async def of_contributors(self, contributors: Collection[str]) -> list[IndexedSession]:
        """Those of these contributors."""
        return self._found(await self._database.read(SELECT_OF_CONTRIBUTORS, (array_of(contributors),)))

    async def not_embedded(self, limit: int) -> list[IndexedSession]:
        """Those without an embedding, the newest first, at most `limit`."""
        return self._found(await self._database.read(SELECT_NOT_EMBEDDED, (limit,)))

    async def is_unmerged(self) -> bool:
        """Whether words that were taken out may still be there."""
        return bool(await self._database.read(SELECT_UNMERGED))

    async def parts(self) -> int:
        """Into how many parts the words are written: in a single one is nothing that was taken out."""
        ((parts,),) = await self._database.read(SELECT_PARTS)
        return int(parts)

    @staticmethod
    def _found(rows: Sequence[Row]) -> list[IndexedSession]:
        return [indexed_session(row) for row in rows]


def batches(found: Sequence[IndexedSession], bytes_max: int) -> Iterator[list[IndexedSession]]:
    """Yield records some at a time: no more than so many bytes of lines, and at least one."""
    batch, size = list[IndexedSession](), 0
    for each in found:
        if batch and size + each.length > bytes_max:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.length
    if batch:
        yield batch
