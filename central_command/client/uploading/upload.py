"""The `upload` command: session files in, accepted envelopes and credited points out."""

import math
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path

import click
import httpx
import msgspec
import trio
from rich.console import Console

from central_command.client.contract.contributor_keys import signs
from central_command.client.contract.identity import Identity
from central_command.client.contract.placing import placing_for
from central_command.client.delivering.deliverer import Waiting
from central_command.client.spool.records import SpoolError
from central_command.client.transcripts.opening import size_of
from central_command.client.transcripts.reader import FILE_BYTES_MAX
from central_command.client.uploading.budget import ByteBudget
from central_command.client.uploading.dry_run import (
    EXIT_FAILED,
    NOTHING_FOUND,
    dry_run_of,
    print_failures,
    recent,
    usual_of,
)
from central_command.client.uploading.duration import duration_s, in_words, opens_per_h
from central_command.client.uploading.feeding import Feeder, NotSentError, Surroundings
from central_command.client.uploading.history import (
    ERASED,
    WITHDRAWN,
    History,
    failure_of,
    is_unfinished,
    marks_of,
    steps_forgotten,
    steps_waiting,
)
from central_command.client.uploading.introduction import Introduction
from central_command.client.uploading.keeping import KeptSteps
from central_command.client.uploading.left_over import left_over, reported
from central_command.client.uploading.names import kept_path
from central_command.client.uploading.options import (
    AT_ONCE_DEFAULT,
    Options,
    client_for,
    interruptible,
    opened_history,
    own_identity,
    sender_options,
    work_of,
)
from central_command.client.uploading.progress import Display, FileBar, Printing
from central_command.client.uploading.recognition import DIGEST_BYTES
from central_command.client.uploading.report import (
    PROVIDER_REFUSED,
    FileReport,
    describe,
    describe_adjusted,
    describe_findings,
    describe_held,
    describe_providers,
    describe_rest,
    describe_untried,
    json_lines_of,
    lines_of,
    lines_of_problem,
    reports_listing,
)
from central_command.client.uploading.scrubbing import Scrubbing, ScrubbingBeside
from central_command.client.uploading.sources import (
    FileError,
    Found,
    NoStepsError,
    SourceError,
    find_files,
    unreadable,
)
from central_command.client.uploading.standing import ConsentStanding
from central_command.client.uploading.summary import Failure, Usual, describe_failed
from central_command.client.uploading.survey import Survey, survey
from central_command.client.uploading.timing import timeline_of
from central_command.terminal.listing import print_listing
from central_command.terminal.since import moment_s
from central_command.terminal.unread import going_on_unread

AT_ONCE_MAX = 32
EXIT_INTERRUPTED = 130
_LONG_WAIT_S = 30.0
_TOLD_EVERY_S = 600.0
"""How often it is said how long all will take."""


