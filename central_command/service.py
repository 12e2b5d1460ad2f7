"""The composition root: what is opened in which order, and what stops in which order.

The nesting is the order: storage ⊃ embedding ⊃ session actors ⊃ HTTP. Leaving goes the other way: HTTP stops accepting
and lets requests end, the directory drains the mailboxes and ends the actors, embedding stops, the storage writes and
projects what is left. How long that may take says `running`.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import trio

from actors.consent.desk import ConsentDesk
from actors.consent.register import ConsentRegister, NotSigned, Said, SayOutcome
from actors.consent.signatures import RequestProof
from actors.curation.following import CurationStatistics
from actors.embedding.nursery import EmbeddingNursery, EmbeddingStatistics, open_embeddings
from actors.envelopes.reading import Envelope
from actors.erasure.expiring import Expiry
from actors.erasure.job import Eraser, Report, TooManyErasures
from actors.intake.desk import IntakeDesk
from actors.sessions.buffer import BufferBudget
from actors.sessions.directory import Directory, DirectoryStatistics
from actors.sessions.environment import Environment, Identifiers, RandomIdentifiers
from actors.sessions.letter_desk import LetterDesk
from actors.sessions.messages import CloseSession, Ingest, OpenSession
from actors.sessions.outcomes import (
    CloseOutcome,
    Forgotten,
    FullReason,
    IngestOutcome,
    OpenOutcome,
    StillActive,
    StorageFull,
)
from actors.sessions.rewriting import OffloadedRewriter, Rewriter
from actors.sessions.session import SessionActor
from actors.sessions.unasked_ends import SECONDS_PER_HOUR, UnaskedEnds
from central_command.access.audit import Audit
from central_command.access.bans import BanDesk, BanList
from central_command.access.desk import AccessDesk
from central_command.access.gate import Gate
from central_command.background.digests import LedgerDigests
from central_command.background.tiers import Tiers
from central_command.corpus.pseudonyms import StoredPseudonyms
from central_command.curating.supervision import CurationProcess
from central_command.desks import Desks
from central_command.export_queue.queue import folder_of
from central_command.exporting.known_exports import exports_with
from central_command.http.endpoints.access import Access
from central_command.http.endpoints.intake import Intake
from central_command.http.gateway import CurationLag, Readiness
from central_command.process.clock_jumps import ClockJumps
from central_command.settings.configuration import Settings
from persistence.databases.access_tokens import TokenFile
from persistence.databases.browser_sessions import BrowserSessionFile
from persistence.databases.reports import DayReport, LeaderboardEntry, ModelReport, ProviderReport, Summary
from persistence.files.space import FreeSpace, Room
from persistence.format.layout import DataLayout
from persistence.format.records import ClosedBy, JournalName
from persistence.journals.background_check import BackgroundCheck, CheckStatistics
from persistence.journals.erasure_register import ErasureSubject
from persistence.journals.stalls import Stalls
from persistence.journals.stored import StoredJournal
from persistence.settings.storage import StorageSettings
from persistence.storage import Platform, Storage, StorageStatistics, open_storage
from persistence.upkeep.successes import last_successes

log = logging.getLogger("central_command.service")

NOT_NEEDED = frozenset({"access", "embedding", "erasures", "lines"})
"""Checks that say what is wrong without which envelopes are taken in all the same."""


class ServiceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the whole service; `stalled_s` is for how long each journal's writer has not moved but should have."""

    uptime_s: float
    sessions: DirectoryStatistics
    embedding: EmbeddingStatistics | None
    buffer_bytes: int
    storage: StorageStatistics
    check: CheckStatistics
    curation: CurationStatistics | None
    erasures_open: int
    stalled_s: dict[str, float]


