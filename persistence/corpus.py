"""The corpus on disk: a journal and a database of its own, both written by one process, which is not the server's.

The line is the fact. It is written and synced first; then its row and the position in what curation follows are
committed together. A process that ends between the two is made up for at the next opening: lines behind the projected
position are projected first, before anything is followed. So whatever dies when, a trajectory that was followed twice
finds its record there (`Corpus.record_of`), and one that was not written is not passed by.

Texts of the intake are followed in the same way, some at a time: they share a sync, and a transaction.

A record is replaced by a later line of the same trajectory: its row goes from the one line to the other in a single
transaction, so that whoever reads by the database sees one of them at any time, and never both.

Two tasks write: the one that curates, and the one that asks a judge. Neither writes lines while the rows of the other's
are missing.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from persistence.databases.corpus_records import (
    CorpusIndex,
    PassedOver,
    StoredRecord,
    count_attempt,
    forget_attempts,
    note_passed_over,
    project_corpus,
    set_terms,
)
from persistence.databases.corpus_texts import CorpusTexts, TextPassedOver, note_texts_passed_over
from persistence.databases.database import Database, Statement
from persistence.databases.judgements import (
    Candidate,
    JudgementIndex,
    Standing,
    count_question,
    forget_questions,
    forget_questions_about,
    set_standing,
    take_back_question,
)
from persistence.databases.migrations import CORPUS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import set_position
from persistence.databases.projector import projected
from persistence.databases.summaries import Summary, SummaryIndex, put_summaries
from persistence.files.file_system import FileSystem, OsFileSystem
from persistence.files.lock import single_curation
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import (
    Committed,
    CorpusRecord,
    CorpusTextRecord,
    JournalName,
    JudgementRecord,
    Mark,
    Position,
    Record,
)
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd, Members
from persistence.settings.storage import StorageSettings


class Corpus:
    """The corpus, for the one that writes it. Every method may raise StorageFailure, which ends the process."""

    def __init__(
        self,
        layout: DataLayout,
        database: Database,
        end: JournalEnd,
        positions: dict[JournalName, Mark],
        *,
        files: FileSystem,
        clock: Callable[[], float],
        settings: StorageSettings,
    ) -> None:
        self._layout = layout
        self._database = database
        self._index = CorpusIndex(database)
        self.judgements = JudgementIndex(database)
        """What a judge said of records, and what waits for one."""
        self.summaries = SummaryIndex(database)
        """Titles and summaries of records, and which have none."""
        self._lines = StoredJournal(JournalName.CORPUS, layout.journal(JournalName.CORPUS), files=files)
        self._writing = trio.Lock()
        self._texts = CorpusTexts(database)
        self._end = end
        self._files = files
        self._clock = clock
        self._settings = settings
        self.followed = positions.get(JournalName.TRAJECTORIES, Mark())
        """Up to where the trajectories journal has been curated."""
        self.followed_texts = positions.get(JournalName.INTAKE, Mark())
        """Up to where the intake journal has been curated."""
        self.looked_at = {name: positions.get(name, Mark()).n for name in (JournalName.ENVELOPES, JournalName.CONSENT)}
        """Up to which line late feedback (in envelopes) and events of consent have been looked at."""

    def __repr__(self) -> str:
        return f"<Corpus n={self._end.tail.n} followed={self.followed.n}>"

    async def record_of(self, trajectory_id: str) -> StoredRecord | None:
        """The record of a trajectory, if it has one."""
        return await self._index.of_trajectory(trajectory_id)

    async def sharing(self, bands: bytes, trajectory_id: str) -> list[tuple[str, bytes]]:
        """The clusters and minima of other records that may be near copies (`CorpusIndex.sharing`)."""
        return await self._index.sharing(bands, trajectory_id)

    async def is_followed(self, trajectory_id: str) -> bool:
        """Whether a trajectory has been taken: it has a record, or was passed over."""
        return await self._index.knows(trajectory_id)

    async def attempt(self, trajectory_id: str) -> int:
        """Note that making a record begins; return how often it has begun without an end before."""
        before = await self._index.attempts(trajectory_id)
        await self._database.write([count_attempt(trajectory_id)], durable=False)
        return before

    async def put(self, record: CorpusRecord, members: Members, *, followed: Mark | None = None) -> bool:
        """Write a line, its members without braces, and then its row and the position; False when there was no room.

        `followed` is behind the trajectory's line, None where that is not what is followed now.
        """
        return await self._put([(record, members)], [forget_attempts(record.trajectory_id)], followed)

    async def put_judgements(self, made: Sequence[tuple[JudgementRecord, bytes]], standing: Standing) -> bool:
        """Write what a judge said of some records, a line each, and what it cost; False when there was no room."""
        return await self._put(made, [set_standing(standing)], None)

    async def put_summaries(self, made: Sequence[tuple[Candidate, Summary]]) -> None:
        """Keep titles and summaries of records, of those that still have the same steps."""
        await self._database.write([put_summaries(made, times.to_text(self._clock()))], durable=False)

    async def begin_judging(self, standing: Standing) -> None:
        """Note who is asked from now on, and that nobody was without an answer yet."""
        await self._database.write([forget_questions(), set_standing(standing)], durable=False)

    async def ask(self, candidates: Sequence[Candidate], standing: Standing) -> None:
        """Note, durably, that a judge is asked about records, and what that costs, before it is."""
        at = times.to_text(self._clock())
        await self._database.write([count_question(candidates, at), set_standing(standing)], durable=True)

    async def not_asked(self, candidates: Sequence[Candidate]) -> None:
        """Note that the judge was not there: it counts for none of them."""
        await self._database.write([take_back_question(candidates)], durable=False)

    async def settle(self, candidates: Sequence[Candidate]) -> None:
        """Note that records which were without an answer are asked about no more."""
        await self._database.write([forget_questions_about(candidates)], durable=False)

    async def note_judging(self, standing: Standing) -> None:
        """Note how far asking has come."""
        await self._database.write([set_standing(standing)], durable=False)

    async def line_of(self, place: Position) -> bytes:
        """A line of the corpus. Raises JournalDamage where it is damaged."""
        (text,) = await self._lines.read([place])
        return text

    async def text_rules(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Of texts that have a record, by which rules it was made."""
        return await self._texts.rules_of(record_ids)

    async def put_texts(
        self,
        made: Sequence[tuple[CorpusTextRecord, bytes]],
        passed: Sequence[TextPassedOver],
        *,
        followed: Mark | None = None,
    ) -> bool:
        """Write lines of texts, and then their rows, why others have none, and the position; False without room.

        `followed` is behind the last of them in the intake journal, None where that is not what is followed now.
        """
        noted = note_texts_passed_over(passed, times.to_text(self._clock()))
        moved = [] if followed is None else [set_position(JournalName.INTAKE, followed)]
        written = await self._put(made, [noted, *moved], None)
        if written and followed is not None:
            self.followed_texts = followed
        return written

    async def pass_over(self, passed: PassedOver, *, followed: Mark | None = None) -> None:
        """Note why a trajectory has no record; one that has a record is taken back by a line instead (`put`)."""
        noted = note_passed_over(passed, times.to_text(self._clock()))
        await self._commit([noted, forget_attempts(passed.trajectory_id)], followed)

    async def move(self, followed: Mark) -> None:
        """Note that the trajectories journal is curated up to there; further back, it is followed anew from there."""
        await self._commit([], followed)

    async def look_past(self, journal: JournalName, n: int) -> None:
        """Note that what the lines of a journal say up to number `n` is heeded (`looked_at`)."""
        await self._database.write([set_position(journal, Mark(n))], durable=False)
        self.looked_at[journal] = n

    async def heed(self, terms: str) -> None:
        """Follow everything anew when consent counted by other terms until now."""
        known = await self._index.terms()
        if known == terms:
            return
        both = (JournalName.TRAJECTORIES, JournalName.INTAKE)
        again = [] if known is None else [set_position(journal, Mark()) for journal in both]
        await self._database.write([*again, set_terms(terms)], durable=False)
        if again:
            self.followed = self.followed_texts = Mark()

    async def _put(
        self, made: Sequence[tuple[Record, Members]], more: Sequence[Statement], followed: Mark | None
    ) -> bool:
        """Write lines, and then their rows: of two that write, none commits its position before the other's rows."""
        needed = sum(len(members) for _, members in made) + self._settings.free_bytes_min
        async with self._writing:
            if self._files.free_bytes(self._layout.root) < needed:
                return False
            positions = self._end.write([(members, b"") for _, members in made]) if made else []
            if positions is None:
                return False
            committed = [Committed(record, place) for (record, _), place in zip(made, positions, strict=True)]
            with trio.CancelScope(shield=True):
                await self._commit([*(project_corpus(committed) if committed else []), *more], followed)
        return True

    async def _commit(self, statements: list[Statement], followed: Mark | None) -> None:
        if followed is not None:
            statements = [*statements, set_position(JournalName.TRAJECTORIES, followed)]
        # Not synced: what a crash of the machine takes away is projected, or followed, again.
        await self._database.write(statements, durable=False)
        if followed is not None:
            self.followed = followed


