"""What is erased of the corpus: lines and rows, while nobody makes any.

Its lines are erased as those of the other journals, and nothing follows from an erased one; so rows simply go, before
the lines do. Whoever is interrupted in between begins anew, and ends the same.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from persistence.corpus import open_parts
from persistence.databases.corpus_records import delete_rows, select_attempts
from persistence.databases.corpus_texts import delete_texts, forget_texts
from persistence.databases.database import Database
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.files.file_system import FileSystem, Offload
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Mark, Position
from persistence.journals.erasing import NotMade, Rewrite, by_day
from persistence.journals.reading import Scan
from persistence.journals.stored import StoredJournal
from persistence.journals.tiering import days_of_journal
from persistence.journals.writing import JournalEnd
from persistence.search_index import RemovableRows
from persistence.settings.storage import StorageSettings


class StoppedCorpus:
    """The corpus while nobody writes it. What is asked of it may raise StorageDamage or StorageFailure."""

    def __init__(self, database: Database, end: JournalEnd, offload: Offload, indexed: RemovableRows) -> None:
        self._database = database
        self._indexed = indexed
        self._end = end
        self._offload = offload
        self._lines = end.reader(offload)

    def __repr__(self) -> str:
        return f"<StoppedCorpus n={self._end.tail.n}>"

    def scan(self, start: Mark) -> Scan:
        """Read the lines behind a mark, in order."""
        return self._lines.scan(start)

    async def attempts(self) -> list[str]:
        """The trajectories of which making a record has begun and not ended."""
        return [trajectory_id for (trajectory_id,) in await self._database.read(*select_attempts())]

    async def delete_rows(
        self,
        session_ids: Collection[str],
        contributors: Collection[str],
        attempts: Collection[str],
        users: Collection[str] = (),
    ) -> None:
        """Delete all rows of these sessions, contributors and users, and what was attempted of these trajectories.

        Users are given by their digests. The lines must be as they were: the index is told from them what to forget.
        """
        await self._indexed.remove(session_ids, contributors)
        statements = [*delete_rows(session_ids, contributors, attempts), *delete_texts(users)]
        await self._database.write(statements, durable=True)

    async def forget_texts(self, record_ids: Collection[str]) -> None:
        """Delete all rows of these texts."""
        await self._database.write(forget_texts(record_ids), durable=True)

    async def erase(self, places: Sequence[Position], rewrite: Rewrite) -> bool:
        """Rewrite lines, each to the same length; False when a file of them could not be made anew."""
        for day, of_day in by_day(places):
            anew = await self._offload(self._end.made_anew, day, of_day, rewrite)
            if isinstance(anew, NotMade):
                if anew is not NotMade.DROPPED:
                    return False
            elif not await self._offload(self._end.exchange, anew):
                return False
        return True

    async def make_cold(self, day: str, archive: Path | None) -> int:
        """Compress a day, or move it to an archive; raises as `Journal.make_cold`."""
        return await self._end.make_cold(day, archive, self._offload)

    async def compact(self) -> None:
        """Write what rows and words have gone from anew, so that nothing of it is left in the databases' files."""
        await self._indexed.merge()
        await self._database.compact()

    async def write_index_anew(self) -> None:
        """Write all of the index anew, of which `compact` does no more than the words."""
        await self._indexed.compact()


class ErasableCorpus:
    """The corpus of a data directory, whether there is one or not; curation may be at work on it."""

    def __init__(
        self,
        layout: DataLayout,
        settings: StorageSettings,
        *,
        opening: Callable[..., AbstractAsyncContextManager[Database]],
        clock: Callable[[], float],
        files: FileSystem,
        offload: Offload,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._open = opening
        self._opening = partial(opening, layout.corpus_database, CORPUS_SCHEMA, settings)
        self._clock = clock
        self._files = files
        self._offload = offload

    def __repr__(self) -> str:
        return f"<ErasableCorpus {self._layout.root}>"

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self._layout.corpus_database.exists() or self._layout.journal(JournalName.CORPUS).exists()

    def scan(self, start: Mark) -> Scan:
        """Read its lines behind a mark, in order, beside who writes them."""
        directory = self._layout.journal(JournalName.CORPUS)
        return StoredJournal(JournalName.CORPUS, directory, files=self._files, offload=self._offload).scan(start)

    async def days_to_make_cold(self, before: str, archive: Path | None) -> Sequence[str]:
        """The days before one that can be compressed, or moved to an archive: never the newest. Raises OSError."""
        directory = self._layout.journal(JournalName.CORPUS)
        return await self._offload(days_of_journal, self._files, directory, before, archive)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[StoppedCorpus]:
        """Hold its lock, so that nobody else writes it; raises DataDirectoryLocked while another process does."""
        parts = open_parts(self._layout, self._settings, self._opening, clock=self._clock, files=self._files)
        async with parts as (database, end):
            lines = end.reader(self._offload)
            applied_at = times.to_text(self._clock())
            opening = partial(self._open, settings=self._settings, applied_at=applied_at)
            yield StoppedCorpus(database, end, self._offload, RemovableRows(self._layout, lines, opening))
