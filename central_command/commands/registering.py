"""`consent stats`, `events`, `record` and `import`: what contributors of a server said, for whoever runs it."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave, one_sentence_for_failures, run_to_end
from central_command.commands.options import data_options, settings_from
from central_command.commands.stopped_server import opened_service
from central_command.process.paths import PathTo

if TYPE_CHECKING:
    from actors.consent.register import SayOutcome, Statement
    from central_command.settings.configuration import Settings

_LINES_MAX = 100_000
"""Of one file to import: they are held in memory, some 500 bytes each."""


def _contributor(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The digest that stands for a contributor."""
    import re

    from actors.consent.imports import CONTRIBUTOR_PATTERN
    from actors.consent.restrictions import subject_of

    if re.search(CONTRIBUTOR_PATTERN, value) is None:
        raise click.BadParameter("give 32 hexadecimal digits, or sha256: and 64.")
    return subject_of(value)


contributor_argument = click.argument("contributor", metavar="CONTRIBUTOR", callback=_contributor)


@click.command()
@data_options(must_exist=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def stats(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Count a server's contributors by what they said last. (For its operator.)

    It may be used while the server runs.

    \b
    Example:
      central-command consent stats --data-dir /var/lib/central-command
    """
    import msgspec

    from central_command.terminal.facts import print_facts
    from persistence.upkeep.consent_reading import consent_totals

    current = settings_from(config, {}).consent.current_version
    totals = run_to_end(consent_totals, data_dir, current_version=current)
    if as_json:
        click.echo(msgspec.json.encode(totals).decode())
        return
    counts = [(state.value, f"{count:,}") for state, count in totals.states.items()]
    print_facts([*counts, ("events", f"{totals.events:,}"), ("keys", f"{totals.keys:,}"), ("terms now", current)])


@click.command()
@data_options(must_exist=True)
@contributor_argument
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead, one for each event.")
def events(config: Path | None, data_dir: Path, contributor: str, *, as_json: bool) -> None:
    """List what a contributor of a server said, oldest first. (For its operator.)

    CONTRIBUTOR is their id, or the digest that stands for them (sha256:…). It may be used while the server runs.

    \b
    Example:
      central-command consent events 0123456789abcdef0123456789abcdef --data-dir /var/lib/central-command

    Exit status: 0 they said something, 1 there is no event of theirs.
    """
    import msgspec

    from central_command.commands.printing.consent_events import events_listing
    from central_command.terminal.listing import print_listing
    from persistence.format.consent_events import shown
    from persistence.upkeep.consent_reading import events_of

    settings_from(config, {})
    found = [shown(each) for each in run_to_end(events_of, data_dir, contributor)]
    if not found:
        leave("there is no event of this contributor.", EXIT_FAILED)
    if as_json:
        for each in found:
            click.echo(msgspec.json.encode(each).decode())
    else:
        print_listing(events_listing(found, empty=""))


@click.command(short_help="Record what a contributor told you.")
@data_options(must_exist=True)
@contributor_argument
@click.argument("state", type=click.Choice(["given", "withdrawn"]))
def record(config: Path | None, data_dir: Path, contributor: str, state: str) -> None:
    """Record what a contributor told you, who run the server: a letter, say. The event has the source `operator`.

    It counts like what they say themselves, also where they have a key, and is to the terms of now. The server must be
    stopped: while it runs, contributors say it themselves (`central-command contributor withdraw`).

    \b
    Example:
      central-command consent record 0123456789abcdef0123456789abcdef withdrawn

    Exit status: 0 it is on disk, 1 it is not, 2 nothing was started, 3 stored data is damaged, 5 the disk failed.
    """
    from actors.consent.register import Said, Statement
    from persistence.format.consent_events import ConsentSource, Decision

    settings = settings_from(config, {})
    statement = Statement(
        contributor_id=contributor,
        decision=Decision(state),
        version=settings.consent.current_version,
        source=ConsentSource.OPERATOR,
    )
    _, outcome = run_to_end(_say, settings, data_dir, [statement])
    if not isinstance(outcome, Said):
        leave(_why_not(outcome), EXIT_FAILED)
    click.echo(f"{outcome.event.id}: {state}" if outcome.is_new else f"{outcome.event.id} says so already")


@click.command(short_help="Record what was said elsewhere, from a file.", name="import")
@data_options(must_exist=True)
@click.argument("file", type=PathTo("file", must_exist=True))
def import_(config: Path | None, data_dir: Path, file: Path) -> None:
    """Record what contributors said elsewhere, from FILE: JSON objects, a line each. (For a server's operator.)

    Each has "contributor" (an id, or sha256:…), "state" (given or withdrawn), "version" (of the terms) and "at" (as
    2026-11-20T10:12:22Z); and, where it is not the notice of now, "notice_version" and "notice_sha256". What is not
    later than the last event of a contributor is passed over, so a file can be imported again, and a withdrawal is
    never undone by something older. Nothing is recorded unless every line is right. The server must be stopped.

    \b
    Example:
      central-command consent import said_before.jsonl --data-dir /var/lib/central-command

    Exit status: 0 all is on disk, 1 something is not, 2 nothing was started, 3 stored data is damaged, 5 the disk
    failed.
    """
    from actors.consent.register import Said

    settings = settings_from(config, {})
    with one_sentence_for_failures():
        statements = _statements(file)
    if not statements:
        leave(f"{file} is empty; nothing was recorded.", EXIT_REFUSED)
    recorded, outcome = run_to_end(_say, settings, data_dir, statements)
    said = f"{recorded:,} event(s) recorded of {len(statements):,} line(s)"
    if not isinstance(outcome, Said):
        leave(f"{said}; {_why_not(outcome)}", EXIT_FAILED)
    click.echo(f"{said}; the others say nothing new.")


def _statements(file: Path) -> "list[Statement]":
    """What a file says; ends the command with one sentence at the first line that is wrong."""
    from actors.consent.imports import LINE_BYTES_MAX, imported_statement

    statements: list[Statement] = []
    with file.open("rb") as lines:
        while line := lines.readline(LINE_BYTES_MAX + 1):
            try:
                if len(statements) == _LINES_MAX:
                    raise ValueError(f"a file has at most {_LINES_MAX:,} lines: split it")  # noqa: TRY301
                statements.append(imported_statement(line, now_s=time.time()))
            except ValueError as error:
                leave(f"{file}, line {len(statements) + 1}: {error}; nothing was recorded.", EXIT_REFUSED)
    return statements


async def _say(
    settings: "Settings", data_dir: Path, statements: "Sequence[Statement]"
) -> "tuple[int, SayOutcome | None]":
    """Record statements, at least one, up to the first that cannot be; how many were new, and what came of the last."""
    from actors.consent.register import Said

    recorded = 0
    outcome: SayOutcome | None = None
    async with opened_service(settings, data_dir) as service:
        for statement in statements:
            outcome = await service.desk.say(statement)
            if not isinstance(outcome, Said):
                break
            recorded += outcome.is_new
    return recorded, outcome


def _why_not(outcome: "SayOutcome | None") -> str:
    from actors.consent.register import TooManyContributors

    if isinstance(outcome, TooManyContributors):
        return "as many contributors as consent.withdrawn_max allows have withdrawn: set it higher."
    return f"it could not be recorded: {outcome}."
