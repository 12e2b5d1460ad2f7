"""The `upload` command: session files in, accepted envelopes and credited points out."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import click
import httpx
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from central_command.client.contract.identity import Identity
from central_command.client.spool.records import SpoolError, spool_path
from central_command.client.transcripts.reader import FILE_BYTES_MAX
from central_command.client.uploading.authoring import Work
from central_command.client.uploading.budget import ByteBudget
from central_command.client.uploading.feeding import Feeder, NotSentError, Surroundings
from central_command.client.uploading.history import History, failure_of, is_unfinished, taken
from central_command.client.uploading.names import shown_path
from central_command.client.uploading.options import (
    AT_ONCE_DEFAULT,
    Options,
    client_for,
    interruptible,
    opened_history,
    own_identity,
    server_options,
    work_of,
)
from central_command.client.uploading.planning import copied_history, plan
from central_command.client.uploading.progress import Display, FileBar
from central_command.client.uploading.report import (
    FileReport,
    describe,
    describe_shift,
    lines_of,
    plans_table,
    table_of,
)
from central_command.client.uploading.sources import (
    FileError,
    Found,
    NoSessionError,
    SourceError,
    find_files,
    unreadable,
)
from central_command.client.uploading.survey import Survey, survey
from central_command.client.uploading.timing import placing_for

AT_ONCE_MAX = 32
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_WIDTH_ELSEWHERE = 200
"""Columns of a table that is not printed on a terminal, so that its lines stay whole."""


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
    ) -> None:
        self.reports: list[FileReport] = []
        self.passed_over = 0
        self.untried = 0
        self._history = history
        self._options = options
        self._console = console or Console(stderr=True)
        surroundings = surroundings or Surroundings()
        self._now_s, self._threads = surroundings.now_s, surroundings.threads
        self._feeder = Feeder(client, history, identity, at_once=options.at_once, surroundings=surroundings)
        self._budget = ByteBudget(FILE_BYTES_MAX)
        self._is_unreachable = False
        self._one_at_a_time: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)

    @property
    def failed(self) -> int:
        """How many files were not delivered whole, those that were not tried included."""
        return self.untried + sum(1 for report in self.reports if report.problem is not None)

    async def upload(self, files: Sequence[Found]) -> int:
        """Upload `files`; gives how many were not delivered whole. A server out of reach ends it early.

        It may be cancelled at any point and called again, also in another process: what was sent stays sent.
        """
        left = iter(files)
        with Display(self._console, files=len(files)) as display:
            async with self._feeder.delivering(), trio.open_nursery() as nursery:
                for _ in range(min(self._options.at_once, len(files))):
                    nursery.start_soon(self._work, left, display)
        return self.failed

    async def _work(self, left: Iterator[Found], display: Display) -> None:
        for found in left:
            if self._is_unreachable:
                self.untried += 1
                continue
            report = await self._upload_file(found, display)
            display.file_done()
            if report is None:
                self.passed_over += 1
                continue
            self.reports.append(report)
            if report.unreachable:
                self._is_unreachable = True
            display.say(lines_of(report))

    async def _upload_file(self, found: Found, display: Display) -> FileReport | None:
        """The report; None for a file of a folder that is no session."""
        path = found.path
        try:
            size = found.checked().stat().st_size
            async with self._budget.hold(size):
                with display.file(path.name, size=size) as bar:
                    known = await self._threads.read(partial(survey, path, self._options.provider, on_read=bar.read))
                    work = work_of(known, self._options)
                    # A copy of a file that is being sent waits, and finds everything there.
                    async with self._one_at_a_time[work.source]:
                        return await self._upload_work(work, known, bar)
        except NoSessionError as error:
            return FileReport(path=path, problem=str(error)) if found.named else None
        except (FileError, SpoolError) as error:
            return FileReport(path=path, problem=str(error))
        except OSError as error:
            return FileReport(path=path, problem=str(unreadable(error)))

    async def _upload_work(self, work: Work, known: Survey, bar: FileBar) -> FileReport:
        path, notes = known.path, describe(known.transcript, work.model)
        with self._history.claimed(work.source) as is_claimed:
            if not is_claimed:
                problem = "another program is sending this session."
                return FileReport(path=path, notes=tuple(notes), problem=problem)
            if not self._options.resume:
                self._history.send_anew(work.source)
            sessions = tuple(self._history.sessions(work.source))
            earlier = frozenset(each.session_id for each in sessions if not is_unfinished(each))
            left = known.times_left(taken(sessions))
            report = FileReport(path=path, sessions=sessions, earlier=earlier)
            if not left and len(earlier) == len(sessions) and failure_of(sessions) is None:
                return msgspec.structs.replace(report, notes=tuple(notes), already_there=True)
            notes += self._describe_rest(known, left, is_further=bool(earlier))
            bar.begin(steps=len(known.times), done=sum(each.steps_accepted for each in sessions))
            failure = None
            try:
                await self._feeder.feed(work, known, close=True, on_steps=bar.advance, on_wait=bar.waiting)
            except NotSentError as error:
                failure = error
            return msgspec.structs.replace(
                report,
                notes=tuple(notes),
                sessions=tuple(self._history.sessions(work.source)),
                problem=None if failure is None else str(failure),
                unreachable=failure is not None and failure.unreachable,
            )

    def _describe_rest(self, known: Survey, left: Sequence[float], *, is_further: bool) -> Iterator[str]:
        if len(left) < len(known.times):
            yield f"{len(known.times) - len(left)} of its steps were sent before"
        if is_further and left:
            yield "its session on the server has ended: the new steps become a further session"
        if left and known.transcript.started_s is not None:
            placing = placing_for(min(left), max(left), now_s=self._now_s())
            if placing.moves:
                yield describe_shift(placing)


async def _run(files: Sequence[Found], history: History, identity: Identity, options: Options) -> int:
    """Upload, and print what came of it; returns the exit status."""
    async with client_for(options) as client:
        uploader = Uploader(client, history, identity, options)

        async def upload() -> None:
            await uploader.upload(files)

        was_interrupted = await interruptible(upload)
    if uploader.untried:
        click.echo(f"{uploader.untried} more file(s) were not tried, because the server cannot be reached.")
    if uploader.passed_over:
        click.echo(f"{uploader.passed_over} file(s) in the folders are no sessions, or hold no step: passed over.")
    if uploader.reports:
        print_table(table_of(uploader.reports))
    if was_interrupted:
        click.echo("Interrupted. Run it again to go on: nothing is sent twice.", err=True)
        return EXIT_INTERRUPTED
    if uploader.failed:
        count = len(files) - uploader.passed_over
        click.echo(f"Error: {uploader.failed} of {count} file(s) were not delivered whole.", err=True)
        return EXIT_FAILED
    return 0


def print_table(table: Table) -> None:
    """On standard output; wide where that is no terminal."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_ELSEWHERE
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)


