"""How a command ends: its exit status, and one sentence on stderr for whatever an operator can do something about."""

# ruff: noqa: PLC0415 (imports within functions: a command that does not fail needs none of them)

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import click

from central_command.process.steering import escaped
from central_command.terminal.unread import is_unread

EXIT_FAILED = 1
"""Something was found (`verify`), is not there (`show`), or went wrong unexpectedly."""

EXIT_REFUSED = 2
"""Nothing was started: a wrong option or setting, a missing key, databases of another version of the program, a data
directory or an address in use."""

EXIT_DAMAGED = 3
"""What is stored contradicts itself: a restart does not mend that."""

EXIT_STORAGE_FAILED = 5
"""The disk failed while serving: a restart decides what is on it. (4 is a server that did not stop in time.)"""

EXIT_INTERRUPTED = 130
"""Ctrl-C ended a command, as shells count it: 128 + SIGINT."""


EXTRAS = {
    "cronsim": "server",
    "hypercorn": "server",
    "jinja2": "server",
    "markdown_it": "server",
    "nh3": "server",
    "prometheus_client": "server",
    "pygments": "server",
    "quart": "server",
    "quart_trio": "server",
    "numpy": "embed",
    "onnx": "embed",
    "onnxruntime": "embed",
    "tokenizers": "embed",
    "pyarrow": "export",
}
"""The modules that come with an extra of this package, and with which."""

CLONE_INSTALLS = {"export": "in this clone, `make export-tools` installs it"}
"""How an extra is installed that the environment which `make` sets up comes without."""

_CLONE = Path(__file__).parents[2]

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def one_sentence_for_failures() -> Iterator[None]:
    """Turn what an operator can do something about into one sentence and an exit status.

    Anything else is a bug, and keeps its traceback for whoever mends it.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        if any(isinstance(each, KeyboardInterrupt) for each in leaves(error)):
            raise SystemExit(EXIT_INTERRUPTED) from None
        unread = [each for each in leaves(error) if isinstance(each, BrokenPipeError)]
        if unread and is_unread(sys.stdout):
            raise unread[0] from None  # click ends quietly, as behind `| head`
        known = [(status, sentence) for each in leaves(error) for status, sentence in explanations(each)]
        if not known:
            raise
        status, sentence = max(known)
        leave(sentence, status)


def run_to_end(function: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
    """Run an async function to its end, and the command to its own where that fails."""
    import trio

    with one_sentence_for_failures():
        return trio.run(partial(function, *args, **options))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group (trio's nurseries raise groups), or the one itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def explanations(error: BaseException) -> Iterator[tuple[int, str]]:
    """The exit status and the sentence for an error that is no bug; nothing for one that is."""
    from central_command.exporting.selection import ExportRefused
    from central_command.http.settings import CannotListenError, HttpSettingsError
    from central_command.training.records import TrainingDataError
    from persistence.databases.database import DatabaseFailure, SchemaRefused
    from persistence.files.failures import DataDirectoryLocked, NoDataDirectory, StorageDamage, StorageFailure
    from persistence.keys.sealing import MasterKeyError
    from persistence.upkeep.manifest import BackupRefused

    match error:
        case BackupRefused() | DataDirectoryLocked() | MasterKeyError() | HttpSettingsError() | CannotListenError():
            yield EXIT_REFUSED, str(error)
        case SchemaRefused() | NoDataDirectory() | TrainingDataError() | ExportRefused():
            yield EXIT_REFUSED, str(error)
        case ModuleNotFoundError(name=str() as name) if (module := name.partition(".")[0]) in EXTRAS:
            extra = EXTRAS[module]
            needs = f"this needs {module}, which comes with the extra '{extra}'"
            installs = f"pip install 'central-command[{extra}]'"
            if (_CLONE / "requirements-export.lock").is_file():
                installs = CLONE_INSTALLS.get(extra, installs)
            yield EXIT_REFUSED, f"{needs}: {installs}."
        case StorageDamage():
            yield EXIT_DAMAGED, str(error)
        case StorageFailure() | DatabaseFailure():
            yield EXIT_STORAGE_FAILED, str(error)
        case OSError(strerror=str()):
            yield EXIT_REFUSED, f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def leave(sentence: str, status: int) -> NoReturn:
    """Say why on stderr, and end with `status`."""
    click.echo(f"central-command: {escaped(sentence)}", err=True)
    raise SystemExit(status)
