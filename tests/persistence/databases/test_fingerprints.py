"""Fingerprints are found from the projection of their line on, wherever they stand: gathered, or in their places."""

from array import array
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from persistence.databases.database import Database
from persistence.databases.fingerprints import Fingerprints, FirstSeen
from persistence.databases.migrations import LEDGER_SCHEMA, Schema
from persistence.databases.projection import project_ledger
from persistence.format import times
from persistence.format.records import ClosedBy, Committed, Position, TrajectoryRecord

NOON = times.from_text("2026-11-20T12:00:00.000000Z")
PLACED_FROM = 65_536


class OpenDatabase(Protocol):
    """One of the ways to open a database (conftest.py)."""

    def __call__(self, path: Path, schema: Schema) -> AbstractAsyncContextManager[Database]: ...


def line(n: int, fingerprints: Sequence[int]) -> Committed:
    """The line of a session with these fingerprints."""
    record = TrajectoryRecord(
        trajectory_id=f"traj_{n}",
        session_id=f"sess_{n}",
        contributor_id="c0ffee",
        provider="codex",
        model="gpt-5.5",
        steps=len(fingerprints),
        tokens=1,
        chunks=1,
        base_points=6,
        total_points=6,
        multiplier_breakdown="{}",
        closed_by=ClosedBy.SESSION_CLOSE,
        fingerprints=array("q", fingerprints),
    )
    return Committed(record, Position(n=n, day="2026-11-20", offset=n * 100, length=100, at=NOON + n))


def first(n: int, step: int) -> FirstSeen:
    return FirstSeen(n, step, f"sess_{n}", f"traj_{n}")


async def tables(database: Database) -> tuple[int, int]:
    """How many fingerprints are in their places, and how many lines have theirs gathered."""
    ((places,),) = await database.read("SELECT count(*) FROM fingerprints")
    ((lines,),) = await database.read("SELECT count(*) FROM gathered_fingerprints")
    return places, lines


async def test_what_is_gathered_is_found_and_belongs_to_the_first_line_that_has_it(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        fingerprints = Fingerprints(database)
        assert await fingerprints.first_seen([7, -7]) == {}
        await database.write(project_ledger([line(1, [5, -7, 5]), line(2, [])]), durable=False)
        assert await fingerprints.first_seen([5, 7, -7]) == {5: first(1, 1), -7: first(1, 2)}
        await database.write(project_ledger([line(3, [7, 5])]), durable=False)
        assert await fingerprints.first_seen([5, 7]) == {5: first(1, 1), 7: first(3, 1)}
        assert await fingerprints.first_seen([5, 7], before_n=3) == {5: first(1, 1)}
        assert await tables(database) == (0, 2)


async def test_what_is_gathered_is_put_in_its_place_once_there_is_much_of_it_and_found_as_before(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    """By whoever looked before, between and after, and by who looks for the first time."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        watching, late = Fingerprints(database), Fingerprints(database)
        await database.write(project_ledger([line(1, [3, -4, 3])]), durable=False)
        assert await watching.first_seen([3]) == {3: first(1, 1)}
        batch = [line(2, range(10, 10 + PLACED_FROM - 4)), line(3, [-4]), line(4, [3, 9])]
        await database.write(project_ledger(batch), durable=False)
        assert await tables(database) == (2 + PLACED_FROM - 4, 1)
        expected = {3: first(1, 1), -4: first(1, 2), 10: first(2, 1), 12: first(2, 3), 9: first(4, 2)}
        assert await watching.first_seen([*expected, 8]) == expected
        assert await late.first_seen([*expected, 8]) == expected


async def test_lines_that_are_projected_again_are_not_gathered_again(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        batch = [line(1, range(PLACED_FROM)), line(2, [-1, -2])]
        for _ in range(2):
            await database.write(project_ledger(batch), durable=False)
        assert await tables(database) == (PLACED_FROM, 1)
        assert await database.read("SELECT n, total FROM gathered_fingerprints") == [(2, 2)]
