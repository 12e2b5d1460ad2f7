"""The job that erases: from a request that is on disk to the search that finds nothing.

Theory of operation. A request is a tombstone before it is anything else (`erasure_register`): from then on nothing of
its contributor is taken. Then, in rounds, as long as a look at all lines finds sessions of theirs that are not erased:

1. the sessions are written down in a file of the job's own, with some pieces of what is in them;
2. each is closed, if it is open, as any session is: stitched, scored and credited; then it is barred, its actor has
   ended, and all that came of it is in the databases;
3. their rows get other names, and so does their credit, whose amount stays;
4. their lines are erased, a day's file after the other (`persistence.journals.erasing`).

Of a user of an application there are texts in place of sessions: their lines are erased as looks find them, and then
their rows get other names. Nothing new of theirs is stored meanwhile, so nothing needs to end first.

When a look finds none, their lines and rows of the corpus go, while curation, a process of its own, is stopped: of what
is erased it makes no record again. Then what a crash had torn off is removed, the databases are written anew, and every
file is searched for the ids and the pieces (`last_search`). If nothing is found the job's file goes, and the request is
done; else it says where, and is tried again. Where nothing was ever theirs, and an id that somebody has chosen stands
in what others have sent, that never ends by itself: then the operator may settle it. Each step may be done twice, so a
job that was interrupted begins anew and ends the same: names follow from the request and what they replace.

Rows go before lines: whoever closes a session meanwhile and finds steps of theirs in it names them by the new names.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final, assert_never

import msgspec
import trio

from actors.consent.restrictions import subject_key
from actors.erasure.last_search import LastSearch, Wanted
from actors.erasure.theirs import Look, Theirs
from actors.sessions.directory import Directory
from actors.sessions.environment import Environment
from actors.sessions.messages import CloseSession
from actors.sessions.outcomes import ActorFailed, Busy, BusyReason, StorageFull
from persistence.corpus_erasing import StoppedCorpus
from persistence.databases.database import DatabaseUnavailable
from persistence.files.failures import DataDirectoryLocked, StorageDamage
from persistence.files.file_system import FileSystem
from persistence.files.whole_file import read_file, remove_file, replace_file
from persistence.format.consent_events import DIGEST_PREFIX
from persistence.format.layout import DataLayout
from persistence.format.records import OF_SESSIONS, ClosedBy, JournalName, Mark
from persistence.journals.erasing import erasing
from persistence.journals.erasure_register import PEOPLE, Erasure, ErasureState, ErasureSubject, digest_of
from persistence.journals.reading import Scan

log = logging.getLogger("central_command.storage")

HANDING_OVER_LOOK_S: Final = 0.01

CORPUS_LOCKED_S_MAX: Final = 10.0
"""How long the corpus may be another process's until a request has to wait for its next try."""

CORPUS_LOCKED_LOOK_S: Final = 0.25

RECORDS_SEARCHED_MAX: Final = 64
"""Ids of a user's texts that are looked for in the end."""

NOT_ANEW: Final = "a file of {} cannot be written anew now: the disk has no room, or its archive is out of reach"

REMAINS_SAID: Final = 10
"""Files that one sentence names."""


class _Work(msgspec.Struct):
    """What a job has to remember until it is done: it holds the ids, so it goes with its end."""

    names: list[str] = []
    subjects: list[str] = []
    sessions: list[str] = []
    samples: list[str] = []
    records: list[str] = []


ExportsWith = Callable[[Collection[str], Collection[str]], Awaitable[list[str]]]
"""Names the exports that hold records of any of these sessions or users: the server cannot take those back."""


