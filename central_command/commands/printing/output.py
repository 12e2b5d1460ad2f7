"""A trajectory, or a record of the corpus, on standard output: as it suits a terminal or a program."""

import sys

import click
import msgspec

from central_command.commands.endings import EXIT_DAMAGED, leave
from central_command.commands.printing import terminal, text_record, trajectory
from central_command.commands.printing.step_range import STEP_MAX
from central_command.commands.printing.trajectory import Trajectory


def print_line(line: bytes, steps: range | None, lines_max: int | None, *, as_json: bool, name: str) -> None:
    """Print a line to read, or as JSON in which nothing can steer a terminal; what is damaged ends with 3."""
    if as_json:
        click.echo(terminal.clean_json(line.rstrip(b"\n").decode(errors="replace")))
        return
    try:
        text = text_record.read_text_record(line)
        if text is not None:
            for each in text_record.printed_lines(text, lines_max):
                click.echo(each)
            return
        found = trajectory.read_trajectory(line)
    except msgspec.DecodeError as error:
        leave(f"{name} is damaged: {error}; run verify", EXIT_DAMAGED)
    print_trajectory(found, steps, lines_max)


def print_trajectory(found: Trajectory, steps: range | None, lines_max: int | None) -> None:
    """Print it; a range that goes past the end is said on stderr, and is refused when no step is in it."""
    last = trajectory.last_step(found)
    count = len(found.trajectory_log)
    has = f"The session has {count:,} step(s)"
    if count != last:
        has = f"{has}, the last with the number {last:,}"
    if steps is not None and not trajectory.has_steps(found, steps):
        asked = (
            f"step {steps.start:,}" if len(steps) == 1 or steps.start > last else "step of those that were asked for"
        )
        raise click.ClickException(f"{has}: there is no {asked}.")
    if sys.stdout.isatty():
        console = terminal.console()
        console.print(trajectory.header(found))
        for step in trajectory.steps(found, steps, lines_max):
            console.print(step)
    else:
        for text in trajectory.plain_lines(found, steps, lines_max):
            click.echo(text)
    if steps is not None and last < steps[-1] < STEP_MAX:
        click.echo(f"{has}: those up to {steps[-1]:,} are not there.", err=True)
