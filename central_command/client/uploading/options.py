"""What `upload` and `watch` have in common: where the server is, who sends, what is open while they run."""

import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx
import msgspec
import trio

from central_command.client.contract.endpoints import INGEST_TIMEOUT_S
from central_command.client.contract.identity import Identity, IdentityError, config_directory, load_identity
from central_command.client.spool.records import spool_path
from central_command.client.spool.spool import Spool
from central_command.client.transcripts.providers import READERS
from central_command.client.uploading.authoring import Work, work_for
from central_command.client.uploading.history import History
from central_command.client.uploading.sources import FileError
from central_command.client.uploading.survey import Survey

DEFAULT_URL = "http://127.0.0.1:8443"
AT_ONCE_DEFAULT = 4
F = TypeVar("F", bound=Callable[..., Any])


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of every file; None means what the file itself shows."""

    url: str = DEFAULT_URL
    provider: str | None = None
    model: str | None = None
    insecure: bool = False
    at_once: int = AT_ONCE_DEFAULT
    resume: bool = True


def work_of(survey: Survey, source: str, options: Options) -> Work:
    """What is said of a file of `source`; raises FileError when nobody names its model."""
    work = work_for(survey, source, model=options.model or "")
    if not work.model:
        raise FileError("the file names no model; say which one it was with --model NAME.")
    return work


def client_for(options: Options) -> httpx.AsyncClient:
    """The HTTP client for these options."""
    verify: ssl.SSLContext | bool = not options.insecure
    # A proxy of the environment cannot know this machine's own loopback.
    is_loopback = httpx.URL(options.url).host in {"127.0.0.1", "localhost", "::1"}
    return httpx.AsyncClient(
        base_url=options.url, verify=verify, timeout=INGEST_TIMEOUT_S, follow_redirects=False, trust_env=not is_loopback
    )


def _check_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise click.BadParameter(f"{value!r} is no URL: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.BadParameter(f"{value!r} is no URL of a server, such as {DEFAULT_URL}.")
    return value.rstrip("/")


async def interruptible(run: Callable[[], Awaitable[None]]) -> bool:
    """Run to the end, or until the first SIGINT or SIGTERM: then cancel it; True when it was. A second one kills."""
    was_interrupted = False

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal was_interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                was_interrupted = True
                break
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        await run()
        nursery.cancel_scope.cancel()
    return was_interrupted


@contextmanager
def opened_history(url: str) -> Iterator[History]:
    """What was sent before to `url`, in the user's own spool; raises SpoolError."""
    path = spool_path(os.environ)
    with Spool(path) as spool, closing(History(spool, path.with_name("uploads.lock"), url=url)) as history:
        yield history


def own_identity(contributor_id: str | None) -> Identity:
    """The identity in the user's configuration directory; ends the command with a sentence when there can be none."""
    try:
        return load_identity(
            config_directory(os.environ), source_file=Path(__file__), contributor_id=contributor_id or None
        )
    except IdentityError as error:
        raise click.ClickException(str(error)) from error


def server_options(command: F) -> F:
    """Add the options that say where the server is and who sends; `upload` and `watch` have them."""
    for option in reversed(
        (
            click.option(
                "--url",
                default=DEFAULT_URL,
                show_default=True,
                envvar="GROOVE_CENTRAL_URL",
                show_envvar=True,
                callback=_check_url,
                help="Where the Central Command server is.",
            ),
            click.option(
                "--provider",
                type=click.Choice(sorted(READERS)),
                help="The agent whose session files these are, instead of the one that each file shows.",
            ),
            click.option(
                "--contributor-id",
                metavar="HEX",
                help="Credit this contributor (32 hexadecimal digits) instead of your own id, which is made on first "
                "use and kept in central-command/contributor_id in your configuration directory (~/.config).",
            ),
            click.option(
                "--model", metavar="NAME", help="The model that did the work; by default the one that the file names."
            ),
            click.option(
                "--insecure", is_flag=True, help="Do not verify the server's TLS certificate (self-signed ones)."
            ),
        )
    ):
        command = option(command)
    return command
