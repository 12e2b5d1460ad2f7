"""The `watch` command: follows folders of session files, and sends each session's steps while it grows.

Files are polled: their size and time of change. A file that changed is read again from its start, which every reader
allows, and of its steps those that are settled (`Transcript.complete_steps`) and were not sent before may go out. They
are gathered into chunks: a chunk goes when 200 steps wait, or when the first of them has waited `chunk_s`. A file that
has not changed for `quiet_s` is sent to its end and its session closed; when it grows again, a further one follows.

All that matters is in the spool. What is held here (when a file was last seen, since when steps wait) only saves work
and may be lost at any time.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import httpx
import msgspec
import trio

from central_command.client.contract.chunking import CHUNK_STEPS_MAX
from central_command.client.contract.identity import Identity
from central_command.client.delivering.deliverer import Waiting
from central_command.client.delivering.posting import Delivery
from central_command.client.spool.records import SpoolError, StoredSession
from central_command.client.transcripts.reader import FILE_BYTES_MAX
from central_command.client.uploading.budget import ByteBudget
from central_command.client.uploading.feeding import Feeder, NotSentError, Surroundings
from central_command.client.uploading.heartbeat import Heartbeat, Pulse
from central_command.client.uploading.history import (
    ERASED,
    WITHDRAWN,
    History,
    failure_of,
    has_undelivered,
    is_unfinished,
    marks_of,
    state_of,
    steps_waiting,
)
from central_command.client.uploading.introduction import Introduction
from central_command.client.uploading.left_over import deliver, left_over
from central_command.client.uploading.names import kept_path, path_of, shown_path
from central_command.client.uploading.options import (
    Options,
    client_for,
    interruptible,
    opened_history,
    own_identity,
    sender_options,
    work_of,
)
from central_command.client.uploading.report import describe_held, describe_kept, in_order
from central_command.client.uploading.sources import FILES_MAX, FileError, NoStepsError, files_below
from central_command.client.uploading.standing import ConsentStanding
from central_command.client.uploading.survey import Survey, survey
from central_command.process.paths import PathTo
from central_command.process.steering import escaped
from central_command.terminal.live_line import LiveLine, takes_live_lines
from central_command.terminal.short_ids import SESSION_CHARS_MIN, shortened
from central_command.terminal.unread import going_on_unread

_REFUSALS = frozenset({400, 401, 403})
"""Answers to an opening that will hardly be others a few seconds later."""
_READING_SHARE = 20
"""A file is read again only after so many times as long as its last reading took: at most 5 % of one core a file."""


class WatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often is looked, how long settled steps are gathered, and when a file counts as done; seconds."""

    interval_s: float = 10.0
    chunk_s: float = 300.0
    quiet_s: float = 1_800.0


class _Followed:
    """What is known of one file: how it was last seen, since when it has steps to send, and when it was read.

    `source` is whose steps it held then, "" when it held none, and `place` where it lies, as that is kept.
    """

    def __init__(self) -> None:
        self.seen: tuple[int, int] | None = None
        self.source: str | None = None
        self.place = ""
        self.waiting_since: float | None = None
        self.steps_waiting = self.steps_open = 0
        self.is_open = True
        self.next_reading = self.next_try = 0.0
        self.last_problem = ""


class _LeftOver:
    """When what is left of a source whose file is gone is tried next, and what was said of it last."""

    def __init__(self) -> None:
        self.next_try = 0.0
        self.last_problem = ""