async def no_exports(_session_ids: Collection[str], _users: Collection[str]) -> list[str]:
    """Of a server that makes no exports."""
    await trio.lowlevel.checkpoint()
    return []


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a request stands; `hindered` is why it is not done, one sentence."""

    erasure: Erasure
    hindered: str | None = None


class ErasureCounts(msgspec.Struct, frozen=True):
    """How many requests are done, how many are open, and of those, how many are hindered."""

    done: int
    open: int
    hindered: int


class TooManyErasures(msgspec.Struct, frozen=True):
    """There are as many requests as there may be."""


class _Hindered(Exception):  # noqa: N818 (a state of the world)
    """It cannot be done now: one sentence says why."""


class Eraser:
    """Takes requests, and does them one after the other while `run` runs.

    In a block of `without_curation` no process that this one has started writes the corpus.
    """

    def __init__(
        self,
        environment: Environment,
        directory: Directory,
        without_curation: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        exports_with: ExportsWith = no_exports,
    ) -> None:
        self._environment = environment
        self._storage = environment.storage
        self._erasure = environment.storage.erasure
        self._directory = directory
        self._without_curation = without_curation
        self._exports_with = exports_with
        self._last_search = LastSearch(environment, self.stopped_corpus)
        self._turn = trio.Lock()
        self._asking = trio.Lock()
        self._corpus_turn = trio.Lock()
        self._asked = trio.Event()
        self._hindered: dict[str, str] = {}
        self.hindered_count = 0
        """How many requests could not be done when that was tried last."""
        environment.restrictions.erased.update(map(_restricted, self._erasure.register.people))

    def __repr__(self) -> str:
        return f"<Eraser {self._erasure.register!r}>"

    async def ask(
        self, subject: ErasureSubject, name: str, session_ids: Sequence[str] = ()
    ) -> Erasure | TooManyErasures:
        """Return the request to erase somebody, or a session: that which there is, or a new one, on disk by then.

        Where `subject` says neither whom nor which, `session_ids` are the sessions.
        """
        register, digest = self._erasure.register, digest_of(subject, name)
        async with self._asking:
            found = register.find(subject, digest)
            if found is None and len(register) >= self._erasure.settings.erasures_max:
                return TooManyErasures()
            asked = await self._environment.offload(register.ask, subject, digest)
            if subject in PEOPLE:
                self._environment.restrictions.erased.add(_restricted(digest))
            if asked.state is not ErasureState.DONE:
                await self._environment.offload(
                    _save_first, self._path(asked.request), self._erasure.files, _work(subject, name, session_ids)
                )
        self._asked.set()
        return asked

    def is_asked(self, subject: ErasureSubject, name: str) -> bool:
        """Whether there is a request for that, done or not."""
        return self._erasure.register.find(subject, digest_of(subject, name)) is not None

    def report(self, request: str) -> Report | None:
        """Say how a request stands; None for one that is not known."""
        found = self._erasure.register.get(request)
        return None if found is None else Report(erasure=found, hindered=self._hindered.get(request))

    def reports(self) -> list[Report]:
        """Say how every request stands."""
        return [
            Report(erasure=each, hindered=self._hindered.get(each.request)) for each in self._erasure.register.all()
        ]

    def counts(self) -> ErasureCounts:
        """Count the requests, without looking at each."""
        register = self._erasure.register
        return ErasureCounts(len(register) - register.open_count, register.open_count, len(self._hindered))

    @property
    def is_at_work(self) -> bool:
        """Whether requests are being done now."""
        return self._turn.locked()

    def try_again(self) -> None:
        """Try what is hindered again now, and not only after `storage.erasure_retry_s`."""
        self._asked.set()

    def pending(self) -> list[Erasure]:
        """Return the requests that are not done."""
        return self._erasure.register.pending()

    async def run(self) -> None:
        """Do what is pending, and what is asked for, together; what is hindered is tried again after a while.

        There is a rest between, so that whoever asks for one id after the other does not keep the disk busy.
        """
        while True:
            await self.erase_pending()
            with trio.move_on_after(self._erasure.settings.erasure_retry_s):
                await self._asked.wait()
                await trio.sleep(self._erasure.settings.erasure_rest_s)
            self._asked = trio.Event()

    async def erase_pending(self, settled: str | None = None) -> None:
        """Do all that is asked for, as far as that is possible now.

        The request `settled` is done also where files hold its id, if no line of theirs was found, now or before.
        """
        async with self._turn:
            async with self._asking:  # a request is there before what is to be remembered of it
                pending = self._erasure.register.pending()
            if not pending:
                return
            self._hindered.clear()
            await self._handed_over()
            try:
                await self._erase([await self._loaded(each) for each in pending], settled)
            except (DatabaseUnavailable, StorageDamage, msgspec.DecodeError) as error:
                for each in self._erasure.register.pending():
                    self._hinder(each.request, str(error))
            self.hindered_count = len(self._hindered)

    async def _erase(self, jobs: Sequence["_Job"], settled: str | None) -> None:
        theirs = await self._look(jobs)
        while at_work := [job for job in jobs if job.sessions and job.request not in self._hindered]:
            for job in at_work:
                await self._save(job)
                try:
                    job.note_tried()
                    await self._erase_sessions(job)
                except _Hindered as hindered:
                    self._hinder(job.request, str(hindered))
                job.sessions = []
            theirs = await self._look(jobs)
        theirs = await self._erase_texts(jobs, theirs)
        left: dict[str, list[str]] = {}
        try:
            await self._erase_from_corpus(theirs, [job for job in jobs if job.request not in self._hindered])
            await self._environment.offload(_remove_torn, self._storage.layout, self._erasure.files)
            left = await self._left(jobs, theirs)
        except DataDirectoryLocked as locked:
            for job in jobs:
                self._hinder(job.request, str(locked))
        for job in jobs:
            paths = left.get(job.request, [])
            if not paths or job.request in self._hindered:
                pass
            elif job.request == settled and job.had_nothing(theirs[job.request]):
                log.warning("erasure %s is settled: of it there is an id alone, in what others have sent", job.request)
            else:
                more = f" and {len(paths) - REMAINS_SAID} more" if len(paths) > REMAINS_SAID else ""
                said = f"something of it is left in {', '.join(paths[:REMAINS_SAID])}{more}: remove it from there"
                self._hinder(job.request, said)
            if job.request not in self._hindered:
                await self._finish(job, theirs[job.request])

    async def _handed_over(self) -> None:
        """Return when all that waits to be stored now is: it was taken before the requests were noted."""
        for journal in self._storage.journals.values():
            now = journal.statistics()
            awaited = now.lines + now.refused_for_room + now.waiting_lines
            while journal.has_waiting_lines and now.lines + now.refused_for_room < awaited:
                await trio.sleep(HANDING_OVER_LOOK_S)
                now = journal.statistics()

    async def _finish(self, job: "_Job", theirs: Theirs) -> None:
        """Nothing is left: say so, and forget whom it was for."""
        offload, counts = self._environment.offload, dict(theirs.erased)
        for session_id in job.work.sessions:
            await offload(self._storage.closing.end, session_id)
        exports = await self._exports_with(job.work.sessions, [] if job.user is None else [job.user])
        await offload(self._erasure.register.note_done, job.request, counts, exports)
        await offload(remove_file, self._erasure.files, job.path)
        counted = ", ".join(f"{count} line(s) of {name}" for name, count in counts.items())
        held = f"; exports that hold something of it, which it cannot reach: {', '.join(exports)}" if exports else ""
        log.info("erasure %s is done: %s%s", job.request, counted or "there was nothing", held)

    def _hinder(self, request: str, sentence: str) -> None:
        log.warning("erasure %s is not done: %s", request, sentence)
        self._hindered[request] = sentence

    async def _look(self, jobs: Sequence["_Job"]) -> dict[str, Theirs]:
        """Look at all lines that there are now, and give each job what was found for it."""
        sessions_max = self._erasure.settings.erasure_sessions_at_once_max
        theirs = _theirs(jobs)
        noted = [subject for job in jobs for subject in job.work.subjects]
        look = Look(list(theirs.values()), sessions_max=sessions_max, noted=noted)
        of_users = (JournalName.INTAKE,) if any(job.user is not None for job in jobs) else ()
        for name in (*OF_SESSIONS, *of_users):
            await self._look_at(look, name, self._storage.journals[name].scan())
        await self._erasure.rows.note_contributors(look.first_at)
        for job in jobs:
            job.take(theirs[job.request])
            if job.erasure.subject is ErasureSubject.CONTRIBUTOR:
                job.add(await self._erasure.rows.signed(f"{DIGEST_PREFIX}{job.erasure.sha256}", sessions_max))
        return theirs

    async def _look_at(self, look: Look, name: JournalName, scan: Scan) -> Mark:
        """Look at what a scan of a journal yields; return where it ended."""
        async for lines in scan:
            began_at = trio.current_time()
            await self._environment.offload(look.look, name, lines)
            await trio.sleep(trio.current_time() - began_at)  # half of the time is for who is waiting
        return scan.mark or Mark()

    async def _erase_from_corpus(self, theirs: Mapping[str, Theirs], jobs: Sequence["_Job"]) -> None:
        """Erase lines and rows of the corpus, where there is one, and count the lines with what was erased before.

        All that is there is looked at beside curation, which then stops, and what it made meanwhile is looked at, too:
        of erased lines of trajectories it makes nothing any more.
        """
        corpus = self._erasure.corpus
        if not jobs or not corpus.exists:
            return
        in_corpus = _theirs(jobs)
        look = Look(list(in_corpus.values()), sessions_max=0)
        seen = await self._look_at(look, JournalName.CORPUS, corpus.scan(Mark()))
        async with self.stopped_corpus() as stopped:
            await self._look_at(look, JournalName.CORPUS, stopped.scan(seen))
            attempts = await self._erasure.rows.unknown(await stopped.attempts())
            for job in jobs:
                found = in_corpus[job.request]
                names = [name.lower() for name in job.work.names]
                users = [] if job.user is None else [job.user]
                await stopped.delete_rows(job.work.sessions, names, attempts, users)
                rewrite = erasing(JournalName.CORPUS, job.request, self._environment.clock())
                if not await stopped.erase(found.in_corpus, rewrite):
                    self._hinder(job.request, NOT_ANEW.format("corpus"))
                if count := found.erased[JournalName.CORPUS] + len(found.in_corpus):
                    theirs[job.request].erased[JournalName.CORPUS] = count
            await stopped.compact()

    @asynccontextmanager
    async def stopped_corpus(self) -> AsyncIterator[StoppedCorpus]:
        """The corpus, which nobody writes while the block lasts; raises DataDirectoryLocked where somebody else does.

        A process that a killed server has left needs a moment to end.
        """
        async with self._corpus_turn, AsyncExitStack() as stack:
            await stack.enter_async_context(self._without_curation())
            give_up_at = trio.current_time() + CORPUS_LOCKED_S_MAX
            stopped: StoppedCorpus | None = None
            while stopped is None:
                try:
                    stopped = await stack.enter_async_context(self._erasure.corpus.opened())
                except DataDirectoryLocked:
                    if trio.current_time() >= give_up_at:
                        raise
                    await trio.sleep(CORPUS_LOCKED_LOOK_S)
            yield stopped

    async def _erase_texts(self, jobs: Sequence["_Job"], theirs: dict[str, Theirs]) -> dict[str, Theirs]:
        """Erase the texts of users, as many at a time as a look finds, until it finds none; return the last look."""
        storage = self._storage
        while at_work := [job for job in jobs if theirs[job.request].texts and job.request not in self._hindered]:
            await storage.projector.drain()
            for job in at_work:
                await self._save(job)
                rewrite = erasing(JournalName.INTAKE, job.request, self._environment.clock())
                if not await storage.intake.erase(theirs[job.request].texts, rewrite):
                    self._hinder(job.request, NOT_ANEW.format("intake"))
            theirs = await self._look(jobs)
        for job in jobs:
            if job.user is not None and job.request not in self._hindered:
                await self._erasure.rows.rename_texts(job.user)
        return theirs

    async def _erase_sessions(self, job: "_Job") -> None:
        storage, request, session_ids = self._storage, job.request, job.sessions
        for session_id in session_ids:
            await self._close(session_id)
        async with self._directory.barred(session_ids):
            await storage.projector.drain()
            places = {name: await self._erasure.rows.places(name, request, session_ids) for name in OF_SESSIONS}
            async with self._environment.recent_runs.turn:
                split = await self._erasure.rows.rename(request, session_ids, job.work.subjects)
            at = self._environment.clock()
            for name in OF_SESSIONS:
                if not await storage.journals[name].erase(places[name], erasing(name, request, at)):
                    raise _Hindered(NOT_ANEW.format(name))
        if split:
            raise _Hindered(
                f"{len(split)} session(s) have rows under two names, because the databases were rebuilt in the middle: "
                "stop the server and run `central-command rebuild`"
            )

    async def _close(self, session_id: str) -> None:
        """End a session, if it is open, as any other."""
        outcome = await self._directory.ask(session_id, CloseSession(ClosedBy.HTTP_CLOSE))
        if outcome == Busy(BusyReason.SET_ASIDE):
            return  # it has no trajectory, and will have none
        if isinstance(outcome, Busy | StorageFull | ActorFailed):
            raise _Hindered(f"a session could not be closed ({outcome!r})")

    async def _left(self, jobs: Sequence["_Job"], theirs: Mapping[str, Theirs]) -> dict[str, list[str]]:
        """Where something is left of the ids and the pieces of all jobs, by request."""
        names = {
            written: job.request
            for job in jobs
            for name in job.work.names
            for written in (name, name.lower(), name.upper())
        }
        for job in jobs:
            referenced = theirs[job.request].referenced
            names |= {name: job.request for name in job.work.sessions if name not in referenced}
            names |= dict.fromkeys(job.work.records, job.request)
        samples = {piece: job.request for job in jobs for piece in job.work.samples}
        wanted = Wanted(names, samples, leave=[job.path for job in jobs])
        had_rows = any(job.work.sessions or job.user is not None for job in jobs)
        return await self._last_search.left(wanted, rows_were_theirs=had_rows)

    async def _loaded(self, erasure: Erasure) -> "_Job":
        path = self._path(erasure.request)
        work = await self._environment.offload(_load, path, self._erasure.files)
        return _Job(erasure, path, work)

    async def _save(self, job: "_Job") -> None:
        await self._environment.offload(_save, job.path, self._erasure.files, job.work)

    def _path(self, request: str) -> Path:
        return self._storage.layout.erasing / f"{request}.json"


class _Job:
    """One request while it is at work: `sessions` are those to be erased next, `work` what is remembered."""

    def __init__(self, erasure: Erasure, path: Path, work: _Work) -> None:
        self.erasure = erasure
        self.request = erasure.request
        self.path = path
        self.work = work
        self._tried: set[str] = set()
        self.sessions = list(work.sessions)  # of some an interrupted job may have done no more than note them

    def __repr__(self) -> str:
        return f"<_Job {self.request} sessions={len(self.sessions)}>"

    @property
    def user(self) -> str | None:
        """The digest that stands for the user whom it is for; None where it is for somebody else."""
        return f"{DIGEST_PREFIX}{self.erasure.sha256}" if self.erasure.subject is ErasureSubject.USER else None

    def had_nothing(self, theirs: Theirs) -> bool:
        """Whether no line, and no row, was ever found to be theirs."""
        return not (self.work.sessions or self.work.subjects or self.work.records or theirs.erased)

    def note_tried(self) -> None:
        """Note that its sessions are erased now; raises `_Hindered` for one of which lines were left the time before.

        Those are in no row, so the databases do not follow from the journals.
        """
        if left := self._tried & {*self.sessions}:
            raise _Hindered(
                f"lines of {len(left)} session(s) are in no row of the databases: stop the server, run "
                "`central-command rebuild`, and start it again"
            )
        self._tried |= {*self.sessions}

    def add(self, session_ids: Iterable[str]) -> None:
        """Have these sessions erased next."""
        at_work, known = {*self.sessions}, {*self.work.sessions}
        found = [each for each in dict.fromkeys(session_ids) if each not in at_work]
        self.sessions += found
        self.work.sessions += [each for each in found if each not in known]

    def take(self, theirs: Theirs) -> None:
        """Take in what a look has found."""
        self.add(theirs.sessions)
        self.work.names += sorted(theirs.names - {*self.work.names})
        self.work.subjects += sorted(theirs.subjects - {*self.work.subjects})
        self.work.samples = theirs.samples
        self.work.records = list(dict.fromkeys([*self.work.records, *theirs.records]))[:RECORDS_SEARCHED_MAX]


def _restricted(digest: str) -> bytes:
    """What stands for a contributor among the restrictions."""
    return subject_key(f"{DIGEST_PREFIX}{digest}")


def _work(subject: ErasureSubject, name: str, session_ids: Sequence[str]) -> _Work:
    match subject:
        case ErasureSubject.CONTRIBUTOR:
            return _Work(names=[name])
        case ErasureSubject.SESSION:
            return _Work(sessions=[name])
        case ErasureSubject.HELD:
            return _Work(sessions=[*session_ids])
        case ErasureSubject.USER:
            return _Work()
        case unreachable:
            assert_never(unreachable)


def _theirs(jobs: Sequence[_Job]) -> dict[str, Theirs]:
    """Where a look puts what it finds, by request."""
    return {job.request: Theirs(job.erasure, job.work.sessions, job.work.samples) for job in jobs}


def _load(path: Path, files: FileSystem) -> _Work:
    files.make_directory(path.parent)
    text = read_file(files, path)
    return _Work() if text is None else msgspec.json.decode(text, type=_Work)


def _save_first(path: Path, files: FileSystem, work: _Work) -> None:
    """Save what a request says, unless a job has noted more meanwhile."""
    if read_file(files, path) is None:
        _save(path, files, work)


def _save(path: Path, files: FileSystem, work: _Work) -> None:
    files.make_directory(path.parent)
    replace_file(files, path, msgspec.json.encode(work))


def _remove_torn(layout: DataLayout, files: FileSystem) -> None:
    """Remove what recovery has cut off: nobody was told of it, and it may hold pieces of anything."""
    try:
        names = files.list_names(layout.torn)
    except FileNotFoundError:
        return
    for name in names:
        files.remove(layout.torn / name)
    files.sync_directory(layout.torn)
