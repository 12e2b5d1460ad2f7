"""What long jobs run in: `python -m central_command.background.worker ORDER`, started by the server and by nobody else.

Reading and copying everything takes hours on a large data directory, and would take the interpreter's lock from the
server again and again. The process does one thing, says in a line of JSON what it came to, and ends when the server is
gone.
"""

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from central_command.curating.orders import Order as CurationOrder
from central_command.curating.summarizing import summarize
from central_command.process.children import end_with_parent
from central_command.process.piped import ignore_terminal
from persistence.databases.database import DatabaseFailure
from persistence.files.failures import DataDirectoryLocked, NoDataDirectory, StorageDamage, StorageFailure
from persistence.files.file_system import OsFileSystem
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.settings.storage import StorageSettings
from persistence.upkeep import verification
from persistence.upkeep.backup import back_up
from persistence.upkeep.manifest import MANIFEST_FILE, BackupRefused
from persistence.upkeep.successes import Upkeep, note_success

NICE: Final = 10
BACKUP_PREFIX: Final = "central-command-"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: to verify a data directory, or with a `target` to make a backup of it there.

    Then as many backups stay in the target's folder as `kept` says, the latest. With `curation` it is to make titles
    and summaries of at most `summaries_max` records, by these settings.
    """

    data_directory: str
    storage: StorageSettings
    target: str | None = None
    kept: int = 1
    curation: CurationOrder | None = None
    summaries_max: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What it came to: each place where stored data differs, the bytes of a backup, or why there is none; summaries."""

    findings: list[str] = []
    size_bytes: int | None = None
    removed: list[str] = []
    summaries: int = 0
    refused: str | None = None


UNABLE: Final = (
    BackupRefused,
    StorageDamage,
    StorageFailure,
    DatabaseFailure,
    DataDirectoryLocked,
    NoDataDirectory,
    OSError,
)
"""What keeps an order from being done, and is no bug."""


def main() -> int:
    """Do what the first argument says; return the exit status."""
    ignore_terminal()
    os.nice(NICE)
    end_with_parent()
    answer = answer_to(msgspec.json.decode(sys.argv[1], type=Order))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.flush()
    return 0


def answer_to(order: Order) -> Answer:
    """Do what an order says."""
    try:
        if order.curation is not None:
            return Answer(summaries=trio.run(summarize, order.curation, order.summaries_max))
        return _verified(order) if order.target is None else _backed_up(order, Path(order.target))
    except UNABLE as error:
        return Answer(refused=_sentence(error))
    except ExceptionGroup as group:  # what something within a nursery of its own has raised
        if group.split(UNABLE)[1] is not None:
            raise
        return Answer(refused=_sentence(_first(group)))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _first(error: Exception) -> Exception:
    """The first error in a group, of groups perhaps."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _verified(order: Order) -> Answer:
    layout = DataLayout(Path(order.data_directory))
    run = partial(
        verification.verify,
        layout.root,
        order.storage,
        applied_at=times.to_text(time.time()),
        environment=os.environ,
    )
    findings = trio.run(run)
    if not findings:
        note_success(layout, OsFileSystem(), Upkeep.VERIFY, times.to_text(time.time()))
    return Answer(findings=findings)


def _backed_up(order: Order, target: Path) -> Answer:
    """Make a backup, unless it is there from a try whose end was lost; then remove the oldest beyond those kept.

    Its folder must be there: one that is not may be a disk that is not mounted, and the backups would fill another one.
    """
    size_bytes = None
    if not (target / MANIFEST_FILE).is_file():
        layout = DataLayout(Path(order.data_directory))
        made = back_up(layout.root, target, order.storage, created_at=times.to_text(time.time()), with_key=False)
        size_bytes = made.size_bytes
        note_success(layout, OsFileSystem(), Upkeep.BACKUP, times.to_text(time.time()))
    return Answer(size_bytes=size_bytes, removed=list(_removed(target.parent, order.kept)))


def _removed(folder: Path, kept: int) -> list[str]:
    """Remove the backups of jobs beyond the latest; others' folders, and unfinished ones, are left alone."""
    made = sorted(
        (path for path in folder.glob(f"{BACKUP_PREFIX}*") if (path / MANIFEST_FILE).is_file()),
        key=lambda path: (path / MANIFEST_FILE).stat().st_mtime,
    )
    old = made[: max(0, len(made) - kept)]
    for path in old:
        shutil.rmtree(path)
    return [path.name for path in old]


if __name__ == "__main__":
    sys.exit(main())
