"""Records what an agent does while it does it, and delivers it whenever the server can be had.

    program -> queue in memory -> spool on disk -> server
    (never waits)   (every second)   (when it answers)

Two tasks run beside the program: one moves what was recorded to the spool, and makes chunks of it; the other delivers
what the spool holds, also what an earlier process left there. Leaving the block closes the sessions that are still
open (SHUTDOWN), moves the rest to the spool, and gives delivery a bounded time; what is left then goes with the next
recorder.
"""

import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import random

import httpx
import msgspec
import trio

from central_command.client.contract.connection import Trust, new_client, server_url
from central_command.client.contract.identity import Identity, config_directory, load_identity
from central_command.client.contract.scrubbing import StepScrubber
from central_command.client.delivering.batching import batching_for
from central_command.client.delivering.deliverer import Deliverer
from central_command.client.delivering.exchange import Offload, SessionDelivery
from central_command.client.delivering.posting import Delivery, RetryPolicy
from central_command.client.delivering.progress import Done, Later, One, Resting, Sent
from central_command.client.recording.agents import Agent, check
from central_command.client.recording.recorded_steps import Scrub
from central_command.client.recording.recording import Queue, Recording, end_orphan
from central_command.client.spool.records import SessionState, SpoolError, SpoolSettings, spool_path
from central_command.client.spool.spool import Spool

_logger = logging.getLogger(__name__)


class RecorderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times of a recorder, and whom it trusts; `docs/clients.md` says what is dropped at which."""

    queue_steps_max: int = 20_000
    queue_bytes_max: int = 67_108_864
    """Of steps that were recorded and are not yet in the spool."""
    spool_every_s: float = 1.0
    """How long a step may be in memory alone, when the disk keeps up."""
    chunk_timeout_s: float = 300.0
    """After which a chunk with fewer than 200 steps is made (contract, CHUNK_TIMEOUT_MS)."""
    close_timeout_s: float = 10.0
    """How long leaving waits for delivery."""
    keep_timeout_s: float = 60.0
    """How long `Recorder.close` waits before that until all is on disk; only a disk that hangs takes as long."""
    sessions_max: int = 1_000
    """Open at once; of more, every step is dropped."""
    orphans_every_s: float = 600.0
    """How often sessions are looked for whose process is gone."""
    spool: SpoolSettings = SpoolSettings()
    retry: RetryPolicy = RetryPolicy()
    """Of it only the delays count: delivery goes on for as long as the recorder lives."""
    trust: Trust = Trust()
    """Whose TLS certificate the server may show."""


class RecorderStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since this recorder was opened.

    `steps_recorded` were taken by `record`; of them `steps_waiting` are in memory and `steps_spooled` reached the disk.
    `steps_bad` could not be kept because of what they were, and so could bad feedback, statuses and members of an
    outcome, which it counts, too; `steps_dropped` because a bound was reached (or came after
    the close). `steps_delivered` and `envelopes_refused` count what earlier processes left, too. `problem` says why
    nothing is delivered at present, or what was refused last. `findings` says how much was scrubbed from what was
    spooled, by category (`email`, `api_key`, …; `withheld`: texts that could not be scrubbed, and were left out).
    """

    steps_recorded: int
    steps_waiting: int
    steps_spooled: int
    steps_bad: int
    steps_dropped: int
    steps_delivered: int
    envelopes_refused: int
    problem: str | None
    findings: dict[str, int] = {}


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorder takes from outside; None for the real thing."""

    identity: Identity | None = None
    client: httpx.AsyncClient | None = None
    offload: Offload = trio.to_thread.run_sync
    jitter: Callable[[], float] = random


class TrioRecorder:
    """What `open_recorder` gives: makes sessions to record to."""

    def __init__(
        self,
        spool: Spool,
        delivery: Delivery,
        *,
        url: str,
        agent: Agent,
        identity: Identity,
        scrub: Scrub | bool,
        settings: RecorderSettings,
        offload: Offload,
        jitter: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._url = url
        self._agent = agent
        self._identity = identity
        self._scrub = scrub if callable(scrub) else None
        # One for all sessions: they are kept in one thread at a time.
        self._scrubber = None if scrub is False else StepScrubber()
        self._settings = settings
        self._offload = offload
        self._token = trio.lowlevel.current_trio_token()
        self._queue = Queue(steps_max=settings.queue_steps_max, bytes_max=settings.queue_bytes_max, wake=self._wake)
        self._is_woken = self._is_urgent = False
        self._woken, self._urgent, self._changed = trio.Event(), trio.Event(), trio.Event()
        self._warned_of: str | None = None
        """Why nothing was delivered, as it was logged last; None since something was."""
        self._is_keeping = self._is_adopting = False
        self._keeping = trio.Lock()
        self._found_at_end: bool | None = None
        """Whether all was delivered when this was left, as the spool said; None before."""
        self.close_timeout_s = settings.close_timeout_s
        """How long leaving waits for delivery."""
        self.has_kept_all = threading.Event()
        """Set on leaving, once what was recorded is on disk, or is known to be lost."""
        self._sessions: dict[int, Recording] = {}
        self._deliverer = Deliverer(
            SessionDelivery(spool, delivery, offload=offload, batching=batching_for(url), key_of=identity.key_of),
            policy=settings.retry,
            random=jitter,
            on_progress=self._note_progress,
        )

    def __repr__(self) -> str:
        return f"<TrioRecorder for {self._url}: {self._queue.steps} steps wait>"

    def session(
        self,
        *,
        model: str | None = None,
        provider: str | None = None,
        agent_role: str | None = None,
        agent_id: str | None = None,
        task_complexity: str | None = None,
        team_size: int | None = None,
    ) -> Recording:
        """A new session; what is not said is as the recorder was told. Nothing is sent before its first step.

        May be called in any thread. Raises ValueError for what the server would refuse.
        """
        said = {
            "model": model,
            "provider": provider,
            "agent_role": agent_role,
            "agent_id": agent_id,
            "task_complexity": task_complexity,
            "team_size": team_size,
        }
        changes = {name: value for name, value in said.items() if value is not None}
        agent = msgspec.structs.replace(self._agent, **changes) if changes else self._agent
        recording = Recording(
            self._queue,
            self._spool,
            url=self._url,
            agent=agent,
            identity=self._identity,
            scrub=self._scrub,
            scrubber=self._scrubber,
        )
        if len(self._sessions) >= self._settings.sessions_max:
            _logger.warning("%d sessions are open: nothing is recorded of %r", len(self._sessions), recording)
            recording.close()
        else:
            self._sessions[id(recording)] = recording
        return recording

    def statistics(self) -> RecorderStatistics:
        """What became of the steps so far; may be called in any thread."""
        queue = self._queue
        return RecorderStatistics(
            steps_recorded=queue.recorded,
            steps_waiting=queue.steps,
            steps_spooled=queue.kept,
            steps_bad=queue.bad,
            steps_dropped=queue.dropped,
            steps_delivered=self._deliverer.steps_accepted,
            envelopes_refused=self._deliverer.envelopes_refused,
            findings=dict(queue.findings),
            problem=self._deliverer.problem,
        )

    @property
    def is_delivered(self) -> bool:
        """Whether all sessions closed so far, and all chunks made so far, are with the server.

        Once the recorder was left, it is what the spool held then that counts: False when anything of its sessions
        waited there or in memory, or one was not closed, whatever was under way.
        """
        if self._found_at_end is not None:
            return self._found_at_end
        return self._is_at_rest and self._deliverer.is_done

    @property
    def _is_at_rest(self) -> bool:
        """Whether nothing is on its way to the deliverer."""
        return not (self._queue.waiting or self._is_keeping or self._is_adopting)

    async def wait_delivered(self) -> None:
        """Wait until all sessions closed so far, and all chunks made so far, are with the server. May take for ever."""
        while not self.is_delivered:
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """The same, or until nothing more can be delivered by this recorder: what rests waits for the next one."""
        while not (self._is_at_rest and self._deliverer.is_idle):
            await self._changed.wait()

    # -- Inside

    def _wake(self, urgent: bool) -> None:  # noqa: FBT001 -- called through `Queue.wake`
        """In any thread. Only the first call of a second, and the first urgent one, cost anything."""
        if self._is_woken and (self._is_urgent or not urgent):
            return
        self._is_woken = True
        self._is_urgent |= urgent
        try:
            self._token.run_sync_soon(self._set_events, idempotent=True)
        except trio.RunFinishedError:
            self._queue.is_closed = True

    def _set_events(self) -> None:
        self._woken.set()
        if self._is_urgent:
            self._urgent.set()

    def _note_progress(self, session_id: str, progress: One) -> None:
        match progress:
            case Later(reason=reason, asks_for_time=False) if reason != self._warned_of:
                self._warned_of = reason
                _logger.warning("nothing is delivered for now, and tried again: %s", reason)
            case Sent() | Done():
                self._warned_of = None
        match progress:
            case Sent(refusal=str() as problem) | Done(problem=str() as problem):
                _logger.warning("%s", problem)
            case Resting(what=what, reason=reason):
                _logger.warning("session %s waits for the next start: %s: %s", session_id, what, reason)
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def run_keeper(self) -> None:
        """Move what is recorded to the spool, until cancelled."""
        failures = 0
        while True:
            with trio.move_on_after(self._settings.chunk_timeout_s / 10 if self._sessions else float("inf")):
                await self._woken.wait()
            with trio.move_on_after(self._settings.spool_every_s):
                await self._urgent.wait()
            try:
                await self.keep()
                failures = 0
            except SpoolError as error:
                if not failures:
                    _logger.warning("steps wait in memory: %s", error)
                failures += 1
                await trio.sleep(self._settings.retry.wait_s(min(failures, 32), None, 0.0))

    async def keep(self) -> None:
        """Move all that waits to the spool, once. Raises SpoolError; what is not in it then still waits."""
        async with self._keeping:
            await self._keep()

    async def _keep(self) -> None:
        self._woken, self._urgent = trio.Event(), trio.Event()
        self._is_woken = self._is_urgent = False
        self._is_keeping = True
        touched: set[str] = set()
        now_s = trio.current_time()
        try:
            await self._offload(lambda: self._keep_all(now_s, touched))
        except SpoolError:
            self._is_woken = True
            self._woken.set()
            raise
        finally:
            self._is_keeping = False
            for session_id in touched:
                self._deliverer.add(session_id)
            self._note_change()

    def _keep_all(self, now_s: float, touched: set[str]) -> None:
        for key, recording in {**self._sessions.copy(), **self._queue.waiting.copy()}.items():
            # Taken out first: what comes meanwhile puts it back.
            self._queue.waiting.pop(key, None)
            try:
                touched |= recording.keep(now_s, self._settings.chunk_timeout_s)
            except SpoolError:
                self._queue.waiting[key] = recording
                raise
            except Exception:
                _logger.exception("%r is given up", recording)
                recording.give_up()
            if recording.is_done:
                self._sessions.pop(key, None)

    async def run_orphans(self) -> None:
        """Deliver what other processes left, until cancelled."""
        while True:
            self._is_adopting = True
            try:
                for session_id in await self._offload(self._adopt):
                    self._deliverer.add(session_id)
            except SpoolError as error:
                _logger.warning("what earlier processes left was not looked for: %s", error)
            finally:
                self._is_adopting = False
                self._note_change()
            await trio.sleep(self._settings.orphans_every_s)

    def _adopt(self) -> list[str]:
        adopted = self._spool.claim_orphans(self._url)
        for session in adopted:
            if session.state is SessionState.RECORDING:
                end_orphan(self._spool, session)
        return [session.session_id for session in adopted]

    async def run_deliverer(self) -> None:
        """Deliver what is in the spool, until cancelled."""
        await self._deliverer.run()

    async def settle(self) -> None:
        """Find out in the spool whether all was delivered, once no task runs any more."""
        self._found_at_end = False
        if self._queue.waiting:
            return
        try:
            self._found_at_end = not await self._offload(self._spool.has_unfinished)
        except SpoolError as error:
            _logger.warning("whether everything was delivered is not known: %s", error)

    def close_all(self) -> None:
        """Close the sessions that the program did not."""
        for recording in self._sessions.copy().values():
            recording.close("SHUTDOWN")
        self._queue.is_closed = True


@asynccontextmanager
async def open_recorder(
    url: str,
    *,
    provider: str,
    model: str,
    agent_role: str = "agent",
    agent_id: str = "agent-1",
    contributor_id: str | None = None,
    spool_path: str | os.PathLike[str] | None = None,
    scrub: Scrub | bool = True,
    settings: RecorderSettings | None = None,
    surroundings: Surroundings | None = None,
) -> AsyncGenerator[TrioRecorder, None]:
    """A recorder for the server at `url`, which need not be up.

    `contributor_id` (32 hexadecimal digits) takes the place of the kept one; `spool_path` of the default one (see
    `central_command.client.spool.records.spool_path`). Personal data and secrets are taken out of every step before it
    reaches the disk, unless `scrub` is False; a function is applied before that.
    `surroundings` are for tests. Raises SpoolError or IdentityError when there is no place to keep things, and
    ValueError for an agent, a URL, a file of certificates or any other argument that cannot be.
    """
    agent = Agent(provider=provider, model=model, agent_role=agent_role, agent_id=agent_id)
    settings = settings or RecorderSettings()
    check("settings", settings, isinstance(settings, RecorderSettings), "RecorderSettings")
    is_id = contributor_id is None or isinstance(contributor_id, str)
    check("contributor_id", contributor_id, is_id, "a text of 32 hexadecimal digits")
    check("spool_path", spool_path, spool_path is None or isinstance(spool_path, str | os.PathLike), "a path")
    check("scrub", scrub, isinstance(scrub, bool) or callable(scrub), "True, False or a function")
    url = server_url(url)
    surroundings = surroundings or Surroundings()
    offload = surroundings.offload
    identity = surroundings.identity
    if identity is None:
        identity = await offload(lambda: _load_identity(contributor_id))
    path = _default_spool_path() if spool_path is None else Path(spool_path)
    spool = await offload(lambda: Spool(path, settings=settings.spool))
    try:
        async with surroundings.client or new_client(url, settings.trust) as opened_client:
            recorder = TrioRecorder(
                spool,
                Delivery(opened_client),
                url=url,
                agent=agent,
                identity=identity,
                scrub=scrub,
                settings=settings,
                offload=offload,
                jitter=surroundings.jitter,
            )
            failure: Exception | None = None
            try:
                async with trio.open_nursery() as nursery:
                    for task in (recorder.run_keeper, recorder.run_deliverer, recorder.run_orphans):
                        nursery.start_soon(task)
                    try:
                        yield recorder
                    except Exception as error:  # noqa: BLE001 -- raised below, without the group around it
                        failure = error
                    await _leave(recorder)
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await recorder.settle()
            if failure is not None:
                raise failure
    finally:
        spool.close()


async def _leave(recorder: TrioRecorder) -> None:
    """Keep everything, whatever happens; deliver it if that can be had within the time."""
    recorder.close_all()
    with trio.CancelScope(shield=True):
        try:
            await recorder.keep()
        except SpoolError as error:
            _logger.error("%d steps are lost: %s", recorder.statistics().steps_waiting, error)  # noqa: TRY400
            return
        finally:
            recorder.has_kept_all.set()
    with trio.move_on_after(recorder.close_timeout_s):
        await recorder.wait_settled()


def _load_identity(contributor_id: str | None) -> Identity:
    return load_identity(config_directory(os.environ), source_file=Path(__file__), contributor_id=contributor_id)


def _default_spool_path() -> Path:
    return spool_path(os.environ)
