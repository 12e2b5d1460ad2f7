"""The `upload` command: session files in, accepted envelopes and credited points out."""

import os
import ssl
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import random

import click
import httpx
import msgspec
import trio
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.settings import SchemaSettings
from central_command.client.chunking import cut_into_parts
from central_command.client.delivery import Delivery, RetryPolicy, Waiting, printable
from central_command.client.identity import Identity, IdentityError, config_directory, load_identity
from central_command.client.session import INGEST_TIMEOUT_S, Report, Work, upload_session
from central_command.client.timing import Shift, shift_to_now
from central_command.client.transcripts.providers import READERS
from central_command.client.transcripts.reader import FILE_BYTES_MAX, Transcript

DEFAULT_URL = "http://127.0.0.1:8443"
_SESSION_KEY_CHARS_SHOWN = 8


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of every file; `model` None means the one that the file names."""

    url: str = DEFAULT_URL
    provider: str = "claude-code"
    model: str | None = None
    insecure: bool = False


class FileError(Exception):
    """A file cannot be uploaded at all; the text is one sentence that says why."""


class Uploader:
    """Uploads files one after the other over one client and says what came of each."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        identity: Identity,
        options: Options,
        *,
        policy: RetryPolicy | None = None,
        now_s: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random,
        console: Console | None = None,
    ) -> None:
        self._client = client
        self._identity = identity
        self._options = options
        self._policy = policy or RetryPolicy()
        self._now_s = now_s
        self._jitter = jitter
        self._console = console or Console(stderr=True)

    async def upload(self, paths: tuple[Path, ...]) -> int:
        """Upload `paths`; gives how many of them were not delivered whole. A server out of reach ends it early."""
        failed = 0
        for index, path in enumerate(paths):
            try:
                reports = await self._upload_file(path)
            except FileError as error:
                click.echo(f"  not delivered: {error}")
                failed += 1
                continue
            failed += any(report.problem for report in reports)
            if rest := paths[index + 1 :] if reports[-1].unreachable else ():
                click.echo(f"{len(rest)} more file(s) were not tried, because the server cannot be reached.")
                return failed + len(rest)
        return failed

    async def _upload_file(self, path: Path) -> list[Report]:
        click.echo(f"{printable(str(path))}:")
        transcript = await trio.to_thread.run_sync(_read, path, self._options.provider)
        model = (self._options.model or transcript.model)[: SchemaSettings().model_engine_chars_max]
        if not model:
            raise FileError("the file names no model; say which one it was with --model NAME.")
        steps, shift = shift_to_now(transcript.steps, now_s=self._now_s())
        for line in _describe(transcript, model, shift):
            click.echo(f"  {line}")
        parts = cut_into_parts(steps)
        if len(parts) > 1:
            click.echo(f"  longer than one session may be: sent as {len(parts)} sessions")
        reports: list[Report] = []
        for part in parts:
            work = Work(
                provider=transcript.provider,
                model=model,
                agent_role="subagent" if transcript.is_subagent else "agent",
                agent_id=printable(f"{transcript.provider}-{transcript.session_key[:_SESSION_KEY_CHARS_SHOWN]}"),
                part=part,
            )
            reports.append(await self._upload_part(path, work))
            if reports[-1].problem:
                break
        _tell(reports, parts=len(parts))
        return reports

    async def _upload_part(self, path: Path, work: Work) -> Report:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
        )
        name = escape(printable(path.name))
        shown = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            task = progress.add_task(name, total=len(work.part.steps))

            def on_wait(waiting: Waiting) -> None:
                text = f"waiting {waiting.seconds:.0f} s: {waiting.reason}"
                if shown:
                    progress.update(task, description=f"{name} ({escape(text)})", refresh=True)
                else:
                    click.echo(f"  {text}", err=True)

            def on_steps(steps: int) -> None:
                progress.update(task, advance=steps, description=name)

            delivery = Delivery(self._client, policy=self._policy, random=self._jitter, on_wait=on_wait)
            return await upload_session(delivery, self._identity, work, on_steps=on_steps)


def _read(path: Path, provider: str) -> Transcript:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise FileError(f"the file is larger than {FILE_BYTES_MAX // 1024**2} MiB.")
        with path.open("rb") as file:
            transcript = READERS[provider].read(file)
    except OSError as error:
        raise FileError(f"the file cannot be read: {error.strerror or error}.") from error
    if not transcript.steps:
        unreadable = (
            f" ({transcript.unreadable_lines} of its lines are not JSON)" if transcript.unreadable_lines else ""
        )
        raise FileError(f"the file holds no steps of a {provider} session{unreadable}.")
    return transcript


