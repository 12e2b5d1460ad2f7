"""The token that a command shows a running server: read from a file, or from the environment."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import os
from pathlib import Path
from typing import Final

from central_command.commands.endings import EXIT_REFUSED, leave

TOKEN_VARIABLE: Final = "CENTRAL_COMMAND_TOKEN"  # noqa: S105 (the variable's name)
TOKEN_BYTES_MAX: Final = 1_024


def token_in(path: Path) -> str:
    """The token in a file; ends the command for a file that holds none, without repeating what it holds."""
    from central_command.process.steering import escaped

    with path.open("rb") as opened:
        given = opened.read(TOKEN_BYTES_MAX)
    return _checked(given.decode("ascii", "replace"), f"in {escaped(str(path))}")


def token_of_environment() -> str | None:
    """The token in CENTRAL_COMMAND_TOKEN, None without one; ends the command for what is none."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    return _checked(given, f"in {TOKEN_VARIABLE}") if given.strip() else None


def _checked(given: str, where: str) -> str:
    from central_command.access.tokens import TOKEN

    token = given.strip()
    if not TOKEN.match(token):
        leave(f"what is given as a token {where} is none: it begins with cc_ and has 46 characters", EXIT_REFUSED)
    return token
