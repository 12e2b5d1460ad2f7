"""Deaths in the middle of what does not go through a file layer: the master key, migrations, the end of an actor."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from actors.sessions.session import SessionActor
from central_command import service
from persistence.databases import migrations, opening
from persistence.keys import sealing
from tests.crash.failpoints import Death

NAMES = frozenset({"keys", "master.key"})
"""What keeps its name in the name of an operation; the data directory itself may have any."""


class _CountedOs:
    """The module `os`, with the operations counted that make the master key durable."""

    def __init__(self, death: Death) -> None:
        self._death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open; only creating counts."""
        if not flags & os.O_CREAT:
            return os.open(path, flags, mode)
        with self._death.around("create draft of", "master.key"):
            return os.open(path, flags, mode)

    def fsync(self, descriptor: int) -> None:
        """Sync; folders count elsewhere."""
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
            return
        with self._death.around("sync draft of", "master.key"):
            os.fsync(descriptor)


def _counted(function: Callable[..., Any], death: Death, action: str) -> Callable[..., Any]:
    """The function, counted; where it happens is the path that is its first argument."""

    def call(path: Path, *args: Any) -> Any:
        with death.around(action, path.name if path.name in NAMES else "data"):
            return function(path, *args)

    return call


def _counted_statements(death: Death) -> Callable[[str], Sequence[str]]:
    split = migrations.split_statements

    def statements(script: str) -> Sequence[str]:
        where = "ledger.db" if script in migrations.LEDGER_SCHEMA.migrations else "sessions.db"
        return _Statements(split(script), death, where)

    return statements


class _Statements(list[str]):
    """A migration's statements, each counted before it runs."""

    def __init__(self, statements: Sequence[str], death: Death, where: str) -> None:
        super().__init__(statements)
        self._death = death
        self._where = where

    def __iter__(self) -> Iterator[str]:
        for statement in super().__iter__():
            with self._death.around("migrate", self._where):
                yield statement


def _mortal_actors(death: Death) -> type[SessionActor]:
    class MortalActor(SessionActor):
        async def settled(self) -> None:
            with death.around("end", "an actor"):
                await super().settled()

    return MortalActor


@contextmanager
def failpoints_within(death: Death) -> Iterator[None]:
    """Count these operations, too, for as long as the context lasts."""
    sync_key_folder = _counted(sealing._sync_folder, death, "sync folder of master.key:")
    sync_data_folder = _counted(opening._sync_folder, death, "sync new database in")
    with ExitStack() as stack:
        for target, name, replacement in (
            (sealing, "os", _CountedOs(death)),
            (sealing, "_sync_folder", sync_key_folder),
            (Path, "hardlink_to", _counted(Path.hardlink_to, death, "link")),
            (opening, "_sync_folder", sync_data_folder),
            (migrations, "split_statements", _counted_statements(death)),
            (service, "SessionActor", _mortal_actors(death)),
        ):
            stack.enter_context(mock.patch.object(target, name, replacement))
        yield
