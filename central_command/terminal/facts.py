"""A few facts, a name and a value a line."""

import sys
from collections.abc import Iterable

import click

from central_command.process.steering import escaped


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """On standard output: in two columns on a terminal, elsewhere with a tab between name and value."""
    shown = [(name, escaped(value)) for name, value in facts]
    widest = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:<{widest}}  {value}" if sys.stdout.isatty() else f"{name}\t{value}")
