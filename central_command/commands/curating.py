"""`curate` and `corpus`: what may be shown of the sessions, made and looked into."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

from pathlib import Path

import click

from central_command.commands.endings import run_to_end
from central_command.commands.options import data_options, settings_from, step_options
from central_command.commands.printing.step_range import chosen_steps
from central_command.terminal.unread import going_on_unread


@click.command()
@data_options(must_exist=True)
@click.option("--all", "anew", is_flag=True, help="Go over everything again: what other rules made is made anew.")
@going_on_unread()
def curate(config: Path | None, data_dir: Path, *, anew: bool) -> None:
    """Make the corpus: take in what is closed and not in it yet, once, up to the end.

    A running server does this by itself (curation.enabled); then this command refuses. With --all every trajectory is
    looked at again: records that other rules made, or whose contributor's consent has changed, are made anew, each
    taking the place of the earlier one. Interrupted, it goes on where it was, also by a server that is started later.
    Where a judge is set (enrichment.judge_url), it is asked last, up to the day's budget.

    \b
    Example:
      central-command curate --data-dir /var/lib/central-command
      central-command curate --all --data-dir /var/lib/central-command

    Exit status: 0 all is taken, 2 another process makes the corpus, 3 stored data is damaged, 5 the disk failed.
    """
    from central_command.curating import opening
    from central_command.curating.orders import Order

    order = Order.of(settings_from(config, {}), data_dir)
    done, asked = run_to_end(opening.curate, order, anew=anew)
    passed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.passed_over.items()))
    click.echo(
        f"{done.records:,} record(s) made of {done.reached_n:,} trajectories"
        + (f"; passed over: {passed}" if passed else "")
        + (f"; {asked.judged:,} judged" if asked is not None else "")
    )
    if done.texts_reached_n:
        passed_texts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.texts_passed_over.items()))
        click.echo(
            f"{done.text_records:,} record(s) made of {done.texts_reached_n:,} text(s) of the intake"
            + (f"; passed over: {passed_texts}" if passed_texts else "")
        )


@click.group()
def corpus() -> None:
    """Look into the corpus: what may be shown of the sessions, scrubbed.

    \b
    Example:
      central-command corpus stats
      central-command corpus show sess_7612d355
    """


@corpus.command()
@data_options(must_exist=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def stats(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Count records, what was found in them, what was passed over and why, and how far the corpus is behind.

    \b
    Example:
      central-command corpus stats
    """
    import msgspec

    from central_command.commands.printing import corpus_state, terminal
    from central_command.terminal.listing import print_listing
    from persistence.upkeep import corpus_reading

    settings_from(config, {})
    found = run_to_end(corpus_reading.corpus_state, data_dir)
    if as_json:
        click.echo(terminal.clean_json(msgspec.json.encode(found).decode()))
        return
    for n, listing in enumerate(corpus_state.corpus_listings(found)):
        if n:
            click.echo()
        print_listing(listing)


@corpus.command()
@data_options(must_exist=True)
@click.argument("record")
@step_options
@click.option("--json", "as_json", is_flag=True, help="Print the record's line, without the contributor's id.")
def show(
    config: Path | None, data_dir: Path, record: str, chosen: str | None, lines: int, *, full: bool, as_json: bool
) -> None:
    """Print a record: what it says of its session, and its steps, scrubbed.

    RECORD is the record's id or its session's, or any beginning of it that no other has.

    \b
    Example:
      central-command corpus show sess_7612d355
    """

    from central_command.commands.printing.output import print_line
    from persistence.upkeep import corpus_reading

    steps = chosen_steps(chosen)
    settings_from(config, {})
    line = run_to_end(corpus_reading.record_line, data_dir, record)
    if isinstance(line, str):
        raise click.ClickException(line)
    print_line(line, steps, None if full else lines, as_json=as_json, name=f"record {record}")