class Uploader:
    """Uploads files, several at once, and keeps a report of each; files not begun when it stops are `untried`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        history: History,
        identity: Identity,
        options: Options,
        *,
        console: Console | None = None,
        surroundings: Surroundings | None = None,
        printing: Printing | None = None,
    ) -> None:
        self._printing = printing or Printing()
        self.usual = Usual(of_each=True)
        self.reports: list[FileReport] = []
        self.untried = 0
        self._history = history
        self._options = options
        self._console = console or Console(stderr=True)
        surroundings = surroundings or Surroundings()
        self._now_s, self._threads = surroundings.now_s, surroundings.threads
        self._feeder = Feeder(
            client, history, identity, at_once=options.at_once, scrubs=options.scrub, surroundings=surroundings
        )
        self._consent = ConsentStanding(client, identity, now_s=self._now_s)
        self._introduction = Introduction(
            identity.contributor_id, options.url, is_known=history.is_known, is_brief=self._printing.quiet
        )
        self._opens_per_h = opens_per_h(is_signed=signs(identity.directory, identity.contributor_id))
        self._budget = ByteBudget(FILE_BYTES_MAX)
        self._processes = threading.Semaphore((os.cpu_count() or 1) - 1)
        """One for each processor beside the one that reads and sends."""
        self.last_status: int | None = None
        """What the server answered last when it was given up; None where no answer came."""
        self._is_unreachable = False
        self.was_reached_again = False
        """Whether a file that was under way when the server was given up was delivered all the same."""
        self.refused_providers: set[str] = set()
        """Of which agents the server takes no sessions."""
        self._files_left = 0
        self._told_at = -math.inf
        self._sent_anew: set[str] = set()
        self._fed: set[str] = set()
        self._read: set[str] = set()
        """Whose files were found, and where something was read."""
        self._one_at_a_time: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)

    @property
    def failed(self) -> int:
        """How many files were not delivered whole, those that were not tried included."""
        return self.untried + len(self.failures)

    @property
    def failures(self) -> list[Failure]:
        """What was tried and not delivered whole."""
        return [(report.path, report.problem) for report in self.reports if report.problem is not None]

    @property
    def findings(self) -> "Counter[str]":
        """What was scrubbed from what was sent now, by category."""
        return sum((Counter(found) for report in self.reports for found in report.findings.values()), Counter())

    @property
    def is_any_session(self) -> bool:
        """Whether any file held one."""
        return any(report.sessions or report.already_there for report in self.reports)

    async def is_held(self) -> bool:
        """Whether something was sent now of which the server says that it waits for consent."""
        sent = (each for report in self.reports for each in report.sessions if each.session_id not in report.earlier)
        return any(each.envelopes_accepted for each in sent) and await self._consent.holds()

    async def upload(self, files: Sequence[Found]) -> int:
        """Upload `files`; gives how many were not delivered whole. A server out of reach ends it early.

        It may be cancelled at any point and called again, also in another process: what was sent stays sent.
        """
        self._files_left = len(files)
        self.usual = usual_of(files, verbose=self._printing.verbose)
        with Display(self._console, files=len(files), printing=self._printing) as display:
            async with self._feeder.delivering():
                for _, group in groupby(files, key=lambda found: found.is_subagents):  # parents before sub-agents
                    left = iter(list(group))
                    async with trio.open_nursery() as nursery:
                        for _ in range(min(self._options.at_once, len(files))):
                            nursery.start_soon(self._work, left, display)
            async with self._feeder.delivering():
                await self._finish_left_over(display)
        return self.failed

    async def _work(self, left: Iterator[Found], display: Display) -> None:
        for found in left:
            if self._is_unreachable:
                self.untried += 1
                continue
            report = await self._upload_file(found, display)
            self._files_left -= 1
            display.file_done()
            self._add(report, display)

    async def _finish_left_over(self, display: Display) -> None:
        """Deliver what earlier runs have signed of files that are gone, or of which others lie in the place now."""
        try:
            left = await self._threads.keep(partial(left_over, self._history, fed=self._fed, read=self._read))
        except SpoolError as error:
            display.say([str(error)])
            return
        for session in left:
            given_up = None
            if self._is_unreachable:
                given_up = NotSentError(
                    "it was not tried, as other files could not be delivered either.",
                    unreachable=True,
                    status=self.last_status,
                )
            if given_up is None:
                await self._introduction.make(self._consent, display.say)
            report = await reported(session, self._feeder, self._consent, given_up=given_up)
            if report is not None:
                self._add(report, display)

    def _add(self, report: FileReport, display: Display) -> None:
        self.reports.append(report)
        self._note(report)
        display.say(lines_of_problem(report) if self._printing.quiet else lines_of(report))

    def _note(self, report: FileReport) -> None:
        """Note whether the server could be had; others may be under way."""
        self.was_reached_again |= self._is_unreachable and report.problem is None and bool(report.sessions)
        if report.unreachable:
            self._is_unreachable = True
            self.last_status = report.status

    async def _upload_file(self, found: Found, display: Display) -> FileReport:
        """The report of one file."""
        path = found.path
        try:
            size = size_of(found.checked())
            async with self._budget.hold(size):
                with display.file(path.name, size=size) as bar, self._kept(path) as (kept, scrubbing):
                    known = await self._threads.read(
                        partial(survey, path, self._options.provider, on_read=bar.read, kept=kept)
                    )
                    # A copy of a file that is being sent waits, and finds everything there.
                    first = known.digests[:DIGEST_BYTES].hex()
                    async with self._one_at_a_time[known.family], self._one_at_a_time[first]:
                        return await self._upload_session(known, bar, display, scrubbing)
        except NoStepsError as error:
            self._read.add(kept_path(path.resolve()))
            if found.named:
                return FileReport(path=path, problem=str(error))
            return FileReport(path=path, nothing_in_it=str(error))
        except (FileError, SpoolError) as error:
            return FileReport(path=path, problem=str(error))
        except OSError as error:
            return FileReport(path=path, problem=str(unreadable(error)))

    @contextmanager
    def _kept(self, path: Path) -> "Iterator[tuple[KeptSteps, Scrubbing | None]]":
        """Where the steps of a file are kept while it is uploaded, and what scrubs them."""
        with closing(KeptSteps(self._history.spool.folder)) as kept:
            if not self._options.scrub:
                yield kept, None
                return

            def is_new() -> bool:
                """Of a file of which nothing was sent, most likely all will be."""
                return not self._history.knows(path)

            with closing(ScrubbingBeside(kept, self._processes, begins_ahead=is_new)) as scrubbing:
                yield kept, scrubbing

    async def _upload_session(
        self, known: Survey, bar: FileBar, display: Display, scrubbing: Scrubbing | None
    ) -> FileReport:
        path = known.path
        with self._history.claimed(known.family) as is_claimed:
            if not is_claimed:
                return FileReport(path=path, problem="another program is sending this session.")
            source = await self._threads.read(partial(self._history.source_of, known))
            known = await self._threads.read(partial(self._history.without_copies, known, source))
            work = work_of(known, source, self._options)
            self._fed.add(work.source)
            self._read.add(work.path)
            notes = [*describe(known.transcript, work.model), *self.usual.left_out(known.transcript.left_out)]
            if await self._consent.is_erased():
                there = tuple(self._history.sessions(work.source))
                earlier = frozenset(each.session_id for each in there)
                return FileReport(path=path, notes=tuple(notes), sessions=there, earlier=earlier, problem=ERASED)
            if not self._options.resume and work.source not in self._sent_anew:
                self._sent_anew.add(work.source)  # a copy of the file is not sent a second time
                await self._threads.read(partial(self._history.send_anew, work.source, known))
            elif await self._was_refused_for_consent(work.source) and await self._consent.is_given_again():
                self._history.go_on_with_consent(work.source)
            sessions = tuple(self._history.sessions(work.source))
            earlier = frozenset(each.session_id for each in sessions if not is_unfinished(each))
            timeline = await self._threads.read(partial(timeline_of, known.times, now_s=self._now_s()))
            known = msgspec.structs.replace(known, timeline=timeline)
            marks = await self._threads.read(partial(marks_of, known, sessions))
            left = [at for at, mark in zip(timeline.times, marks, strict=True) if not mark]
            report = FileReport(path=path, sessions=sessions, earlier=earlier)
            if not left and len(earlier) == len(sessions) and failure_of(sessions) is None:
                notes += describe_rest(known, left=0, is_further=False) if known.copied_steps else ()
                return msgspec.structs.replace(report, notes=tuple(notes), already_there=True)
            notes += describe_adjusted(len(timeline.adjusted))
            notes += describe_rest(
                known,
                left=len(left),
                is_further=bool(earlier),
                waiting=steps_waiting(sessions),
                forgotten=steps_forgotten(sessions),
            )
            if left and known.transcript.started_s is not None:
                notes += self.usual.shift(placing_for(min(left), max(left), now_s=self._now_s()))
            bar.begin(steps=len(known.times), done=sum(each.steps_accepted for each in sessions))
            await self._introduction.make(self._consent, display.say)
            failure = None
            findings: defaultdict[str, Counter[str]] = defaultdict(Counter)
            try:
                await self._feeder.feed(
                    work,
                    known,
                    close=True,
                    on_steps=bar.advance,
                    on_wait=partial(self._say_waiting, bar, display),
                    on_findings=lambda session_id, found: findings[session_id].update(found),
                    scrubbing=scrubbing,
                )
            except NotSentError as error:
                failure = error
            if failure is not None and PROVIDER_REFUSED in str(failure):
                self.refused_providers.add(work.provider)
            sessions = tuple(self._history.sessions(work.source))
            if any(each.envelopes_accepted for each in sessions):
                await self._introduction.make(self._consent, display.say, is_sure=True)  # it came just in time
            return msgspec.structs.replace(
                report,
                notes=tuple(notes),
                sessions=sessions,
                findings={session_id: dict(found) for session_id, found in findings.items()},
                problem=None if failure is None else str(failure),
                unreachable=failure is not None and failure.unreachable,
                status=None if failure is None else failure.status,
            )

    async def _was_refused_for_consent(self, source: str) -> bool:
        sessions = await self._threads.keep(partial(self._history.sessions, source))
        return any(each.problem == WITHDRAWN for each in sessions)

    def _say_waiting(self, bar: FileBar, display: Display, waiting: Waiting) -> None:
        """Show a wait; of a long one, say now and then how long all that is left will take."""
        bar.waiting(waiting)
        if self._printing.quiet or waiting.seconds < _LONG_WAIT_S or self._now_s() - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = self._now_s()
        per_h = self._opens_per_h
        left_s = duration_s(sessions=self._files_left, opens_per_h=per_h, opened=per_h - 1)
        takes = in_words(waiting.seconds + left_s)
        usual = f"where a server takes {per_h:,} new sessions an hour, as by default"
        display.say([f"{self._files_left} file(s) are left; {usual}, they take about {takes} in all"])


async def _run(
    found: Sequence[Found], history: History, identity: Identity, options: Options, printing: Printing
) -> int:
    """Upload, and print what came of it; returns the exit status."""
    files = recent(found, history, options, printing)
    async with client_for(options) as client:
        uploader = Uploader(client, history, identity, options, printing=printing)

        async def upload() -> None:
            await uploader.upload(files)

        was_interrupted = await interruptible(upload)
        is_held = not was_interrupted and await uploader.is_held()
    _print_reports(uploader, options, printing)
    if is_held:
        printing.say(describe_held(options.url))
    if uploader.untried:
        was_reached_again = uploader.was_reached_again
        printing.say(describe_untried(uploader.untried, uploader.last_status, was_reached_again=was_reached_again))
    print_failures(uploader.failures, printing, "Not delivered:", of=len(uploader.reports))
    if was_interrupted:
        click.echo("Interrupted. Run it again to go on: nothing is sent twice.", err=True)
        return EXIT_INTERRUPTED
    if uploader.failed:
        count = sum(report.nothing_in_it is None for report in uploader.reports) + uploader.untried
        click.echo(describe_failed(uploader.failures, of=count, untried=uploader.untried), err=True)
        return EXIT_FAILED
    if not uploader.is_any_session and len(files) == len(found):
        click.echo(NOTHING_FOUND, err=True)
        return EXIT_FAILED
    return 0


def _print_reports(uploader: Uploader, options: Options, printing: Printing) -> None:
    for line in describe_providers(uploader.refused_providers, were_refused=True):
        printing.say(line)
    if printing.as_json:
        for line in json_lines_of(uploader.reports):
            click.echo(line)
    elif not printing.quiet and any(report.nothing_in_it is None for report in uploader.reports):
        print_listing(reports_listing(uploader.reports), wide=printing.wide)
    for line in uploader.usual.lines():
        printing.tell(line)
    if any(report.findings for report in uploader.reports):
        for line in describe_findings(uploader.findings, scrubs=options.scrub):
            printing.tell(line)


def _since(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    now_s = time.time()
    try:
        found = None if value is None else moment_s(value, now_s=now_s)
    except ValueError as error:
        raise click.BadParameter(f"it {error}.") from error
    if found is not None and found > now_s:
        raise click.BadParameter("that day has not come yet.")
    return found


@click.command(name="upload")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@sender_options
@click.option(
    "--at-once",
    type=click.IntRange(1, AT_ONCE_MAX),
    default=AT_ONCE_DEFAULT,
    show_default=True,
    help="So many sessions are sent at the same time.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on where an earlier upload stopped, and skip what is there; or send everything anew.",
)
@click.option(
    "--since",
    "since_s",
    metavar="TIME",
    callback=_since,
    help="Only files that were changed since: 12h, 30d, 4w, or a UTC day as 2026-11-20.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be sent; nothing is contacted or written.")
@click.option("--wide", is_flag=True, help="Print every column and whole ids, also on a terminal.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON object a line in place of the table; all else goes to stderr.",
)
@click.option("--verbose", is_flag=True, help="Say of each of many files what is else only counted at the end.")
@click.option("--quiet", is_flag=True, help="Print nothing but what was not delivered, on stderr; --json prints on.")
def upload_command(
    *,
    paths: tuple[str, ...],
    options: Options,
    at_once: int,
    resume: bool,
    since_s: float | None,
    dry_run: bool,
    wide: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Upload coding agents' session files and get credit for them.

    A PATH is a file, a folder (all *.jsonl and *.json in and below it, also compressed as .gz or .zst), a .zip of one,
    or a glob in quotes. The files are what the agent itself wrote while it worked, one a session: Claude Code keeps its
    own under ~/.claude/projects, Codex under ~/.codex/sessions, Gemini CLI under ~/.gemini/tmp.
    Each is sent as one signed session: what you asked, what the agent thought, did and saw. Personal data and
    secrets that are recognised are replaced before anything is signed (--no-scrub leaves them in); names of people and
    much else is not recognised, so look first: --dry-run counts what is found.

    It may be interrupted at any point and run again: nothing is sent twice, and what is there is skipped. When a file
    has grown since its session was closed, its new steps become a further session. The server takes nothing older than
    seven days: an older session is shifted as a whole so that it ends now, and this is said. The first upload to a
    server is taken as your agreement to its terms: central-command contributor show, before or after it.

    \b
    Examples:
      central-command upload ~/.claude/projects/my-project --dry-run
      central-command upload ~/.claude/projects/my-project/*.jsonl
      central-command upload ~/.claude/projects --since 2d

    Exit status: 0 everything was delivered, 1 something was not (also a file that is no session), 130 interrupted.
    """
    options = msgspec.structs.replace(options, at_once=at_once, resume=resume, since_s=since_s)
    printing = Printing(wide=wide, as_json=as_json, quiet=quiet, verbose=verbose)
    try:
        files = find_files(paths)
        if dry_run:
            sys.exit(dry_run_of(files, options, printing))
        identity = own_identity(options.contributor_id)
        with going_on_unread(), opened_history(options.url) as history:
            status = trio.run(_run, files, history, identity, options, printing)
    except SourceError as error:
        raise click.ClickException(str(error)) from error
    except SpoolError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)
