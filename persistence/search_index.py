"""The index of the corpus, search.db: a projection of its lines, written by whoever holds the corpus's lock.

It follows the corpus's journal from a position of its own, which is committed with the rows that lines up to it give:
so whatever dies when, each line counts once. All of it follows from the lines. Whoever finds it missing, damaged or of
another version makes it anew, and nothing waits for it: what is not taken in yet is not found yet.

What is taken out has to be named word for word (`persistence.databases.search_rows`), from the line that it was put in
by. Whoever erases lines therefore takes them out before; where that line cannot be read any more, nothing of the index
can be believed, and it is made anew (`LostText`).
"""

import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import chain
from typing import Final

import msgspec
import trio

from persistence.databases.database import Database, SchemaRefused, Statement
from persistence.databases.migrations import SEARCH_SCHEMA
from persistence.databases.projection import set_position
from persistence.databases.projector import projected
from persistence.databases.search_rows import (
    IndexedSession,
    SearchRows,
    SessionRows,
    batches,
    forget_unmerged,
    put_embeddings,
    set_option,
    take_session,
)
from persistence.files.failures import StorageDamage, StorageFailure
from persistence.format.indexed_line import indexed_line
from persistence.format.layout import DataLayout
from persistence.format.records import CorpusRecord, JournalName, Mark, Position
from persistence.format.searched_steps import SearchedLine
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalDamage, JournalReader, StoredLine
from persistence.settings.search import SearchSettings

EMBEDDED_AT_ONCE: Final = 16
"""Sessions whose embeddings are noted together."""

PARTS_MERGED: Final = 16
"""Parts of about the same size that are merged into one. With fewer each word is written more often."""

PARTS_MAX: Final = 4 * PARTS_MERGED
"""Of about the same size, from which on they are merged in one go; before, a bounded part of it with each batch."""

MERGED_PAGES: Final = 500
"""Pages that one transaction of a merge writes; guards the write-ahead log, and whoever waits."""

UNUSABLE: Final = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
)
"""What SQLite says of a file whose contents are not what they should be."""


class LostText(StorageFailure):
    """A line that the index was made of cannot be read any more: it has to be made anew."""


