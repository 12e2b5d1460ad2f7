"""The `upload` command: session files in, accepted envelopes and credited points out."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import random

import click
import httpx
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from central_command.client.contract.identity import Identity
from central_command.client.contract.steps import Step
from central_command.client.delivering.pacing import ByteBudget, PacedDelivery, Pauses
from central_command.client.delivering.posting import RetryPolicy, printable
from central_command.client.spool.records import SpoolError, spool_path
from central_command.client.transcripts.reader import FILE_BYTES_MAX, Transcript
from central_command.client.uploading.authoring import Work
from central_command.client.uploading.options import (
    AT_ONCE_DEFAULT,
    Options,
    client_for,
    interruptible,
    opened_uploads,
    own_identity,
    read_in_thread,
    server_options,
    work_of,
)
from central_command.client.uploading.planning import copied_uploads, plan
from central_command.client.uploading.progress import Display, SessionBar
from central_command.client.uploading.report import (
    FileReport,
    describe,
    describe_shift,
    lines_of,
    plans_table,
    table_of,
)
from central_command.client.uploading.sending import NotSentError, Sender, failure_of
from central_command.client.uploading.sources import (
    FileError,
    Found,
    NoSessionError,
    SourceError,
    find_files,
    read_transcript,
)
from central_command.client.uploading.timing import shift_to_now
from central_command.client.uploading.uploads import Uploads, is_unfinished, taken, without

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
        uploads: Uploads,
        identity: Identity,
        options: Options,
        *,
        policy: RetryPolicy | None = None,
        now_s: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random,
        console: Console | None = None,
    ) -> None:
        self.reports: list[FileReport] = []
        self.passed_over = 0
        self.untried = 0
        self._client = client
        self._uploads = uploads
        self._sender = Sender(uploads, identity, now_s=now_s)
        self._options = options
        self._policy = policy or RetryPolicy()
        self._now_s = now_s
        self._jitter = jitter
        self._console = console or Console(stderr=True)
        self._pauses = Pauses()
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
            async with trio.open_nursery() as nursery:
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
        try:
            size = found.path.stat().st_size
            async with self._budget.hold(size):
                transcript = await read_in_thread(found.path, self._options.provider)
                return await self._upload_transcript(found.path, transcript, display)
        except NoSessionError as error:
            return FileReport(path=found.path, problem=str(error)) if found.named else None
        except (FileError, SpoolError) as error:
            return FileReport(path=found.path, problem=str(error))
        except OSError as error:
            return FileReport(path=found.path, problem=f"the file cannot be read: {error.strerror or error}.")

    async def _upload_transcript(self, path: Path, transcript: Transcript, display: Display) -> FileReport:
        work = work_of(path, transcript, self._options)
        notes = describe(transcript, work.model)
        # A copy of a file that is being sent waits, and finds everything there.
        async with self._one_at_a_time[work.source]:
            return await self._upload_work(path, work, transcript, notes, display)

    async def _upload_work(
        self, path: Path, work: Work, transcript: Transcript, notes: list[str], display: Display
    ) -> FileReport:
        with self._uploads.claimed(work.source) as is_claimed:
            if not is_claimed:
                problem = "another program is sending this session."
                return FileReport(path=path, notes=tuple(notes), problem=problem)
            if not self._options.resume:
                self._uploads.send_anew(work.source)
            sessions = tuple(self._uploads.sessions(work.source))
            earlier = frozenset(each.session_id for each in sessions if not is_unfinished(each))
            queue = without(transcript.steps, taken(sessions))
            report = FileReport(path=path, sessions=sessions, earlier=earlier)
            if not queue and len(earlier) == len(sessions) and failure_of(sessions) is None:
                return msgspec.structs.replace(report, notes=tuple(notes), already_there=True)
            notes += self._describe_rest(transcript, queue, is_further=bool(earlier))
            with display.session(
                path.name, steps=len(transcript.steps), done=sum(each.steps_accepted for each in sessions)
            ) as bar:
                failure = await self._send(work, transcript, bar)
            return msgspec.structs.replace(
                report,
                notes=tuple(notes),
                sessions=tuple(self._uploads.sessions(work.source)),
                problem=None if failure is None else str(failure),
                unreachable=failure is not None and failure.unreachable,
            )

    def _describe_rest(self, transcript: Transcript, queue: list[Step], *, is_further: bool) -> Iterator[str]:
        if len(queue) < len(transcript.steps):
            yield f"{len(transcript.steps) - len(queue)} of its steps were sent before"
        if is_further and queue:
            yield "its session on the server has ended: the new steps become a further session"
        _, shift = shift_to_now(tuple(queue), now_s=self._now_s())
        if shift is not None and transcript.started_s is not None:
            yield describe_shift(shift)

    async def _send(self, work: Work, transcript: Transcript, bar: SessionBar) -> NotSentError | None:
        delivery = PacedDelivery(
            self._client, policy=self._policy, random=self._jitter, on_wait=bar.waiting, pauses=self._pauses
        )
        try:
            await self._sender.send(delivery, work, transcript.steps, close=True, on_steps=bar.advance)
        except NotSentError as error:
            return error
        return None


async def _run(files: Sequence[Found], uploads: Uploads, identity: Identity, options: Options) -> int:
    """Upload, and print what came of it; returns the exit status."""
    async with client_for(options) as client:
        uploader = Uploader(client, uploads, identity, options)

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
    with copied_uploads(spool_path(os.environ), url=options.url) as uploads:
        for found in files:
            try:
                transcript = read_transcript(found.path, options.provider)
                work = work_of(found.path, transcript, options)
            except FileError as error:
                if isinstance(error, NoSessionError) and not found.named:
                    passed_over += 1
                else:
                    failed += 1
                    click.echo(f"{printable(str(found.path))}: {error}", err=True)
                continue
            known = uploads if options.resume else None
            plans.append((found.path, plan(known, work, transcript.steps, now_s=time.time())))
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
        with opened_uploads(url) as uploads:
            status = trio.run(_run, files, uploads, identity, options)
    except SourceError as error:
        raise click.BadParameter(str(error), param_hint="PATH") from error
    except SpoolError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)
