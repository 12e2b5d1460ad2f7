"""Everything that a data directory holds, to compare before and after; and the check of all of it against itself."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import trio

from actors.sessions.messages import Finish
from actors.sessions.outcomes import CloseOutcome
from persistence.settings.storage import StorageSettings
from persistence.upkeep.verification import verify
from tests.running_service import Running

T = TypeVar("T")

StoredState = dict[str, Any]


async def stored_state(run: Running) -> StoredState:
    """Each journal file's bytes and each table's rows, once everything is projected."""
    await run.projected()
    state: StoredState = {}
    for path in sorted(run.root.glob("*/*.jsonl")):
        state[str(path.relative_to(run.root))] = path.read_bytes()
    for database in ("sessions.db", "ledger.db"):
        connection = sqlite3.connect(run.root / database)
        try:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in sorted(tables):
                state[f"{database} {table}"] = sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)
        finally:
            connection.close()
    return state


async def finished(run: Running, session_id: str = "sess_1") -> CloseOutcome:
    """Wait until the session's close is complete: its answer goes out before the trajectory is written."""
    return await run.service._directory.ask(session_id, Finish())


async def findings(root: Path) -> list[str]:
    """What `verify` finds in a data directory: nothing, when all is well."""
    return await verify(root, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")


async def at_once(calls: Iterable[Callable[[], Awaitable[T]]], delays: Sequence[int] = ()) -> list[T]:
    """Make all calls at once, each after so many steps of the scheduler (none by default); return what they return."""
    outcomes: dict[int, T] = {}

    async def make(index: int, call: Callable[[], Awaitable[T]]) -> None:
        for _ in range(delays[index] if delays else 0):
            await trio.lowlevel.checkpoint()
        outcomes[index] = await call()

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(make, index, call)
    return [outcomes[index] for index in sorted(outcomes)]
