"""Feeds one source's steps to the spool, with back-pressure, and waits until the deliverer has delivered them.

What comes next is always decided from what the spool holds, never from where the program stands, so that being stopped
at any point and starting again is the ordinary case. A bounded number of chunks is in the spool at a time; the steps
behind them stay in the agent's own file, and SESSION_CLOSE is signed once all chunks were accepted, because it says
what the session holds. A session that has closed is never opened again: new steps of its transcript become a further
session, which says in its metadata (`continues_session`) which one it goes on from.
"""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from random import random
from typing import TypeVar

import httpx
import msgspec
import trio

from central_command.client.contract.identity import Identity
from central_command.client.delivering.batching import batching_for
from central_command.client.delivering.deliverer import Deliverer, Waiting
from central_command.client.delivering.exchange import NOT_CLOSED, Offload, SessionDelivery
from central_command.client.delivering.posting import Delivery, RetryPolicy
from central_command.client.delivering.progress import One, Resting, Sent
from central_command.client.delivering.refusals import NOT_OPENED
from central_command.client.spool.records import (
    Backlog,
    Opening,
    SessionDoneError,
    SessionState,
    SpoolError,
    SpoolFullError,
    StoredSession,
    Unsigned,
)
from central_command.client.uploading.authoring import Author, Work, first_state
from central_command.client.uploading.cutting import Cutting, Piece
from central_command.client.uploading.history import (
    GIVEN_UP,
    SENT_ANEW,
    History,
    failure_of,
    holds_all,
    is_given_up,
    is_unfinished,
    state_of,
)
from central_command.client.uploading.scrubbing import OwnScrubbing, Scrubbing
from central_command.client.uploading.sources import FileError
from central_command.client.uploading.survey import Survey
from central_command.client.uploading.taking_back import TakingBack, name_of

T = TypeVar("T")


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one source may be in the spool and not delivered, so that a large file is never copied whole into it.

    Twice what a batch takes: one batch is under way while the next is put. A chunk that is larger than
    `undelivered_bytes_max` alone is put when nothing else waits. `put_envelopes_max` and `put_bytes_max` are what one
    transaction puts.
    """

    undelivered_envelopes_max: int = 128
    undelivered_bytes_max: int = 8_388_608
    put_envelopes_max: int = 16
    put_bytes_max: int = 1_048_576


class NotSentError(Exception):
    """Not everything was delivered; the text is one sentence.

    `unreachable` says that the server could not be had any more, so that there is no use in going on with others, and
    `status` what it answered last, None where no answer came; `final` that trying again is of no use either.
    """

    def __init__(
        self, problem: str, *, unreachable: bool = False, status: int | None = None, final: bool = False
    ) -> None:
        super().__init__(problem)
        self.unreachable = unreachable
        self.status = status
        self.final = final


class Threads(msgspec.Struct, frozen=True):
    """Where blocking calls run: `keep` ends what the spool was asked for, `read` is left to itself when cancelled."""

    keep: Offload = trio.to_thread.run_sync
    read: Offload = partial(trio.to_thread.run_sync, abandon_on_cancel=True)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What feeding takes from outside; the defaults are the real thing."""

    policy: RetryPolicy = RetryPolicy(first_attempts_max=1)
    settings: FeedSettings = FeedSettings()
    threads: Threads = Threads()
    now_s: Callable[[], float] = time.time
    jitter: Callable[[], float] = random


