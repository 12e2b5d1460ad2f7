"""Rows of queries that are asked again and again, remembered for as long as nothing was written.

Statistics change with a transaction and not otherwise. A trip to a database's thread costs as much as half a request,
and whoever watches a dashboard asks more often than a projector writes.
"""

from collections import OrderedDict
from collections.abc import Sequence

import trio

from persistence.databases.database import Database, Query, Row, Value

QUERIES_MAX = 32
"""Queries remembered; a statistic has a few hundred rows at most. Guards memory against whoever varies parameters."""


class RememberedRows:
    """Answers queries of one database; only for a database that no other process writes to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: OrderedDict[Query, list[Row]] = OrderedDict()
        self._transactions = -1

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Answer all rows of one query as they are after the last transaction; the list is not to be changed."""
        transactions = self._database.statistics().transactions
        if transactions != self._transactions:
            self._transactions = transactions
            self._rows.clear()
        query = (sql, tuple(parameters))
        rows = self._rows.get(query)
        if rows is not None:
            await trio.lowlevel.checkpoint()
            return rows
        rows = await self._database.read(sql, parameters)
        # A transaction may have ended meanwhile, and the rows be those from before it.
        if self._database.statistics().transactions == self._transactions == transactions:
            self._rows[query] = rows
            if len(self._rows) > QUERIES_MAX:
                self._rows.popitem(last=False)
        return rows
