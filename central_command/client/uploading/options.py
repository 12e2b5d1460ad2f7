"""What `upload` and `watch` have in common: where the server is, who sends, what is open while they run."""

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
import trio

from central_command.client.contract.connection import Trust, new_client
from central_command.client.contract.contributor_keys import signs
from central_command.client.contract.endpoints import DEFAULT_URL
from central_command.client.contract.identity import (
    Identity,
    IdentityError,
    config_directory,
    kept_contributor_id,
    load_identity,
)
from central_command.client.contract.server_options import server_options
from central_command.client.spool.records import spool_path
from central_command.client.spool.spool import Spool
from central_command.client.transcripts.providers import READERS
from central_command.client.uploading.authoring import Work, work_for
from central_command.client.uploading.history import History
from central_command.client.uploading.sources import FileError
from central_command.client.uploading.survey import Survey

AT_ONCE_DEFAULT = 4


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of every file; None means what the file itself shows."""

    url: str = DEFAULT_URL
    provider: str | None = None
    contributor_id: str | None = None
    model: str | None = None
    trust: Trust = Trust()
    at_once: int = AT_ONCE_DEFAULT
    resume: bool = True
    scrub: bool = True
    since_s: float | None = None
    """Seconds since the epoch; of `upload`, files that were not changed since are left out."""


def work_of(survey: Survey, source: str, options: Options) -> Work:
    """What is said of a file of `source`; raises FileError when nobody names its model."""
    work = work_for(survey, source, model=options.model or "")
    if not work.model:
        raise FileError("the file names no model; say which one it was with --model NAME.")
    return work


def client_for(options: Options) -> httpx.AsyncClient:
    """The HTTP client for these options."""
    return new_client(options.url, options.trust)


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


def would_sign(options: Options) -> bool:
    """Whether the openings of these options would be signed; nothing is made for the question."""
    contributor_id = credited_id(options)
    return contributor_id is None or signs(config_directory(os.environ), contributor_id)  # an id is made with its key


def credited_id(options: Options) -> str | None:
    """Who would be credited; None for an id that is not made yet. Ends the command where it cannot be read."""
    if options.contributor_id:
        return options.contributor_id.lower()
    try:
        return kept_contributor_id(config_directory(os.environ))
    except IdentityError as error:
        raise click.ClickException(str(error)) from error


_SENDER = (
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
        "--scrub/--no-scrub",
        default=True,
        show_default=True,
        help="Take personal data and secrets out of all texts before they are signed, or send them as they are; the "
        "session says which.",
    ),
)


def sender_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `server_options` and those that say who sends what; `upload` and `watch` get them as one `options`."""

    @wraps(command)
    def packed(
        *,
        url: str,
        trust: Trust,
        provider: str | None,
        contributor_id: str | None,
        model: str | None,
        scrub: bool,
        **others: Any,
    ) -> None:
        named = (model or "").strip() or None
        options = Options(
            url=url, provider=provider, contributor_id=contributor_id, model=named, trust=trust, scrub=scrub
        )
        command(options=options, **others)

    wrapped: Callable[..., None] = packed
    for option in reversed(_SENDER):
        wrapped = option(wrapped)
    return server_options(wrapped)
