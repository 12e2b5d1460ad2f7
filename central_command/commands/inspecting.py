"""`sessions`, `show` and `stats`: what a data directory holds."""

# ruff: noqa: PLC0415 (imports within functions: `--help` prints no tables)

from pathlib import Path

import click

from central_command.commands.endings import one_sentence_for_failures, run_to_end
from central_command.commands.options import data_options, settings_from, step_options, wide_option
from central_command.commands.printing.step_range import chosen_steps


@click.command()
@data_options(must_exist=True)
@click.option("--status", type=click.Choice(["active", "closed"]), help="Only sessions in this state.")
@click.option(
    "--contributor", metavar="ID", help="Only those credited to this contributor; the id's beginning will do."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--set-aside", is_flag=True, help="Only those whose close has ended the server again and again.")
@click.option("--retry", metavar="SESSION", help="Let the next start close this one that was set aside.")
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead, one for each session.")
def sessions(
    config: Path | None,
    data_dir: Path,
    status: str | None,
    contributor: str | None,
    limit: int,
    retry: str | None,
    *,
    set_aside: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """List sessions, newest first.

    On a terminal, ids are as short as `show` takes them; a pipe gets all columns, separated by tabs, and whole ids.

    A session whose close has ended the server twice (by the memory that it took, say) is set aside, so that the server
    starts without it. Everything that it sent is kept. With --retry, while the server is stopped, the next start tries
    it once more.

    \b
    Example:
      central-command sessions --status closed --limit 10
      central-command sessions --contributor 4f9a02c1 --wide
      central-command sessions --set-aside
    """
    import msgspec

    from central_command.commands.printing import terminal
    from central_command.commands.printing.sessions import sessions_listing
    from central_command.terminal.listing import print_listing
    from persistence.upkeep import inspection

    settings = settings_from(config, {})
    if set_aside or retry is not None:
        _look_after_set_aside(data_dir, retry, settings.sessions.close_attempts_max, as_json=as_json)
        return
    closed = None if status is None else status == "closed"
    beginning = None if contributor is None else contributor.lower()  # ids are lower-case hexadecimal digits
    rows = run_to_end(
        inspection.list_sessions, data_dir, settings.storage, closed=closed, limit=limit, contributor=beginning
    )
    if as_json:
        for row in rows:
            click.echo(terminal.clean_json(msgspec.json.encode(row).decode()))
    else:
        print_listing(sessions_listing(rows), wide=wide)


def _look_after_set_aside(data_dir: Path, retry: str | None, attempts: int, *, as_json: bool) -> None:
    """Print what is set aside, a session a line, or let one be tried again."""
    import msgspec

    from persistence.upkeep import inspection

    with one_sentence_for_failures():
        if retry is None:
            for session_id in inspection.set_aside(data_dir, attempts):
                click.echo(msgspec.json.encode({"session_id": session_id}) if as_json else session_id)
        elif not inspection.retry(data_dir, retry):
            raise click.ClickException(f"{retry} is not set aside.")


@click.command()
@data_options(must_exist=True)
@click.argument("session_id")
@step_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the trajectory's whole line in the journal; what could steer a terminal is escaped.",
)
def show(
    config: Path | None, data_dir: Path, session_id: str, chosen: str | None, lines: int, *, full: bool, as_json: bool
) -> None:
    """Print the trajectory of a closed session: its score and its steps.

    SESSION_ID is as printed by `central-command sessions`, or any beginning of it that no other session has.

    \b
    Example:
      central-command show sess_6f1c0f6e-4a50-4a65-a3a5-0e2f1fd8ab11 --steps 10-20 --full
      central-command show sess_6f1c --steps 10-20
    """

    from central_command.commands.printing.output import print_line
    from persistence.upkeep import inspection

    steps = chosen_steps(chosen)
    if as_json and (steps is not None or full):
        raise click.UsageError("--json prints the whole line: it goes neither with --steps nor with --full.")
    settings = settings_from(config, {})
    line = run_to_end(inspection.trajectory_line, data_dir, settings.storage, session_id)
    if isinstance(line, str):
        raise click.ClickException(line)
    name = f"the trajectory of session {session_id}"
    print_line(line, steps, None if full else lines, as_json=as_json, name=name)


@click.command()
@data_options(must_exist=True)
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 365), help="So many days, today included.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100), help="So many contributors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead, with what /v1/stats answers.")
def stats(config: Path | None, data_dir: Path, days: int, limit: int, *, as_json: bool) -> None:
    """Print totals, models, providers, days and the leaderboard.

    The figures are those of the server's /v1/stats endpoints.

    \b
    Example:
      central-command stats --days 30
    """
    import msgspec

    from central_command.commands.printing import statistics, terminal
    from central_command.terminal.listing import print_listing
    from persistence.upkeep import inspection

    settings = settings_from(config, {})
    found = run_to_end(inspection.read_statistics, data_dir, settings.storage, days=days, leaders=limit)
    if as_json:
        click.echo(terminal.clean_json(msgspec.json.encode(found).decode()))
    else:
        for n, listing in enumerate(statistics.statistics(found)):
            if n:
                click.echo()
            print_listing(listing)