@asynccontextmanager
async def open_corpus(
    data_directory: Path,
    settings: StorageSettings,
    *,
    clock: Callable[[], float],
    files: FileSystem | None = None,
) -> AsyncIterator[Corpus]:
    """Open the corpus of a data directory for writing: its lock, its database, its journal recovered and projected.

    Everything runs in the thread that asks. Raises DataDirectoryLocked, StorageDamage or StorageFailure.
    """
    layout = DataLayout(data_directory)
    files = files or OsFileSystem()
    opening = partial(open_inline_database, layout.corpus_database, CORPUS_SCHEMA, settings)
    async with open_parts(layout, settings, opening, clock=clock, files=files) as (database, end):
        positions = await projected(database)
        yield Corpus(layout, database, end, positions, files=files, clock=clock, settings=settings)


@asynccontextmanager
async def open_parts(
    layout: DataLayout,
    settings: StorageSettings,
    opening: Callable[..., AbstractAsyncContextManager[Database]],
    *,
    clock: Callable[[], float],
    files: FileSystem,
) -> AsyncIterator[tuple[Database, JournalEnd]]:
    """Hold the corpus's lock, open its database by `opening`, and recover and project its journal; raises as above."""
    directory = layout.journal(JournalName.CORPUS)
    with single_curation(layout.root):
        files.make_directory(directory)
        async with opening(applied_at=times.to_text(clock())) as database:
            tail = await project_lines(layout, database, settings, files=files)
            end = JournalEnd(JournalName.CORPUS, directory, tail, files=files, clock=clock)
            try:
                yield database, end
            finally:
                end.close()
            await database.checkpoint()


async def project_lines(
    layout: DataLayout, database: Database, settings: StorageSettings, *, files: FileSystem
) -> Mark:
    """Project the lines that a corpus.db has not seen, cutting off a torn end; return the journal's end."""
    recovery = Recovery(
        JournalName.CORPUS,
        layout.journal(JournalName.CORPUS),
        (await projected(database)).get(JournalName.CORPUS, Mark()),
        files=files,
        torn_directory=layout.torn,
        batch_bytes_max=settings.recovery_batch_bytes_max,
    )
    for batch in recovery.batches():
        await database.write(project_corpus(batch), durable=False)
    return recovery.tail
