"""Who is active: one actor a session at most, activated once however many ask, ended when idle.

Theory of operation. An entry is registered without any suspension between the look-up and the registration, so two
requests for one session can never start two actors; the second finds the first one's mailbox and queues. Loading the
session is the actor's own first step: whoever asked waits in the mailbox.

An actor ends when nothing came for it for `passivate_after_s`, when room is needed, or when it failed. From then on its
entry is `retiring`: new requests wait until it is gone and then activate a new one. An entry goes only after everything
that its actor handed to the journals has been projected, because the next activation reads the session from the
database and must see all of it. An entry is removed by identity, so a late ending can never evict a successor.

Bounds: `active_actors_max` entries. Past it the least recently used actor, an idle one if there is one, is asked to end
and the request waits up to `activation_wait_s` for its place; then the answer is "busy". As many actors are ending as
requests wait for a place, if there are so many: whatever changes either number (a request that begins to wait, an actor
that was asked and has got new work, an activation) makes up for it. Of the requests for one session only the first
waits for a place, the others for what comes of it.

Rejected: holding a lock per session in the HTTP layer (a disconnect would cancel the work under it), and letting an
entry go before projection (a re-activated session could accept a sequence number twice).
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any, Protocol, overload

import msgspec
import trio

from actors.sessions.mailbox import Mailbox
from actors.sessions.messages import CloseSession, Finish, Ingest, Message, OpenSession, Request, RetryLetters
from actors.sessions.outcomes import (
    AbandonOutcome,
    ActorFailed,
    Busy,
    BusyReason,
    CloseOutcome,
    IngestOutcomes,
    OpenOutcome,
    RetryOutcome,
)
from actors.sessions.settings import SessionSettings
from persistence.files.failures import StorageDamage, StorageFailure

log = logging.getLogger("central_command.sessions")


class Actor(Protocol):
    """What the directory needs of an actor."""

    async def run(self, mailbox: Mailbox, retire: Callable[[], bool]) -> None:
        """Serve requests until `retire()` says that the actor may end, or the mailbox is closed and empty.

        None in the mailbox asks it to end early if nothing else waits.
        """
        ...

    async def settled(self) -> None:
        """Return once everything that this actor made durable can be read back from the database."""
        ...


class DirectoryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures since the start."""

    active: int
    retiring: int
    activated: int
    passivated: int
    evicted: int
    failed: int
    draining: bool


class _Entry:
    __slots__ = ("actor", "asked_at", "ending_idle", "evicting", "gone", "mailbox", "retiring", "session_id")

    def __init__(self, session_id: str, actor: Actor, mailbox: Mailbox) -> None:
        self.session_id = session_id
        self.actor = actor
        self.mailbox = mailbox
        self.asked_at = 0.0
        self.retiring = False
        self.evicting = False
        self.ending_idle = False
        self.gone = trio.Event()