class SearchIndex:
    """The index, for the one that writes it. Every method may raise DatabaseFailure or LostText."""

    def __init__(self, database: Database, lines: JournalReader, followed: Mark, settings: SearchSettings) -> None:
        self._database = database
        self._rows = SearchRows(database)
        self._lines = lines
        self._settings = settings
        self.followed = followed
        """Up to where the corpus is in it."""
        self._ahead: _Batch | None = None
        """The lines from there on, where they were read already."""

    def __repr__(self) -> str:
        return f"<SearchIndex followed={self.followed.n}>"

    async def follow(self) -> bool:
        """Take in the next lines; False when there were none. A damaged place is passed by: curation has said it."""
        batch, self._ahead = self._ahead, None
        if batch is None:
            try:
                batch = await self._batch_behind(self.followed)
            except JournalDamage as damage:
                return await self._pass_by(damage)
        if batch is None:
            return False
        ahead = _Ahead(partial(self._batch_behind, batch.end)) if batch.size >= self._settings.batch_bytes_max else None
        await self._take_in(batch, ahead)
        self._ahead = None if ahead is None else ahead.batch
        return True

    async def _batch_behind(self, mark: Mark) -> "_Batch | None":
        """The next lines, None without any; raises JournalDamage where the first of them is damaged."""
        lines, size = list[StoredLine](), 0
        try:
            async for some in self._lines.scan(mark):
                lines += some
                size += sum(line.position.length for line in some)
                if size >= self._settings.batch_bytes_max:
                    break
        except JournalDamage:
            if not lines:
                raise
        return _Batch(lines, size) if lines else None

    async def remove(self, session_ids: Collection[str], contributors: Collection[str]) -> None:
        """Take out all of these sessions and contributors, durably, a bounded part at a time."""
        found = await self._rows.of_sessions(session_ids) if session_ids else []
        found += await self._rows.of_contributors(contributors) if contributors else []
        once = list({each.n: each for each in found}.values())
        for batch in batches(once, self._settings.batch_bytes_max):
            await self._database.write([each for one in batch for each in await self._without(one)], durable=True)

    async def merge(self) -> None:
        """Leave nothing in the files of what was ever taken out, and empty the write-ahead log.

        It writes all words anew, a bounded part at a time, if there is anything of the kind.
        """
        if not await self._rows.is_unmerged():
            return
        await self._database.write([set_option("merge", -MERGED_PAGES)], durable=False)
        while await self._rows.parts() > 1:
            await self._database.write([set_option("merge", MERGED_PAGES)], durable=False)
        await self._database.write([forget_unmerged()], durable=True)
        await self._database.checkpoint()

    async def compact(self) -> None:
        """Write all of it anew, in one go: it takes its size on the disk once more."""
        await self._database.compact()

    async def embed(self, embedded: Callable[[bytes], bytes]) -> bool:
        """Note the embeddings of some sessions that have none; False when all have one."""
        found = await self._rows.not_embedded(EMBEDDED_AT_ONCE)
        vectors = [(each.n, await self._embedded(each, embedded)) for each in found]
        await self._database.write([put_embeddings(vectors)], durable=False)
        return bool(found)

    async def _embedded(self, session: IndexedSession, embedded: Callable[[bytes], bytes]) -> bytes:
        try:
            (line,) = await self._lines.read([session.position])
            return embedded(line)
        except (JournalDamage, msgspec.DecodeError):
            return b""  # nothing is found by it

    async def _take_in(self, batch: "_Batch", ahead: "_Ahead | None") -> None:
        """Commit what lines give, and the position behind them; meanwhile those ahead are read, in a thread."""
        rows = batch.read()
        statements: list[Statement] = []
        for earlier in await self._rows.of_sessions(batch.session_ids):
            statements += await self._without(earlier)
        statements += (*rows.statements(), set_position(JournalName.CORPUS, batch.end))
        await self._write(statements, rows.steps(), ahead)
        self.followed = batch.end

    async def _write(self, rows: Sequence[Statement], steps: Sequence[Statement], ahead: "_Ahead | None") -> None:
        if ahead is None:
            await self._database.write([*rows, *steps], durable=False)
            return
        are_in = threading.Event()
        failed: StorageFailure | None = None
        async with trio.open_nursery() as reading:
            try:
                with trio.CancelScope(shield=True):  # a thread that has begun waits to be told, and is waited for
                    await reading.start(ahead.read, are_in)
                await self._database.write(chain(rows, _after(are_in.set, steps)), durable=False)
            except StorageFailure as failure:
                failed = failure
            finally:
                are_in.set()
        if failed is not None:
            raise failed

    async def _without(self, session: IndexedSession) -> list[Statement]:
        """The statements that take a session out."""
        try:
            (line,) = await self._lines.read([session.position])
            found = SearchedLine(line)
        except (JournalDamage, msgspec.DecodeError) as error:
            raise LostText("a line that search.db was made of is gone, so it has to be made anew") from error
        if sum(1 for _ in found.steps()) != session.rows:
            raise LostText("a line that search.db was made of was changed, so it has to be made anew")
        return take_session(session.n, found)

    async def _pass_by(self, damage: JournalDamage) -> bool:
        if damage.behind is None or damage.behind <= self.followed:
            return False
        await self._database.write([set_position(JournalName.CORPUS, damage.behind)], durable=False)
        self.followed = damage.behind
        return True


class _Batch:
    """Lines in a row, and what they give, once they were read."""

    def __init__(self, lines: Sequence[StoredLine], size: int) -> None:
        self._lines = lines
        self.size = size
        self.end = lines[-1].position.end
        """Where it ends."""
        self.session_ids: Collection[str] = ()
        self._rows: SessionRows | None = None

    def __repr__(self) -> str:
        return f"<_Batch {self.size} bytes>"

    def read(self) -> SessionRows:
        """The rows that put in what the lines say; of several lines of a session the last counts."""
        if self._rows is None:
            records = list(_records(self._lines))
            last = {record.session_id: place.n for record, place, _ in records}
            self.session_ids = last
            self._rows = _rows_of(
                each for each in records if each[0].taken_back is None and last[each[0].session_id] == each[1].n
            )
            self._lines = ()  # what follows from them is about as large
        return self._rows


