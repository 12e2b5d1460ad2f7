"""Which steps of a session are to be shown, as it is written on the command line."""

import re
from typing import Final

import click

STEP_MAX: Final = 10**9
"""Past the last step of every session: the end of a range that names none."""


def parse_steps(text: str) -> range:
    """`10-20`, `10-`, `-20` or `10` as a range of step numbers; raises ValueError otherwise."""
    match = re.fullmatch(r"(\d{0,9})(-?)(\d{0,9})", text.strip(), re.ASCII)
    if not match or not (match[1] or match[3]) or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is no range of steps, which is written as 10-20, 10-, -20 or 10")
    first = int(match[1] or 1)
    last = (int(match[3]) if match[3] else STEP_MAX) if match[2] else first
    if not first or not last:
        raise ValueError(f"{text!r} names a step 0: the first one is 1")
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return range(first, last + 1)


def chosen_steps(text: str | None) -> range | None:
    """What --steps names; None without it. Raises click.BadParameter."""
    try:
        return parse_steps(text) if text else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--steps") from error