def _dry_run(files: Sequence[Found], options: Options) -> int:
    """Print what would be sent; returns the exit status."""
    plans = []
    failed = passed_over = 0
    with copied_history(spool_path(os.environ), url=options.url) as history:
        for found in files:
            try:
                surveyed = survey(found.checked(), options.provider)
                work = work_of(surveyed, options)
            except FileError as error:
                if isinstance(error, NoSessionError) and not found.named:
                    passed_over += 1
                else:
                    failed += 1
                    click.echo(f"{shown_path(found.path)}: {error}", err=True)
                continue
            known = history if options.resume else None
            plans.append((found.path, plan(known, work, surveyed, now_s=time.time())))
    print_table(plans_table(plans))
    if passed_over:
        click.echo(f"{passed_over} file(s) in the folders are no sessions, or hold no step: passed over.")
    click.echo("Nothing was sent.")
    return EXIT_FAILED if failed else 0


@click.command(name="upload")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@server_options
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
@click.option("--dry-run", is_flag=True, help="Print what would be sent; nothing is contacted or written.")
def upload_command(
    *,
    paths: tuple[str, ...],
    url: str,
    provider: str | None,
    contributor_id: str | None,
    model: str | None,
    insecure: bool,
    at_once: int,
    resume: bool,
    dry_run: bool,
) -> None:
    """Upload coding agents' session files and get credit for them.

    A PATH is a file, a folder (all *.jsonl and *.json in and below it) or a glob in quotes. The files are what the
    agent itself wrote while it worked: Claude Code keeps its own under ~/.claude/projects, one a session. Each is sent
    as one signed session: what you asked, what the agent thought, did and saw. Everything in those texts is sent as it
    is, so look for secrets first.

    It may be interrupted at any point and run again: nothing is sent twice, and what is there is skipped. When a file
    has grown since its session was closed, its new steps become a further session. The server takes nothing older than
    seven days: an older session is shifted as a whole so that it ends now, and this is said.

    \b
    Examples:
      central-command upload ~/.claude/projects/my-project --dry-run
      central-command upload ~/.claude/projects/my-project/*.jsonl

    Exit status: 0 everything was delivered, 1 something was not, 130 interrupted.
    """
    options = Options(
        url=url,
        provider=provider,
        model=(model or "").strip() or None,
        insecure=insecure,
        at_once=at_once,
        resume=resume,
    )
    try:
        files = find_files(paths)
        if dry_run:
            sys.exit(_dry_run(files, options))
        identity = own_identity(contributor_id)
        with opened_history(url) as history:
            status = trio.run(_run, files, history, identity, options)
    except SourceError as error:
        raise click.BadParameter(str(error), param_hint="PATH") from error
    except SpoolError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)