class _Ahead:
    """The batch behind one that is written, read by a thread meanwhile.

    SQLite gives the interpreter's lock away for each row, and has to wait for it again while another thread computes.
    So the thread begins when only the steps are left of the batch before: nearly all of the work, which one statement
    does, and their commit, which merges and writes. Neither needs the lock, and together they take twice as long.
    """

    def __init__(self, next_batch: Callable[[], Awaitable[_Batch | None]]) -> None:
        self._next_batch = next_batch
        self.batch: _Batch | None = None
        """It, once it was read; None where there is none, or that failed, which the next look comes to again."""

    def __repr__(self) -> str:
        return f"<_Ahead {self.batch!r}>"

    async def read(
        self, are_in: threading.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Wait until only the steps are left of the batch before, and read; started once a thread does so.

        A database that is called in place lets no task go on until it has committed, so a thread that is not there by
        then would begin behind it.
        """
        await trio.to_thread.run_sync(self._read, are_in, task_status.started)

    def _read(self, are_in: threading.Event, began: Callable[[], None]) -> None:
        trio.from_thread.run_sync(began)
        are_in.wait()
        with suppress(StorageDamage, StorageFailure):
            batch = trio.run(self._next_batch)  # the journal is read in place: nothing in it waits
            if batch is not None:
                batch.read()
            self.batch = batch


def _after(do: Callable[[], None], statements: Iterable[Statement]) -> Iterator[Statement]:
    """Do something when the first statement is asked for, and yield them."""
    do()
    yield from statements


def _rows_of(records: Iterable[tuple[CorpusRecord, Position, bytes]]) -> SessionRows:
    """The rows that put records in; of what cannot be read nothing is found."""
    rows = SessionRows()
    for record, place, text in records:
        with suppress(msgspec.DecodeError):
            rows.add(record, place, indexed_line(text))
    return rows


def _records(lines: Iterable[StoredLine]) -> Iterable[tuple[CorpusRecord, Position, bytes]]:
    """The lines that are about a session's record; what is erased, or written by a later version, is none."""
    for line in lines:
        with suppress(LineError):
            record = parse_line(JournalName.CORPUS, line.text)
            if isinstance(record, CorpusRecord) and not record.is_erased:
                yield record, line.position, line.text


@asynccontextmanager
async def open_search_index(
    layout: DataLayout,
    lines: JournalReader,
    settings: SearchSettings,
    opening: Callable[..., AbstractAsyncContextManager[Database]],
) -> AsyncIterator[SearchIndex]:
    """Open the index of a data directory, whose corpus's lock the caller holds. Raises DatabaseFailure.

    `opening` opens a database, given its path and its schema. An index that cannot be used (`is_unusable`) has to be
    removed by whoever is told (`remove_index`).
    """
    async with opening(layout.search_database, SEARCH_SCHEMA) as database:
        options = {"hashsize": settings.hash_bytes_max, "automerge": PARTS_MERGED, "crisismerge": PARTS_MAX}
        await database.write([set_option(name, value) for name, value in options.items()], durable=False)
        followed = (await projected(database)).get(JournalName.CORPUS, Mark())
        yield SearchIndex(database, lines, followed, settings)
        await database.checkpoint()


class RemovableRows:
    """What is taken out of the index while nobody keeps it up; there may be none. The caller holds the corpus's lock.

    An index that cannot be used goes as a whole: curation makes it anew.
    """

    def __init__(
        self, layout: DataLayout, lines: JournalReader, opening: Callable[..., AbstractAsyncContextManager[Database]]
    ) -> None:
        self._layout = layout
        self._lines = lines
        self._opening = opening

    def __repr__(self) -> str:
        return f"<RemovableRows {self._layout.search_database}>"

    async def remove(self, session_ids: Collection[str], contributors: Collection[str]) -> None:
        """Take out all of these sessions and contributors, durably; before their lines go."""
        await self._do(lambda index: index.remove(session_ids, contributors))

    async def merge(self) -> None:
        """Leave nothing in the files of what was taken out."""
        await self._do(SearchIndex.merge)

    async def compact(self) -> None:
        """Leave nothing in the files of what was ever in them."""
        await self._do(SearchIndex.compact)

    async def _do(self, work: Callable[[SearchIndex], Awaitable[None]]) -> None:
        if not self._layout.search_database.exists():
            return
        try:
            async with open_search_index(self._layout, self._lines, SearchSettings(), self._opening) as index:
                await work(index)
        except StorageFailure as error:
            if not is_unusable(error):
                raise
            remove_index(self._layout)


def is_unusable(error: StorageFailure) -> bool:
    """Whether the index has to be made anew: it is damaged, of another version, or what it was made of is lost."""
    if isinstance(error, LostText | SchemaRefused):
        return True
    cause = error.__cause__
    return isinstance(cause, UnicodeDecodeError) or getattr(cause, "sqlite_errorcode", 0) & 0xFF in UNUSABLE


def remove_index(layout: DataLayout) -> None:
    """Remove the index, which the caller has closed; who holds the corpus's lock may. Raises OSError."""
    path = layout.search_database
    for ending in ("-wal", "-shm", ""):
        path.with_name(path.name + ending).unlink(missing_ok=True)
