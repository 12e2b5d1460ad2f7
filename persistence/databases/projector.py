"""Follows the journals into both databases, in batches, exactly once.

Each database notes its own position in each journal that it follows, in the transaction that writes the rows. A line at
or below a database's position is skipped for that database only: so a crash between the two transactions costs nothing,
and recovery may submit the same lines again.
"""

import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec
import trio

from persistence.databases.database import (
    Database,
    DatabaseConflict,
    DatabaseFailure,
    DatabaseUnavailable,
    Statement,
)
from persistence.databases.projection import (
    EnvelopeProjection,
    project_ledger,
    project_sessions,
    set_position,
)
from persistence.databases.repeated_lines import claims_of, repetitions
from persistence.files.failures import StorageDamage
from persistence.format.records import INGESTED, Committed, JournalName, Mark
from persistence.journals.reading import JournalDamage
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")

POSITIONS = "SELECT journal, n, day, next_offset FROM projection_positions"
MOVE_POSITION = "UPDATE projection_positions SET n = n + ? WHERE journal = ?"


class ProjectorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Lines waiting, lines projected and batches since the start."""

    lines_waiting: int
    lines_projected: int
    batches: int


class Projector:
    """Projects committed lines into sessions.db and ledger.db; `run` is its one task."""

    def __init__(self, sessions: Database, ledger: Database, settings: StorageSettings) -> None:
        self._sessions = sessions
        self._ledger = ledger
        self._settings = settings
        self._queues: dict[JournalName, deque[Committed]] = {
            JournalName.REFUSED: deque(),
            JournalName.TRAJECTORIES: deque(),
            JournalName.CONSENT: deque(),
            JournalName.INTAKE: deque(),
        }
        # Lines of the envelopes journal are summed up as they come, a batch at a time: summing up a whole batch at once
        # would hold up whoever asks meanwhile.
        self._summed: deque[EnvelopeProjection] = deque()
        self._submitted: dict[JournalName, int] = dict.fromkeys(INGESTED, 0)
        self._sessions_positions: dict[JournalName, Mark] = {}
        self._ledger_position = Mark()
        self._loaded = False
        self._failure: DatabaseFailure | StorageDamage | None = None
        self._work = trio.Event()
        self._progress = trio.Event()
        self._contributors = trio.Event()
        self._contributors.set()
        self._hurry = trio.Event()
        self._in_a_hurry = 0
        self._lines_waiting = 0
        self._lines_projected = 0
        self._batches = 0

    def __repr__(self) -> str:
        positions = " ".join(f"{name}={position.n}" for name, position in self.positions().items())
        return f"<Projector waiting={self._lines_waiting} {positions}{' failed' if self._failure else ''}>"

    async def load(self) -> None:
        """Read both databases' positions; once, before anything is submitted."""
        self._sessions_positions = await projected(self._sessions)
        self._ledger_position = (await projected(self._ledger)).get(JournalName.TRAJECTORIES, Mark())
        self._submitted = {name: position.n for name, position in self.positions().items()}
        self._loaded = True

    def positions(self) -> dict[JournalName, Mark]:
        """For each journal, the lowest position of the databases that follow it: recovery replays from here."""
        positions = {name: self._sessions_positions.get(name, Mark()) for name in INGESTED}
        positions[JournalName.TRAJECTORIES] = min(positions[JournalName.TRAJECTORIES], self._ledger_position)
        return positions

    def has_room(self) -> bool:
        """Whether fewer than `projection_lag_lines_max` lines wait. Ask before writing lines that will be submitted."""
        return self._lines_waiting < self._settings.projection_lag_lines_max

    def submit_nowait(self, journal: JournalName, items: Sequence[Committed]) -> None:
        """Hand over lines that are on disk, in line order, dense from the position on (or before it).

        Never refuses, because the lines are facts: the bound is that of `has_room`, plus what was written since it was
        asked (one group commit a journal).
        """
        assert self._loaded, "positions are loaded before lines are submitted"
        if not items:
            return
        assert items[0].position.n <= self._submitted[journal] + 1, f"lines of {journal} were left out"
        if journal is JournalName.ENVELOPES:
            items = _after(items, self._submitted[journal])
            self._sum_up(items)
        else:
            self._queues[journal].extend(items)
        if not items:
            return
        self._lines_waiting += len(items)
        self._submitted[journal] = max(self._submitted[journal], items[-1].position.n)
        self._work.set()
        if self._lines_waiting >= self._settings.projection_batch_lines_max:
            self._hurry.set()

    def _sum_up(self, items: Sequence[Committed]) -> None:
        """Add lines to the last batch, as far as it has room, and to new ones."""
        size = self._settings.projection_batch_lines_max
        while items:
            if not self._summed or self._summed[-1].lines >= size:
                self._summed.append(EnvelopeProjection())
            last = self._summed[-1]
            room = size - last.lines
            last.add(items[:room])
            items = items[room:]

    async def submit(self, journal: JournalName, items: Sequence[Committed]) -> None:
        """Wait for room, then hand over: for recovery and rebuild, which read faster than this projects."""
        while not self.has_room():
            await self._wait_progress()
        self.submit_nowait(journal, items)
        await trio.lowlevel.checkpoint()

    async def pass_over(self, journal: JournalName, start: Mark) -> None:
        """Go on behind `start`, if that is further than what was submitted: the lines before it are gone for good.

        Before any of the journal's lines is submitted.
        """
        if start.n <= self._submitted[journal]:
            return
        await self._sessions.write([set_position(journal, start)], durable=False)
        self._sessions_positions[journal] = start
        self._submitted[journal] = start.n

    async def settle(self, journal: JournalName, n: int) -> None:
        """Return once sessions.db holds the journal's lines up to `n`, whatever happens to the machine.

        Raises `DatabaseUnavailable` when that is not possible now.
        """
        await self.wait_projected(journal, n)
        # Up and down again: a write that changes nothing would not be synced.
        await self._sessions.write([Statement(MOVE_POSITION, [(1, journal), (-1, journal)])], durable=True)

    async def wait_projected(self, journal: JournalName, n: int) -> None:
        """Return once every database that follows `journal` holds its lines up to `n`.

        Raises `DatabaseFailure` or `StorageDamage` if the projector failed with it.
        """
        while self.positions()[journal].n < n:
            await self._wait_progress()

    async def wait_contributors(self) -> None:
        """Return once chunks were projected since this was last awaited: they may name contributors for the first time.

        For one task; the first call returns at once.
        """
        await self._contributors.wait()
        self._contributors = trio.Event()

    async def drain(self) -> None:
        """Return once everything submitted before this call is projected; `run` must be running."""
        for journal, n in dict(self._submitted).items():
            await self.wait_projected(journal, n)

    async def _wait_progress(self) -> None:
        """Wait for the next batch, which starts at once because somebody waits for it."""
        if isinstance(self._failure, StorageDamage):
            raise StorageDamage(str(self._failure)) from self._failure
        if self._failure is not None:
            raise DatabaseFailure(str(self._failure)) from self._failure
        self._in_a_hurry += 1
        self._hurry.set()
        try:
            await self._progress.wait()
        finally:
            self._in_a_hurry -= 1

    async def run(self) -> None:
        """Project what is submitted until cancelled.

        Raises `DatabaseFailure`, or `StorageDamage` where a line says again what only one may say: either must end the
        process.
        """
        try:
            while True:
                await self._work.wait()
                await self._gather()
                try:
                    await self._project_waiting()
                except DatabaseUnavailable as unavailable:
                    # The lines are safe in their journals and still in the queue; the journals' own bound refuses more.
                    log.warning("%s; trying again", unavailable)
                    await trio.sleep(self._settings.projection_retry_s)
                if not self._lines_waiting:
                    self._work = trio.Event()
        except (DatabaseFailure, StorageDamage) as failure:
            self._failure = failure
            raise
        finally:
            self._announce()

    async def _gather(self) -> None:
        """Let lines gather for `projection_interval_s`: a transaction costs nearly the same for one as for a hundred.

        Not while somebody waits for a line to be projected, nor once there is a whole batch.
        """
        with trio.move_on_after(self._settings.projection_interval_s):
            await self._hurry.wait()
        if not self._in_a_hurry and self._lines_waiting <= self._settings.projection_batch_lines_max:
            self._hurry = trio.Event()

    def _announce(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    async def _project_waiting(self) -> None:
        """Project one batch of each journal that has lines waiting, all in one transaction a database.

        Lines leave the queue after they are projected, so that what waits is counted as long as it does.
        """
        size = self._settings.projection_batch_lines_max
        batches = {name: list(islice(queue, size)) for name, queue in self._queues.items() if queue}
        envelopes = self._summed.popleft() if self._summed else None  # nothing is added to it any more
        try:
            await self._write_sessions(batches, envelopes)
        except BaseException:
            if envelopes is not None:
                self._summed.appendleft(envelopes)
            raise
        if envelopes is not None:
            self._count_projected(envelopes.lines)
        if JournalName.TRAJECTORIES in batches:
            await self._write_ledger(batches[JournalName.TRAJECTORIES])
        for name, batch in batches.items():
            queue = self._queues[name]
            for _ in batch:
                queue.popleft()
            self._count_projected(len(batch))
        self._batches += 1
        self._announce()

    def _count_projected(self, lines: int) -> None:
        self._lines_waiting -= lines
        self._lines_projected += lines

    async def _write_sessions(
        self, batches: dict[JournalName, list[Committed]], envelopes: EnvelopeProjection | None
    ) -> None:
        statements: list[Statement] = []
        written: dict[JournalName, list[Committed]] = {}
        reached: dict[JournalName, Mark] = {}
        if envelopes is not None and envelopes.last is not None:
            statements += envelopes.statements()
            reached[JournalName.ENVELOPES] = envelopes.last.end
        for name, batch in batches.items():
            new = _after(batch, self._sessions_positions.get(name, Mark()).n)
            if new:
                statements += project_sessions(name, new)
                written[name] = new
                reached[name] = new[-1].position.end
        if statements:
            try:
                await self._sessions.write(statements, durable=False)
            except DatabaseConflict:
                await self._refuse_repetitions(envelopes, written)
                raise
            self._sessions_positions |= reached
            if envelopes is not None and envelopes.contributors:
                self._contributors.set()

    async def _refuse_repetitions(
        self, envelopes: EnvelopeProjection | None, batches: dict[JournalName, list[Committed]]
    ) -> None:
        """Raise StorageDamage, which says where, if that is why sessions.db has refused a transaction."""
        claims = {name: claims_of(batch) for name, batch in batches.items()}
        if envelopes is not None:
            claims[JournalName.ENVELOPES] = envelopes.claims()
        for name, claimed in claims.items():
            for sentence in (await repetitions(self._sessions, name, claimed)).values():
                raise JournalDamage(name, sentence)

    async def _write_ledger(self, batch: Sequence[Committed]) -> None:
        new = _after(batch, self._ledger_position.n)
        if new:
            await self._ledger.write(project_ledger(new), durable=False)
            self._ledger_position = new[-1].position.end

    def statistics(self) -> ProjectorStatistics:
        """What waits and what was done."""
        return ProjectorStatistics(
            lines_waiting=self._lines_waiting, lines_projected=self._lines_projected, batches=self._batches
        )


async def projected(database: Database) -> dict[JournalName, Mark]:
    """Up to where a database holds each journal that it has lines of."""
    rows = await database.read(POSITIONS)
    return {JournalName(journal): Mark(n, day, next_offset) for journal, n, day, next_offset in rows}


def _after(batch: Sequence[Committed], n: int) -> list[Committed]:
    """The lines above `n`, where a database or the queue has got to: each exactly once, even when submitted twice."""
    new: list[Committed] = []
    for item in batch:
        if item.position.n > n:
            new.append(item)
            n = item.position.n
    return new