class Directory:
    """The active sessions of this process; actors run in `nursery`."""

    def __init__(self, nursery: trio.Nursery, new_actor: Callable[[str], Actor], settings: SessionSettings) -> None:
        self._nursery = nursery
        self._new_actor = new_actor
        self._settings = settings
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._room = trio.lowlevel.ParkingLot()
        self._awaited: dict[str, trio.Event] = {}
        self._ending = 0
        self._passivating = False
        self._passivation = trio.CancelScope()
        self._draining = False
        self._barred: set[str] = set()
        self._activated = self._passivated = self._evicted = self._failed = 0

    def __repr__(self) -> str:
        return f"<Directory active={len(self._entries)}{' draining' if self._draining else ''}>"

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is taken."""
        return self._draining

    @overload
    async def ask(self, session_id: str, message: OpenSession) -> OpenOutcome: ...
    @overload
    async def ask(self, session_id: str, message: Ingest) -> IngestOutcomes: ...
    @overload
    async def ask(self, session_id: str, message: CloseSession) -> AbandonOutcome: ...
    @overload
    async def ask(self, session_id: str, message: Finish) -> CloseOutcome: ...
    @overload
    async def ask(self, session_id: str, message: RetryLetters) -> RetryOutcome: ...

    async def ask(self, session_id: str, message: Message) -> Any:
        """Hand a message to the session's actor, activating it if need be, and return its answer.

        A requester that is cancelled while it waits takes nothing back: the actor goes on.
        """
        asked_at = now = trio.current_time()
        while True:
            if self._draining:
                return Busy(BusyReason.SHUTTING_DOWN)
            if session_id in self._barred:
                await trio.lowlevel.checkpoint()
                return Busy(BusyReason.BEING_ERASED)
            entry = self._entries.get(session_id)
            if entry is None:
                if len(self._entries) >= self._settings.active_actors_max:
                    if not await self._wait_for_room(session_id, asked_at + self._settings.activation_wait_s):
                        return Busy(BusyReason.SESSIONS_FULL)
                    now = trio.current_time()
                    continue
                entry = self._activate(session_id)
            elif entry.retiring:
                await entry.gone.wait()
                now = trio.current_time()
                continue
            self._entries.move_to_end(session_id)
            entry.asked_at = now
            request: Request[Any] = Request(message)
            if not entry.mailbox.put(request):
                await trio.lowlevel.checkpoint()
                return Busy(BusyReason.MAILBOX_FULL)
            if self._room:
                self._make_room(len(self._room))
            return await request.wait()

    def _activate(self, session_id: str) -> _Entry:
        """Register and start an actor, without a suspension."""
        entry = _Entry(session_id, self._new_actor(session_id), Mailbox(self._settings.mailbox_messages_max))
        self._entries[session_id] = entry
        self._activated += 1
        if not self._passivating:
            self._passivating = True
            self._passivation = trio.CancelScope()
            self._nursery.start_soon(self._passivate_idle, name="passivation")
        self._nursery.start_soon(self._live, entry, name=f"session {session_id}")
        return entry

    async def _live(self, entry: _Entry) -> None:
        """Run an actor from activation to removal; an exception in it ends it and nothing else."""

        def retire() -> bool:
            if entry.mailbox:
                if entry.evicting:
                    entry.evicting = entry.ending_idle = False
                    self._ending -= 1
                    self._make_room(len(self._room))
                return False
            self._evicted += entry.evicting and not entry.ending_idle
            self._retire(entry)
            return True

        try:
            await entry.actor.run(entry.mailbox, retire)
            self._passivated += 1
        except (StorageDamage, StorageFailure) as failure:
            # No bug, so no traceback: if nothing can be stored any more, whoever writes ends the process.
            self._failed += 1
            log.error("the actor of session %s was ended: %s", entry.session_id, failure)  # noqa: TRY400
        except Exception:
            self._failed += 1
            log.exception("the actor of session %s failed and was ended", entry.session_id)
        self._retire(entry)
        for request in entry.mailbox.drain():  # a failed actor left them behind
            request.fill(ActorFailed())
        await entry.actor.settled()
        if self._entries.get(entry.session_id) is entry:
            del self._entries[entry.session_id]
            self._ending -= 1
        entry.gone.set()
        self._room.unpark()

    def _retire(self, entry: _Entry) -> None:
        """From now on new requests wait for the entry's successor."""
        if not entry.retiring:
            entry.retiring = True
            self._ending += not entry.evicting

    async def _wait_for_room(self, session_id: str, deadline: float) -> bool:
        """Wait until the session can be activated or was; False when that took too long."""
        with trio.move_on_at(deadline):
            first = self._awaited.get(session_id)
            if first is not None:
                await first.wait()
                return True
            self._awaited[session_id] = trio.Event()
            try:
                while self._has_no_room_for(session_id):
                    self._make_room(len(self._room) + 1)
                    await self._room.park()
            finally:
                # Whoever waits for this runs only after the entry was made: there is no suspension before.
                self._awaited.pop(session_id).set()
            return True
        return False

    def _has_no_room_for(self, session_id: str) -> bool:
        is_full = len(self._entries) >= self._settings.active_actors_max
        return is_full and session_id not in self._entries and not self._draining

    def _make_room(self, places: int) -> None:
        """Ask one more actor to end if fewer than `places` are ending: the least recently used, if it may be idle."""
        if self._ending >= places or self._draining:
            return
        busy: _Entry | None = None
        for entry in self._entries.values():
            if entry.retiring or entry.evicting:
                continue
            waiting = len(entry.mailbox)
            if not waiting:
                self._evict(entry)
                return
            if busy is None and waiting < self._settings.mailbox_messages_max:
                busy = entry
        if busy is not None:
            self._evict(busy)

    def _evict(self, entry: _Entry) -> None:
        is_put = entry.mailbox.put(None)
        assert is_put, "only one with room is asked"
        entry.evicting = True
        self._ending += 1

    async def _passivate_idle(self) -> None:
        """Ask actors that nothing came for in `passivate_after_s` to end; runs while there are any.

        One task for all of them: a time-out around every actor's wait would cost more than the wait.
        """
        with self._passivation:
            while self._entries:
                entry = next(iter(self._entries.values()))  # the one that was asked the longest ago
                await trio.sleep_until(entry.asked_at + self._settings.passivate_after_s)
                self._ask_idle_to_end()
        self._passivating = False

    def _ask_idle_to_end(self) -> None:
        now, idle_s = trio.current_time(), self._settings.passivate_after_s
        # The very sum that was slept until: a difference may round to the other side of it, and nobody would be asked.
        for session_id, entry in list(takewhile(lambda item: item[1].asked_at + idle_s <= now, self._entries.items())):
            if not (entry.retiring or entry.evicting or entry.mailbox):
                entry.ending_idle = True
                self._evict(entry)
            # It is at work or ending: looked at again later, behind those that may be due before.
            entry.asked_at = now
            self._entries.move_to_end(session_id)

    @asynccontextmanager
    async def barred(self, session_ids: Collection[str]) -> AsyncIterator[None]:
        """Keep sessions from being active, while the block lasts: whoever asks for one is told to come again.

        When the block begins, what was asked of them before is answered, and all that came of it can be read back from
        the databases.
        """
        self._barred.update(session_ids)
        try:
            for session_id in session_ids:
                while (entry := self._entries.get(session_id)) is not None:
                    if not (entry.retiring or entry.evicting):
                        entry.evicting = True
                        self._ending += 1
                    entry.mailbox.close()
                    await entry.gone.wait()
            yield
        finally:
            self._barred.difference_update(session_ids)

    async def drain(self) -> None:
        """Take nothing more, let every actor answer what its mailbox holds, and return when all have ended."""
        self._draining = True
        self._room.unpark_all()
        self._passivation.cancel()
        entries = list(self._entries.values())
        for entry in entries:
            entry.mailbox.close()
        for entry in entries:
            await entry.gone.wait()

    def statistics(self) -> DirectoryStatistics:
        """Return the current figures."""
        return DirectoryStatistics(
            active=len(self._entries),
            retiring=sum(entry.retiring for entry in self._entries.values()),
            activated=self._activated,
            passivated=self._passivated,
            evicted=self._evicted,
            failed=self._failed,
            draining=self._draining,
        )
