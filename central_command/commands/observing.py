"""`observer`: what was done, what failed and why, and how it is done when it goes well."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_command.commands.endings import run_to_end
from central_command.commands.options import data_options, settings_from, wide_option

if TYPE_CHECKING:
    from actors.observer.at_rest import AtRest

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.group()
def observer() -> None:
    """Show what a server's observer has kept, also while it runs.

    \b
    Example:
      central-command observer failures
    """


def _look(config: Path | None, data_dir: Path) -> "AtRest":
    from actors.observer.at_rest import look
    from persistence.format.layout import DataLayout
    from persistence.operations import stored_operations

    settings = settings_from(config, {})
    return run_to_end(look, stored_operations(DataLayout(data_dir)), settings.observer)


def _print_json(found: object) -> None:
    import msgspec

    from central_command.commands.printing import terminal

    click.echo(terminal.clean_json(msgspec.json.encode(found).decode()))


@observer.command()
@data_options(must_exist=True)
@wide_option
@json_option
def failures(config: Path | None, data_dir: Path, *, wide: bool, as_json: bool) -> None:
    """List the failures, grouped, the last one first, each with what to do.

    \b
    Example:
      central-command observer failures --wide
    """
    from central_command.terminal.listing import Column, Listing, print_listing

    found = _look(config, data_dir).failures
    if as_json:
        _print_json({"failures": found})
        return
    listing = Listing(
        Column("endpoint"),
        Column("count", is_figure=True),
        Column("last"),
        Column("message", may_be_cut=True),
        Column("first", wide_only=True),
        Column("cause", wide_only=True),
        Column("recommendation", wide_only=True),
    )
    for each in found:
        cause = each.cause or "unknown"
        last, first = each.last[:19], each.first[:19]
        listing.add(each.endpoint, each.count, last, each.message, first, cause, each.recommendation)
    print_listing(listing, wide=wide)


@observer.command()
@data_options(must_exist=True)
@wide_option
@json_option
def playbooks(config: Path | None, data_dir: Path, *, wide: bool, as_json: bool) -> None:
    """List how endpoints are used when it goes well: how often, how long it takes, what the inputs have in common.

    \b
    Example:
      central-command observer playbooks
    """
    from central_command.terminal.listing import Column, Listing, print_listing

    found = _look(config, data_dir).playbooks
    if as_json:
        _print_json({"playbooks": found})
        return
    listing = Listing(
        Column("endpoint"),
        Column("count", is_figure=True),
        Column("average ms", is_figure=True),
        Column("p95 ms", is_figure=True),
        Column("pattern", may_be_cut=True),
        Column("last", wide_only=True),
    )
    for each in found:
        listing.add(each.endpoint, each.count, round(each.average_ms), round(each.p95_ms), each.pattern, each.last[:19])
    print_listing(listing, wide=wide)


@observer.command()
@data_options(must_exist=True)
@json_option
def stats(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Print the figures of the last operations, as the observer's /stats has them.

    \b
    Example:
      central-command observer stats
    """
    from central_command.terminal.listing import Column, Listing, print_listing

    figures = _look(config, data_dir).ring.figures()
    if as_json:
        _print_json(figures)
        return
    listing = Listing(Column("operations"), Column("count", is_figure=True))
    for name in ("total", "successes", "failures"):
        listing.add(name, figures[name])
    for source, count in figures["by_source"].items():
        listing.add(f"of {source}", count)
    print_listing(listing)
