"""What the databases should hold: the journals' lines, each checked, projected into new databases.

First up to where the stored databases have seen each journal, to compare them with; then all the rest, so that it is
known what no line may say again, whether or not a start has looked at it yet.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from persistence.databases.database import Database, DatabaseConflict
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import project_ledger, project_sessions
from persistence.databases.repeated_lines import claims_of, repetitions
from persistence.digests import DigestCheck
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import Committed, JournalName, Record
from persistence.journals.decoding import LineError
from persistence.journals.lines import parse_line
from persistence.journals.reading import JournalDamage, StoredLine
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings
from persistence.upkeep.findings import Findings

SCAN_ORDER = (
    JournalName.TRAJECTORIES,
    JournalName.REFUSED,
    JournalName.ENVELOPES,
    JournalName.CONSENT,
    JournalName.INTAKE,
)
"""So that, beside a server, the envelopes of every trajectory that was read are read, too."""


class Expectation:
    """Two new databases, and how far each journal has been projected into them."""

    def __init__(
        self, layout: DataLayout, sessions: Database, ledger: Database, findings: Findings, digests: DigestCheck
    ) -> None:
        self.sessions = sessions
        self.ledger = ledger
        self._findings = findings
        self._not_credited: list[Committed] = []
        self.dropped = StoredJournal.of(layout, JournalName.REFUSED).dropped()
        """What the journals lack because it was dropped, as of now."""
        seen = {JournalName.TRAJECTORIES: digests.take}
        self._journals = {name: _Lines(StoredJournal.of(layout, name), findings, seen.get(name)) for name in SCAN_ORDER}

    def __repr__(self) -> str:
        return f"<Expectation {self.ends()}>"

    def ends(self) -> dict[JournalName, int]:
        """Up to which line each journal has been read."""
        return {name: lines.n for name, lines in self._journals.items()}

    async def project_seen(self, seen: dict[str, int], seen_by_ledger: dict[str, int]) -> None:
        """Project what both stored databases say they have seen; a journal that ends before is a finding."""
        for name in SCAN_ORDER:
            here, there = seen.get(name, 0), seen_by_ledger.get(name, 0)
            lines = self._journals[name]
            while batch := await lines.up_to(max(here, there)):
                await self._project(name, [each for each in batch if each.position.n <= here])
                if name is JournalName.TRAJECTORIES:
                    await self._credit([each for each in batch if each.position.n <= there])
                    self._not_credited += [each for each in batch if each.position.n > there]
                lines.keep([each for each in batch if here < each.position.n <= there])
            for database, n in (("sessions.db", here), ("ledger.db", there)):
                if n > lines.n:
                    self._findings.add(f"{name}: {database} has seen line {n}, but the journal ends at {lines.end}")

    async def project_rest(self) -> None:
        """Project all that came after it."""
        seen = self.ends()[JournalName.TRAJECTORIES]
        await self._credit(self._not_credited)
        for name in SCAN_ORDER:
            while batch := await self._journals[name].up_to(None):
                await self._project(name, batch)
                if name is JournalName.TRAJECTORIES:
                    await self._credit([each for each in batch if each.position.n > seen])

    async def _credit(self, batch: Sequence[Committed]) -> None:
        if batch:
            await self.ledger.write(project_ledger(batch), durable=False)

    async def _project(self, name: JournalName, batch: Sequence[Committed]) -> None:
        while batch:
            try:
                await self.sessions.write(project_sessions(name, batch), durable=False)
            except DatabaseConflict as conflict:
                repeated = await repetitions(self.sessions, name, claims_of(batch))
                for sentence in repeated.values():
                    self._findings.add(f"{name}: {sentence}")
                if not repeated:
                    first, last = batch[0].position.n, batch[-1].position.n
                    self._findings.add(f"{name}: lines {first} to {last} contradict what is before them ({conflict})")
                    return
                batch = [each for each in batch if each.position.n not in repeated]
            else:
                return


class _Lines:
    """The good lines of a journal, in order; what is wrong with others is a finding, once."""

    def __init__(
        self,
        journal: StoredJournal,
        findings: Findings,
        seen: Callable[[StoredLine, Record], None] | None = None,
    ) -> None:
        self._journal = journal
        self._findings = findings
        self._seen = seen
        self._scan = journal.scan()
        self._waiting: list[Committed] = []
        self._kept: list[Committed] = []
        self._before: StoredLine | None = None
        self._is_damaged = False
        self.n = journal.dropped().n
        for foreign in journal.foreign_names():
            findings.add(
                f"{journal.name}: {foreign!r} in its folder is not the journal's and is left alone: move it away"
            )

    @property
    def end(self) -> str:
        """Where the journal ends, for people."""
        torn = self._scan.torn
        return f"{self.n}" if torn is None else f"{self.n}, with {torn.where} after it"

    def keep(self, lines: Sequence[Committed]) -> None:
        """Hand these out again, once everything is wanted."""
        self._kept += lines

    async def up_to(self, n: int | None) -> list[Committed]:
        """Return the next lines up to number `n`, or however many there are; none when there are no more."""
        if n is None and self._kept:
            kept, self._kept = self._kept, []
            return kept
        if not self._waiting and (n is None or self.n < n):
            self._waiting = await self._next()
        taken = [each for each in self._waiting if n is None or each.position.n <= n]
        self._waiting = self._waiting[len(taken) :]
        if taken:
            self.n = taken[-1].position.n
        return taken

    async def _next(self) -> list[Committed]:
        """Return the next good lines; none at the journal's end, or where it is damaged."""
        if self._is_damaged:
            return []
        try:
            async for lines in self._scan:
                batch = [each for line in lines if (each := self._parsed(line)) is not None]
                if batch:
                    return batch
        except JournalDamage as damage:
            self._is_damaged = True
            self._findings.add(f"{self._journal.name}: {damage.what}")
        return []

    def _parsed(self, line: StoredLine) -> Committed | None:
        before, self._before = self._before, line
        for fault in _faults(line, before):
            self._findings.add(f"{self._journal.name}: {line.where}: {fault}")
        try:
            record = parse_line(self._journal.name, line.text)
        except LineError as error:
            self._findings.add(f"{self._journal.name}: {line.where}: {error}")
            return None
        if self._seen is not None:
            self._seen(line, record)
        return Committed(record, line.position)


def _faults(line: StoredLine, before: StoredLine | None) -> list[str]:
    """What a line says of its batch and time that cannot be so (docs/format.md, "Numbers and batches")."""
    place = line.position
    begins = line.batch == place.n
    goes_on = before is not None and (line.batch, place.at, place.day) == (
        before.batch,
        before.position.at,
        before.position.day,
    )
    faults = []
    if not begins and not goes_on:
        faults.append(f"it says that it is of batch {line.batch}, which it neither begins nor goes on with")
    if times.day_of(place.at) > place.day:
        faults.append(f"it says that it was received on {times.day_of(place.at)}, after the day of its file")
    return faults


@asynccontextmanager
async def expectation(
    layout: DataLayout,
    workplace: DataLayout,
    settings: StorageSettings,
    findings: Findings,
    digests: DigestCheck,
    *,
    applied_at: str,
) -> AsyncIterator[Expectation]:
    """Give new databases in a folder of their own; they hold nothing yet. `digests` is shown the trajectories."""
    async with (
        open_inline_database(workplace.sessions_database, SESSIONS_SCHEMA, settings, applied_at=applied_at) as sessions,
        open_inline_database(workplace.ledger_database, LEDGER_SCHEMA, settings, applied_at=applied_at) as ledger,
    ):
        yield Expectation(layout, sessions, ledger, findings, digests)
