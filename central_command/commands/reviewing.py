"""`audit`: what administrators have changed; `digests`: the ledger's, day by day."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import time
from pathlib import Path
from typing import Final

import click

from central_command.commands.endings import EXIT_REFUSED, leave, one_sentence_for_failures
from central_command.commands.options import data_options, settings_from, wide_option

LINES_AT_ONCE: Final = 10_000


@click.command()
@data_options(must_exist=True)
@wide_option
@click.option("--since", metavar="TIME", help="Only what is no older: 12h, 90d, 4w, or a UTC day as 2026-11-20.")
def audit(config: Path | None, data_dir: Path, since: str | None, *, wide: bool) -> None:
    """List what administrators have changed: when, who, what, and from where; also while the server runs.

    Who is "command", or the id of a token or of a browser session; what was done names things by their ids.

    \b
    Example:
      central-command audit --since 4w

    Exit status: 0 listed, 2 a wrong option, 3 the journal is damaged.
    """
    from functools import partial

    import trio

    from central_command.terminal.listing import Column, Listing, print_listing
    from persistence.audit import AuditEntry, read_audit
    from persistence.files.file_system import inline
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    since_s = _since(since)
    layout = DataLayout(data_dir)
    listing = Listing(Column("n"), Column("when"), Column("who"), Column("what"), Column("of"), Column("from"))
    after_n, is_empty = 0, True
    while True:
        read = partial(read_audit, layout, inline, after_n=after_n, since=since_s, limit=LINES_AT_ONCE)
        with one_sentence_for_failures():
            entries: list[AuditEntry] = trio.run(read)
        if not entries:
            break
        after_n, is_empty = entries[-1].n, False
        for each in entries:
            listing.add(str(each.n), each.at[:19], each.actor, each.action, each.subject, each.address)
    if is_empty:
        click.echo("Nothing was changed.", err=True)
        return
    print_listing(listing, wide=wide)


@click.command()
@data_options(must_exist=True)
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead.")
def digests(config: Path | None, data_dir: Path, *, wide: bool, as_json: bool) -> None:
    """List the digests of the ledger, a line for each day with credits; also while the server runs.

    Each has how many credits they are, the root of a tree over them, and the hash that the next digest holds.

    Keep the last hash elsewhere now and then: whoever has it can tell whether any credit before it was changed since.
    `verify` checks them all.

    \b
    Example:
      central-command digests --json | tail -n 1

    Exit status: 0 listed, 2 a wrong option, 3 the journal is damaged.
    """
    from functools import partial

    import msgspec
    import trio

    from central_command.terminal.listing import Column, Listing, print_listing
    from persistence.digests import read_digests, shown
    from persistence.files.file_system import inline
    from persistence.format.layout import DataLayout

    settings_from(config, {})
    with one_sentence_for_failures():
        entries = [shown(entry) for entry in trio.run(partial(read_digests, DataLayout(data_dir), inline))]
    if as_json:
        for each in entries:
            click.echo(msgspec.json.encode(each).decode())
        return
    if not entries:
        click.echo("There is no digest: the first is made after a day with credits.", err=True)
        return
    listing = Listing(Column("day"), Column("credits"), Column("root"), Column("hash"))
    for each in entries:
        listing.add(each.day, str(each.credits), each.root, each.sha256)
    print_listing(listing, wide=wide)


def _since(text: str | None) -> float:
    """Seconds since the epoch of --since."""
    from central_command.terminal.since import moment_s

    try:
        return 0.0 if text is None else moment_s(text, now_s=time.time())
    except ValueError as error:
        leave(f"--since {error}", EXIT_REFUSED)
