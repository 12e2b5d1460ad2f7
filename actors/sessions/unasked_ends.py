"""Ends of sessions that nobody asks for: those that were abandoned, those of who has withdrawn, and closes that a crash
came into.

Each session is asked by its actor, as anybody's message is: what an actor does meanwhile is in order with it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio

from actors.consent.register import ConsentRegister
from actors.sessions.directory import Directory
from actors.sessions.environment import Environment
from actors.sessions.messages import CloseSession, Finish
from actors.sessions.outcomes import ActorFailed, Busy, Closed, Forgotten
from persistence.format.records import ClosedBy

log = logging.getLogger("central_command.service")

SECONDS_PER_HOUR: Final = 3_600

UNUSED_FORGOTTEN_AT_ONCE: Final = 8
"""Overdue sessions that one opening makes go: it waits for them."""


class UnaskedEnds:
    """Ends them when it is told to, and those of who withdraws while `follow_withdrawals` runs.

    `forward_s` is how many seconds the wall clock was set forward by, which count as no time in which nothing came.
    """

    def __init__(
        self,
        environment: Environment,
        directory: Directory,
        consent: ConsentRegister,
        forward_s: Callable[[], float],
    ) -> None:
        self._environment = environment
        self._storage = environment.storage
        self._directory = directory
        self._consent = consent
        self._forward_s = forward_s

    def __repr__(self) -> str:
        return f"<UnaskedEnds of {self._directory!r}>"

    async def sweep(self) -> None:
        """End all that is due now."""
        closed = await self.close_abandoned()
        if closed:
            log.info("%d abandoned sessions were closed, or forgotten where nothing ever came", closed)
        await self.finish_interrupted()
        if self._environment.restrictions.withdrawn:
            await self.close_withdrawn()

    async def finish_interrupted(self) -> None:
        """Complete every close that has no trajectory yet: a crash, or a disk without room, came between.

        What has ended the process again and again is left, until somebody asks for it (`sessions --retry`).
        """
        after, limit = "", self._environment.sessions.abandon_batch_max
        set_aside = {*self.set_aside()}
        while page := await self._storage.registry.unfinished(limit, after=after):
            for session_id in page:
                if session_id in set_aside:
                    continue
                outcome = await self._directory.ask(session_id, Finish())
                if not isinstance(outcome, Closed):
                    log.warning("the close of session %s could not be completed: %r", session_id, outcome)
            after = page[-1]

    def set_aside(self) -> list[str]:
        """Return the sessions whose close has ended the process so often that it is not tried again."""
        return self._storage.closing.begun_often(self._environment.sessions.close_attempts_max)

    async def close_abandoned(self) -> int:
        """End the sessions that nothing came from for `abandon_after_h`; return how many.

        They are closed, or forgotten where nothing ever came. Each is asked once: the databases may not know of its end
        yet when the next page is read, and one that cannot be closed now must not keep those behind it waiting.
        """
        limit = self._environment.sessions.abandon_batch_max
        cutoff = self._abandoned_before()
        ended, after = 0, ("", "")
        while page := await self._storage.registry.idle_since(cutoff, limit, after=after):
            ended += await self._end_abandoned([session_id for _, session_id in page], cutoff)
            after = page[-1]
        return ended

    async def forget_oldest_unused(self) -> int:
        """Make room for an opening, without waiting for the next sweep; return for how many."""
        cutoff = self._abandoned_before()
        overdue = await self._storage.registry.unused_since(cutoff, UNUSED_FORGOTTEN_AT_ONCE)
        return await self._end_abandoned(overdue, cutoff)

    async def close_withdrawn(self) -> int:
        """End the open sessions of all who have withdrawn, without a trajectory; return how many.

        What an actor is just storing, it ends itself, because it looks who has withdrawn after each line.
        """
        closed, asked = 0, set[str]()
        while page := {*await self._open_of_withdrawn()} - asked:
            asked |= page
            for session_id in sorted(page):
                outcome = await self._directory.ask(session_id, CloseSession(ClosedBy.WITHDRAWN))
                closed += isinstance(outcome, Closed) and not outcome.already_closed
                if isinstance(outcome, Busy | ActorFailed):
                    log.warning("session %s of somebody who has withdrawn is still open: %r", session_id, outcome)
        return closed

    async def follow_withdrawals(self) -> None:
        """Do that whenever somebody has withdrawn, for as long as the service runs."""
        while True:
            await self._consent.withdrawn.wait()
            self._consent.withdrawn = trio.Event()
            closed = await self.close_withdrawn()
            if closed:
                log.info("somebody has withdrawn: %d open session(s) were closed", closed)

    async def _open_of_withdrawn(self) -> list[str]:
        """Some of them, once the databases hold what is on disk now."""
        for journal in (self._storage.consent, self._storage.envelopes):
            await self._storage.projector.wait_projected(journal.name, journal.statistics().tail.n)
        return await self._storage.consents.open_of_withdrawn()

    def _abandoned_before(self) -> float:
        """Since when nothing may have come; hours that the wall clock was set forward by do not count."""
        idle_s = self._environment.sessions.abandon_after_h * SECONDS_PER_HOUR
        return self._environment.clock() - self._forward_s() - idle_s

    async def _end_abandoned(self, session_ids: Sequence[str], cutoff: float) -> int:
        ended = 0
        for session_id in session_ids:
            message = CloseSession(ClosedBy.ABANDONED, unless_active_since=cutoff)
            outcome = await self._directory.ask(session_id, message)
            ended += isinstance(outcome, Forgotten) or (isinstance(outcome, Closed) and not outcome.already_closed)
            if isinstance(outcome, Busy | ActorFailed):
                log.warning("abandoned session %s could not be closed: %r", session_id, outcome)
        return ended