class Service:
    """The gateway's real side."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        directory: Directory,
        budget: BufferBudget,
        embeddings: EmbeddingNursery | None,
        jumps: ClockJumps,
        check: BackgroundCheck,
        environment: Environment,
        consent: ConsentRegister,
        gate: Gate,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._consent = consent
        self.desk = ConsentDesk(consent, storage.receipts, environment.clock)
        self._taking = IntakeDesk(consent, storage.intake, random_bytes=environment.random_bytes)
        self._gate = gate
        self.intake = Intake(self._taking, gate, settings.intake)
        desk = AccessDesk(
            storage.layout.access_database,
            settings.access,
            clock=environment.clock,
            random_bytes=environment.random_bytes,
            offload=environment.offload,
        )
        bans = BanDesk(
            storage.layout.access_database,
            settings.access,
            clock=environment.clock,
            random_bytes=environment.random_bytes,
        )
        self.bans = BanList(bans, settings.access, clock=environment.clock, offload=environment.offload)
        audit = Audit(storage.layout, clock=environment.clock, offload=environment.offload)
        self.access = Access(desk, gate, self.bans, audit, storage.index.machines)
        self._storage = storage
        self._directory = directory
        self.letters = LetterDesk(environment, directory, StoredPseudonyms(storage.layout.keys).of)
        self._budget = budget
        self.embeddings = embeddings
        self.desks = Desks(settings, storage, gate, audit, embeddings, self.letters)
        self._clock = environment.clock
        self._jumps = jumps
        self.check = check
        self.curation: CurationProcess | None = None
        self.eraser = Eraser(environment, directory, self.without_curation, self._exports_with)
        self.expiry = Expiry(environment, self.eraser, settings.consent, settings.retention)
        self.tiers = Tiers(storage, self.eraser, settings.tiers, environment.clock)
        self.ledger_digests = LedgerDigests(storage, environment)
        self.stalls = Stalls(storage.journals)
        self.ends = UnaskedEnds(environment, directory, consent, jumps.forward_s)
        self._started_at = trio.current_time()

    # Sessions

    async def open_session(self, message: OpenSession) -> OpenOutcome:
        """Open a session, or answer a resend of the same opening."""
        self._jumps.observe()  # the time of an opening is judged by the steps after it
        outcome = await self._directory.ask(message.session_id, message)
        if outcome == StorageFull(FullReason.UNUSED_SESSIONS) and await self.ends.forget_oldest_unused():
            outcome = await self._directory.ask(message.session_id, message)
        return outcome

    async def is_open(self, session_id: str) -> bool:
        """Whether a session takes envelopes, as its row says: no actor is activated for the question."""
        row = await self._storage.registry.one(session_id)
        return row is not None and not row.closed

    async def knows_session(self, session_id: str) -> bool:
        """Whether there is such a session, open or closed, by its row."""
        return await self._storage.registry.one(session_id) is not None

    async def sessions_beginning(self, text: str, limit: int) -> list[str]:
        """The ids of sessions, open or closed, that begin so, in their order, at most `limit`."""
        return await self._storage.registry.beginning_with(text, limit)

    async def ingest(self, envelope: Envelope) -> IngestOutcome:
        """Take one envelope in: the answer comes after it is on disk."""
        outcomes = await self._directory.ask(envelope.session_id, Ingest((envelope,)))
        return outcomes[0] if isinstance(outcomes, tuple) else outcomes

    async def ingest_many(self, session_id: str, envelopes: tuple[Envelope, ...]) -> tuple[IngestOutcome, ...]:
        """Take envelopes of one session in, in order, each as if it had come alone; one outcome for each."""
        outcomes = await self._directory.ask(session_id, Ingest(envelopes))
        return outcomes if isinstance(outcomes, tuple) else (outcomes,) * len(envelopes)

    async def close_session(self, session_id: str) -> CloseOutcome:
        """Close a session without the client's own SESSION_CLOSE."""
        outcome = await self._directory.ask(session_id, CloseSession(ClosedBy.HTTP_CLOSE))
        assert not isinstance(outcome, StillActive | Forgotten), "that is what becomes of abandoned ones"
        return outcome

    @property
    def settings(self) -> Settings:
        """Those that are in force."""
        return self._settings

    @property
    def storage_settings(self) -> StorageSettings:
        """Those that are in force."""
        return self._settings.storage

    @property
    def layout(self) -> DataLayout:
        """Where everything is."""
        return self._storage.layout

    @property
    def disk(self) -> FreeSpace:
        """What is free on the disk."""
        return self._storage.space.disk

    # Erasure

    async def _exports_with(self, session_ids: Collection[str], users: Collection[str]) -> list[str]:
        """The folders of exports that hold something of these sessions or users."""
        root = self._environment.storage.layout.root
        look = partial(exports_with, root, session_ids, users, own=folder_of(self._settings, root))
        return await self._environment.offload(look)

    async def erase_contributor(
        self, contributor_id: str, proof: RequestProof | None
    ) -> Report | TooManyErasures | NotSigned:
        """Ask for a contributor to be erased; who has a key must sign. The request is on disk when this returns."""
        refused = self._consent.not_signed(contributor_id, proof)
        return refused or await self.ask_erasure(ErasureSubject.CONTRIBUTOR, contributor_id)

    async def erase_user(self, user_id: str) -> Report | TooManyErasures | SayOutcome:
        """Withdraw for a user of an application, and ask for them to be erased; or what kept that from being recorded.

        The request is on disk when this returns.
        """
        said = await self._taking.withdraw(user_id)
        if said is None or isinstance(said, Said):
            return await self.ask_erasure(ErasureSubject.USER, user_id)
        return said

    async def ask_erasure(self, subject: ErasureSubject, name: str) -> Report | TooManyErasures:
        """Ask for somebody, or a session, to be erased, by who may; the request is on disk when this returns."""
        asked = await self.eraser.ask(subject, name)
        if isinstance(asked, TooManyErasures):
            return asked
        return self.erasure(asked.request) or Report(erasure=asked)

    def erasure(self, request: str) -> Report | None:
        """How a request stands; None for one that is not known."""
        return self.eraser.report(request)

    @asynccontextmanager
    async def without_curation(self) -> AsyncIterator[None]:
        """While the block lasts, no process of this server's writes the corpus."""
        async with nullcontext() if self.curation is None else self.curation.paused():
            yield

    # Statistics

    async def summary(self) -> Summary:
        """Totals since the beginning."""
        stored_bytes = self._storage.space.statistics().stored_bytes
        return await self._storage.counters.summary(stored_bytes, self._storage.refused_quota.statistics())

    async def daily(self, days: int) -> list[DayReport]:
        """The last `days` UTC days, today included, oldest first."""
        return await self._storage.counters.daily(days, datetime.fromtimestamp(self._clock(), UTC).date())

    async def models(self) -> dict[str, ModelReport]:
        """By model, most steps first."""
        return await self._storage.counters.models()

    async def providers(self) -> dict[str, ProviderReport]:
        """By provider, most steps first."""
        return await self._storage.counters.providers()

    async def leaderboard(self, limit: int) -> list[LeaderboardEntry]:
        """The `limit` contributors with the most points."""
        return await self._storage.ledger.leaderboard(limit)

    # State

    @property
    def uptime_s(self) -> float:
        """Seconds since the service started."""
        return trio.current_time() - self._started_at

    def readiness(self) -> Readiness:
        """Whether envelopes can be taken in. Recovery is over: the service does not exist before it is."""
        room = self._storage.space.room_for(0)
        checks = {
            "recovery": "ok",
            "journals": "ok" if all(journal.is_open for journal in self._storage.journals.values()) else "closed",
            "projection": "ok" if self._storage.projector.has_room() else "behind the journals",
            "disk": "ok" if room is Room.YES else str(room),
            "sessions": "draining" if self._directory.is_draining else "ok",
            "lines": "ok",
            "erasures": "ok",
            "access": "ok",
            "embedding": "off" if self.embeddings is None else self.embeddings.detail,
        }
        if places := self.check.statistics().damaged_places:
            checks["lines"] = f"damaged in {places} place(s); the log says where"
        if self.bans.is_unable or self._gate.is_unable:
            checks["access"] = "access.db cannot be read; the log says why"
        if hindered := self.eraser.hindered_count:
            checks["erasures"] = f"{hindered} cannot be done; the log says why"
        ready = all(found == "ok" for check, found in checks.items() if check not in NOT_NEEDED)
        return Readiness(ready=ready, checks=checks, not_needed=NOT_NEEDED)

    def stalled(self) -> dict[str, float]:
        """The journals whose writer has not moved for longer than it may, and for how many seconds."""
        bound_s = self._settings.storage.journal_stall_max_s
        return {name: for_s for name, for_s in self.stalls.stalled_s().items() if for_s > bound_s}

    def last_successes(self) -> dict[str, float]:
        """When commands that look after the data directory last went well, in seconds since the epoch. Blocking."""
        return last_successes(self._storage.layout, self._storage.erasure.files)

    @property
    def last_full_check_at(self) -> float | None:
        """When all stored lines were last gone over, in seconds since the epoch."""
        return self.check.statistics().last_full_pass_at

    def statistics(self) -> ServiceStatistics:
        """Return the current figures."""
        return ServiceStatistics(
            uptime_s=self.uptime_s,
            sessions=self._directory.statistics(),
            embedding=None if self.embeddings is None else self.embeddings.statistics(),
            buffer_bytes=self._budget.bytes_taken,
            storage=self._storage.statistics(),
            check=self.check.statistics(),
            curation=None if self.curation is None else self.curation.figures,
            erasures_open=self._storage.erasure.register.open_count,
            stalled_s=self.stalls.stalled_s(),
        )

    @property
    def curation_lag(self) -> CurationLag | None:
        """How far the corpus is behind; None where none is made."""
        return None if self.curation is None else self.curation.lag

    def trajectories_n(self) -> int:
        """How many trajectories there are."""
        return self._storage.trajectories.statistics().tail.n

    def texts_n(self) -> int:
        """How many texts of the intake there are."""
        return self._storage.intake.statistics().tail.n

    def reconfigure(self, settings: Settings) -> None:
        """Go on with other settings, as far as they can change at run time (`settings.run_time`)."""
        self._settings = settings
        self._environment.sessions = settings.sessions
        self._environment.schema = settings.schema
        self._environment.scoring = settings.scoring
        self._storage.registry.opens_per_machine_per_h = settings.sessions.opens_per_machine_per_h
        self._storage.registry.opens_per_contributor_per_h = settings.sessions.opens_per_contributor_per_h
        self._storage.space.reconfigure(settings.storage)
        self.check.reconfigure(settings.storage)

    async def watch_space(self) -> None:
        """Say when the disk's bound is reached and left, also while nobody asks for room."""
        await self._storage.space.disk.watch()

    async def sweep(self) -> None:
        """End what is due every `abandon_sweep_s`, and look whether bans can be read, for as long as it runs."""
        while True:
            await self.bans.look()
            await trio.sleep(self._settings.sessions.abandon_sweep_s)
            await self.ends.sweep()


