"""How a command asks before it does what cannot be taken back: a person at a terminal, or nobody."""

import sys

import click

from central_command.commands.endings import EXIT_FAILED, EXIT_REFUSED, leave

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def ask(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes, or was given before; else end the command. Asks nobody without a terminal."""
    if yes:
        return
    if not is_terminal():
        leave(f"{question} Nobody can be asked here: give --yes to say so.", EXIT_REFUSED)
    if not click.confirm(question, default=False, err=True):
        leave("nothing was changed.", EXIT_FAILED)


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()
