"""What a command has changed, noted in the audit journal."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs none of them)

import time
from pathlib import Path

from central_command.commands.endings import EXIT_FAILED, leave


def noted(data_dir: Path, action: str, subject: str) -> None:
    """Note what was done; where that cannot be, say so, and leave with exit status 1."""
    from central_command.access.audit import NotNotedError, note_command
    from persistence.format.layout import DataLayout

    try:
        note_command(DataLayout(data_dir), action, subject, clock=time.time)
    except NotNotedError as error:
        leave(str(error).removesuffix("."), EXIT_FAILED)
