"""What is on disk, opened in order and closed in the reverse order.

Opening: the data directory and its lock, the databases and their migrations, the master key, recovery of each journal
(its tail is checked, cut, and projected), and only then the writers. Closing: the journals stop taking lines and answer
those that they hold, the projector projects what is left, the databases are checkpointed and closed, the lock goes.

When anything below fails, nothing of the closing order is attempted: the failure travels up, the process ends, and the
next start recovers. That path is the one that is tested most, because it is also the path of a crash.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from persistence.corpus_erasing import ErasableCorpus
from persistence.databases.consents import Consents
from persistence.databases.counters import Counters
from persistence.databases.database import Database, DatabaseUnavailable
from persistence.databases.erased_rows import ErasedRows
from persistence.databases.fingerprints import Fingerprints
from persistence.databases.key_check import check_key, sealed_check, sealed_with
from persistence.databases.ledger import Ledger
from persistence.databases.letters import Letters
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA, Schema
from persistence.databases.opening import bridge_to_asyncio, open_database
from persistence.databases.projector import Projector, ProjectorStatistics
from persistence.databases.registry import Registry
from persistence.databases.session_index import SessionIndex
from persistence.files.attempts import Attempts
from persistence.files.durations import DurationStatistics
from persistence.files.file_system import FileSystem, Offload, OsFileSystem, in_thread
from persistence.files.lock import single_instance
from persistence.files.space import Space, SpaceStatistics
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import INGESTED, JournalName, Mark
from persistence.journals.dropping import JournalQuota, QuotaStatistics
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.journals.journal import Journal, JournalStatistics
from persistence.journals.recovery import Recovery
from persistence.journals.stored import StoredJournal
from persistence.journals.writing import JournalEnd
from persistence.keys.receipt_signing import ReceiptSigner
from persistence.keys.sealing import Sealer, load_master_key
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")


class OpenDatabase(Protocol):
    """How a database is opened: over aiosqlite, or in place for simulations."""

    def __call__(
        self, path: Path, schema: Schema, settings: StorageSettings, *, applied_at: str
    ) -> AbstractAsyncContextManager[Database]:
        """Open, create or migrate the database at `path`."""
        ...


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """The world that storage runs in; tests and simulations put another one in its place.

    `clock` gives seconds since the epoch and may be set by others at any time, `monotonic` seconds that nobody sets.
    """

    clock: Callable[[], float]
    environ: Mapping[str, str]
    monotonic: Callable[[], float] = trio.current_time
    files: FileSystem = msgspec.field(default_factory=OsFileSystem)
    offload: Offload = in_thread
    writer: Callable[[str], AbstractAsyncContextManager[Offload]] | None = None
    """Opens what a journal of that name writes through, where that is not `offload`."""
    open_database: OpenDatabase = open_database
    bridge: Callable[[], AbstractAsyncContextManager[None]] = bridge_to_asyncio


class StorageStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of everything on disk; `syncs` is how long each journal's batches were synced."""

    journals: dict[str, JournalStatistics]
    syncs: dict[str, DurationStatistics]
    projector: ProjectorStatistics
    space: SpaceStatistics
    refused: QuotaStatistics


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of the databases: a reader for each family of tables that others than its owner ask."""

    ledger: Ledger
    fingerprints: Fingerprints
    counters: Counters
    consents: Consents
    letters: Letters
    index: SessionIndex


class ErasureStorage(msgspec.Struct, frozen=True, kw_only=True):
    """What erasure needs of the storage beside its journals."""

    register: ErasureRegister
    rows: ErasedRows
    corpus: ErasableCorpus
    files: FileSystem
    settings: StorageSettings


class Storage:
    """Everything on disk, as the actors and the statistics see it."""

    def __init__(
        self,
        layout: DataLayout,
        *,
        registry: Registry,
        tables: Tables,
        receipts: ReceiptSigner,
        projector: Projector,
        space: Space,
        refused_quota: JournalQuota,
        journals: Mapping[JournalName, Journal],
        closing: Attempts,
        erasure: ErasureStorage,
    ) -> None:
        self.layout = layout
        self.closing = closing
        self.erasure = erasure
        self.registry = registry
        self.ledger = tables.ledger
        self.fingerprints = tables.fingerprints
        self.counters = tables.counters
        self.consents = tables.consents
        self.letters = tables.letters
        self.index = tables.index
        self.receipts = receipts
        self.projector = projector
        self.space = space
        self.refused_quota = refused_quota
        self.journals = journals
        self.envelopes = journals[JournalName.ENVELOPES]
        self.refused = journals[JournalName.REFUSED]
        self.trajectories = journals[JournalName.TRAJECTORIES]
        self.consent = journals[JournalName.CONSENT]
        self.intake = journals[JournalName.INTAKE]

    def has_room_for_letter(self, size_bytes: int) -> bool:
        """Whether the quota of refused envelopes takes a line of so many bytes, behind those that wait."""
        return self.refused_quota.has_room_for(size_bytes + self.refused.statistics().waiting_bytes)

    def statistics(self) -> StorageStatistics:
        """Return the current figures."""
        return StorageStatistics(
            journals={name.value: journal.statistics() for name, journal in self.journals.items()},
            syncs={name.value: journal.sync_durations() for name, journal in self.journals.items()},
            projector=self.projector.statistics(),
            space=self.space.statistics(),
            refused=self.refused_quota.statistics(),
        )


@asynccontextmanager
async def open_storage(
    data_directory: Path,
    settings: StorageSettings,
    platform: Platform,
    *,
    opens_per_machine_per_h: int,
    opens_per_contributor_per_h: int = 1_000,
    unused_sessions_max: int,
) -> AsyncIterator[Storage]:
    """Open a data directory for serving.

    Raises DataDirectoryLocked, StorageDamage, StorageFailure or MasterKeyError, each with one sentence.
    """
    layout = DataLayout(data_directory)
    _make_directories(layout, platform.files)
    applied_at = times.to_text(platform.clock())
    async with AsyncExitStack() as stack:
        stack.enter_context(single_instance(data_directory))
        await stack.enter_async_context(platform.bridge())
        sessions = await stack.enter_async_context(
            platform.open_database(layout.sessions_database, SESSIONS_SCHEMA, settings, applied_at=applied_at)
        )
        ledger = await stack.enter_async_context(
            platform.open_database(layout.ledger_database, LEDGER_SCHEMA, settings, applied_at=applied_at)
        )
        sealed = await sealed_check(sessions)
        needed = None if sealed is None else sealed_with(sealed)
        master_key = load_master_key(layout.keys, platform.environ, needed=needed)
        sealer = Sealer(master_key)
        await check_key(sealer, sessions, keys_folder=layout.keys)
        projector = Projector(sessions, ledger, settings)
        await projector.load()
        fingerprints = Fingerprints(ledger, filter_bytes=settings.fingerprint_filter_bytes)
        registry = Registry(
            sessions,
            sealer,
            settings,
            opens_per_machine_per_h=opens_per_machine_per_h,
            opens_per_contributor_per_h=opens_per_contributor_per_h,
            unused_sessions_max=unused_sessions_max,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(projector.run, name="projector")
            nursery.start_soon(registry.run, name="registry")
            writes = {name: await stack.enter_async_context(_writer(name, platform)) for name in INGESTED}
            space, refused_quota, journals = await _recovered_journals(layout, settings, platform, projector, writes)
            nursery.start_soon(refused_quota.run, name="refused quota")
            nursery.start_soon(fingerprints.fill, name="filter of fingerprints")
            async with trio.open_nursery() as writers:
                for journal in journals.values():
                    writers.start_soon(journal.run, name=f"{journal.name} journal")
                yield Storage(
                    layout,
                    registry=registry,
                    tables=Tables(
                        ledger=Ledger(ledger),
                        fingerprints=fingerprints,
                        counters=Counters(sessions, ledger),
                        consents=Consents(sessions),
                        letters=Letters(sessions),
                        index=SessionIndex(sessions),
                    ),
                    receipts=ReceiptSigner(master_key),
                    projector=projector,
                    space=space,
                    refused_quota=refused_quota,
                    journals=journals,
                    closing=await platform.offload(Attempts, layout.closing, platform.files),
                    erasure=ErasureStorage(
                        register=await platform.offload(
                            ErasureRegister, register_path(layout), platform.files, platform.clock
                        ),
                        rows=ErasedRows(sessions, ledger),
                        corpus=ErasableCorpus(
                            layout,
                            settings,
                            opening=platform.open_database,
                            clock=platform.clock,
                            files=platform.files,
                            offload=platform.offload,
                        ),
                        files=platform.files,
                        settings=settings,
                    ),
                )
                for journal in journals.values():
                    journal.close()
            await projector.drain()
            nursery.cancel_scope.cancel()
        for database in (sessions, ledger):
            try:
                await database.checkpoint()
            except DatabaseUnavailable as unavailable:
                log.warning("%s; its write-ahead log stays until the next start", unavailable)


def _writer(name: JournalName, platform: Platform) -> AbstractAsyncContextManager[Offload]:
    return nullcontext(platform.offload) if platform.writer is None else platform.writer(name)


def _make_directories(layout: DataLayout, files: FileSystem) -> None:
    for directory in (layout.root, *(layout.journal(name) for name in INGESTED)):
        files.make_directory(directory)
    # An operator, or a checkout, may have made it for everyone to read.
    files.make_private(layout.root)


async def _recovered_journals(
    layout: DataLayout,
    settings: StorageSettings,
    platform: Platform,
    projector: Projector,
    writes: Mapping[JournalName, Offload],
) -> tuple[Space, JournalQuota, dict[JournalName, Journal]]:
    """Recover every journal and return them ready to be written to; all their lines are projected."""
    tails = {name: await _recover(name, layout, settings, platform, projector) for name in INGESTED}
    await projector.drain()
    stored = {name: await platform.offload(_stored_bytes, name, layout, platform.files) for name in INGESTED}
    held = sum(size_bytes for name, size_bytes in stored.items() if name is not JournalName.REFUSED)
    space = Space(layout.root, files=platform.files, clock=platform.clock, settings=settings, stored_bytes=held)
    ends = {
        name: JournalEnd(name, layout.journal(name), tail, files=platform.files, clock=platform.clock)
        for name, tail in tails.items()
    }
    journals: dict[JournalName, Journal] = {}
    refused_quota = await platform.offload(
        partial(
            JournalQuota,
            JournalName.REFUSED,
            layout.journal(JournalName.REFUSED),
            quota_bytes=settings.refused_quota_bytes,
            files=platform.files,
            offload=platform.offload,
            clock=platform.clock,
            disk=space.disk,
            tail=lambda: ends[JournalName.REFUSED].tail,
            settled=partial(_settled, projector),
            let_go=lambda dropped_bytes: journals[JournalName.REFUSED].let_go(dropped_bytes),  # noqa: PLW0108 made later
        )
    )
    journals |= {
        name: Journal(
            end,
            offload=writes[name],
            offload_reading=platform.offload,
            space=refused_quota if name is JournalName.REFUSED else space,
            settings=settings,
            stored_bytes=stored[name],
            committed=projector.submit_nowait,
            has_room_behind=projector.has_room,
        )
        for name, end in ends.items()
    }
    return space, refused_quota, journals


async def _settled(projector: Projector, n: int) -> bool:
    """Return once the refused journal's lines up to `n` are in the databases for good; False if they cannot be now."""
    try:
        await projector.settle(JournalName.REFUSED, n)
    except DatabaseUnavailable as unavailable:
        log.warning("%s; no refused envelopes can be dropped until it can be", unavailable)
        return False
    return True


def _stored_bytes(name: JournalName, layout: DataLayout, files: FileSystem) -> int:
    return StoredJournal(name, layout.journal(name), files=files).statistics().stored_bytes


async def _recover(
    name: JournalName, layout: DataLayout, settings: StorageSettings, platform: Platform, projector: Projector
) -> Mark:
    """Project what the databases have not seen of a journal; return its end."""
    recovery = Recovery(
        name,
        layout.journal(name),
        projector.positions()[name],
        files=platform.files,
        torn_directory=layout.torn,
        batch_bytes_max=settings.recovery_batch_bytes_max,
    )
    batches = recovery.batches()
    while batch := await platform.offload(next, batches, None):
        await projector.pass_over(name, recovery.start)
        await projector.submit(name, batch)
    await projector.pass_over(name, recovery.start)
    return recovery.tail
