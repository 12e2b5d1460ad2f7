"""The engine of jobs: it starts what is due, notes what the runs say, and ends them.

Theory of operation. Everything that lasts is in jobs.db, and changes there in transactions of
`persistence.databases.jobs_*`; the engine holds only what lives with the process. It goes in turns: when something was
added or has ended here, and every `poll_s`, because commands change the database, too. In a turn it moves the
schedules on, and then takes one look at the database, in which the leases of its runs are renewed, lapsed ones given
up, delays ended, and as many jobs claimed as its queues are free for. Each of these is run in a task of its own, and
ended in a transaction that is fenced by its run's id.

Stopping cancels the runs, and gives their jobs back as if that attempt had not been. A run that does not end in its
time is cancelled; one that cannot be (a thread that hangs) keeps its place in this process, but its lease is not
renewed, so its job is given up all the same.

When the database cannot be used (a full disk, an input or output error), jobs rest and are tried again later, and
nothing else of the server minds: jobs are not what envelopes wait for. A run that has ended meanwhile keeps its end,
and writes it down when that is possible.

Rejected: a thread or a process for each queue (what is long runs in processes of its own anyway), notification from
commands to the server (one look every two seconds costs a millisecond).
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from actors.jobs.events import JobEvent, JobEvents
from actors.jobs.names import QUEUE, public_id
from actors.jobs.queue import NotDone, NotRetried, Queue, Run
from actors.jobs.runs import LiveRuns, Living
from actors.jobs.schedule import ScheduledJob, Step, next_after, step_from, wrong_cron
from actors.jobs.settings import JobsSettings
from persistence.databases.database import DatabaseFailure
from persistence.databases.jobs_changing import Added, Change, JobChanges, NewJob, QueueIsFull
from persistence.databases.jobs_database import JobsDatabase, JobStatus, StoredJob
from persistence.databases.jobs_listing import JobHistory, JobLists, JobPage, QueueCounts
from persistence.databases.jobs_running import Found, JobEnd, JobRuns, Look
from persistence.databases.jobs_schedule import AlreadyThere, JobSchedule, NoneOfThatName, Repeatable
from persistence.files.file_system import Offload
from persistence.format import times

log = logging.getLogger("central_command.jobs")

P = TypeVar("P")

RUN_ID_BYTES: Final = 12
REST_S_MIN: Final = 0.05
ERROR_CHARS_MAX: Final = 1_000


class JobsStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures as of the last turn, at most `poll_s` ago while the database can be used."""

    queues: tuple[QueueCounts, ...]
    running: int
    events_lost: int
    is_out_of_order: bool


