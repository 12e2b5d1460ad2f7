"""`jobs`: what a server does in the background, looked at and changed, also while it runs."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no database)

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.options import data_options, group_options, settings_from, wide_option

if TYPE_CHECKING:
    from persistence.databases.jobs_database import JobsDatabase

STATUSES = ("waiting", "delayed", "active", "completed", "failed")


@click.group(invoke_without_command=True)
@group_options
@click.option("--queue", metavar="NAME", help="Only those of this queue.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those that are.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many at most.")
@wide_option
def jobs(
    config: Path | None,
    data_dir: Path,
    queue: str | None,
    status: str | None,
    limit: int,
    *,
    wide: bool,
) -> None:
    """List what a server does in the background, the latest first; or change something about it.

    Queues that are paused are named, and since when.
    What is changed beside a running server, it sees within jobs.poll_s; of a stopped one, at its next start.

    \b
    Example:
      central-command jobs --status failed
      central-command jobs retry verify__12
      central-command jobs run backup
    """
    from actors.jobs.names import public_id
    from central_command.terminal.listing import Column, Listing, print_listing
    from persistence.databases.jobs_database import JobStatus
    from persistence.databases.jobs_listing import JobLists

    with _database(config, data_dir) as database:
        page = JobLists(database).page(status=None if status is None else JobStatus(status), queue=queue, limit=limit)
        queues = JobLists(database).queues()
    for each in queues:
        if each.paused_at is not None and queue in {None, each.name}:
            since = each.paused_at[:16].replace("T", " ")
            click.echo(
                f"{each.name} is paused since {since} (UTC): `central-command jobs resume {each.name}`", err=True
            )
    if not page.jobs:
        click.echo("There is no such job." if queue or status else "There is no job.", err=True)
        return
    listing = Listing(
        Column("job"),
        Column("name", wide_only=True),
        Column("status"),
        Column("attempts", is_figure=True),
        Column("added"),
        Column("ended"),
        Column("error", may_be_cut=True),
    )
    for job in page.jobs:
        listing.add(
            public_id(job),
            job.name,
            job.status,
            job.attempts,
            job.created_at[:19],
            (job.finished_at or "")[:19],
            job.error or "",
        )
    print_listing(listing, wide=wide)
    if page.total > len(page.jobs):
        click.echo(f"{page.total - len(page.jobs):,} more: --limit shows more of them", err=True)


@jobs.command()
@data_options(must_exist=True)
@click.argument("job_id", metavar="JOB")
def retry(config: Path | None, data_dir: Path, job_id: str) -> None:
    """Let a failed job wait again, with all its attempts.

    \b
    Example:
      central-command jobs retry verify__12

    Exit status: 0 it waits, 1 there is no such job, or it has not failed.
    """
    from actors.jobs.names import read_id
    from persistence.databases.jobs_changing import JobChanges, NoSuchJob, NotPossible
    from persistence.databases.jobs_database import JobStatus

    with _database(config, data_dir) as database:
        changed = JobChanges(database).retry(*(read_id(job_id) or ("", 0)), now=time.time())
    match changed:
        case NoSuchJob():
            leave("there is no such job: `central-command jobs` lists them", EXIT_FAILED)
        case NotPossible(job=job) if job.status is JobStatus.FAILED:
            leave("another job that does the same is unfinished", EXIT_FAILED)
        case NotPossible(job=job):
            leave(f"the job is {job.status}, so it cannot be retried", EXIT_FAILED)
    click.echo(f"{job_id} waits again")


@jobs.command()
@data_options(must_exist=True)
@click.argument("name", metavar="QUEUE")
def pause(config: Path | None, data_dir: Path, name: str) -> None:
    """Begin no job of a queue until it is resumed; one that runs goes on.

    \b
    Example:
      central-command jobs pause backup

    Exit status: 0 it is paused, 1 there is no such queue.
    """
    from persistence.databases.jobs_changing import JobChanges

    with _database(config, data_dir) as database:
        if not JobChanges(database).pause(name, now=time.time()):
            _leave_without_queue(database)
    click.echo(f"{name} is paused")


@jobs.command()
@data_options(must_exist=True)
@click.argument("name", metavar="QUEUE")
def resume(config: Path | None, data_dir: Path, name: str) -> None:
    """Begin jobs of a queue again.

    \b
    Example:
      central-command jobs resume backup

    Exit status: 0 it goes on, 1 there is no such queue.
    """
    from persistence.databases.jobs_changing import JobChanges

    with _database(config, data_dir) as database:
        if not JobChanges(database).resume(name):
            _leave_without_queue(database)
    click.echo(f"{name} goes on")


@jobs.command("run")
@data_options(must_exist=True)
@click.argument("name", metavar="NAME")
def run_now(config: Path | None, data_dir: Path, name: str) -> None:
    """Have a repeated job done now, beside its schedule: by the server, or by its next start.

    \b
    Example:
      central-command jobs run gc

    Exit status: 0 it waits, 1 there is none of that name, or one is unfinished.
    """
    from actors.jobs.names import public_id
    from persistence.databases.jobs_schedule import AlreadyThere, JobSchedule, NoneOfThatName

    with _database(config, data_dir) as database:
        added = JobSchedule(database).run_now(name, now=time.time())
    match added:
        case NoneOfThatName(names=names):
            leave(f"no job of that name is repeated; there are {', '.join(names) or 'none'}", EXIT_FAILED)
        case AlreadyThere():
            leave(f"{name} is unfinished already: `central-command jobs --queue {name}` shows it", EXIT_FAILED)
    click.echo(f"{public_id(added)} waits")


@contextmanager
def _database(config: Path | None, data_dir: Path) -> "Iterator[JobsDatabase]":
    """The database of jobs, which a server has made."""
    from persistence.databases.jobs_database import JobsDatabase
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    path = DataLayout(data_dir).jobs_database
    if not path.exists():
        leave(f"{data_dir} has no jobs: no server of this version has run there", EXIT_REFUSED)
    with one_sentence_for_failures(), closing(JobsDatabase(path, time.time)) as database:
        yield database


def _leave_without_queue(database: "JobsDatabase") -> None:
    from persistence.databases.jobs_listing import JobLists

    names = ", ".join(queue.name for queue in JobLists(database).queues())
    leave(f"there is no such queue; there are {names or 'none'}", EXIT_FAILED)