class Feeder:
    """Feeds sources to one spool and delivers them to one server, for one identity; several at once.

    With `scrubs`, personal data and secrets are taken out of the steps before they are signed.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        history: History,
        identity: Identity,
        *,
        at_once: int,
        scrubs: bool = True,
        surroundings: Surroundings,
    ) -> None:
        self.history = history
        self.scrubs = scrubs
        self.identity = identity
        self.now_s = surroundings.now_s
        self.threads = surroundings.threads
        self.settings = surroundings.settings
        self.feeds: dict[str, Feed] = {}
        """What is fed now, by session."""
        self.deliverer = Deliverer(
            SessionDelivery(
                history.spool,
                Delivery(client),
                offload=self.threads.keep,
                batching=batching_for(history.url),
                refusals=TakingBack(history.spool),
                key_of=identity.key_of,
            ),
            policy=surroundings.policy,
            random=surroundings.jitter,
            on_progress=lambda session_id, progress: self._tell(session_id, lambda feed: feed.note(progress)),
            on_wait=lambda session_id, waiting: self._tell(session_id, lambda feed: feed.on_wait(waiting)),
            at_once=at_once,
            gives_up=True,
        )

    def __repr__(self) -> str:
        return f"<Feeder of {len(self.feeds)} sessions>"

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver for as long as the block lasts."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.deliverer.run)
            yield
            nursery.cancel_scope.cancel()

    async def feed(
        self,
        work: Work,
        survey: Survey | None,
        *,
        close: bool,
        on_steps: Callable[[int], None] = lambda _steps: None,
        on_wait: Callable[[Waiting], None] = lambda _waiting: None,
        on_findings: Callable[[str, Mapping[str, int]], None] = lambda _session_id, _findings: None,
        scrubbing: Scrubbing | None = None,
    ) -> None:
        """Deliver those steps of a file that were not sent before; with `close`, end the session.

        The caller holds the claim on the source and is within `delivering`. Of a file that is gone (`survey` None),
        what was signed is delivered. `on_steps` hears how many steps were accepted, `on_wait` of each wait, and
        `on_findings`, once steps are in the spool, what was scrubbed from them, by category. `scrubbing` is what does
        that, where steps are scrubbed, in place of this program itself. Raises NotSentError.
        """
        if self.scrubs and scrubbing is None:
            scrubbing = OwnScrubbing()
        feed = Feed(self, work, survey, on_steps, on_wait, on_findings, scrubbing if self.scrubs else None, close=close)
        try:
            while await feed.advance():
                pass
        except (SpoolError, FileError) as error:
            raise NotSentError(str(error)) from error
        finally:
            feed.leave()

    def _tell(self, session_id: str, tell: Callable[["Feed"], None]) -> None:
        if (feed := self.feeds.get(session_id)) is not None:
            tell(feed)


class Feed:
    """One call of `Feeder.feed`. `_cutting` is the pass over the file, None when the spool must be asked first."""

    def __init__(
        self,
        feeder: Feeder,
        work: Work,
        survey: Survey | None,
        on_steps: Callable[[int], None],
        on_wait: Callable[[Waiting], None],
        on_findings: Callable[[str, Mapping[str, int]], None],
        scrubbing: Scrubbing | None,
        *,
        close: bool,
    ) -> None:
        self._feeder = feeder
        self._history = feeder.history
        self._spool = feeder.history.spool
        self._deliverer = feeder.deliverer
        self._work = work
        self._survey = survey
        self._on_steps = on_steps
        self.on_wait = on_wait
        self._on_findings = on_findings
        self._scrubbing = scrubbing
        self._closes = close
        self._cutting: Cutting | None = None
        self._rested: Resting | None = None
        self._changed = trio.Event()

    def note(self, progress: One) -> None:
        """Hear from the deliverer what came of the session that is fed."""
        match progress:
            case Sent(steps=steps) if steps:
                self._on_steps(steps)
            case Resting():
                self._rested = progress
        self._changed.set()

    async def advance(self) -> bool:
        """Go on with the source's unfinished session, or begin one; False when nothing is left to do."""
        sessions = await self._keep(lambda: self._history.sessions(self._work.source))
        if problem := failure_of(sessions):
            raise NotSentError(problem, final=True)
        session = next((each for each in sessions if is_unfinished(each)), None)
        if self._cutting is None and self._survey is not None:
            self._cutting = await self._read(
                partial(Cutting, self._survey, sessions, session, now_s=self._feeder.now_s, scrubbing=self._scrubbing)
            )
        if session is None:
            if self._cutting is None or not await self._read(self._cutting.fill):
                return False
            session = await self._keep(partial(self._begin, self._cutting, sessions))
        elif not await self._keep(partial(self._spool.claim, session.session_id)):
            raise NotSentError("Another program is sending this session.")
        elif self._survey is not None and await self._read(partial(self._is_said_otherwise, session, self._survey)):
            await self._keep(partial(self._spool.fail, session.session_id, SENT_ANEW))
            self._cutting = None
            return True
        self._feeder.feeds[session.session_id] = self
        self._deliverer.add(session.session_id)
        return await self._finish(session)

    def _is_said_otherwise(self, session: StoredSession, survey: Survey) -> bool:
        """Whether a session that was never opened is now of another model, say, and all of it can be read again."""
        opening, identity = session.opening, self._feeder.identity
        if session.opened or (opening.provider, opening.model, opening.contributor_id) == (
            self._work.provider,
            self._work.model,
            identity.contributor_id,
        ):
            return False
        return holds_all(survey, session)

    def leave(self) -> None:
        """Let other processes go on with what is not done."""
        for session_id in [each for each, feed in self._feeder.feeds.items() if feed is self]:
            del self._feeder.feeds[session_id]
            self._deliverer.drop(session_id)
        with contextlib.suppress(SpoolError):
            for session in self._history.sessions(self._work.source):
                if is_unfinished(session) and self._spool.claim(session.session_id):
                    self._spool.release(session.session_id)

    async def _finish(self, session: StoredSession) -> bool:
        """Put all that a session takes and see it delivered and, if it ends, closed; False when it stays open."""
        session_id = session.session_id
        is_fed = session.state is SessionState.RECORDING
        if is_fed:
            await self._put_chunks(session)
            await self._wait(session_id, _is_empty)
            if not self._closes and await self._stays_open(session_id):
                return False
            await self._end(session_id)
            self._deliverer.add(session_id)
        while not (session := await self._keep(partial(self._spool.session, session_id))).state.done or (
            is_given_up(session)  # it was not opened: the deliverer is about to say why
        ):
            await self._wait(session_id, None)
        if not is_fed or session.problem is not None:
            self._cutting = None  # the next pass asks the spool what was taken
        return True

    async def _stays_open(self, session_id: str) -> bool:
        """Whether the session can take what the file may yet hold: it has not ended, and is not full."""
        session = await self._keep(partial(self._spool.session, session_id))
        is_full = self._cutting is not None and await self._read(self._cutting.fill)
        return session.state is SessionState.RECORDING and not is_full

    async def _put_chunks(self, session: StoredSession) -> None:
        """Put chunks as long as there is room for them, in the spool and in the session."""
        settings = self._feeder.settings
        if self._cutting is None:
            return
        author = self._author(session)
        pieces = self._cutting.pieces(author, steps=session.steps, chunks=session.chunks)
        held: Piece | None = None
        while True:
            some, held = await self._read(partial(_some_of, pieces, held, settings))
            if not some:
                return
            await self._wait(session.session_id, partial(_have_room, some, settings))
            if not await self._put(session.session_id, some):
                return
            self._deliverer.add(session.session_id)

    async def _put(self, session_id: str, pieces: list[Piece]) -> bool:
        """Put `pieces`; False when the session has ended meanwhile."""
        is_last_try = False
        while True:
            try:
                await self._keep(partial(self._put_now, session_id, pieces))
            except SessionDoneError:
                return False
            except SpoolFullError:
                # Others fill it, too. What of this source waits there makes room in time.
                if is_last_try:
                    raise
                is_last_try = not (await self._keep(partial(self._spool.backlog, session_id))).envelopes
                if not is_last_try:
                    await self._wait(session_id, None)
            else:
                for piece in pieces:
                    self._on_findings(session_id, piece.findings)
                return True

    def _put_now(self, session_id: str, pieces: list[Piece]) -> None:
        session = self._spool.session(session_id)
        if session.state.done:
            raise SessionDoneError(f"The session {session_id} takes no more: it is {session.state}.")
        state = state_of(session)
        after = msgspec.structs.replace(
            state,
            placing=pieces[-1].placing,
            records=state.records + b"".join(piece.records for piece in pieces),
            bytes_sent=state.bytes_sent + sum(piece.log_bytes for piece in pieces),
        )
        envelopes = [Unsigned(kind="CHUNK", draft=piece.draft, steps=piece.steps) for piece in pieces]
        self._spool.put_many(session_id, envelopes, source_state=after.encode())

    async def _end(self, session_id: str) -> None:
        """Sign what ends the session; one of which no step is left in the file is closed without an outcome."""
        ending = None if self._cutting is None else await self._read(self._cutting.end)

        def end() -> None:
            session = self._spool.session(session_id)
            if session.state is not SessionState.RECORDING:
                return
            if ending is None or not ending.steps:
                self._spool.end(session_id)
                return
            author = self._author(session)
            self._spool.put_many(session_id, author.end(ending, session.chunks, author.state.placing), ends=True)

        await self._keep(end)

    def _author(self, session: StoredSession) -> Author:
        is_scrubbed = self._scrubbing is not None
        version = session.opening.client_version
        return Author(session.session_id, state_of(session), version, is_scrubbed=is_scrubbed)

    async def _wait(self, session_id: str, is_enough: Callable[[Backlog], bool] | None) -> None:
        """Wait until so little of the session waits; None: until anything at all came of it. Raises NotSentError."""
        while True:
            if self._rested is not None:
                raise await self._keep(partial(self._failure, session_id, self._rested))
            if is_enough is not None and is_enough(await self._keep(partial(self._spool.backlog, session_id))):
                return
            await self._changed.wait()
            self._changed = trio.Event()
            if is_enough is None:
                return

    def _failure(self, session_id: str, rested: Resting) -> NotSentError:
        """What is said when the deliverer has given the session up."""
        session = self._spool.session(session_id)
        if session.moved_to is not None:
            return NotSentError(f"{rested.what}: {rested.reason.rstrip('.')}.", status=rested.status)
        before = f"{session.problem} " if session.problem and session.opened else ""
        first = self._spool.next_waiting(session_id) if session.opened else None
        what = NOT_CLOSED if session.opened else NOT_OPENED
        if first is not None:
            what = f"{name_of(first.kind, first.position)} was not delivered"
        advice = f"; {rested.advice}" if rested.advice else ""
        problem = f"{before}{what}: {rested.reason.rstrip('.')}{advice}."
        return NotSentError(problem, unreachable=rested.unreachable, status=rested.status)

    def _begin(self, cutting: Cutting, sessions: list[StoredSession]) -> StoredSession:
        identity = self._feeder.identity
        state = first_state(self._work, contributor_id=identity.contributor_id, placing=cutting.placing())
        if sessions:
            state = msgspec.structs.replace(state, continues=sessions[-1].session_id)
        self._spool.forget_unsent(self._work.source, GIVEN_UP)  # else `watch` leaves one at each look
        opening = Opening(
            provider=self._work.provider,
            model=self._work.model,
            machine_fingerprint=identity.machine_fingerprint,
            app_version_hash=identity.app_version_hash,
            client_version=identity.client_version,
            contributor_id=identity.contributor_id,
        )
        return self._spool.add_session(
            f"sess_{uuid.uuid4()}",
            url=self._history.url,
            opening=opening,
            source=self._work.source,
            source_state=state.encode(),
        )

    async def _keep(self, call: Callable[[], T]) -> T:
        return await self._feeder.threads.keep(call)

    async def _read(self, call: Callable[[], T]) -> T:
        return await self._feeder.threads.read(call)


def _some_of(pieces: Iterator[Piece], held: Piece | None, settings: FeedSettings) -> tuple[list[Piece], Piece | None]:
    """The next pieces that one transaction puts, and one that was cut but is for the next."""
    some = [] if held is None else [held]
    size = sum(piece.draft.signed_bytes_max for piece in some)
    while len(some) < settings.put_envelopes_max and (piece := next(pieces, None)) is not None:
        size += piece.draft.signed_bytes_max
        if some and size > settings.put_bytes_max:
            return some, piece
        some.append(piece)
    return some, None


def _is_empty(backlog: Backlog) -> bool:
    return not backlog.envelopes


def _have_room(pieces: list[Piece], settings: FeedSettings, backlog: Backlog) -> bool:
    """Whether `pieces` may be put beside what waits of their session."""
    envelopes = backlog.envelopes + len(pieces)
    size = backlog.bytes + sum(piece.draft.signed_bytes_max for piece in pieces)
    is_within = envelopes <= settings.undelivered_envelopes_max and size <= settings.undelivered_bytes_max
    return is_within or not backlog.envelopes
