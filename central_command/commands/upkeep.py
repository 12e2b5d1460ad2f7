"""`verify`, `backup`, `restore` and `rebuild`: a data directory as a whole."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no database)

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from central_command.commands.endings import EXIT_FAILED, one_sentence_for_failures, run_to_end
from central_command.commands.options import data_options, settings_from
from central_command.process.paths import PathTo
from central_command.process.steering import escaped
from central_command.terminal.unread import going_on_unread

JOURNALS = ("envelopes", "trajectories", "refused")

PROGRESS_S = 5.0
"""Seconds between two reports of a long copy."""


@click.command()
@data_options(must_exist=True)
@click.option("--deep", is_flag=True, help="Check signatures, and stitch and score every session anew, too.")
@going_on_unread()
def verify(config: Path | None, data_dir: Path, *, deep: bool) -> None:
    """Check journals, index, counters and credits against each other.

    Every journal line, index row, counter and credit is read, and nothing is changed but the note, for /metrics, of
    when this last went well. A line is printed for each place where two of them differ. It may be used while the server
    runs, and on a read-only mount; it needs room in the
    folder for temporary files for a copy of the databases without their keys.

    With --deep every envelope's signature is checked again (with the master key, from the data directory or the
    environment), and every trajectory compared with what its envelopes give. That reads everything three times. Points
    that other settings explain are said in a note, which is no difference.

    \b
    Example:
      central-command verify --data-dir /var/lib/central-command
      central-command verify --deep --data-dir /var/lib/central-command

    Exit status: 0 all is well, 1 something differs, 2 the databases are of another version of this program.
    """
    from persistence.upkeep import verification

    settings = settings_from(config, {})
    if not deep:
        checked = run_to_end(verification.verify, data_dir, settings.storage, applied_at=_now(), environment=os.environ)
        _report(checked)
        _note_success(data_dir, "verify")
        return
    from actors.audit.examination import Examination

    examination = Examination(settings.scoring)
    checked = run_to_end(
        verification.verify,
        data_dir,
        settings.storage,
        applied_at=_now(),
        environment=os.environ,
        closer_look=examination,
    )
    for note in examination.notes():
        click.echo(f"note: {escaped(note)}")
    _report(checked)
    _note_success(data_dir, "verify")


@click.command()
@data_options(must_exist=True)
@click.argument("folder", metavar="DIR", type=PathTo("folder", must_exist=False))
@click.option("--with-key", is_flag=True, help="Copy the master key, too: whoever has the backup can then sign.")
@going_on_unread()
def backup(config: Path | None, data_dir: Path, folder: Path, *, with_key: bool) -> None:
    """Copy the journals and databases to DIR, also while the server runs.

    DIR must be absent or an empty folder. It holds everything that was acknowledged before this command began, and
    appears only when it is complete: an interrupted backup leaves at most a folder DIR.partial, which the next one to
    the same place removes. What recovery cut off (torn/) and the built model (models/) are left out, and config.toml,
    which is not in the data directory.

    The master key is left out unless --with-key is given, because a copy of the databases is worth little to a thief
    without it. Keep it elsewhere: sessions that were open go on after a restore only with that key. Envelopes,
    trajectories and credits need no key.

    \b
    Example:
      central-command backup /backup/$(date +%F) --data-dir /var/lib/central-command

    Exit status: 0 complete, 2 nothing was done (DIR is not empty, ...), 3 stored data is damaged, 5 a database failed.
    """
    from persistence.upkeep.backup import back_up

    settings = settings_from(config, {})
    progress = _progress_reports()
    with one_sentence_for_failures():
        manifest = back_up(data_dir, folder, settings.storage, created_at=_now(), with_key=with_key, progress=progress)
    _note_success(data_dir, "backup")
    names = [*JOURNALS, *(["intake"] if manifest.lines("intake") else [])]
    names += ["corpus"] if "corpus.db" in manifest.schemas else []
    counts = ", ".join(f"{name} {manifest.lines(name):,}" for name in names)
    holds = f"holds the journals' lines ({counts}) and the databases"
    holds += f" ({manifest.size_bytes:,} bytes), as of {manifest.created_at}"
    click.echo(f"{escaped(str(folder))} {holds}")
    if manifest.with_key:
        click.echo("It holds the master key: keep it as secret as the data directory itself.")
    else:
        click.echo(
            f"It does not hold the master key (id {manifest.key_id or 'none yet'}): without that, sessions that are "
            "open cannot go on after a restore."
        )


@click.command()
@data_options(must_exist=False, begins=True)
@click.argument("folder", metavar="DIR", type=PathTo("folder", must_exist=True))
@click.option(
    "--erasures",
    metavar="FILE",
    type=PathTo("file", must_exist=True),
    help="erasures.jsonl of the data directory that was in use last: whoever is in it is erased again.",
)
@going_on_unread()
def restore(config: Path | None, data_dir: Path, folder: Path, erasures: Path | None) -> None:
    """Make a data directory from the backup in DIR, and check it as `verify` does.

    The data directory must be absent or an empty folder, so nothing is ever overwritten; it appears only when
    everything is in it. Every file is compared with what the backup noted of it. Run it as the server's user, or give
    the folder to that user afterwards.

    Whoever was erased since the backup was made is in it again: with --erasures the server's next start, or
    `erase --pending`, erases them again.

    \b
    Example:
      central-command restore /backup/2026-11-20 --data-dir /var/lib/central-command

    Exit status: 0 restored and all is well, 1 restored and something differs, 2 nothing was done (the data directory is
    not empty or in use, DIR is no backup), 3 the backup is damaged and nothing was restored, 5 a database failed.
    """
    from persistence.upkeep import restoring

    settings = settings_from(config, {})
    progress = _progress_reports()
    report = run_to_end(
        restoring.restore, folder, data_dir, settings.storage, applied_at=_now(), progress=progress, erasures=erasures
    )
    manifest = report.manifest
    click.echo(escaped(f"{data_dir} holds what the server kept at {manifest.created_at}"))
    if report.erasures:
        click.echo(f"The next start, or `erase --pending`, does {report.erasures:,} request(s) for erasure again.")
    if not manifest.with_key:
        sentence = (
            f"The backup did not hold the master key. Put the one with the id {manifest.key_id or 'none'} into "
            f"{data_dir / 'keys' / 'master.key'} (mode 600) or CENTRAL_COMMAND_MASTER_KEY before you start the server. "
            "If it is lost, see The master key in docs/operations.md."
        )
        click.echo(escaped(sentence))
    _report(report.findings)


@click.command()
@data_options(must_exist=True)
@going_on_unread()
def rebuild(config: Path | None, data_dir: Path) -> None:
    """Derive the databases anew from the journals.

    The server must be stopped. Session keys and the trust in contributors are not in the journals: they are taken over
    from the old databases as they are, sealed. The old databases are replaced only when the new ones are complete, so
    an interrupted rebuild changes nothing.

    \b
    Example:
      central-command rebuild --data-dir /var/lib/central-command
      central-command verify --data-dir /var/lib/central-command
    """
    from persistence.upkeep import rebuilding

    settings = settings_from(config, {})
    report = run_to_end(rebuilding.rebuild, data_dir, settings.storage, applied_at=_now())
    click.echo(str(report))


def _now() -> str:
    from persistence.format import times

    return times.to_text(time.time())


def _note_success(data_dir: Path, command: str) -> None:
    """Note it for /metrics, where the data directory can be written; by who may, as the server's user does."""
    from persistence.files.file_system import OsFileSystem
    from persistence.format.layout import DataLayout
    from persistence.upkeep.successes import Upkeep, note_success

    note_success(DataLayout(data_dir), OsFileSystem(), Upkeep(command), _now())


def _report(findings: Sequence[str]) -> None:
    """Print a line for each place where the stored data differs; with any, end with `EXIT_FAILED`."""
    for finding in findings:
        click.echo(escaped(finding))
    if findings:
        places = "place" if len(findings) == 1 else "places"
        click.echo(f"{len(findings)} {places} where the stored data differs", err=True)
        raise SystemExit(EXIT_FAILED)
    click.echo("all is well")


def _progress_reports() -> Callable[[str, int, int], None]:
    """Return what says on stderr, every `PROGRESS_S`, how far a long copy is."""
    said_at = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_S:
            said_at = time.monotonic()
            click.echo(f"{what}: {done:,} of {total:,}", err=True)

    return report
