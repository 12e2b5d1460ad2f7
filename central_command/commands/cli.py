"""The commands of `central-command`.

Each imports what it needs when it runs: `--help` answers at once, and a server does not load the upload client.
"""

# ruff: noqa: PLC0415 (imports within functions: see above)

import importlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from central_command.commands.endings import EXIT_DAMAGED, EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures

if TYPE_CHECKING:
    from rich.console import Console

    from central_command.settings.configuration import Settings

DEFAULT_CONFIG = Path("config.toml")

JOURNALS = ("envelopes", "trajectories", "refused")

PROGRESS_S = 5.0
"""Seconds between two reports of a long copy."""

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")


class CommandGroup(click.Group):
    """A group of which some commands live in modules that are imported only when the command is used."""

    elsewhere = {  # noqa: RUF012 (read only)
        "upload": (
            "central_command.client.uploading.upload:upload_command",
            "Send agents' own session files to a server.",
        ),
        "watch": ("central_command.client.uploading.watch:watch_command", "Send sessions to a server while they grow."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which one meets them."""
        order = ("serve", "upload", "watch", "sessions", "show", "stats", "verify", "backup", "restore", "rebuild")
        return sorted({*super().list_commands(ctx), *self.elsewhere}, key=order.index)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if it lives elsewhere."""
        if cmd_name not in self.elsewhere:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.elsewhere[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands for `--help`, without importing any."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            rows.append((name, command.get_short_help_str(100) if command else self.elsewhere[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: `central-command serve` in one shell, `central-command upload session.jsonl` in another.",
)
@click.version_option(package_name="central-command")
def main() -> None:
    """Take in the sessions of AI coding agents: verified, durable, scored and credited.

    `serve` runs the server; `upload` and `watch` send sessions to one. The other commands work on the data directory of
    a server on this machine, and all but `restore` and `rebuild` may be used while it runs.
    """


def data_options(*, must_exist: bool) -> Callable[[F], F]:
    """Add --config and --data-dir, which every command that touches stored data has."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with the settings.  [default: config.toml if it exists, else built-in defaults]",
    )
    data_dir = click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=must_exist),
        default=Path("data"),
        show_default=True,
        help="Folder with everything that the server keeps.",
    )
    return lambda command: config(data_dir(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead, for other programs.")


@main.command()
@data_options(must_exist=False)
@click.option("--host", help="Address to listen on, instead of the setting http.host.")
@click.option("--port", type=int, help="Port to listen on, instead of the setting http.port.")
def serve(config: Path | None, data_dir: Path, host: str | None, port: int | None) -> None:
    """Run the server until SIGTERM or SIGINT (Ctrl-C).

    Settings come from the file, then from environment variables named CENTRAL_COMMAND__SECTION__KEY (and
    GROOVE_CENTRAL_PORT for the port), then from these options; what comes later wins. The data directory is created
    when it does not exist, and is used by one server at a time.

    \b
    Example:
      central-command serve --data-dir /var/lib/central-command --port 8443
      CENTRAL_COMMAND__LOG__LEVEL=debug central-command serve

    Exit status: 0 stopped in order, 2 wrong settings or data directory in use, 3 stored data is damaged, 4 did not stop
    in time (a restart recovers), 5 the disk failed, 1 anything else.
    """
    settings = _settings(config, {"http.host": host, "http.port": port})
    import trio

    from central_command.process.logs import logging_to
    from central_command.service import run_service

    with one_sentence_for_failures(), logging_to(settings.log):
        trio.run(run_service, settings, data_dir)


@main.command()
@data_options(must_exist=True)
@click.argument("session_id")
@click.option("--steps", "chosen", metavar="RANGE", help="Only these steps: 10-20, 10-, -20 or 10.")
@click.option("--lines", default=6, show_default=True, type=click.IntRange(1, 10_000), help="Lines shown of each step.")
@click.option("--full", is_flag=True, help="Show each step's content as a whole.")
@click.option("--json", "as_json", is_flag=True, help="Print the trajectory's line as it is stored.")
def show(
    config: Path | None, data_dir: Path, session_id: str, chosen: str | None, lines: int, *, full: bool, as_json: bool
) -> None:
    """Print the trajectory of a closed session: its score and its steps.

    SESSION_ID is as printed by `central-command sessions`.

    \b
    Example:
      central-command show sess_6f1c0f6e-4a50-4a65-a3a5-0e2f1fd8ab11 --steps 10-20 --full
    """
    import msgspec

    from central_command.commands import maintenance
    from central_command.commands import show as rendering

    try:
        steps = rendering.parse_steps(chosen) if chosen else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--steps") from error
    settings = _settings(config, {})
    with one_sentence_for_failures():
        line = _run(maintenance.trajectory_line, data_dir, settings.storage, session_id)
    if isinstance(line, str):
        raise click.ClickException(line)
    if as_json:
        text = line.rstrip(b"\n")
        click.echo(rendering.clean_json(text.decode(errors="replace")) if sys.stdout.isatty() else text)
        return
    try:
        trajectory = rendering.read_trajectory(line)
    except msgspec.DecodeError as error:
        leave(f"the trajectory of session {session_id} is damaged: {error}; run verify", EXIT_DAMAGED)
    console = _console()
    console.print(rendering.header(trajectory))
    for step in rendering.steps(trajectory, steps, None if full else lines):
        console.print(step)


@main.command()
@data_options(must_exist=True)
@click.option("--status", type=click.Choice(["active", "closed"]), help="Only sessions in this state.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@json_option
def sessions(config: Path | None, data_dir: Path, status: str | None, limit: int, *, as_json: bool) -> None:
    """List sessions, newest first.

    \b
    Example:
      central-command sessions --status closed --limit 10
    """
    import msgspec

    from central_command.commands import maintenance
    from central_command.commands import show as rendering

    settings = _settings(config, {})
    closed = None if status is None else status == "closed"
    with one_sentence_for_failures():
        rows = _run(maintenance.list_sessions, data_dir, settings.storage, closed=closed, limit=limit)
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
    else:
        _console().print(rendering.sessions_table(rows))


@main.command()
@data_options(must_exist=True)
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 365), help="So many days, today included.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100), help="So many contributors.")
@json_option
def stats(config: Path | None, data_dir: Path, days: int, limit: int, *, as_json: bool) -> None:
    """Print totals, models, providers, days and the leaderboard.

    The figures are those of the server's /v1/stats endpoints.

    \b
    Example:
      central-command stats --days 30
    """
    import msgspec

    from central_command.commands import maintenance
    from central_command.commands import show as rendering

    settings = _settings(config, {})
    with one_sentence_for_failures():
        found = _run(maintenance.read_statistics, data_dir, settings.storage, days=days, leaders=limit)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _console().print(rendering.statistics(found))


@main.command()
@data_options(must_exist=True)
def verify(config: Path | None, data_dir: Path) -> None:
    """Check journals, index, counters and credits against each other.

    Every journal line, index row, counter and credit is read, and nothing is changed. A line is printed for each place
    where two of them differ. It may be used while the server runs, and needs room in the folder for temporary files
    for a copy of the databases.

    \b
    Example:
      central-command verify --data-dir /var/lib/central-command

    Exit status: 0 all is well, 1 something differs.
    """
    from central_command.commands import maintenance

    settings = _settings(config, {})
    count = 0
    with one_sentence_for_failures():
        for finding in _run(maintenance.verify, data_dir, settings.storage):
            click.echo(finding)
            count += 1
    if count:
        click.echo(f"{_places(count)} where the stored data differs", err=True)
        raise SystemExit(EXIT_FAILED)
    click.echo("all is well")


@main.command()
@data_options(must_exist=True)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--with-key", is_flag=True, help="Copy the master key, too: whoever has the backup can then sign.")
def backup(config: Path | None, data_dir: Path, folder: Path, *, with_key: bool) -> None:
    """Copy everything that the server keeps to DIR, also while it runs.

    DIR must be absent or an empty folder. It holds everything that was acknowledged before this command began, and
    appears only when it is complete: an interrupted backup leaves at most a folder DIR.partial, which the next one to
    the same place removes.

    The master key is left out unless --with-key is given, because a copy of the databases is worth little to a thief
    without it. Keep it elsewhere: sessions that were open go on after a restore only with that key. Envelopes,
    trajectories and credits need no key.

    \b
    Example:
      central-command backup /backup/$(date +%F) --data-dir /var/lib/central-command

    Exit status: 0 complete, 2 nothing was done (DIR is not empty, ...), 3 stored data is damaged, 5 a database failed.
    """
    from central_command.commands import maintenance

    settings = _settings(config, {})
    with one_sentence_for_failures():
        manifest = maintenance.back_up(
            data_dir, folder, settings.storage, with_key=with_key, progress=_progress_reports()
        )
    counts = ", ".join(f"{manifest.lines(name):,} {name} lines" for name in JOURNALS)
    click.echo(
        f"{folder} holds {counts} and both databases ({manifest.size_bytes:,} bytes), as of {manifest.created_at}"
    )
    if manifest.with_key:
        click.echo("It holds the master key: keep it as secret as the data directory itself.")
    else:
        click.echo(
            f"It does not hold the master key (id {manifest.key_id or 'none yet'}): without that, sessions that are "
            "open cannot go on after a restore."
        )


@main.command()
@data_options(must_exist=False)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True))
def restore(config: Path | None, data_dir: Path, folder: Path) -> None:
    """Make a data directory from the backup in DIR, and check it as `verify` does.

    The data directory must be absent or an empty folder, so nothing is ever overwritten; it appears only when
    everything is in it. Every file is compared with what the backup noted of it. Run it as the server's user, or give
    the folder to that user afterwards.

    \b
    Example:
      central-command restore /backup/2026-11-20 --data-dir /var/lib/central-command

    Exit status: 0 restored and all is well, 1 restored and something differs, 2 nothing was done (the data directory is
    not empty or in use, DIR is no backup), 3 the backup is damaged and nothing was restored, 5 a database failed.
    """
    from central_command.commands import maintenance

    settings = _settings(config, {})
    with one_sentence_for_failures():
        report = _run(maintenance.restore, folder, data_dir, settings.storage, progress=_progress_reports())
    manifest = report.manifest
    click.echo(f"{data_dir} holds what the server kept at {manifest.created_at}")
    if not manifest.with_key:
        click.echo(
            f"The backup did not hold the master key. Put the one with the id {manifest.key_id or 'none'} into "
            f"{data_dir / 'keys' / 'master.key'} (mode 600) or CENTRAL_COMMAND_MASTER_KEY before you start the server. "
            "If it is lost, see The master key in docs/operations.md."
        )
    for finding in report.findings:
        click.echo(finding)
    if report.findings:
        click.echo(f"{_places(len(report.findings))} where the stored data differs", err=True)
        raise SystemExit(EXIT_FAILED)
    click.echo("all is well")


@main.command()
@data_options(must_exist=True)
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
    from central_command.commands import maintenance

    settings = _settings(config, {})
    with one_sentence_for_failures():
        report = _run(maintenance.rebuild, data_dir, settings.storage)
    click.echo(report)


def _places(count: int) -> str:
    return f"{count} {'place' if count == 1 else 'places'}"


def _progress_reports() -> Callable[[str, int, int], None]:
    """Return what says on stderr, every `PROGRESS_S`, how far a long copy is."""
    said_at = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_S:
            said_at = time.monotonic()
            click.echo(f"{what}: {done:,} of {total:,}", err=True)

    return report


def _settings(config: Path | None, overrides: dict[str, object]) -> "Settings":
    """The settings, or one sentence and exit status 2."""
    from central_command.settings.configuration import SettingsError, load_settings

    path = config if config is not None else DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
    try:
        return load_settings(path, os.environ, overrides)
    except SettingsError as error:
        leave(str(error), EXIT_REFUSED)


def _run(function: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
    """Run an async function of the maintenance module to its end."""
    import trio

    return trio.run(partial(function, *args, **options))


def _console() -> "Console":
    """A console that takes nothing in its texts as markup; wide when it is no terminal, so that lines stay whole."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, markup=False, emoji=False, width=width)