class Jobs:
    """Queues and their jobs; `run` runs them until it is cancelled.

    `clock` gives seconds since the epoch, and may be set at any time; trio's own clock all durations.
    """

    def __init__(
        self,
        database: JobsDatabase,
        settings: JobsSettings,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        offload: Offload,
        on_event: Callable[[JobEvent], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random_bytes = random_bytes
        self._offload = offload
        self._lists = JobLists(database)
        self._runs = JobRuns(database)
        self._changes = JobChanges(database)
        self._schedule = JobSchedule(database)
        self._events = JobEvents(on_event)
        self._queues: dict[str, Queue] = {}
        self._repeatables: dict[tuple[str, str], Repeatable] = {}
        self._is_declared = False
        """Whether the database knows what queues and repeatable jobs there are."""
        self._reached: dict[tuple[str, str], float] = {}
        """Up to which time each repeatable job is done."""
        self._next: dict[tuple[str, str], tuple[float, float]] = {}
        """Between which times nothing of a repeatable job is due."""
        self._live = LiveRuns(settings)
        self._woken = trio.Event()
        self._counts: tuple[QueueCounts, ...] = ()
        self._is_out_of_order = False

    def __repr__(self) -> str:
        return f"<Jobs queues={len(self._queues)} running={len(self._live)}>"

    # What there is to do

    def register(
        self,
        name: str,
        payload: type[P],
        handler: Callable[[Run[P]], Awaitable[object]],
        *,
        concurrency: int = 1,
        attempts: int = 5,
        backoff_s: float = 5.0,
        backoff_s_max: float = 60.0,
        timeout_s: float = 3_600.0,
    ) -> None:
        """Add a queue whose jobs `handler` does; the options are those of `Queue`."""
        assert QUEUE.match(name), "a queue's name is part of its jobs' ids"
        self._queues[name] = Queue(
            name=name,
            payload=payload,
            handler=handler,
            concurrency=concurrency,
            attempts=attempts,
            backoff_s=backoff_s,
            backoff_s_max=backoff_s_max,
            timeout_s=timeout_s,
        )
        self._is_declared = False
        self._woken.set()

    def add_repeatable(self, queue: str, name: str, payload: object, cron: str, *, key: str | None = None) -> None:
        """Repeat a job at the times of a cron expression, in UTC; the same `key` (or name) again replaces it.

        While one of it is unfinished, no second is added; what was missed is made up for by one.
        """
        assert wrong_cron(cron) is None, wrong_cron(cron)
        repeatable = Repeatable(
            queue=queue,
            key=key or name,
            name=name,
            payload=self._encoded(payload),
            cron=cron,
            attempts_max=self._queues[queue].attempts,
        )
        self._repeatables[queue, repeatable.key] = repeatable
        self._is_declared = False
        self._woken.set()

    async def add(
        self,
        queue: str,
        name: str,
        payload: object,
        *,
        priority: int = 0,
        delay_s: float = 0.0,
        deduplication_key: str | None = None,
    ) -> Added | QueueIsFull:
        """Add a job; it is on disk when this returns. The higher its priority, the sooner. Raises DatabaseFailure.

        Of a deduplication key one is unfinished at a time: where there is one, it is returned.
        """
        new = NewJob(
            queue=queue,
            name=name,
            payload=self._encoded(payload),
            attempts_max=self._queues[queue].attempts,
            priority=priority,
            delay_s=delay_s,
            deduplication_key=deduplication_key,
        )
        call = partial(self._changes.add, new, now=self._clock(), waiting_max=self._settings.waiting_max)
        added = await self._offload(call)
        if isinstance(added, Added) and added.is_new:
            self._events.tell(added.job, "added")
            self._woken.set()
        return added

    async def retry(self, queue: str, job_id: int) -> Change:
        """Let a failed job wait again, with all its attempts. Raises DatabaseFailure, as the others do."""
        return await self._changed(partial(self._changes.retry, queue, job_id, now=self._clock()), "retried")

    async def promote(self, queue: str, job_id: int) -> Change:
        """Let a delayed job wait no longer than the others."""
        return await self._changed(partial(self._changes.promote, queue, job_id, now=self._clock()))

    async def cancel(self, queue: str, job_id: int) -> Change:
        """Let an unfinished job fail; its run, if there is one here, is cancelled."""
        changed = await self._changed(partial(self._changes.cancel, queue, job_id, now=self._clock()), "failed")
        if isinstance(changed, StoredJob):
            self._live.cancel_job(job_id)
        return changed

    async def remove(self, queue: str, job_id: int) -> Change:
        """Remove a job that is not active, with its events and its log."""
        return await self._changed(partial(self._changes.remove, queue, job_id))

    async def pause(self, queue: str) -> bool:
        """Start no job of a queue until it is resumed; False for a queue that there is not."""
        return await self._offload(partial(self._changes.pause, queue, now=self._clock()))

    async def resume(self, queue: str) -> bool:
        """Start jobs of a queue again; False for a queue that there is not."""
        is_known = await self._offload(self._changes.resume, queue)
        self._woken.set()
        return is_known

    async def run_now(self, name: str) -> StoredJob | AlreadyThere | NoneOfThatName:
        """Add the job of what is repeated by that name, beside its schedule. Raises DatabaseFailure."""
        added = await self._offload(partial(self._schedule.run_now, name, now=self._clock()))
        if isinstance(added, StoredJob):
            self._events.tell(added, "added")
            self._woken.set()
        return added

    async def prune(self) -> int:
        """Remove completed jobs past their days, and the oldest past their number; return how many."""
        settings, removed = self._settings, 0
        call = partial(
            self._changes.prune,
            before=self._clock() - settings.completed_days * 86_400,
            completed_max=settings.completed_max,
            at_once_max=settings.prune_at_once_max,
        )
        while gone := await self._offload(call):
            removed += gone
        return removed

    async def page(
        self, *, status: JobStatus | None = None, queue: str | None = None, before: int | None = None, limit: int
    ) -> JobPage:
        """Jobs, the latest first; those before the one with the number `before`. Raises DatabaseFailure."""
        call = partial(self._lists.page, status=status, queue=queue, before=before, limit=limit)
        return await self._offload(call)

    async def history(self, queue: str, job_id: int) -> JobHistory | None:
        """One job with its events and its log; None for one that there is not. Raises DatabaseFailure."""
        return await self._offload(self._lists.history, queue, job_id)

    async def queues(self) -> list[QueueCounts]:
        """The queues and how many jobs each has, by status. Raises DatabaseFailure."""
        return await self._offload(self._lists.queues)

    def schedules(self) -> list[ScheduledJob]:
        """What is repeated, by its queue and name, and when next, paused or not."""
        now = self._clock()
        found = sorted(self._repeatables.items())
        return [ScheduledJob(each.queue, each.name, each.cron, next_after(each.cron, now)) for _, each in found]

    def statistics(self) -> JobsStatistics:
        """Return the figures of the last turn."""
        return JobsStatistics(
            queues=self._counts,
            running=len(self._live),
            events_lost=self._events.lost,
            is_out_of_order=self._is_out_of_order,
        )

    # Turns

    async def run(self) -> None:
        """Run jobs until cancelled; what then runs is given back."""
        async with trio.open_nursery() as nursery:
            while True:
                self._woken = trio.Event()
                try:
                    rest_s = await self._turn(nursery)
                    self._is_out_of_order = False
                except DatabaseFailure as failure:
                    if not self._is_out_of_order:
                        log.error("jobs rest until their database can be used: %s", failure)  # noqa: TRY400 (says it all)
                    self._is_out_of_order = True
                    rest_s = self._settings.storage_retry_s
                with trio.move_on_after(rest_s):
                    await self._woken.wait()

    async def _turn(self, nursery: trio.Nursery) -> float:
        """Do what is to be done now; return for how many seconds there is nothing else."""
        if not self._is_declared:
            await self._declare()
        await self._add_scheduled()
        now = self._clock()
        said = self._live.said()
        look = Look(
            now=now,
            lease_s=self._settings.lease_s,
            live=said,
            free={name: self._live.free(queue) for name, queue in self._queues.items()},
            concurrency={name: queue.concurrency for name, queue in self._queues.items()},
            log_lines_max=self._settings.log_lines_max,
        )
        try:
            found: Found = await self._offload(self._runs.look, look, self._new_run_id)
        except DatabaseFailure:
            self._live.not_noted(said)
            raise
        self._live.noted(said)
        self._counts = tuple(found.counts)
        for run_id in found.lost:
            self._live.cancel_run(run_id)
        for job in found.given_up:
            self._events.tell(job, "failed" if job.status is JobStatus.FAILED else "retried")
        for job in found.claimed:
            nursery.start_soon(
                self._work, job, self._live.begin(job, self._queues[job.queue]), name=f"job {job.job_id}"
            )
        due_s = self._settings.poll_s if found.next_at is None else found.next_at - now
        return min(self._settings.poll_s, max(REST_S_MIN, due_s))

    async def _declare(self) -> None:
        """Make known which queues and repeatable jobs there are, and learn up to where each of these is done."""
        self._is_declared = True  # unless one is added meanwhile
        now, repeatables = self._clock(), [*self._repeatables.values()]
        call = partial(self._schedule.declare, [*self._queues], repeatables, now=now)
        try:
            reached = await self._offload(call)
        except DatabaseFailure:
            self._is_declared = False
            raise
        self._reached = {key: times.from_text(at) for key, at in reached.items()}
        self._next = {}

    async def _add_scheduled(self) -> None:
        now = self._clock()
        for key, reached in [*self._reached.items()]:
            since, until = self._next.get(key, (now, now))
            if since <= now < until:
                continue
            repeatable = self._repeatables[key]
            step = step_from(repeatable.cron, reached, now)
            if step is not None:
                await self._reach(repeatable, reached, step, now)
            self._next[key] = (now, next_after(repeatable.cron, max(now, self._reached[key])))

    async def _reach(self, repeatable: Repeatable, reached: float, step: Step, now: float) -> None:
        call = partial(
            self._schedule.reach,
            repeatable,
            reached_at=times.to_text(reached),
            to=times.to_text(step.to),
            now=now,
            adds=step.is_due,
        )
        came = await self._offload(call)
        self._reached[repeatable.queue, repeatable.key] = times.from_text(came.at)
        if came.job is not None:
            self._events.tell(came.job, "added")

    # Runs

    async def _work(self, job: StoredJob, living: Living) -> None:
        """Run a job to its end; when this is cancelled, give it back."""
        ended: JobEnd | None = None
        began_at = trio.current_time()
        try:
            self._events.tell(job, "started")
            ended = await self._ended(job, living)
        finally:
            took_s = trio.current_time() - began_at
            try:
                with trio.CancelScope(shield=ended is None):
                    end = self._given_back(living) if ended is None else ended
                    await self._settle(end, took_s, is_last_try=ended is None)
            finally:
                self._live.end(living)
                self._woken.set()

    async def _ended(self, job: StoredJob, living: Living) -> JobEnd:
        queue = living.queue
        try:
            payload = msgspec.json.decode(job.payload, type=queue.payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._failed(living, f"Its payload is none that this version of the program reads: {error}")
        living.run = Run(
            job_id=public_id(job),
            name=job.name,
            payload=payload,
            attempt=job.attempts,
            created_at=job.created_at,
            note=lambda line: living.say(times.to_text(self._clock()), line),
        )
        living.scope.deadline = trio.current_time() + queue.timeout_s
        result: object = None
        try:
            with living.scope:
                result = await queue.handler(living.run)
            text = msgspec.json.encode(result).decode()
        except NotRetried as error:
            return self._failed(living, str(error))
        except NotDone as error:  # all is said with the event
            return self._retried(living, str(error))
        except Exception as error:
            log.warning("job %s has failed at attempt %d", living.run.job_id, job.attempts, exc_info=error)
            return self._retried(living, str(error) or type(error).__name__)
        if living.scope.cancelled_caught:
            return self._retried(living, f"It took longer than its time-out of {queue.timeout_s:g} s.")
        if len(text) > self._settings.result_bytes_max:
            living.say(times.to_text(self._clock()), f"Its result of {len(text):,} characters is not kept.")
            text = "null"
        return JobEnd(run=living.said(), status=JobStatus.COMPLETED, result=text)

    def _failed(self, living: Living, error: str) -> JobEnd:
        return JobEnd(run=living.said(), status=JobStatus.FAILED, error=error[:ERROR_CHARS_MAX])

    def _retried(self, living: Living, error: str) -> JobEnd:
        job = living.job
        if job.attempts >= job.attempts_max:
            return self._failed(living, error)
        delay_s, error = living.queue.delay_s(job.attempts), error[:ERROR_CHARS_MAX]
        return JobEnd(run=living.said(), status=JobStatus.DELAYED, error=error, delay_s=delay_s)

    def _given_back(self, living: Living) -> JobEnd:
        return JobEnd(run=living.said(), status=JobStatus.WAITING, is_counted=False)

    async def _settle(self, ended: JobEnd, took_s: float, *, is_last_try: bool) -> None:
        """Write down how a run ended, after so long, as soon as that is possible."""
        while True:
            call = partial(self._runs.end, ended, now=self._clock(), log_lines_max=self._settings.log_lines_max)
            try:
                job = await self._offload(call)
            except DatabaseFailure as failure:
                if is_last_try:
                    log.warning("a job that is cut off is found again by its lease: %s", failure)
                    return
                await trio.sleep(self._settings.storage_retry_s)
                continue
            if job is not None:
                self._events.tell(job, _EVENTS[job.status], duration_s=took_s)
            return

    async def _changed(self, call: Callable[[], Change], event: str | None = None) -> Change:
        changed = await self._offload(call)
        if isinstance(changed, StoredJob) and event is not None:
            self._events.tell(changed, event)
        self._woken.set()
        return changed

    def _encoded(self, payload: object) -> str:
        text = msgspec.json.encode(payload)
        assert len(text) <= self._settings.payload_bytes_max, "a payload names what is to be done, and holds none of it"
        return text.decode()

    def _new_run_id(self) -> str:
        return self._random_bytes(RUN_ID_BYTES).hex()


_EVENTS: Final = {
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.DELAYED: "retried",
    JobStatus.WAITING: "released",
}
"""What has happened to a job that was active, by the status that it has now."""
