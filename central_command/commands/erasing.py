"""`erase`: a contributor's data, or a session's; `expire`: what is past its time."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, run_to_end
from central_command.commands.options import data_options, settings_from
from central_command.commands.stopped_server import opened_service
from central_command.process.steering import escaped

if TYPE_CHECKING:
    from collections import Counter

    from actors.erasure.job import Report
    from central_command.settings.configuration import Settings
    from persistence.journals.erasure_register import ErasureSubject

CONTRIBUTOR = re.compile(r"\A[0-9A-Fa-f]{32}\Z")


@click.command()
@data_options(must_exist=True)
@click.option("--contributor", metavar="ID", help="All that is credited to it, or names it.")
@click.option("--session", metavar="ID", help="One session.")
@click.option("--pending", is_flag=True, help="Do what was asked for before, and is not done.")
def erase(config: Path | None, data_dir: Path, contributor: str | None, session: str | None, *, pending: bool) -> None:
    """Erase all that a contributor has sent, or one session.

    Nothing of that contributor is taken from then on. Every line of theirs is replaced by one that says only that it
    was erased; credits stay as amounts of nobody, so that sums agree. Then every file of the data directory is
    searched, and the request is done when nothing is found. It can be interrupted, and goes on with --pending, or when
    the server starts.

    The server must be stopped. While it runs, ask it: DELETE /v1/contributors/ID does the same.

    It cannot reach backups and exports; it names the exports that hold something of what is erased, and `export DIR
    --incremental` takes that out of them (docs/privacy.md).

    \b
    Example:
      central-command erase --contributor 0123456789abcdef0123456789abcdef --data-dir /var/lib/central-command

    Exit status: 0 done, 1 not done yet (it says why), 2 nothing was started, 3 stored data is damaged, 5 the disk
    failed.
    """
    if (contributor is not None) + (session is not None) + pending != 1:
        leave("name one of --contributor, --session and --pending", EXIT_REFUSED)
    if contributor is not None and not CONTRIBUTOR.fullmatch(contributor):
        leave("--contributor takes 32 hexadecimal digits", EXIT_REFUSED)
    settings = settings_from(config, {})
    from persistence.journals.erasure_register import ErasureState, ErasureSubject

    subject = ErasureSubject.CONTRIBUTOR if contributor is not None else ErasureSubject.SESSION
    reports = run_to_end(_erase, settings, data_dir, subject, contributor or session)
    if reports is None:
        leave("there are as many requests as storage.erasures_max allows: set it higher", EXIT_REFUSED)
    for report in reports:
        erasure = report.erasure
        if erasure.state is ErasureState.DONE:
            counts = ", ".join(f"{count:,} of {name}" for name, count in erasure.counts.items())
            click.echo(f"{erasure.request} is done: erased lines: {counts or 'none'}")
            if erasure.exports:
                click.echo(escaped(f"exports that hold something of it: {', '.join(erasure.exports)}"))
        else:
            click.echo(escaped(f"{erasure.request} is not done: {report.hindered}"), err=True)
    if any(report.erasure.state is not ErasureState.DONE for report in reports):
        raise SystemExit(EXIT_FAILED)


@click.command()
@data_options(must_exist=True)
def expire(config: Path | None, data_dir: Path) -> None:
    """Erase what is past its time, by the settings of [retention] and consent.hold_days.

    The server does so once a day by itself. It must be stopped.

    \b
    Example:
      central-command expire --data-dir /var/lib/central-command

    Exit status: 0 done, 2 nothing was started, 3 stored data is damaged, 5 the disk failed.
    """
    gone = run_to_end(_expire, settings_from(config, {}), data_dir)
    erased = ", ".join(f"{count:,} of {name}" for name, count in gone.items())
    click.echo(f"past their time, and erased: {erased or 'nothing'}")


async def _expire(settings: "Settings", data_dir: Path) -> "Counter[str]":
    async with opened_service(settings, data_dir) as service:
        return await service.expiry.sweep()


async def _erase(
    settings: "Settings", data_dir: Path, subject: "ErasureSubject", name: str | None
) -> "list[Report] | None":
    """Erase; return what became of it, None for too many requests."""
    from actors.erasure.job import TooManyErasures

    async with opened_service(settings, data_dir) as service:
        if name is not None:
            asked = await service.ask_erasure(subject, name)
            if isinstance(asked, TooManyErasures):
                return None
            requests = [asked.erasure.request]
        else:
            requests = [each.request for each in service.eraser.pending()]
        await service.eraser.erase_pending()
        return [report for each in requests if (report := service.erasure(each)) is not None]
