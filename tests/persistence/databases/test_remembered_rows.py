"""Rows that are remembered until something is written."""

from pathlib import Path

import pytest
import trio
import trio.testing

from persistence.databases.database import Database, DatabaseStatistics, Row, Statement
from persistence.databases.migrations import SESSIONS_SCHEMA
from persistence.databases.opening import open_inline_database
from persistence.databases.remembered_rows import QUERIES_MAX, RememberedRows
from persistence.settings.storage import StorageSettings

AT = "2026-11-20T10:00:00.000000Z"
STEPS = "SELECT steps FROM totals"


def add(steps: int) -> Statement:
    return Statement("UPDATE totals SET steps = steps + ?", [(steps,)])


async def test_a_query_is_asked_once_between_two_transactions(tmp_path: Path) -> None:
    """Each answer is that of the last transaction."""
    async with open_inline_database(tmp_path / "a.db", SESSIONS_SCHEMA, StorageSettings(), applied_at=AT) as database:
        remembered = RememberedRows(database)
        for steps in (0, 5, 12):
            reads = database.statistics().reads
            assert [await remembered.read(STEPS) for _ in range(3)] == [[(steps,)]] * 3
            assert database.statistics().reads == reads + 1
            await database.write([add(5 + steps // 5 * 2)], durable=False)


async def test_parameters_are_part_of_the_query(tmp_path: Path) -> None:
    """And no number of them takes more memory than the bound."""
    async with open_inline_database(tmp_path / "a.db", SESSIONS_SCHEMA, StorageSettings(), applied_at=AT) as database:
        remembered = RememberedRows(database)
        for number in range(3 * QUERIES_MAX):
            assert await remembered.read("SELECT ?", (number,)) == [(number,)]
        assert len(remembered._rows) == QUERIES_MAX


class SlowDatabase:
    """Answers with what was true when it was asked, however late."""

    def __init__(self) -> None:
        self.transactions = 0
        self.may_answer = trio.Event()

    async def read(self, sql: str, parameters: object = ()) -> list[Row]:
        found = self.transactions
        await self.may_answer.wait()
        return [(found,)]

    def statistics(self) -> DatabaseStatistics:
        return DatabaseStatistics(transactions=self.transactions, durable_transactions=0, reads=0, checkpoints=0)


@pytest.mark.parametrize("asks_between", [False, True])
async def test_an_answer_from_before_a_transaction_is_not_kept(asks_between: bool) -> None:  # noqa: FBT001
    """It was under way while the transaction ended; another reader may have noticed that first."""
    slow = SlowDatabase()
    database: Database = slow  # type: ignore[assignment] # what is used of it
    remembered = RememberedRows(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remembered.read, STEPS)
        await trio.testing.wait_all_tasks_blocked()
        slow.transactions = 1
        if asks_between:
            nursery.start_soon(remembered.read, "SELECT 2")
            await trio.testing.wait_all_tasks_blocked()
        slow.may_answer.set()
    assert await remembered.read(STEPS) == [(1,)]
