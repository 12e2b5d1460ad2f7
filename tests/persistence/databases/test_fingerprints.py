"""Fingerprints are found from the projection of their line on, wherever they stand: gathered, or in their places."""

from array import array
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.databases.database import Database, Statement
from persistence.databases.fingerprints import Fingerprints, FirstSeen
from persistence.databases.ledger_tables import LEDGER_6
from persistence.databases.migrations import LEDGER_SCHEMA, Schema
from persistence.databases.opening import open_inline_database
from persistence.databases.projection import project_ledger
from persistence.format import times
from persistence.format.records import ClosedBy, Committed, Position, TrajectoryRecord
from persistence.settings.storage import StorageSettings

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


def first(n: int) -> FirstSeen:
    return FirstSeen(n, f"sess_{n}", f"traj_{n}")


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
        assert await fingerprints.first_seen([5, 7, -7]) == {5: first(1), -7: first(1)}
        await database.write(project_ledger([line(3, [7, 5])]), durable=False)
        assert await fingerprints.first_seen([5, 7]) == {5: first(1), 7: first(3)}
        assert await fingerprints.first_seen([5, 7], before_n=3) == {5: first(1)}
        assert await tables(database) == (0, 2)


async def test_what_is_gathered_is_put_in_its_place_once_there_is_much_of_it_and_found_as_before(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    """By whoever looked before, between and after, and by who looks for the first time."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        watching, late = Fingerprints(database), Fingerprints(database)
        await database.write(project_ledger([line(1, [3, -4, 3])]), durable=False)
        assert await watching.first_seen([3]) == {3: first(1)}
        batch = [line(2, range(10, 10 + PLACED_FROM - 4)), line(3, [-4]), line(4, [3, 9])]
        await database.write(project_ledger(batch), durable=False)
        assert await tables(database) == (2 + PLACED_FROM - 4, 1)
        expected = {3: first(1), -4: first(1), 10: first(2), 12: first(2), 9: first(4)}
        assert await watching.first_seen([*expected, 8]) == expected
        assert await late.first_seen([*expected, 8]) == expected


async def test_lines_that_are_projected_again_are_not_gathered_again(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        batch = [line(1, range(PLACED_FROM)), line(2, [-1, -2])]
        for _ in range(2):
            await database.write(project_ledger(batch), durable=False)
        assert await tables(database) == (PLACED_FROM, 1)
        assert await database.read("SELECT n, total FROM gathered_fingerprints") == [(2, 2)]


async def test_fingerprints_of_the_version_before_are_where_they_were(tmp_path: Path) -> None:
    """Without the places that they had in their lines, which nobody asked for."""
    lines = [line(1, [7, -4, 7]), line(2, range(PLACED_FROM)), line(3, [-4, 8, -9])]
    path, applied_at = tmp_path / "ledger.db", times.to_text(NOON)
    older = Schema("ledger.db", LEDGER_SCHEMA.migrations[:5])
    async with open_inline_database(path, older, StorageSettings(), applied_at=applied_at) as database:
        await database.write(project_ledger(lines), durable=False)
        assert await database.read("SELECT n, step FROM fingerprints WHERE fingerprint = 7") == [(1, 1)]
        before = await database.read("SELECT fingerprint, n FROM fingerprints")
    async with open_inline_database(path, LEDGER_SCHEMA, StorageSettings(), applied_at=applied_at) as database:
        assert await database.read("SELECT * FROM fingerprints") == before
        expected = {7: first(1), -4: first(1), 8: first(2), -9: first(3)}
        assert await Fingerprints(database).first_seen([*expected, -10]) == expected


FILTER_BYTES = 8_192
PLACED_SOONER = LEDGER_6.replace("65536", "9")
"""The same table, in which nine fingerprints are put in their places."""


def noted(fingerprints: Fingerprints, item: Committed) -> Committed:
    assert isinstance(item.record, TrajectoryRecord)
    record = item.record
    fingerprints.note(item.position.n, record.session_id, record.trajectory_id, record.fingerprints)
    return item


async def filled(database: Database, filter_bytes: int = FILTER_BYTES) -> Fingerprints:
    fingerprints = Fingerprints(database, filter_bytes=filter_bytes)
    await fingerprints.fill()
    return fingerprints


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.databases.fingerprints.FILLING_REST_S", 0)


async def test_what_nobody_has_seen_is_not_asked_for_where_a_filter_is_filled(
    open_any: OpenDatabase, tmp_path: Path
) -> None:
    """From rows that were there, and from lines that are noted; what was seen is found as without one."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        await database.write(project_ledger([line(1, range(PLACED_FROM)), line(2, [-1, -2])]), durable=False)
        fingerprints = await filled(database, 262_144)
        reads = database.statistics().reads
        assert await fingerprints.first_seen([10**12, -3]) == {}
        noted(fingerprints, line(3, [-3, -1]))
        assert await fingerprints.first_seen([10**12, 10**13]) == {}
        assert database.statistics().reads == reads
        expected = {0: first(1), 9: first(1), -1: first(2), -3: first(3)}
        assert await fingerprints.first_seen([*expected, 10**12]) == expected
        assert database.statistics().reads > reads


async def test_a_filter_that_would_be_too_full_is_let_go_of(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        await database.write(project_ledger([line(1, range(PLACED_FROM))]), durable=False)
        fingerprints = await filled(database)
        reads = database.statistics().reads
        assert await fingerprints.first_seen([10**12]) == {}
        assert database.statistics().reads == reads + 1
        assert await fingerprints.first_seen([5]) == {5: first(1)}


async def test_a_line_is_named_as_its_rows_say_once_it_has_some(open_any: OpenDatabase, tmp_path: Path) -> None:
    """Its session may have been erased meanwhile, and nobody is told of it."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        fingerprints = await filled(database)
        item = noted(fingerprints, line(1, [5]))
        assert await fingerprints.first_seen([5]) == {5: first(1)}
        await database.write(project_ledger([item]), durable=False)
        rename = Statement("UPDATE fingerprinted SET session_id = 'erased_1', trajectory_id = 'erased_2'", [()])
        await database.write([rename], durable=False)
        assert await fingerprints.first_seen([5]) == {5: FirstSeen(1, "erased_1", "erased_2")}


async def test_memory_is_let_go_of_also_when_nothing_is_seen(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        fingerprints = await filled(database, 262_144)
        await database.write(project_ledger([noted(fingerprints, line(1, range(PLACED_FROM)))]), durable=False)
        assert await fingerprints.first_seen([-1], unplaced_max=PLACED_FROM) == {}
        assert fingerprints.unplaced == PLACED_FROM
        assert await fingerprints.first_seen([-1], unplaced_max=PLACED_FROM - 1) == {}
        assert fingerprints.unplaced == 0


async def test_a_line_that_was_not_noted_is_found_from_its_rows_on(open_any: OpenDatabase, tmp_path: Path) -> None:
    """Also by a filter, and behind one that was noted before."""
    async with open_any(tmp_path / "ledger.db", LEDGER_SCHEMA) as database:
        fingerprints = await filled(database)
        lines = [line(1, [5]), noted(fingerprints, line(2, [6]))]
        assert await fingerprints.first_seen([6]) == {6: first(2)}
        await database.write(project_ledger(lines), durable=False)
        assert await fingerprints.first_seen([5, 6, 7]) == {5: first(1), 6: first(2)}
        assert await fingerprints.first_seen([5]) == {5: first(1)}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), max_size=6),
            st.sampled_from(["project", "look", "start", "start without filling"]),
        ),
        max_size=25,
    )
)
def test_whatever_is_projected_when_the_first_is_found(steps: list[list[int] | str]) -> None:
    """Lines are noted, projected some at a time, put in their places, and read after a start: the first always wins."""
    trio.run(_played, steps)


async def _played(steps: Sequence[list[int] | str]) -> None:
    schema = Schema("ledger.db", (*LEDGER_SCHEMA.migrations[:5], PLACED_SOONER))
    async with open_inline_database(None, schema, StorageSettings(), applied_at=times.to_text(NOON)) as database:
        fingerprints = await filled(database)
        expected: dict[int, FirstSeen] = {}
        waiting: list[Committed] = []
        n = 0
        for step in steps:
            if isinstance(step, list):
                n += 1
                waiting.append(noted(fingerprints, line(n, step)))
                for each in step:
                    expected.setdefault(each, first(n))
            elif step != "look":
                batch, waiting = (waiting[:2], waiting[2:]) if step == "project" else (waiting, [])
                if batch:
                    await database.write(project_ledger(batch), durable=False)
                if step == "start":
                    fingerprints = await filled(database)
                elif step != "project":
                    fingerprints = Fingerprints(database, filter_bytes=FILTER_BYTES)
                    assert await fingerprints.first_seen([77]) == {}
            if step in ("look", "project"):
                assert await fingerprints.first_seen([*expected, 77, -77]) == expected
        assert await fingerprints.first_seen(expected) == expected
        assert await Fingerprints(database).first_seen(expected, before_n=n) == {
            each: seen
            for each, seen in expected.items()
            if seen.n < n and seen.n not in {x.position.n for x in waiting}
        }
