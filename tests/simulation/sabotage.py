"""The service with one of its guarantees taken away: what the simulation must notice.

Nothing of this is in the product: files and databases are wrapped where the platform hands them over, and methods are
replaced for the time of one seed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import trio

from actors.sessions.recent_runs import RecentRuns
from actors.sessions.session import SessionActor
from actors.sessions.state import SessionState
from persistence.databases.database import Row, Statement, Value
from persistence.databases.fingerprints import LOOK, FirstSeen
from persistence.databases.migrations import LEDGER_SCHEMA, Schema
from persistence.files.file_system import Buffer, File, FileSystem
from persistence.journals import recovery
from persistence.journals.journal import Journal
from tests.simulation.simulated_disk import Crashed

DEFERRED_S = 0.3
"""How much later a deferred sync happens."""


class Sabotage(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken away, and a regular expression for what the simulation says then."""

    noticed: str
    skipped: frozenset[str] = frozenset()
    """Operations of the file layer that do nothing."""
    sync_later: bool = False
    """Whether a sync returns at once and happens later."""
    keys_unsynced: bool = False
    """Whether durable transactions are not synced."""
    credits_replayed: bool = False
    """Whether each start credits all trajectories again, as if the ledger did not know its position."""
    credits_repeatable: bool = False
    """Whether a session can be credited twice."""
    patches: Sequence[tuple[object, str, object]] = ()
    """Whose attribute is replaced by what."""


class SabotagedFile:
    """A file that leaves out what it should do."""

    def __init__(self, inner: File, sabotage: Sabotage) -> None:
        self._inner = inner
        self._sabotage = sabotage

    def write_at(self, buffers: Sequence[Buffer], offset: int) -> None:
        """Write."""
        self._inner.write_at(buffers, offset)

    def read_at(self, offset: int, length: int) -> bytes:
        """Read."""
        return self._inner.read_at(offset, length)

    def sync(self) -> None:
        """Sync, perhaps never, or later."""
        if self._sabotage.sync_later:
            trio.lowlevel.spawn_system_task(self._sync_later)
        elif "sync" not in self._sabotage.skipped:
            self._inner.sync()

    async def _sync_later(self) -> None:
        await trio.sleep(DEFERRED_S)
        try:
            self._inner.sync()
        except (OSError, Crashed):
            return  # the process is over, or soon will be

    def truncate(self, size: int) -> None:
        """Cut the file, perhaps not."""
        if "truncate" not in self._sabotage.skipped:
            self._inner.truncate(size)

    def size(self) -> int:
        """Return the size."""
        return self._inner.size()

    def close(self) -> None:
        """Close it."""
        self._inner.close()


class SabotagedFiles:
    """A file layer that leaves out what it should do."""

    def __init__(self, inner: FileSystem, sabotage: Sabotage) -> None:
        self._inner = inner
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create(self, path: Path) -> SabotagedFile:
        """Create a file."""
        return SabotagedFile(self._inner.create(path), self._sabotage)

    def open(self, path: Path) -> SabotagedFile:
        """Open a file."""
        return SabotagedFile(self._inner.open(path), self._sabotage)

    def sync_directory(self, path: Path) -> None:
        """Sync a folder, perhaps not."""
        if "sync_directory" not in self._sabotage.skipped:
            self._inner.sync_directory(path)


class SabotagedDatabase:
    """A database that leaves out what it should do."""

    def __init__(self, inner: Any, schema: Schema, sabotage: Sabotage) -> None:
        self._inner = inner
        self._is_ledger = schema is LEDGER_SCHEMA
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[int]:
        """Run a transaction."""
        if self._sabotage.credits_repeatable and self._is_ledger:
            once = "ON CONFLICT (session_id) DO NOTHING"
            statements = [Statement(each.sql.replace(once, ""), each.rows) for each in statements]
        counts: list[int] = await self._inner.write(statements, durable=durable and not self._sabotage.keys_unsynced)
        return counts

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer a query."""
        is_of_projector = "projection_positions" in sql and sql != LOOK
        if self._sabotage.credits_replayed and self._is_ledger and is_of_projector:
            return []
        rows: list[Row] = await self._inner.read(sql, parameters)
        return rows


async def _nothing_seen(*_arguments: object) -> dict[int, FirstSeen]:
    await trio.lowlevel.checkpoint()
    return {}


async def _settled_at_once(_actor: SessionActor) -> None:
    await trio.lowlevel.checkpoint()


def _forgetting_the_sequence(original: Callable[..., SessionState]) -> Any:
    def restored(session_id: str, stored: Any, environment: Any) -> SessionState:
        state = original(session_id, stored, environment)
        state.expected_sequence = 0
        return state

    return restored


def _synced_before_the_answer(original: Callable[..., Any]) -> Callable[..., Any]:
    async def append(*arguments: Any, **options: Any) -> Any:
        position = await original(*arguments, **options)
        with trio.CancelScope(shield=True):
            await trio.sleep(DEFERRED_S * 2)
        return position

    return append


SABOTAGES: dict[str, Sabotage] = {
    "no sync": Sabotage(noticed="before it was durable|not wholly synced", skipped=frozenset({"sync"})),
    "acknowledge early": Sabotage(noticed="before it was durable", sync_later=True),
    "projection before sync": Sabotage(
        noticed="databases have seen|verify: ledger.db|cannot be read|recover",
        sync_later=True,
        patches=tuple(
            (Journal, way, _synced_before_the_answer(getattr(Journal, way))) for way in ("append", "append_many")
        ),
    ),
    "no folder sync": Sabotage(noticed="before it was durable", skipped=frozenset({"sync_directory"})),
    "credit without its uniqueness": Sabotage(
        noticed="the credits are", credits_replayed=True, credits_repeatable=True
    ),
    "passivation without waiting for the projector": Sabotage(
        noticed="was refused|twice|acknowledged as|sequence numbers|logged",
        patches=((SessionActor, "settled", _settled_at_once),),
    ),
    "a resend is not recognised": Sabotage(
        noticed="twice|was refused|acknowledged as",
        patches=((SessionState, "earlier_answer", lambda _state, _attestation, *, feedback: None),),
    ),
    "the sequence is forgotten": Sabotage(
        noticed="was refused|sequence numbers|holds something else",
        patches=((SessionState, "restored", staticmethod(_forgetting_the_sequence(SessionState.restored))),),
    ),
    "a close does not look at what is there": Sabotage(
        noticed="marks the copies", patches=((RecentRuns, "first_seen", _nothing_seen),)
    ),
    "keys are not synced": Sabotage(noticed="the key of .* before it was durable", keys_unsynced=True),
    "recovery reads before it syncs": Sabotage(
        noticed="before .* durable", patches=((recovery, "_sync", lambda _files, _first_day: None),)
    ),
    "what is torn is not cut off": Sabotage(
        noticed="checksum|whole line|damaged|number|before it was durable", skipped=frozenset({"truncate"})
    ),
}

HARMLESS: dict[str, Sabotage] = {
    "all credits are replayed at each start": Sabotage(noticed="", credits_replayed=True),
}
"""What other guarantees make up for: nothing may be noticed."""


@contextmanager
def sabotaged(name: str | None) -> Iterator[Sabotage | None]:
    """Take a guarantee away for a while."""
    sabotage = None if name is None else (SABOTAGES | HARMLESS)[name]
    with ExitStack() as stack:
        for owner, attribute, replacement in () if sabotage is None else sabotage.patches:
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield sabotage
