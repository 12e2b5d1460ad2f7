"""The observer at work: what it is told is on disk before it answers, and looked at every `cycle_s`.

An operation that somebody hands over is appended to the journal, synced, put into the ring, and only then acknowledged.
Our own operations wait, at most `own_waiting_max` of them, and are stored together at the next cycle: nothing that is
observed waits for that, and what a crash takes of them nobody was told of.

A cycle reads corrections, stores what waits, follows the journal from where the last cycle stopped, and groups the
failures there; the first cycle after a start follows all that the journal holds. So groups and playbooks are made of
the journal alone, and need no files of their own. What takes long is done in a thread.

Corrections are read once: up to where, stands in the line of each, and in a small file beside the journals. Of a crash
between the two, the line is what counts.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import Judge
from actors.observer.advice import Advising
from actors.observer.failures import Failure, FailureGroup, FailureGroups
from actors.observer.lines import Digest, digested, read_line
from actors.observer.operation import OWN, Bounds, Operation, OperationReader, OperationRefused, encoded
from actors.observer.playbooks import Playbook, playbooks
from actors.observer.ring import Observed, Ring
from actors.observer.settings import ObserverSettings
from persistence.corrections import Rows, read_rows
from persistence.files.file_system import Offload
from persistence.format import times
from persistence.format.records import Mark, OperationRecord, ReadUpTo
from persistence.journals.journal import AppendRefused
from persistence.journals.reading import JournalDamage
from persistence.operations import OperationsJournal

log = logging.getLogger("central_command.observer")

PLAYBOOK_CYCLES: Final = 5
"""Playbooks are made every so many cycles."""
INLINE_BYTES_MAX: Final = 4_096
"""Bytes of a body that are scrubbed on the event loop; more goes to a thread."""
DAY_S: Final = 86_400


class Embedder(Protocol):
    """Gives wordings their embeddings, each of length 1; nothing where it cannot now."""

    async def __call__(self, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Return the embeddings of as many of the texts as it can."""
        ...


class ObserverStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the observer since its start."""

    ring_operations: int
    recorded: int
    refused: int
    own_left_out: int
    corrections: int
    corrections_unreadable: int
    groups: int
    cycles: int


class Observer:
    """Takes operations in and makes them readable. `load` first; `run` has the cycles.

    `kept_days` is for how many days they are kept, 0 for as long as there is room.
    """

    def __init__(
        self,
        journal: OperationsJournal,
        settings: ObserverSettings,
        *,
        kept_days: int,
        clock: Callable[[], float],
        offload: Offload,
        embedder: Embedder | None = None,
        judge: Judge | None = None,
        enrichment: EnrichmentSettings | None = None,
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._kept_days = kept_days
        self._clock = clock
        self._offload = offload
        self._embedder = embedder
        self._judge = judge
        self._enrichment = enrichment or EnrichmentSettings()
        self._reader = OperationReader(Bounds(settings.text_chars_max, settings.more_bytes_max))
        self.ring = Ring(settings.ring_operations_max)
        self._groups = FailureGroups(settings)
        self._followed = Mark()
        self._read_up_to = ReadUpTo()
        self._own: list[tuple[str, dict[str, Any]]] = []
        self.failures: tuple[FailureGroup, ...] = ()
        """The groups, as of the last cycle; the one that was added to last first."""
        self.playbooks: tuple[Playbook, ...] = ()
        """The playbooks, as of the last cycle that made them."""
        self._recorded = self._refused = self._own_left_out = 0
        self._corrections = self._unreadable = self._cycles = 0
        self._is_said: set[str] = set()

    def __repr__(self) -> str:
        return f"<Observer {self.ring!r} {self._groups!r}>"

    async def load(self) -> None:
        """Fill the ring from the journal, and find out up to where corrections were read."""
        self._read_up_to, noted_n = await self._journal.read_up_to()
        for line in await self._journal.newest(self._settings.ring_operations_max):
            found = read_line(line)
            if found is None:
                continue
            record, operation = found
            self.ring.add(Observed(line.position.n, line.position.at, operation))
            if record.read_up_to is not None and line.position.n > noted_n:
                self._read_up_to = record.read_up_to
        self.playbooks = self._playbooks()

    # Taking operations in

    async def record(self, members: dict[str, Any], size_bytes: int) -> int | AppendRefused:
        """Store an operation that somebody says; return how many the ring holds, or why it could not be stored.

        `size_bytes` is about what the members have as JSON. Raises OperationRefused for what is no operation, or claims
        to be this server's own.
        """
        if members.get("source") == OWN:
            raise OperationRefused(f"source {OWN} is this server's own; another program has another name.")
        completed = partial(self._reader.completed, members, times.to_text(self._clock()))
        operation = completed() if size_bytes <= INLINE_BYTES_MAX else await self._offload(completed)
        refused = await self._store([(operation, None)])
        return len(self.ring) if refused is None else refused

    def note(self, members: dict[str, Any]) -> None:
        """Take one of our own operations in, to be stored at the next cycle; past the bound it is left out."""
        if len(self._own) >= self._settings.own_waiting_max:
            self._own_left_out += 1
            return
        self._own.append((times.to_text(self._clock()), members))

    async def flush(self) -> None:
        """Store what waits of our own."""
        own, self._own = self._own, []
        try:
            operations = await self._offload(self._completed, own)
        except OperationRefused as wrong:  # one of ours is wrong: that ends nothing
            log.error("an operation of this server's own is none: %s", wrong)  # noqa: TRY400
            return
        await self._store([(operation, None) for operation in operations])

    def _completed(self, own: Sequence[tuple[str, dict[str, Any]]]) -> list[Operation]:
        return [self._reader.completed(members, at) for at, members in own]

    async def _store(self, operations: Sequence[tuple[Operation, ReadUpTo | None]]) -> AppendRefused | None:
        records = [
            OperationRecord(operation=msgspec.Raw(encoded(operation)), read_up_to=read_up_to)
            for operation, read_up_to in operations
        ]
        with trio.CancelScope(shield=True):  # what is handed over is stored, whoever goes away meanwhile
            places, refused = await self._journal.append(records)
        for place, (operation, read_up_to) in zip(places, operations, strict=False):
            self.ring.add(Observed(place.n, place.at, operation))
            self._read_up_to = read_up_to or self._read_up_to
        self._recorded += len(places)
        self._refused += len(records) - len(places)
        return refused

    # Cycles

    async def run(self) -> None:
        """Have a cycle every `cycle_s`, until cancelled; the first one at once. A judge is asked beside them."""
        async with trio.open_nursery() as nursery:
            await self.cycle()
            if self._judge is not None and self._settings.judge_tokens_per_day_max:
                nursery.start_soon(self._advising(self._judge).run, name="advice")
            while True:
                await trio.sleep(self._settings.cycle_s)
                await self.cycle()

    def _advising(self, judge: Judge) -> Advising:
        return Advising(
            judge,
            self._enrichment,
            tokens_per_day_max=self._settings.judge_tokens_per_day_max,
            groups=self._groups,
            day=lambda: times.day_of(self._clock()),
            store=self._store_own,
            followed_n=lambda: self._followed.n,
        )

    async def _store_own(self, own: Sequence[dict[str, Any]]) -> int | None:
        """Store own operations now; return the number of the last line, None where there was no room."""
        at = times.to_text(self._clock())
        operations = await self._offload(self._completed, [(at, members) for members in own])
        refused = await self._store([(operation, None) for operation in operations])
        return self._journal.tail.n if refused is None else None

    async def cycle(self) -> None:
        """Read corrections, store what waits, group what failed, and every fifth time sum up what went well."""
        await self._read_corrections()
        await self.flush()
        await self._forget()
        await self._follow()
        self._cycles += 1
        if self._cycles % PLAYBOOK_CYCLES == 0:
            self.playbooks = await self._offload(self._playbooks)

    def _playbooks(self) -> tuple[Playbook, ...]:
        return tuple(playbooks(self.ring.all(), playbooks_max=self._settings.playbooks_max))

    async def _forget(self) -> None:
        """Drop the days that are past their time, and what was counted of those that are gone."""
        if self._kept_days:
            await self._journal.drop_before(times.day_of(self._clock() - self._kept_days * DAY_S))
        self._groups.forget(self._journal.dropped_day)

    async def _follow(self) -> None:
        """Group what failed since the last cycle."""
        while self._followed.n < self._journal.tail.n:
            try:
                began_at = trio.current_time()
                async for lines in self._journal.scan(self._followed):
                    await self._take(await self._offload(digested, lines))
                    # After a start all that is kept is read: who asks meanwhile has the interpreter half of the time.
                    await trio.sleep(trio.current_time() - began_at)
                    began_at = trio.current_time()
            except JournalDamage as damage:
                log.error("%s The observer goes on behind it.", damage)  # noqa: TRY400 (the sentence says it all)
                behind = damage.behind if damage.behind is not None else self._journal.tail
                self._followed = max(behind, self._followed)
        self.failures = tuple(await self._offload(self._groups.reports))

    async def _take(self, digest: Digest) -> None:
        failures = [each for each in digest.found if isinstance(each, Failure)]
        if self._embedder is not None and (new := self._groups.unknown(failures)):
            self._groups.learn(await self._embedder(new[: self._settings.embeddings_per_cycle_max]))
        await self._offload(self._groups.add_all, digest.found)
        self._followed = digest.up_to

    # Corrections

    async def _read_corrections(self) -> None:
        if self._settings.corrections_path is None:
            return
        left = self._settings.corrections_per_cycle_max
        while left > 0:
            rows = await self._rows(Path(self._settings.corrections_path), min(left, 1_000))
            if rows is None or not rows.rows or not await self._store_corrections(rows):
                return
            left -= len(rows.rows)
            if rows.is_all:
                return

    async def _rows(self, path: Path, rows_max: int) -> Rows | None:
        read = partial(
            read_rows, path, self._read_up_to, row_bytes_max=self._settings.correction_bytes_max, rows_max=rows_max
        )
        try:
            return await self._offload(read)
        except OSError as error:
            self._say_once("corrections", f"the file of corrections cannot be read: {error.strerror}")
            return None

    async def _store_corrections(self, rows: Rows) -> bool:
        operations = await self._offload(self._corrected, rows.rows)
        if operations and await self._store(operations) is not None:
            return False
        self._corrections += len(operations)
        self._read_up_to = rows.rows[-1][1]
        try:
            await self._journal.note_read_up_to(self._read_up_to)
        except OSError as error:
            self._say_once("place", f"up to where corrections were read could not be noted: {error.strerror}")
        return True

    def _corrected(self, rows: Sequence[tuple[bytes | None, ReadUpTo]]) -> list[tuple[Operation, ReadUpTo | None]]:
        operations: list[tuple[Operation, ReadUpTo | None]] = []
        at = times.to_text(self._clock())
        for row, up_to in rows:
            if row is not None and not row.strip():
                continue
            found = self._correction(row, at)
            if isinstance(found, Operation):
                operations.append((found, up_to))
            else:
                self._unreadable += 1
                self._say_once("row", f"a row of the file of corrections, before byte {up_to.offset}: {found}")
        return operations

    def _correction(self, row: bytes | None, at: str) -> Operation | str:
        """The operation of a row; or what is wrong with it."""
        if row is None:
            return f"The row has more than {self._settings.correction_bytes_max:,} bytes."
        try:
            return self._reader.correction(row, at)
        except OperationRefused as refused:
            return str(refused)

    def _say_once(self, kind: str, sentence: str) -> None:
        if kind not in self._is_said:
            self._is_said.add(kind)
            log.warning("%s (said once)", sentence)

    @property
    def journal(self) -> OperationsJournal:
        """Where operations are kept."""
        return self._journal

    def statistics(self) -> ObserverStatistics:
        """Return the current figures."""
        return ObserverStatistics(
            ring_operations=len(self.ring),
            recorded=self._recorded,
            refused=self._refused,
            own_left_out=self._own_left_out,
            corrections=self._corrections,
            corrections_unreadable=self._unreadable,
            groups=len(self._groups),
            cycles=self._cycles,
        )