class Watcher:
    """Follows `folders`; `poll` looks once, `run` looks for ever. It may be cancelled at any point.

    `shortens_ids` is for a terminal, where a message has little room; a log gets whole ids.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        history: History,
        identity: Identity,
        folders: Sequence[Path],
        options: Options,
        times: WatchOptions,
        *,
        say: Callable[[str], None] = click.echo,
        on_pulse: Callable[[Pulse], None] = lambda _pulse: None,
        shortens_ids: bool = False,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._history = history
        self._options = options
        self._times = times
        self._say = say
        self._on_pulse = on_pulse
        self._shortens_ids = shortens_ids
        surroundings = surroundings or Surroundings()
        self._now_s, self._threads = surroundings.now_s, surroundings.threads
        self._feeder = Feeder(
            client, history, identity, at_once=options.at_once, scrubs=options.scrub, surroundings=surroundings
        )
        self._standing = partial(ConsentStanding, client, identity, now_s=self._now_s)
        self._consent = self._standing()
        self._introduction = Introduction(identity.contributor_id, options.url, is_known=history.is_known)
        self._has_sent = self._is_held = False
        self._limit = trio.CapacityLimiter(options.at_once)
        self._budget = ByteBudget(FILE_BYTES_MAX)
        self._followed: dict[Path, _Followed] = {}
        self._left_over: dict[str, _LeftOver] = {}
        self._spool_problem = ""

    def __repr__(self) -> str:
        return f"<Watcher of {len(self._folders)} folder(s), {len(self._followed)} file(s)>"

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.poll()
            self._on_pulse(self.pulse())
            await trio.sleep(self._times.interval_s)

    def pulse(self) -> Pulse:
        """What the last look found."""
        waiting = [each for each in self._followed.values() if each.waiting_since is not None]
        return Pulse(
            files=sum(each.is_open for each in self._followed.values()),
            steps_waiting=sum(each.steps_waiting for each in waiting),
            next_chunk_at=min(
                (each.waiting_since + self._times.chunk_s for each in waiting if each.waiting_since is not None),
                default=None,
            ),
            steps_open=sum(each.steps_open for each in self._followed.values() if each.is_open),
        )

    async def poll(self) -> None:
        """Look at every file once, and send what is due; returns when that is delivered or failed."""
        self._consent = self._standing()  # what a contributor says, and the terms, may change while this runs
        there = await trio.to_thread.run_sync(_files, self._folders)
        for path in [path for path in self._followed if path not in there]:
            del self._followed[path]
        try:
            unfinished = await self._threads.keep(self._history.unfinished_paths)
        except SpoolError as error:
            self._complain_of_spool(error)
            return
        async with self._feeder.delivering():
            async with trio.open_nursery() as nursery:
                for path, (size, changed_ns) in there.items():
                    is_quiet = self._now_s() - changed_ns / 1e9 >= self._times.quiet_s
                    is_new = path not in self._followed
                    followed = self._followed.setdefault(path, _Followed())
                    if is_new and is_quiet and kept_path(path) not in unfinished:
                        # It was done before anyone watched: `upload` is for those.
                        followed.seen, followed.is_open = (size, changed_ns), False
                    if self._is_due(followed, (size, changed_ns), is_quiet=is_quiet):
                        nursery.start_soon(self._look, path, followed, (size, changed_ns), is_quiet)
            if unfinished:
                await self._finish_left_over()
        await self._say_if_held()

    def _is_due(self, followed: _Followed, seen: tuple[int, int], *, is_quiet: bool) -> bool:
        if trio.current_time() < followed.next_try:
            return False
        if is_quiet:
            return followed.is_open or followed.seen != seen
        if trio.current_time() < followed.next_reading:
            return False
        since = followed.waiting_since
        return followed.seen != seen or (since is not None and trio.current_time() - since >= self._times.chunk_s)

    async def _look(self, path: Path, followed: _Followed, seen: tuple[int, int], is_quiet: bool) -> None:  # noqa: FBT001
        """Read a file and send what is due; every problem is said once and leaves the file to a later look."""
        async with self._limit, self._budget.hold(seen[0]):
            try:
                started = trio.current_time()
                known = await self._threads.read(partial(survey, path, self._options.provider))
                took_s = trio.current_time() - started
                followed.next_reading = trio.current_time() + took_s * _READING_SHARE
                await self._send_due(path, followed, known, is_quiet=is_quiet)
            except NoStepsError:
                followed.is_open = not is_quiet
                if is_quiet:
                    followed.source, followed.place = "", kept_path(path)
            except NotSentError as error:
                self._complain(path, followed, str(error))
                if error.status in _REFUSALS:
                    followed.next_try = trio.current_time() + self._times.chunk_s
                if not error.final:
                    return  # `seen` stays as it was: the next look tries again
                followed.is_open = False
            except SpoolError as error:
                self._complain(path, followed, str(error))
                return  # as above
            except FileError as error:
                followed.is_open = not is_quiet
                if is_quiet:
                    self._complain(path, followed, str(error))
            followed.seen = seen

    async def _send_due(self, path: Path, followed: _Followed, known: Survey, *, is_quiet: bool) -> None:
        settled = known if is_quiet else known.first(known.transcript.complete_steps)
        followed.steps_open = len(known.times) - len(settled.times)
        if not settled.times:
            return
        with self._history.claimed(settled.family) as is_claimed:
            if not is_claimed:
                return
            source = self._history.source_of(settled)
            settled = self._history.without_copies(settled, source)
            work = work_of(settled, source, self._options)
            followed.source, followed.place = work.source, work.path
            before = self._history.sessions(work.source)
            was_withdrawn = any(each.problem == WITHDRAWN for each in before)
            if was_withdrawn and await self._consent.is_erased():
                raise NotSentError(ERASED, final=True)
            if was_withdrawn and await self._consent.is_given_again():
                self._history.go_on_with_consent(work.source)
                before = self._history.sessions(work.source)
            if problem := failure_of(before):
                raise NotSentError(problem, final=True)
            left = marks_of(settled, before).count(0)
            now = trio.current_time()
            followed.steps_waiting = left
            if left and followed.waiting_since is None:
                followed.waiting_since, followed.is_open = now, True
            is_full = left >= CHUNK_STEPS_MAX
            has_waited = followed.waiting_since is not None and now - followed.waiting_since >= self._times.chunk_s
            if not (is_quiet or any(map(has_undelivered, before)) or (left and (is_full or has_waited))):
                return
            if not left and not any(map(is_unfinished, before)):
                followed.is_open = False
                return
            followed.is_open = True
            findings: defaultdict[str, Counter[str]] = defaultdict(Counter)
            await self._introduce()
            await self._feeder.feed(
                work,
                settled,
                close=is_quiet,
                on_wait=self._say_waiting,
                on_findings=lambda session_id, found: findings[session_id].update(found),
            )
            followed.waiting_since, followed.is_open, followed.last_problem = None, not is_quiet, ""
            self._tell(path, before, self._history.sessions(work.source), findings)

    def _tell(
        self,
        path: Path,
        before: list[StoredSession],
        after: list[StoredSession],
        findings: Mapping[str, Mapping[str, int]],
    ) -> None:
        known = {session.session_id: session for session in before}
        shown = shortened((each.session_id for each in after), SESSION_CHARS_MIN) if self._shortens_ids else {}
        for session in after:
            old = known.get(session.session_id)
            steps = session.steps_accepted - (old.steps_accepted if old else 0)
            self._has_sent |= steps > 0
            closed = not is_unfinished(session) and (old is None or is_unfinished(old))
            if not steps and not closed:
                continue
            text = f"{escaped(path.name)}: {steps} more step(s) in {shown.get(session.session_id, session.session_id)}"
            if old is None and (continues := state_of(session).continues):
                text += f", which goes on from {shown.get(continues, continues)}"
            if scrubbed := findings.get(session.session_id):
                text += f", scrubbed: {in_order(scrubbed)}"
            if closed:
                text += ", closed"
                text += f": {session.points:,.10g} points" if session.points is not None else ""
            self._say(text)

    async def _introduce(self) -> None:
        """Say who is credited and what sending is taken for, before anything goes; a server may come up later."""
        await self._introduction.make(self._consent, self._say_lines, is_sure=True)

    def _say_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)

    async def _say_if_held(self) -> None:
        """Where something was sent: say that it waits for consent to the terms, once each time it begins to."""
        if not self._has_sent:
            return
        self._has_sent = False
        was_held, self._is_held = self._is_held, await self._consent.holds()
        if self._is_held and not was_held:
            self._say(describe_held(self._options.url))

    async def _finish_left_over(self) -> None:
        """Deliver what was signed of files that are gone, or hold something else now, and close their sessions."""
        try:
            left = await self._threads.keep(self._find_left_over)
        except SpoolError as error:
            self._complain_of_spool(error)
            return
        tried = {session.source: self._left_over.get(session.source or "", _LeftOver()) for session in left}
        self._left_over = {source: each for source, each in tried.items() if source is not None}
        async with trio.open_nursery() as nursery:
            for session in left:
                each = tried[session.source]
                if trio.current_time() >= each.next_try:
                    nursery.start_soon(self._deliver_left_over, session, each)

    def _find_left_over(self) -> list[StoredSession]:
        read = {each.place: each.source for each in self._followed.values() if each.source is not None}
        return left_over(self._history, fed=frozenset(read.values()), read=read)

    async def _deliver_left_over(self, session: StoredSession, tried: _LeftOver) -> None:
        source, path = session.source or "", path_of(state_of(session).path)
        tried.next_try = trio.current_time() + self._times.chunk_s
        async with self._limit:
            try:
                await self._introduce()
                before = self._history.sessions(source)
                if await deliver(session, self._feeder, self._consent, self._say_waiting):
                    self._tell(path, before, self._history.sessions(source), {})
            except (NotSentError, SpoolError) as error:
                if str(error) == tried.last_problem:
                    return
                tried.last_problem = str(error)
                self._say(f"{shown_path(path)}: not delivered: {error}")
                with suppress(SpoolError):
                    if steps := steps_waiting(self._history.sessions(source)):
                        self._say(f"{shown_path(path)}: {describe_kept(steps, self._options.url)}")

    def _complain_of_spool(self, error: SpoolError) -> None:
        """Say once that the spool cannot be read now; the next look tries again."""
        if str(error) != self._spool_problem:
            self._spool_problem = str(error)
            self._say(str(error))

    def _complain(self, path: Path, followed: _Followed, problem: str) -> None:
        if problem != followed.last_problem:
            followed.last_problem = problem
            self._say(f"{shown_path(path)}: not delivered: {problem}")

    def _say_waiting(self, waiting: Waiting) -> None:
        if waiting.attempt == 1:
            self._say(f"waiting {waiting.seconds:.0f} s: {waiting.reason}")


def _files(folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Size in bytes and time of change in nanoseconds of each file in `folders`, of at most FILES_MAX."""
    found: dict[Path, tuple[int, int]] = {}
    for folder in folders:
        for path in files_below(folder):
            try:
                status = path.stat()
            except OSError:
                continue
            found[path] = (status.st_size, status.st_mtime_ns)
            if len(found) >= FILES_MAX:
                return found
    return found