def _describe(transcript: Transcript, model: str, shift: Shift | None) -> list[str]:
    usage = transcript.usage
    lines = [f"{len(transcript.steps)} steps by {printable(model)}"]
    if usage.output_tokens:
        lines[0] += f", which reported {usage.input_tokens:,} tokens read and {usage.output_tokens:,} written"
    if transcript.unreadable_lines:
        lines.append(f"{transcript.unreadable_lines} unreadable line(s) left out")
    if transcript.skipped_sidechain_events:
        lines.append(f"{transcript.skipped_sidechain_events} event(s) of sub-agents left out")
    if transcript.started_s is None:
        lines.append("the file holds no times: every step carries that of this upload")
    elif shift is not None:
        lines.append(_describe_shift(shift))
    return lines


def _describe_shift(shift: Shift) -> str:
    moved = timedelta(seconds=round(abs(shift.seconds)))
    direction = "forward" if shift.seconds >= 0 else "back"
    kept = "distances between steps are kept"
    if shift.span_factor < 1:
        kept = f"the session spans more than the server takes, so its distances are {shift.span_factor:.1%} of the real"
    return f"times shifted {direction} by {moved}, so that the last step is now; {kept}"


def _tell(reports: list[Report], *, parts: int) -> None:
    for report in reports:
        click.echo(f"  session {report.session_id}")
        click.echo(
            f"  accepted: {report.envelopes_accepted} of {report.envelopes} envelopes, "
            f"{report.steps_accepted} of {report.steps} steps"
        )
        if report.credit is not None and report.credit.points is not None:
            steps = "" if report.credit.steps is None else f" for {report.credit.steps} steps"
            click.echo(f"  credited: {report.credit.points:,.10g} points{steps}")
        elif report.problem is None:
            click.echo("  credited: the server did not say")
        if report.problem is not None:
            click.echo(f"  not delivered: {report.problem}")
    if len(reports) < parts:
        click.echo(f"  {parts - len(reports)} more session(s) of this file were not sent")


def _client(options: Options) -> httpx.AsyncClient:
    verify: ssl.SSLContext | bool = not options.insecure
    # A proxy of the environment cannot know this machine's own loopback.
    is_loopback = httpx.URL(options.url).host in {"127.0.0.1", "localhost", "::1"}
    return httpx.AsyncClient(
        base_url=options.url, verify=verify, timeout=INGEST_TIMEOUT_S, follow_redirects=False, trust_env=not is_loopback
    )


async def _run(paths: tuple[Path, ...], identity: Identity, options: Options) -> int:
    async with _client(options) as client:
        return await Uploader(client, identity, options).upload(paths)


def _check_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"{value!r} is no URL: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.BadParameter(f"{value!r} is no URL of a server, such as {DEFAULT_URL}.")
    return value.rstrip("/")


@click.command(name="upload")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--url",
    default=DEFAULT_URL,
    show_default=True,
    envvar="GROOVE_CENTRAL_URL",
    show_envvar=True,
    callback=_check_url,
    help="Where the Central Command server is.",
)
@click.option(
    "--provider",
    type=click.Choice(sorted(READERS)),
    default="claude-code",
    show_default=True,
    help="The agent whose session files these are.",
)
@click.option(
    "--contributor-id",
    metavar="HEX",
    help="Credit this contributor (32 hexadecimal digits) instead of your own id, which is made on first use and "
    "kept in central-command/contributor_id in your configuration directory (~/.config).",
)
@click.option("--model", metavar="NAME", help="The model that did the work; by default the one that the file names.")
@click.option("--insecure", is_flag=True, help="Do not verify the server's TLS certificate (self-signed ones).")
def upload_command(
    *, files: tuple[Path, ...], url: str, provider: str, contributor_id: str | None, model: str | None, insecure: bool
) -> None:
    """Upload coding agents' session FILEs and get credit for them.

    A FILE is what the agent itself wrote while it worked; Claude Code keeps its own under ~/.claude/projects, one
    .jsonl file a session. Each is sent as one signed session: what you asked, what the agent thought, did and saw.
    Everything in those texts is sent as it is, so look for secrets first.

    The server takes nothing older than seven days: an older session is shifted as a whole so that it ends now, and
    this is said. For each file you see what was accepted and what was credited. The exit status is 0 when every file
    was delivered whole, else 1.

    Example: central-command upload ~/.claude/projects/my-project/*.jsonl
    """
    options = Options(url=url, provider=provider, model=(model or "").strip() or None, insecure=insecure)
    try:
        identity = load_identity(
            config_directory(os.environ), source_file=Path(__file__), contributor_id=contributor_id or None
        )
    except IdentityError as error:
        raise click.ClickException(str(error)) from error
    failed = trio.run(_run, files, identity, options)
    if failed:
        click.echo(f"Error: {failed} of {len(files)} file(s) were not delivered whole.", err=True)
        sys.exit(1)