@asynccontextmanager
async def open_service(
    settings: Settings,
    data_directory: Path,
    platform: Platform,
    *,
    identifiers: Identifiers | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
    erases: bool = True,
    rewriter: Rewriter | None = None,
) -> AsyncIterator[Service]:
    """Open the storage and the sessions; on leaving, drain and close them.

    Without a `rewriter`, large bodies are written anew by this process, too. Requests for erasure are done in the
    background, unless `erases` says no: then by whoever asks `eraser`.
    """
    sessions = settings.sessions
    async with open_storage(
        data_directory,
        settings.storage,
        platform,
        opens_per_machine_per_h=sessions.opens_per_machine_per_h,
        opens_per_contributor_per_h=sessions.opens_per_contributor_per_h,
        unused_sessions_max=sessions.unused_sessions_max,
    ) as storage:
        consent = ConsentRegister(storage, settings.consent, clock=platform.clock, random_bytes=random_bytes)
        await consent.load()
        budget = BufferBudget(sessions.chunk_buffers_total_bytes_max)
        environment = Environment(
            storage=storage,
            sessions=sessions,
            schema=settings.schema,
            scoring=settings.scoring,
            clock=platform.clock,
            identifiers=identifiers or RandomIdentifiers(),
            offload=platform.offload,
            budget=budget,
            stitches=trio.CapacityLimiter(sessions.stitches_at_once_max),
            rewriter=rewriter or OffloadedRewriter(platform.offload),
            restrictions=consent.restrictions,
            random_bytes=random_bytes,
        )
        async with _embeddings(settings, storage.layout) as embeddings, trio.open_nursery() as actors:
            directory = Directory(actors, lambda session_id: SessionActor(session_id, environment), sessions)
            window_s = sessions.abandon_after_h * SECONDS_PER_HOUR
            jumps = ClockJumps(platform.clock, platform.monotonic, window_s=window_s)
            check = BackgroundCheck(
                [*storage.journals.values(), *_written_by_others(storage.layout, platform)],
                settings.storage,
                clock=platform.clock,
                is_busy=lambda: any(journal.has_waiting_lines for journal in storage.journals.values()),
            )
            gate = Gate(
                TokenFile(storage.layout.access_database, platform.clock),
                settings.access,
                clock=platform.clock,
                offload=platform.offload,
                sessions=BrowserSessionFile(storage.layout.access_database, platform.clock),
            )
            service = Service(
                settings,
                storage,
                directory,
                budget,
                embeddings,
                jumps,
                check,
                environment,
                consent,
                gate,
            )
            if set_aside := service.ends.set_aside():
                log.warning(
                    "closing %d session(s) has ended this process before, so they are left as they are: "
                    "`central-command sessions --set-aside` lists them, --retry SESSION tries one again",
                    len(set_aside),
                )
            await service.ends.finish_interrupted()
            async with trio.open_nursery() as background:
                background.start_soon(service.sweep, name="sweep")
                background.start_soon(consent.run, name="consent register")
                background.start_soon(consent.follow, name="first envelopes")
                background.start_soon(service.ends.follow_withdrawals, name="withdrawals")
                if erases:
                    background.start_soon(service.eraser.run, name="erasure")
                background.start_soon(gate.run, name="use of tokens")
                yield service
                background.cancel_scope.cancel()
            await directory.drain()


def _written_by_others(layout: DataLayout, platform: Platform) -> list[StoredJournal]:
    """The journals that curation, the observer and commands write, to be read where they stand."""
    names = (JournalName.CORPUS, JournalName.AUDIT, JournalName.OPERATIONS, JournalName.DIGESTS)
    return [StoredJournal(name, layout.journal(name), files=platform.files, offload=platform.offload) for name in names]


@asynccontextmanager
async def _embeddings(settings: Settings, layout: DataLayout) -> AsyncIterator[EmbeddingNursery | None]:
    if not settings.embedding.enabled:
        yield None
        return
    async with open_embeddings(settings.embedding, layout.models) as embeddings:
        yield embeddings