async def _run(
    folders: Sequence[Path], history: History, identity: Identity, options: Options, times: WatchOptions
) -> None:
    async with client_for(options) as client:
        if (unreached := await Delivery(client).greet()) is not None:
            sentence = f"{unreached.reason}; {unreached.advice}."
            if unreached.permanent:
                raise click.ClickException(sentence)
            click.echo(f"The server cannot be had yet, and what is found waits for it: {sentence}", err=True)
        with Heartbeat(LiveLine(sys.stderr) if takes_live_lines(sys.stderr) else None) as heartbeat:
            watcher = Watcher(
                client,
                history,
                identity,
                folders,
                options,
                times,
                say=heartbeat.say,
                on_pulse=heartbeat.beat,
                shortens_ids=sys.stdout.isatty(),
            )

            async def run() -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heartbeat.run)
                    await watcher.run()

            await interruptible(run)


@click.command(name="watch")
@click.argument(
    "folders",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=PathTo("folder", must_exist=True),
)
@sender_options
@click.option(
    "--quiet-s",
    type=click.FloatRange(min=1),
    default=1_800.0,
    show_default=True,
    help="Seconds without a change after which a file's session is closed.",
)
@click.option(
    "--chunk-s",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Seconds for which new steps are gathered, unless 200 wait.",
)
@click.option(
    "--interval-s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds between two looks at the folder.",
)
@going_on_unread()
def watch_command(
    *,
    folders: tuple[Path, ...],
    options: Options,
    quiet_s: float,
    chunk_s: float,
    interval_s: float,
) -> None:
    """Follow folders and upload the sessions in them while they grow, until Ctrl-C.

    New steps are sent in chunks as they settle, and a session is closed when its file has been quiet for --quiet-s
    seconds; if the file grows after that, a further session goes on from it. Files that were quiet before anyone
    watched are left to `upload`. It may be stopped at any point and started again: nothing is sent twice. Personal data
    and secrets that are recognised are replaced before anything is signed (--no-scrub leaves them in). What is sent
    first to a server is taken as your agreement to its terms: central-command contributor show, before or after it.

    Example: central-command watch ~/.claude/projects

    Exit status: 0 stopped by SIGINT (Ctrl-C) or SIGTERM, 1 anything else.
    """
    times = WatchOptions(interval_s=interval_s, chunk_s=chunk_s, quiet_s=quiet_s)
    identity = own_identity(options.contributor_id)
    try:
        with opened_history(options.url) as history:
            click.echo(f"Watching {len(folders)} folder(s); Ctrl-C ends it.")
            trio.run(_run, folders, history, identity, options, times)
    except SpoolError as error:
        raise click.ClickException(str(error)) from error
    click.echo("Stopped. What is signed goes on when it is started again; upload sends quiet files, too.", err=True)
    sys.exit(0)
